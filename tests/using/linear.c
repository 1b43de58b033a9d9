/* A model in C: tanh of an affine map, with 10 outputs, for inputs of 64 values. */
#include "fluxbay.h"

#include <stdlib.h>
#include <string.h>

#define MANIFEST                                                                                  \
    "{\"schema\":1,\"contract\":\"1.0\","                                                         \
    "\"plugin\":{\"name\":\"linear-c\",\"version\":\"1.0.0\",\"license\":\"MIT\"},"               \
    "\"components\":[{\"kind\":\"model\",\"name\":\"linear-c\",\"summary\":\"An affine map.\"}]}"

__attribute__((used, section(FLUXBAY_MANIFEST_SECTION))) static const struct {
    char magic[8];
    uint32_t format, length;
    char json[sizeof MANIFEST - 1];
} manifest = {{'F', 'L', 'U', 'X', 'B', 'A', 'Y', 'M'}, 1, sizeof MANIFEST - 1, MANIFEST};

static const struct fluxbay_host_table *host;

struct linear {
    fluxbay_handle weight, bias;
};

static int32_t create(struct fluxbay_text config, fluxbay_instance *instance) {
    (void)config;
    *instance = calloc(1, sizeof(struct linear));
    return *instance ? FLUXBAY_OK : FLUXBAY_ERROR;
}

static int32_t destroy(fluxbay_instance self) {
    free(self);
    return FLUXBAY_OK;
}

static int32_t save(fluxbay_instance self, struct fluxbay_text *bytes) {
    (void)self;
    *bytes = (struct fluxbay_text){NULL, 0};
    return FLUXBAY_OK;
}

static int32_t load(fluxbay_instance self, uint32_t version, struct fluxbay_text bytes) {
    (void)self, (void)version, (void)bytes;
    return FLUXBAY_OK;
}

static struct fluxbay_text text(const char *words) {
    return (struct fluxbay_text){(const uint8_t *)words, strlen(words)};
}

static int32_t build(fluxbay_instance instance, const struct fluxbay_model_spec *spec) {
    struct linear *self = instance;
    const uint64_t weight[] = {10, 64}, bias[] = {10};
    struct fluxbay_init init;
    (void)spec;
    memset(&init, 0, sizeof init);
    init.kind = FLUXBAY_INIT_UNIFORM;
    init.a = -0.125;
    init.b = 0.125;
    int32_t status = host->tensor->parameter(text("map.weight"), weight, 2, &init, &self->weight);
    if (status != FLUXBAY_OK) return status;
    return host->tensor->parameter(text("map.bias"), bias, 1, &init, &self->bias);
}

static int32_t forward(fluxbay_instance instance, const fluxbay_handle *inputs, size_t input_count,
                       fluxbay_handle *outputs, size_t capacity, size_t *output_count) {
    struct linear *self = instance;
    const fluxbay_handle operands[] = {inputs[0], self->weight, self->bias};
    const int64_t activation[] = {0};
    struct fluxbay_apply map = {0}, tanh = {0};
    fluxbay_handle mapped;
    size_t count;
    (void)input_count;
    map.operation = FLUXBAY_OP_FLAT_LINEAR;
    map.inputs = operands;
    map.input_count = 3;
    map.ints = activation;
    map.int_count = 1;
    int32_t status = host->tensor->apply(&map, &mapped, 1, &count);
    if (status != FLUXBAY_OK) return status;
    tanh.operation = FLUXBAY_OP_TANH;
    tanh.inputs = &mapped;
    tanh.input_count = 1;
    status = host->tensor->apply(&tanh, outputs, capacity, output_count);
    host->tensor->release(mapped);
    return status;
}

static const void *extension(struct fluxbay_text id) {
    (void)id;
    return NULL;
}

static int32_t init(const struct fluxbay_host_table *table) {
    host = table;
    return FLUXBAY_OK;
}

static void set_log_level(uint32_t level) {
    (void)level;
}

static const struct fluxbay_model_table model = {build, forward};

static const struct fluxbay_component components[] = {{
    .kind = FLUXBAY_KIND_MODEL,
    .state_version = 1,
    .name = {(const uint8_t *)"linear-c", 8},
    .create = create,
    .destroy = destroy,
    .save = save,
    .load = load,
    .model = &model,
}};

__attribute__((visibility("default"))) const struct fluxbay_entry fluxbay_entry = {
    .magic = FLUXBAY_MAGIC,
    .size = sizeof(struct fluxbay_entry),
    .contract = {FLUXBAY_CONTRACT_MAJOR, FLUXBAY_CONTRACT_MINOR},
    .manifest = {(const uint8_t *)manifest.json, sizeof manifest.json},
    .components = components,
    .component_count = 1,
    .init = init,
    .set_log_level = set_log_level,
    .extension = extension,
};
