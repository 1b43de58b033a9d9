/* A plugin in C: a callback that ends the training once the loss is low.
 *
 *     cc -shared -fPIC -fvisibility=hidden -o low_loss.so low_loss.c
 */
#include "fluxbay.h"

#include <stdlib.h>
#include <string.h>

/* What the host reads without running anything. `config` is a JSON Schema; the host checks run files against it, fills in
 * defaults, and hands `create` the complete object. */
#define MANIFEST                                                                                                              \
    "{\"schema\":1,\"contract\":\"1.0\",\"plugin\":{\"name\":\"low-loss-c\",\"version\":\"1.0.0\",\"license\":\"MIT\"},"      \
    "\"components\":[{\"kind\":\"callback\",\"name\":\"low-loss-c\",\"summary\":\"Ends the fit below a loss.\","              \
    "\"config\":{\"type\":\"object\",\"additionalProperties\":false,\"properties\":{"                                         \
    "\"below\":{\"type\":\"number\",\"minimum\":0,\"default\":0.1,\"description\":\"Loss below which the training ends.\"}}},"  \
    "\"events\":[\"step-end\"],\"reads\":[\"step.loss\"]}]}"

__attribute__((used, section(FLUXBAY_MANIFEST_SECTION))) static const struct {
    char magic[8];
    uint32_t format, length;
    char json[sizeof MANIFEST - 1];
} manifest = {{'F', 'L', 'U', 'X', 'B', 'A', 'Y', 'M'}, 1, sizeof MANIFEST - 1, MANIFEST};

static const struct fluxbay_host_table *host;

struct low_loss {
    double below;
    uint32_t loss;
};

static struct fluxbay_text text(const char *words) {
    return (struct fluxbay_text){(const uint8_t *)words, strlen(words)};
}

static int32_t fail(const char *words) {
    host->fail(text(words));
    return FLUXBAY_ERROR;
}

/* The value of a number in a flat JSON object that the host has checked. */
static double number(struct fluxbay_text json, const char *key, double otherwise) {
    char copy[512], *at;
    if (json.len >= sizeof copy) return otherwise;
    memcpy(copy, json.ptr, json.len);
    copy[json.len] = 0;
    at = strstr(copy, key);
    at = at ? strchr(at, ':') : NULL;
    return at ? strtod(at + 1, NULL) : otherwise;
}

static int32_t create(struct fluxbay_text config, fluxbay_instance *instance) {
    struct low_loss *self = calloc(1, sizeof *self);
    if (!self) return fail("out of memory");
    self->below = number(config, "\"below\"", 0.1);
    /* Access is asked for here, within what the manifest declares; the slot is what reads later. */
    int32_t status = host->setup->read(text("step.loss"), &self->loss);
    if (status != FLUXBAY_OK) {
        free(self);
        return status;
    }
    *instance = self;
    return FLUXBAY_OK;
}

static int32_t destroy(fluxbay_instance self) {
    free(self);
    return FLUXBAY_OK;
}

static int32_t save(fluxbay_instance self, struct fluxbay_text *bytes) {
    (void)self;
    *bytes = (struct fluxbay_text){NULL, 0}; /* It remembers nothing. */
    return FLUXBAY_OK;
}

static int32_t load(fluxbay_instance self, uint32_t version, struct fluxbay_text bytes) {
    (void)self;
    (void)version;
    return bytes.len == 0 ? FLUXBAY_OK : fail("there is no state to load");
}

static int32_t begin(fluxbay_instance self) {
    (void)self;
    return FLUXBAY_OK;
}

static int32_t on(fluxbay_instance instance, const struct fluxbay_event *event) {
    const struct low_loss *self = instance;
    double loss;
    if (event->phase_kind != FLUXBAY_PHASE_TRAINING) return FLUXBAY_OK;
    int32_t status = host->state->get_number(self->loss, &loss);
    if (status != FLUXBAY_OK) return status;
    if (loss >= self->below) return FLUXBAY_OK;
    host->fail(text("the loss is low enough")); /* The reason that goes with the status. */
    return FLUXBAY_CANCEL_FIT;
}

static uint32_t resolve(fluxbay_instance self, struct fluxbay_text other, struct fluxbay_text path) {
    (void)self;
    (void)other;
    (void)path;
    return FLUXBAY_RESOLUTION_NOT_DEFINED;
}

static int32_t init(const struct fluxbay_host_table *table) {
    host = table;
    return FLUXBAY_OK;
}

static void set_log_level(uint32_t level) {
    (void)level;
}

static const void *extension(struct fluxbay_text id) {
    (void)id;
    return NULL;
}

static const struct fluxbay_callback_table callback = {begin, on, resolve};

static const struct fluxbay_component components[] = {{
    .kind = FLUXBAY_KIND_CALLBACK,
    .state_version = 1,
    .name = {(const uint8_t *)"low-loss-c", 10},
    .create = create,
    .destroy = destroy,
    .save = save,
    .load = load,
    .callback = &callback,
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
