/* A metric in C: the highest loss of an epoch. It uses an extension of the contract, which tells the
 * host that lower values are better.
 *
 *     cc -shared -fPIC -fvisibility=hidden -o highest_loss.so highest_loss.c
 */
#include "fluxbay.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define MANIFEST                                                                                  \
    "{\"schema\":1,\"contract\":\"1.0\","                                                         \
    "\"plugin\":{\"name\":\"highest-loss-c\",\"version\":\"1.0.0\",\"license\":\"MIT\"},"         \
    "\"components\":[{\"kind\":\"metric\",\"name\":\"highest-loss-c\","                           \
    "\"summary\":\"The highest loss of a step.\"}]}"

__attribute__((used, section(FLUXBAY_MANIFEST_SECTION))) static const struct {
    char magic[8];
    uint32_t format, length;
    char json[sizeof MANIFEST - 1];
} manifest = {{'F', 'L', 'U', 'X', 'B', 'A', 'Y', 'M'}, 1, sizeof MANIFEST - 1, MANIFEST};

static const struct fluxbay_host_table *host;

struct highest_loss {
    double highest; /* NaN before the first step. */
};

static int32_t fail(const char *words) {
    host->fail((struct fluxbay_text){(const uint8_t *)words, strlen(words)});
    return FLUXBAY_ERROR;
}

static int32_t create(struct fluxbay_text config, fluxbay_instance *instance) {
    struct highest_loss *self = malloc(sizeof *self);
    (void)config; /* It has no settings. */
    if (!self) return fail("out of memory");
    self->highest = NAN;
    *instance = self;
    return FLUXBAY_OK;
}

static int32_t destroy(fluxbay_instance self) {
    free(self);
    return FLUXBAY_OK;
}

/* The state that a resumed run needs: the bytes of the instance itself. */
static int32_t save(fluxbay_instance self, struct fluxbay_text *bytes) {
    *bytes = (struct fluxbay_text){self, sizeof(struct highest_loss)};
    return FLUXBAY_OK;
}

static int32_t load(fluxbay_instance self, uint32_t version, struct fluxbay_text bytes) {
    (void)version;
    if (bytes.len != sizeof(struct highest_loss)) return fail("the saved state has another size");
    memcpy(self, bytes.ptr, bytes.len);
    return FLUXBAY_OK;
}

static int32_t reset(fluxbay_instance instance) {
    struct highest_loss *self = instance;
    self->highest = NAN;
    return FLUXBAY_OK;
}

static int32_t update(fluxbay_instance instance, const struct fluxbay_metric_input *input,
                      double *value) {
    struct highest_loss *self = instance;
    self->highest = fmax(self->highest, input->loss); /* Ignores NaN. */
    *value = input->loss;
    return FLUXBAY_OK;
}

static int32_t compute(fluxbay_instance instance, double *value) {
    const struct highest_loss *self = instance;
    *value = self->highest;
    return FLUXBAY_OK;
}

static int32_t details(fluxbay_instance self, struct fluxbay_text *json) {
    (void)self;
    *json = (struct fluxbay_text){NULL, 0}; /* There is nothing more. */
    return FLUXBAY_OK;
}

static int32_t direction(fluxbay_instance self, uint32_t *direction) {
    (void)self;
    *direction = FLUXBAY_DIRECTION_LOWER;
    return FLUXBAY_OK;
}

#define NAME {(const uint8_t *)"highest-loss-c", 14}

/* One row for each metric of the plugin. */
static const struct fluxbay_metric_row rows[] = {{FLUXBAY_KIND_METRIC, 0, NAME, direction}};
static const struct fluxbay_metric_rows metrics = {sizeof rows[0], rows, 1};

static const void *extension(struct fluxbay_text id) {
    const char known[] = FLUXBAY_METRIC_EXTENSION;
    if (id.len == sizeof known - 1 && memcmp(id.ptr, known, id.len) == 0) return &metrics;
    return NULL; /* It offers no other. */
}

static int32_t init(const struct fluxbay_host_table *table) {
    host = table;
    return FLUXBAY_OK;
}

static void set_log_level(uint32_t level) {
    (void)level;
}

static const struct fluxbay_metric_table metric = {reset, update, compute, details};

static const struct fluxbay_component components[] = {{
    .kind = FLUXBAY_KIND_METRIC,
    .state_version = 1,
    .name = NAME,
    .create = create,
    .destroy = destroy,
    .save = save,
    .load = load,
    .metric = &metric,
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
