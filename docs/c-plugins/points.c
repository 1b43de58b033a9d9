/* A data set and a transform in C: points on the line y = 2 x, and noise that is added to them.
 *
 *     cc -shared -fPIC -fvisibility=hidden -o points.so points.c
 */
#include "fluxbay.h"

#include <stdlib.h>
#include <string.h>

#define COUNT 200

#define MANIFEST                                                                                  \
    "{\"schema\":1,\"contract\":\"1.0\","                                                         \
    "\"plugin\":{\"name\":\"points-c\",\"version\":\"1.0.0\",\"license\":\"MIT\"},"               \
    "\"components\":["                                                                            \
    "{\"kind\":\"dataset\",\"name\":\"points-c\",\"summary\":\"Points on a line.\"},"             \
    "{\"kind\":\"transform\",\"name\":\"noise-c\",\"summary\":\"Adds noise from -0.05 to 0.05.\"," \
    "\"augments\":true}]}"

__attribute__((used, section(FLUXBAY_MANIFEST_SECTION))) static const struct {
    char magic[8];
    uint32_t format, length;
    char json[sizeof MANIFEST - 1];
} manifest = {{'F', 'L', 'U', 'X', 'B', 'A', 'Y', 'M'}, 1, sizeof MANIFEST - 1, MANIFEST};

static const struct fluxbay_host_table *host;

#define TEXT(words) {(const uint8_t *)(words), sizeof(words) - 1}

static int32_t fail(const char *words) {
    host->fail((struct fluxbay_text){(const uint8_t *)words, strlen(words)});
    return FLUXBAY_ERROR;
}

/* Neither component has settings or state, so an instance is one byte. */
static int32_t create(struct fluxbay_text config, fluxbay_instance *instance) {
    (void)config;
    *instance = malloc(1);
    return *instance ? FLUXBAY_OK : fail("out of memory");
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
    (void)self;
    (void)version;
    return bytes.len == 0 ? FLUXBAY_OK : fail("there is no state to load");
}

/* ---- the data set -------------------------------------------------------------------------- */

/* A real one opens and checks its files here, and names file and line of what is wrong. */
static int32_t open_data(fluxbay_instance self) {
    (void)self;
    return FLUXBAY_OK;
}

static const uint64_t ONE[] = {1};
static const struct fluxbay_field_spec FIELDS[] = {
    {TEXT("xs"), FLUXBAY_DTYPE_F32, 0, ONE, 1, 0},
    {TEXT("ys"), FLUXBAY_DTYPE_F32, 0, ONE, 1, 0},
};

static size_t field_count(fluxbay_instance self) {
    (void)self;
    return 2;
}

static int32_t field(fluxbay_instance self, size_t index, struct fluxbay_field_spec *spec) {
    (void)self;
    if (index >= 2) return fail("there are two fields");
    *spec = FIELDS[index];
    return FLUXBAY_OK;
}

static size_t split_count(fluxbay_instance self) {
    (void)self;
    return 1;
}

/* A split called `all` is divided by the host. */
static int32_t split(fluxbay_instance self, size_t index, struct fluxbay_split_spec *spec) {
    static const struct fluxbay_split_spec all = {TEXT("all"), COUNT};
    (void)self;
    if (index >= 1) return fail("there is one split");
    *spec = all;
    return FLUXBAY_OK;
}

static int32_t prepare(fluxbay_instance self, size_t split, const uint64_t *indices, size_t count) {
    (void)self;
    (void)split;
    (void)indices;
    (void)count;
    return FLUXBAY_OK;
}

/* Several threads call it at a time. A sample follows from its index alone. */
static int32_t fill(fluxbay_instance self, size_t split, const uint64_t *indices, size_t count,
                    const struct fluxbay_buffer *buffers, size_t buffer_count) {
    (void)self;
    if (split != 0 || buffer_count != 2) return fail("there are one split and two fields");
    float *xs = (float *)(void *)buffers[0].ptr, *ys = (float *)(void *)buffers[1].ptr;
    for (size_t at = 0; at < count; at++) {
        if (indices[at] >= COUNT) return fail("there is no such sample");
        xs[at] = (float)indices[at] / COUNT;
        ys[at] = 2 * xs[at];
    }
    return FLUXBAY_OK;
}

static const struct fluxbay_dataset_table dataset = {open_data,   field_count, field, split_count,
                                                     split,       prepare,     fill};

/* ---- the transform ------------------------------------------------------------------------- */

static int32_t describe(fluxbay_instance self, const struct fluxbay_field_spec *input,
                        struct fluxbay_field_spec *output) {
    (void)self;
    if (input->dtype != FLUXBAY_DTYPE_F32) return fail("a field of f32 is needed");
    *output = *input; /* The field stays what it is. */
    return FLUXBAY_OK;
}

/* The next of a sequence of random numbers (SplitMix64). */
static uint64_t draw(uint64_t *state) {
    uint64_t z = *state += UINT64_C(0x9E3779B97F4A7C15);
    z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
    return z ^ (z >> 31);
}

/* All randomness comes from the numbers that the host passes: they follow from the run's seed, the epoch and the sample. */
static int32_t apply(fluxbay_instance self, const struct fluxbay_transform_context *context,
                     const struct fluxbay_sample *input, const struct fluxbay_sample *output) {
    const float *from = (const float *)(const void *)input->ptr;
    float *to = (float *)(void *)output->ptr;
    uint64_t state = context->draw_low ^ (context->draw_high << 1);
    (void)self;
    for (size_t at = 0; at < input->len / sizeof *from; at++)
        to[at] = from[at] + (float)(draw(&state) >> 40) / (1 << 24) * 0.1f - 0.05f;
    return FLUXBAY_OK;
}

static const struct fluxbay_transform_table transform = {sizeof transform, describe, apply};

/* Kinds that contract 1.0 did not have are listed in an extension. */
static const struct fluxbay_kind_row rows[] = {{
    .kind = FLUXBAY_KIND_TRANSFORM,
    .state_version = 1,
    .component = TEXT("noise-c"),
    .create = create,
    .destroy = destroy,
    .save = save,
    .load = load,
    .table = &transform,
}};
static const struct fluxbay_kind_rows kinds = {sizeof rows[0], rows, 1};

static const void *extension(struct fluxbay_text id) {
    const char known[] = FLUXBAY_KINDS_EXTENSION;
    if (id.len == sizeof known - 1 && memcmp(id.ptr, known, id.len) == 0) return &kinds;
    return NULL;
}

static int32_t init(const struct fluxbay_host_table *table) {
    host = table;
    return FLUXBAY_OK;
}

static void set_log_level(uint32_t level) {
    (void)level;
}

static const struct fluxbay_component components[] = {{
    .kind = FLUXBAY_KIND_DATASET,
    .state_version = 1,
    .name = TEXT("points-c"),
    .create = create,
    .destroy = destroy,
    .save = save,
    .load = load,
    .dataset = &dataset,
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
