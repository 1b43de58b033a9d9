/* The contract of fluxbay 1.0 in C, for plugins in languages other than Rust.
 *
 * Generated from the Rust tables in `plugin-api/src/abi`: do not edit it, see
 * `docs/changing-the-contract.md`.
 *
 * A plugin is a shared library that exports one object, `const struct fluxbay_entry fluxbay_entry`,
 * and carries its manifest (JSON after a header of 16 bytes) in the section `.fluxbay.manifest`.
 * README.md beside this file explains both, with an example that the tests build.
 *
 * Every function names in brackets the threads that may call it: `[training]` the thread that
 * trains, `[loader]` the threads that prepare batches, `[any]` all. The host calls one function of
 * an instance at a time, except `[loader]` functions. No function of a plugin may unwind or jump
 * out. Memory is freed by the side that allocated it. Text is UTF-8 and borrowed for the call
 * unless a function says otherwise. Functions that return `int32_t` return a `FLUXBAY_` status.
 */
#ifndef FLUXBAY_H
#define FLUXBAY_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Version of the contract that this header describes, for `struct fluxbay_entry`. */
#define FLUXBAY_CONTRACT_MAJOR 1
#define FLUXBAY_CONTRACT_MINOR 0

struct fluxbay_text;
struct fluxbay_version;
struct fluxbay_event;
struct fluxbay_setup_table;
struct fluxbay_point;
struct fluxbay_state_table;
struct fluxbay_field_spec;
struct fluxbay_split_spec;
struct fluxbay_buffer;
struct fluxbay_dataset_table;
struct fluxbay_dataset_state_row;
struct fluxbay_dataset_state_rows;
struct fluxbay_dataset_inputs_row;
struct fluxbay_dataset_inputs_rows;
struct fluxbay_fill_request;
struct fluxbay_dataset_fill_row;
struct fluxbay_dataset_fill_rows;
struct fluxbay_dataset_text_row;
struct fluxbay_dataset_text_rows;
struct fluxbay_dataset_ragged_row;
struct fluxbay_dataset_ragged_rows;
struct fluxbay_tensor_info;
struct fluxbay_view;
struct fluxbay_init;
struct fluxbay_tensor_table;
struct fluxbay_apply;
struct fluxbay_batch;
struct fluxbay_progress;
struct fluxbay_learner_table;
struct fluxbay_display_table;
struct fluxbay_log_record;
struct fluxbay_record;
struct fluxbay_checkpoint_request;
struct fluxbay_logger_table;
struct fluxbay_record_table;
struct fluxbay_metric_input;
struct fluxbay_metric_table;
struct fluxbay_metric_row;
struct fluxbay_metric_rows;
struct fluxbay_figures_table;
struct fluxbay_anomaly_table;
struct fluxbay_anomaly;
struct fluxbay_position_table;
struct fluxbay_packing_table;
struct fluxbay_freezing_table;
struct fluxbay_model_spec;
struct fluxbay_model_table;
struct fluxbay_model_names_row;
struct fluxbay_model_names_rows;
struct fluxbay_loss_table;
struct fluxbay_phase_table;
struct fluxbay_callback_table;
struct fluxbay_schedule_table;
struct fluxbay_update;
struct fluxbay_optimizer_table;
struct fluxbay_kind_row;
struct fluxbay_kind_rows;
struct fluxbay_transform_context;
struct fluxbay_sample;
struct fluxbay_transform_table;
struct fluxbay_dataset_steps_row;
struct fluxbay_dataset_steps_rows;
struct fluxbay_transform_steps_row;
struct fluxbay_transform_steps_rows;
struct fluxbay_sampler_spec;
struct fluxbay_order_context;
struct fluxbay_sampler_table;
struct fluxbay_joined;
struct fluxbay_communicator_table;
struct fluxbay_child_table;
struct fluxbay_host_table;
struct fluxbay_component;
struct fluxbay_entry;

/* ---- text ------------------------------------------------------------------------------------ */
/* Borrowed UTF-8 text and byte slices. */

/* Borrowed UTF-8 text: `len` bytes at `ptr`. An empty text may have any pointer. */
struct fluxbay_text {
    /* First byte. */
    const uint8_t *ptr;
    /* Number of bytes. */
    size_t len;
};

/* ---- status ---------------------------------------------------------------------------------- */
/* Results of calls across the contract. */

/* Done. */
#define FLUXBAY_OK 0
/* Failed; the text says why. */
#define FLUXBAY_ERROR 1
/* End the current step; training continues with the next batch. The text is the reason. */
#define FLUXBAY_CANCEL_STEP 2
/* End the current epoch; the next phase runs. The text is the reason. */
#define FLUXBAY_CANCEL_EPOCH 3
/* End the fit early, without an error. The text is the reason. */
#define FLUXBAY_CANCEL_FIT 4
/* The plugin panicked; the instance is not called again, except by `destroy`. The text is
   message and place. */
#define FLUXBAY_PANIC 5
/* ---- handle ---------------------------------------------------------------------------------- */
/* What stands for an object of the other side: handles of the host's tensors, and instances of
   the plugin's components. */

/* A tensor of the host: slot index in the low 32 bits, generation in the high 32.

   The host checks it at every use: a stale, foreign or invented handle is an error, never
   undefined behaviour. A handle that a function returns is one reference, to be given back with
   `release`; a handle passed as an argument stays with the caller. */
typedef uint64_t fluxbay_handle;
/* The handle that names no tensor. */
#define FLUXBAY_NO_TENSOR UINT64_MAX

/* An instance of a component: a pointer of the plugin's that the host only passes back. */
typedef void *fluxbay_instance;

/* Element types of tensors. */
/* Unsigned 8-bit integer; also the type of comparisons' results. */
#define FLUXBAY_DTYPE_U8 0
/* Unsigned 32-bit integer; the type of class labels and indices. */
#define FLUXBAY_DTYPE_U32 1
/* Signed 64-bit integer. */
#define FLUXBAY_DTYPE_I64 2
/* Brain floating point, 16 bits. */
#define FLUXBAY_DTYPE_BF16 3
/* IEEE half precision. */
#define FLUXBAY_DTYPE_F16 4
/* IEEE single precision. */
#define FLUXBAY_DTYPE_F32 5
/* IEEE double precision. */
#define FLUXBAY_DTYPE_F64 6

/* ---- version --------------------------------------------------------------------------------- */
/* The version of the contract. */

/* Version of the contract. Equal major versions understand each other. */
struct fluxbay_version {
    /* Changes when a table changes. */
    uint32_t major;
    /* Changes when something is added. */
    uint32_t minor;
};

/* ---- kind ------------------------------------------------------------------------------------ */
/* Kinds of components. */

/* What a step and an epoch do: training, validation, or anything else. */
#define FLUXBAY_KIND_PHASE 0
/* Code that handles events of the loop. */
#define FLUXBAY_KIND_CALLBACK 1
/* Layers over parameters that the host keeps. */
#define FLUXBAY_KIND_MODEL 2
/* The number that training minimises, from predictions and targets. */
#define FLUXBAY_KIND_LOSS 3
/* Samples by index. */
#define FLUXBAY_KIND_DATASET 4
/* A number gathered over the steps of an epoch. */
#define FLUXBAY_KIND_METRIC 5
/* A hyper-parameter's value over time. */
#define FLUXBAY_KIND_SCHEDULE 6
/* Writes what callbacks log: to a file, a service, a terminal. */
#define FLUXBAY_KIND_LOGGER 7
/* The rule that updates a parameter from its gradient. */
#define FLUXBAY_KIND_OPTIMIZER 8
/* Changes one field of a sample before it becomes part of a batch, such as an augmentation. */
#define FLUXBAY_KIND_TRANSFORM 9
/* The order in which an epoch reads the training samples. */
#define FLUXBAY_KIND_SAMPLER 10
/* Moves bytes between the processes of a run that trains on several at once. */
#define FLUXBAY_KIND_COMMUNICATOR 11

/* ---- event ----------------------------------------------------------------------------------- */
/* Events: what a phase dispatches and a callback handles. */

/* Before the first epoch of a fit. */
#define FLUXBAY_EVENT_FIT_BEGIN 0
/* After the last epoch of a fit, however the fit ended. */
#define FLUXBAY_EVENT_FIT_END 1
/* Before the first step of a phase's epoch. */
#define FLUXBAY_EVENT_EPOCH_BEGIN 2
/* After the last step of a phase's epoch; also after a cancelled epoch. */
#define FLUXBAY_EVENT_EPOCH_END 3
/* A batch is ready: `step.xs` and `step.ys` may be read and changed. */
#define FLUXBAY_EVENT_STEP_BEGIN 4
/* The step is complete. */
#define FLUXBAY_EVENT_STEP_END 5
/* `step.yhats` is set, `step.loss` is not. */
#define FLUXBAY_EVENT_LOSS_BEGIN 6
/* `step.loss` is set, the gradients are not. */
#define FLUXBAY_EVENT_BACKWARD_BEGIN 7
/* `step.grads` is set, the parameters are not updated yet. */
#define FLUXBAY_EVENT_BACKWARD_END 8
/* The step was cancelled. Fired instead of step-end. */
#define FLUXBAY_EVENT_STEP_CANCELLED 9
/* The epoch was cancelled. Fired before epoch-end, or instead of it if the fit ends too. */
#define FLUXBAY_EVENT_EPOCH_CANCELLED 10
/* The fit was cancelled. Fired before fit-end. */
#define FLUXBAY_EVENT_FIT_CANCELLED 11
/* The run failed. Fired instead of the end events that subscribers still await. */
#define FLUXBAY_EVENT_ERROR 12
/* Every callback has handled epoch-end: state may be saved now. */
#define FLUXBAY_EVENT_CHECKPOINT 13

/* Number of standard events. */
#define FLUXBAY_EVENT_STANDARD 14

/* First number of a custom event. Custom events are numbered anew in each run. */
#define FLUXBAY_EVENT_CUSTOM 64

/* Kinds of phases. */
/* Updates parameters. */
#define FLUXBAY_PHASE_TRAINING 0
/* Measures; parameters do not change. */
#define FLUXBAY_PHASE_VALIDATION 1
/* Anything else. */
#define FLUXBAY_PHASE_OTHER 2
/* No phase is running (fit-begin, fit-end). */
#define FLUXBAY_PHASE_NONE 3

/* One event, as a callback receives it. Borrowed for the call; not to be written to. */
struct fluxbay_event {
    /* A number of this module, or a custom one. */
    uint32_t kind;
    /* Index of the running phase in the run; `UINT32_MAX` if none is running. */
    uint32_t phase;
    /* A number of `FLUXBAY_PHASE_*`. */
    uint32_t phase_kind;
    /* 0. */
    uint32_t reserved;
    /* Epoch of the fit, counted from 1; 0 before the first. */
    uint64_t epoch;
    /* Step within the epoch, counted from 1; 0 outside steps. */
    uint64_t step;
    /* Number of steps that this phase has begun since the run began, this one included. */
    uint64_t total_steps;
    /* Number of steps in an epoch of this phase; 0 if unknown. */
    uint64_t steps_per_epoch;
};

/* ---- setup ----------------------------------------------------------------------------------- */
/* What an instance declares while it is created: its access to the state, its order, its
   children.

   All functions here are `[training]` and may be called only within `create`. The manifest is
   the upper bound: what it does not list is refused. */

/* The setup functions. */
struct fluxbay_setup_table {
    /* Requests read access to a state path such as `step.loss`. */
    int32_t (*read)(struct fluxbay_text path, uint32_t *slot);
    /* Requests write access, which includes reading. */
    int32_t (*write)(struct fluxbay_text path, uint32_t *slot);
    /* Makes this instance run after instance `name`, or after the instances of component `name`. */
    int32_t (*run_after)(struct fluxbay_text name);
    /* Makes this instance run before instance `name`, or before the instances of component
       `name`. */
    int32_t (*run_before)(struct fluxbay_text name);
    /* Narrows the subscription to the events named in such calls. Without a call, the instance
       subscribes to all events of the manifest. */
    int32_t (*subscribe)(struct fluxbay_text event);
    /* The number of a standard event, or of a custom one that this instance emits or handles. */
    int32_t (*event)(struct fluxbay_text name, uint32_t *kind);
    /* Declares a hyper-parameter of this instance with its initial value. Read it through the
       slot whenever it is used, since schedules may change it.

       Its state path is `optimizer.NAME` for the only optimizer, `optimizer.MODEL.NAME` for one
       of several, and `hyper.INSTANCE.NAME` for all other instances. */
    int32_t (*hyper_parameter)(struct fluxbay_text name, double initial, uint32_t *slot);
    /* Creates an instance that belongs to this one: `kind` is a number of `FLUXBAY_KIND_*`,
       `component` its name, `config` a JSON object. It ends with its owner. */
    int32_t (*child)(uint32_t kind, struct fluxbay_text component, struct fluxbay_text config,
        uint32_t *child);
    /* Declares a state tensor that this optimizer keeps per parameter, such as `momentum`. They
       are numbered in the order of these calls. */
    int32_t (*optimizer_state)(struct fluxbay_text name);
    /* The instance id in this run. */
    int32_t (*instance_id)(struct fluxbay_text *id);
    /* Folder that relative paths of the configuration start from: the run file's. */
    int32_t (*base_dir)(struct fluxbay_text *path);
    /* Folder of the run, where an instance may keep files below its instance id; empty if there
       is none. */
    int32_t (*run_dir)(struct fluxbay_text *path);
};

/* ---- state ----------------------------------------------------------------------------------- */
/* The state tree: typed values under dotted paths. Each instance reads and writes the paths that
   it was granted.

   All functions are `[training]` and need a slot of the calling instance. Reading without a
   grant, and writing with a read grant, is an error that names the instance, the path and the
   line to add. A read grant on `model` or `params` is deep: nothing that is reached through it
   can be changed. */

/* Types of values. */
/* Nothing has been written yet. */
#define FLUXBAY_VALUE_ABSENT 0
/* A number (`f64`). A tensor with one element reads as one too. */
#define FLUXBAY_VALUE_NUMBER 1
/* True (1) or false (0). */
#define FLUXBAY_VALUE_FLAG 2
/* UTF-8 text. */
#define FLUXBAY_VALUE_TEXT 3
/* Bytes; structured values are stored as JSON. */
#define FLUXBAY_VALUE_BYTES 4
/* A tensor. */
#define FLUXBAY_VALUE_TENSOR 5
/* Points (x, y), appended one by one. */
#define FLUXBAY_VALUE_SERIES 6
/* A node with named children. */
#define FLUXBAY_VALUE_NODE 7
/* Named tensors of a model, such as `params` and `step.grads`. */
#define FLUXBAY_VALUE_TENSORS 8

/* One point of a series. */
struct fluxbay_point {
    /* Position, such as a step or an epoch. */
    double x;
    /* Value. */
    double y;
};

/* The state functions. */
struct fluxbay_state_table {
    /* Type of the value, a number of `FLUXBAY_VALUE_*`. */
    int32_t (*kind)(uint32_t slot, uint32_t *kind);
    /* Reads a number or a flag, or a tensor with one element. */
    int32_t (*get_number)(uint32_t slot, double *number);
    /* Writes a number. */
    int32_t (*set_number)(uint32_t slot, double number);
    /* Writes a flag. */
    int32_t (*set_flag)(uint32_t slot, uint32_t flag);
    /* Reads a text or bytes, valid until the next call of the host. */
    int32_t (*get_bytes)(uint32_t slot, struct fluxbay_text *bytes);
    /* Writes a text. */
    int32_t (*set_text)(uint32_t slot, struct fluxbay_text text);
    /* Writes bytes. */
    int32_t (*set_bytes)(uint32_t slot, struct fluxbay_text bytes);
    /* Reads a tensor: one reference for the caller. */
    int32_t (*get_tensor)(uint32_t slot, fluxbay_handle *tensor);
    /* Writes a tensor; the host keeps a reference of its own. */
    int32_t (*set_tensor)(uint32_t slot, fluxbay_handle tensor);
    /* Appends a point to a series, which begins empty. */
    int32_t (*push)(uint32_t slot, struct fluxbay_point point);
    /* The points of a series, valid until the next call of the host. */
    int32_t (*series)(uint32_t slot, const struct fluxbay_point **points, size_t *count);
    /* Removes the value and everything below it. */
    int32_t (*clear)(uint32_t slot);
    /* A slot for the child called `name`, with the same rights; asking again gives the same
       slot. */
    int32_t (*child)(uint32_t slot, struct fluxbay_text name, uint32_t *child);
    /* Number of children of a node that have a value, or of tensors in a map. */
    int32_t (*count)(uint32_t slot, size_t *count);
    /* Name of child or tensor `index`, sorted by name, valid until the next call of the host. */
    int32_t (*name)(uint32_t slot, size_t index, struct fluxbay_text *name);
    /* Tensor `index` of a map: one reference for the caller; `FLUXBAY_NO_TENSOR` if it has no
       value (no gradient). */
    int32_t (*tensor_at)(uint32_t slot, size_t index, fluxbay_handle *tensor);
    /* Replaces tensor `index` of a map. Shape and type must fit. `FLUXBAY_NO_TENSOR` removes a
       gradient: the next update skips its parameter. */
    int32_t (*set_tensor_at)(uint32_t slot, size_t index, fluxbay_handle tensor);
};

/* ---- dataset --------------------------------------------------------------------------------- */
/* Data sets: samples by index, written into the host's buffers on the loader's threads. */

/* One field of a sample. */
struct fluxbay_field_spec {
    /* `xs`, `ys`, or a name of its own; its state path is `step.NAME`. */
    struct fluxbay_text name;
    /* Element type, a number of `FLUXBAY_DTYPE_*`. */
    uint32_t dtype;
    /* 0. */
    uint32_t reserved;
    /* Dimensions of one sample, without the batch's. */
    const uint64_t *shape;
    /* Number of dimensions; 0 for a scalar per sample. */
    size_t rank;
    /* Number of classes where the field holds class labels (`u32`, below this number); else 0. */
    uint64_t classes;
};

/* One part of a data set. */
struct fluxbay_split_spec {
    /* `training`, `validation`, or `all`: the host then divides it. */
    struct fluxbay_text name;
    /* Number of samples. */
    uint64_t samples;
};

/* Buffer for one field of a batch. */
struct fluxbay_buffer {
    /* First byte, aligned for the field's element type; samples lie one after the other. */
    uint8_t *ptr;
    /* Number of bytes: samples x bytes per sample. */
    size_t len;
};

/* Functions of a data set. */
struct fluxbay_dataset_table {
    /* Opens files and determines fields and splits; called once, after the composition was
       accepted. `[training]` */
    int32_t (*open)(fluxbay_instance self);
    /* Number of fields. `[training]` */
    size_t (*field_count)(fluxbay_instance self);
    /* Field `index`; pointers in it stay valid as long as the instance. `[training]` */
    int32_t (*field)(fluxbay_instance self, size_t index, struct fluxbay_field_spec *spec);
    /* Number of splits. `[training]` */
    size_t (*split_count)(fluxbay_instance self);
    /* Split `index`; pointers in it stay valid as long as the instance. `[training]` */
    int32_t (*split)(fluxbay_instance self, size_t index, struct fluxbay_split_spec *spec);
    /* Passes the indices of the samples that are used for training, so that statistics (means,
       medians) are computed from them alone. Called before the first `fill`; if called again,
       the last call counts. `[training]` */
    int32_t (*prepare)(fluxbay_instance self, size_t split, const uint64_t *indices, size_t count);
    /* Writes the samples of `split` at `indices` into one buffer per field. Called by several
       threads at a time, but never while another function of this instance runs. `[loader]` */
    int32_t (*fill)(fluxbay_instance self, size_t split, const uint64_t *indices, size_t count,
        const struct fluxbay_buffer *buffers, size_t buffer_count);
};

/* Id of the plugin extension that holds `struct fluxbay_dataset_state_rows`. */
#define FLUXBAY_DATASET_STATE_EXTENSION "fluxbay.dataset-state/1"

/* Addition to a data set that learns from its training samples: statistics, categories, class
   order, a vocabulary. The host saves what it learned with the run, and restores it where the
   same model is used on other data. */
struct fluxbay_dataset_state_row {
    /* `DATASET`. */
    uint32_t kind;
    /* 0. */
    uint32_t reserved;
    /* Name of the component. */
    struct fluxbay_text component;
    /* What was learned, valid until the next call of this instance. Called after `open` and
       `prepare`, while no `fill` of this instance runs. `[training]` */
    int32_t (*learnt)(fluxbay_instance self, struct fluxbay_text *bytes);
    /* Takes what another instance of this component learned, in the format of state version
       `version`. Called after `create` and before `open`. `open` and `prepare` then learn
       nothing; they refuse data that does not fit, naming the value (an unknown class, a letter
       outside the vocabulary). `[training]` */
    int32_t (*restore)(fluxbay_instance self, uint32_t version, struct fluxbay_text bytes);
};

/* The rows of a plugin: what its `extension` returns for `FLUXBAY_DATASET_STATE_EXTENSION`. */
struct fluxbay_dataset_state_rows {
    /* Size of a row in bytes, as the plugin was built. */
    uint64_t size;
    /* First row. */
    const struct fluxbay_dataset_state_row *first;
    /* Number of rows, each for another component. */
    size_t count;
};

/* Id of the plugin extension that holds `struct fluxbay_dataset_inputs_rows`. */
#define FLUXBAY_DATASET_INPUTS_EXTENSION "fluxbay.dataset-inputs/1"

/* Addition to a data set that reads files to predict from: samples without targets, one piece of
   the files after the other, with constant memory. */
struct fluxbay_dataset_inputs_row {
    /* `DATASET`. */
    uint32_t kind;
    /* 0. */
    uint32_t reserved;
    /* Name of the component. */
    struct fluxbay_text component;
    /* Begins to read `count` files in this order, in place of those of the configuration. Called
       instead of `open` and `prepare`, after `create` and `restore`, and again for other files.
       The fields are then those of training; there is no split. `[training]` */
    int32_t (*begin)(fluxbay_instance self, const struct fluxbay_text *paths, size_t count);
    /* Reads the next samples, at most `most`; `count` 0 means that there are no more. They are
       the samples of split 0 that `fill` writes, by their index from 0, until the next `read`.
       Where a file has no targets, their fields are 0. `[training]` */
    int32_t (*read)(fluxbay_instance self, size_t most, size_t *count);
    /* What identifies sample `index` of the last `read` to the user, such as its line or file
       name. Valid until the next call of this instance. `[training]` */
    int32_t (*key)(fluxbay_instance self, size_t index, struct fluxbay_text *key);
    /* Name of class `class` of field `field`; empty if it has none. Also called after `open`.
       Valid until the next call of this instance. `[training]` */
    int32_t (*class_name)(fluxbay_instance self, size_t field, uint64_t class,
        struct fluxbay_text *name);
};

/* The rows of a plugin: what its `extension` returns for `FLUXBAY_DATASET_INPUTS_EXTENSION`. */
struct fluxbay_dataset_inputs_rows {
    /* Size of a row in bytes, as the plugin was built. */
    uint64_t size;
    /* First row. */
    const struct fluxbay_dataset_inputs_row *first;
    /* Number of rows, each for another component. */
    size_t count;
};

/* Id of the plugin extension that holds `struct fluxbay_dataset_fill_rows`. */
#define FLUXBAY_DATASET_FILL_EXTENSION "fluxbay.dataset-fill/1"

/* A request for samples. Borrowed for the call. */
struct fluxbay_fill_request {
    /* Size of this struct in bytes, as the host was built. */
    uint64_t size;
    /* The run's seed. */
    uint64_t seed;
    /* Epoch, counted from 1; 0 outside of an epoch, such as while labels are counted. */
    uint64_t epoch;
    /* Index of the split. */
    size_t split;
    /* 1 if the samples are read for training, else 0. */
    uint32_t training;
    /* 0. */
    uint32_t reserved;
    /* Indices of the samples within the split. */
    const uint64_t *indices;
    /* Number of samples. */
    size_t count;
    /* One buffer per field. A field whose buffer has a null pointer is not wanted. */
    const struct fluxbay_buffer *buffers;
    /* Number of fields. */
    size_t buffer_count;
    /* One byte per sample, 0 at the call: 1 leaves the sample out of its batch, for a sample
       that cannot be read. Its part of the buffers is ignored. */
    uint8_t *left_out;
    /* `length_count` numbers per sample: how many elements it has along each dimension that
       `DatasetRaggedRow::ragged` names, field by field, in the order of the dimensions. At the
       call they are the maxima. Elements behind them need not be written. If no field is wanted,
       the lengths alone are asked for. A data set that was built before this field existed does
       not see it. */
    uint64_t *lengths;
    /* Numbers per sample; 0 if no dimension differs. */
    size_t length_count;
};

/* Addition to a data set: samples that depend on the epoch, single fields, samples that are left
   out, and keys. */
struct fluxbay_dataset_fill_row {
    /* `DATASET`. */
    uint32_t kind;
    /* 0. */
    uint32_t reserved;
    /* Name of the component. */
    struct fluxbay_text component;
    /* Used instead of `fill` of `struct fluxbay_dataset_table`, under the same conditions.
       `[loader]` */
    int32_t (*fill)(fluxbay_instance self, const struct fluxbay_fill_request *request);
    /* The key of a sample, such as the path of its file: a text that stays the same if other
       samples are added or the data is stored in another way. At most `capacity` bytes of it are
       written to `key`, and `length` is set to its whole length; 0 if the sample has none.
       Called as `fill` is. `[loader]` */
    int32_t (*key)(fluxbay_instance self, size_t split, uint64_t index, uint8_t *key,
        size_t capacity, size_t *length);
};

/* The rows of a plugin: what its `extension` returns for `FLUXBAY_DATASET_FILL_EXTENSION`. */
struct fluxbay_dataset_fill_rows {
    /* Size of a row in bytes, as the plugin was built. */
    uint64_t size;
    /* First row. */
    const struct fluxbay_dataset_fill_row *first;
    /* Number of rows, each for another component. */
    size_t count;
};

/* Id of the plugin extension that holds `struct fluxbay_dataset_text_rows`. */
#define FLUXBAY_DATASET_TEXT_EXTENSION "fluxbay.dataset-text/1"

/* Addition to a data set whose samples are token ids: texts to ids and ids to texts, for texts
   that a model writes. Called after `create` and `restore`, also without `open`. */
struct fluxbay_dataset_text_row {
    /* `DATASET`. */
    uint32_t kind;
    /* 0. */
    uint32_t reserved;
    /* Name of the component. */
    struct fluxbay_text component;
    /* The ids of a text, without special tokens around it. Valid until the next call of this
       instance. `[training]` */
    int32_t (*encode)(fluxbay_instance self, struct fluxbay_text text, const uint32_t **ids,
        size_t *count);
    /* The text of `count` ids, without special tokens; U+FFFD where the ids end within a
       character. Valid until the next call of this instance. `[training]` */
    int32_t (*decode)(fluxbay_instance self, const uint32_t *ids, size_t count,
        struct fluxbay_text *text);
    /* Id of the token that ends a text; `FLUXBAY_NO_TOKEN` if there is none. `[training]` */
    int32_t (*end)(fluxbay_instance self, uint64_t *id);
};

/* What `DatasetTextRow::end` answers if no token ends a text. */
#define FLUXBAY_NO_TOKEN UINT64_MAX

/* The rows of a plugin: what its `extension` returns for `FLUXBAY_DATASET_TEXT_EXTENSION`. */
struct fluxbay_dataset_text_rows {
    /* Size of a row in bytes, as the plugin was built. */
    uint64_t size;
    /* First row. */
    const struct fluxbay_dataset_text_row *first;
    /* Number of rows, each for another component. */
    size_t count;
};

/* Id of the plugin extension that holds `struct fluxbay_dataset_ragged_rows`. */
#define FLUXBAY_DATASET_RAGGED_EXTENSION "fluxbay.dataset-ragged/1"

/* Addition to a data set whose samples differ in size: texts, sounds. It has a `struct
   fluxbay_dataset_fill_row`, too. The shape of a field states the maximum along such a
   dimension, and samples lie in the buffers of `fill` as if all had it; the host cuts and pads
   what a batch needs. */
struct fluxbay_dataset_ragged_row {
    /* `DATASET`. */
    uint32_t kind;
    /* 0. */
    uint32_t reserved;
    /* Name of the component. */
    struct fluxbay_text component;
    /* Writes 1 into `differs` for each of the `rank` dimensions of field `field` along which
       samples have different numbers of elements, 0 for the others, and the value of the
       elements that are added behind the end of a sample into `padding`. Called after `open`,
       and after `begin` of `struct fluxbay_dataset_inputs_row`. `[training]` */
    int32_t (*ragged)(fluxbay_instance self, size_t field, uint8_t *differs, size_t rank,
        double *padding);
};

/* The rows of a plugin: what its `extension` returns for `FLUXBAY_DATASET_RAGGED_EXTENSION`. */
struct fluxbay_dataset_ragged_rows {
    /* Size of a row in bytes, as the plugin was built. */
    uint64_t size;
    /* First row. */
    const struct fluxbay_dataset_ragged_row *first;
    /* Number of rows, each for another component. */
    size_t count;
};

/* ---- tensor ---------------------------------------------------------------------------------- */
/* Tensors: handles, operations, parameters.

   All functions are `[training]`. Operations are numbers of `FLUXBAY_OP_*`, with integer and
   floating-point attributes; a new operation is a new number, not a new function. */

/* Largest number of dimensions of a tensor. */
#define FLUXBAY_MAX_RANK 8

/* Shape and type of a tensor. */
struct fluxbay_tensor_info {
    /* Element type, a number of `FLUXBAY_DTYPE_*`. */
    uint32_t dtype;
    /* Number of dimensions. */
    uint32_t rank;
    /* The first `rank` are the dimensions, the rest 0. */
    uint64_t shape[FLUXBAY_MAX_RANK];
};

/* Elements of a contiguous tensor in the processor's memory. */
struct fluxbay_view {
    /* First element. */
    const uint8_t *ptr;
    /* Number of bytes. */
    size_t len;
    /* Element type. */
    uint32_t dtype;
    /* 0. */
    uint32_t reserved;
};

/* Distributions of a parameter's initial values. */
/* Every element is `a`. */
#define FLUXBAY_INIT_CONSTANT 0
/* Uniform in `[a, b)`. */
#define FLUXBAY_INIT_UNIFORM 1
/* Normal with mean `a` and standard deviation `b`. */
#define FLUXBAY_INIT_NORMAL 2

/* A parameter's initial values. They depend on the run's seed, the model's name and the path,
   not on the order of creation. */
struct fluxbay_init {
    /* A number of `FLUXBAY_INIT_*`. */
    uint32_t kind;
    /* 1 for a buffer that no optimizer touches (such as running statistics), 0 for a parameter. */
    uint32_t buffer;
    /* First value of the distribution. */
    double a;
    /* Second value of the distribution. */
    double b;
};

/* The tensor functions. */
struct fluxbay_tensor_table {
    /* Makes a tensor of elements of type `dtype` from `bytes` in row-major order. */
    int32_t (*create)(uint32_t dtype, const uint64_t *shape, size_t rank,
        struct fluxbay_text bytes, fluxbay_handle *tensor);
    /* Adds a reference. */
    int32_t (*retain)(fluxbay_handle tensor);
    /* Releases a reference. */
    int32_t (*release)(fluxbay_handle tensor);
    /* Shape and type. */
    int32_t (*info)(fluxbay_handle tensor, struct fluxbay_tensor_info *info);
    /* Copies the elements, converted to type `dtype` and in row-major order, to `bytes`. */
    int32_t (*read)(fluxbay_handle tensor, uint32_t dtype, uint8_t *bytes, size_t len);
    /* The elements without a copy, valid while the reference is held and the tensor is not
       changed in place. An error if they are on another device or not contiguous. */
    int32_t (*view)(fluxbay_handle tensor, struct fluxbay_view *view);
    /* Applies an operation. Writes `output_count` outputs, at most `capacity`, each one
       reference for the caller. */
    int32_t (*apply)(const struct fluxbay_apply *request, fluxbay_handle *outputs,
        size_t capacity, size_t *output_count);
    /* Creates a parameter of the model that is being built. Only within a model's `build`. One
       reference for the caller. */
    int32_t (*parameter)(struct fluxbay_text path, const uint64_t *shape, size_t rank,
        const struct fluxbay_init *init, fluxbay_handle *tensor);
    /* The mode of the current forward pass, see `FLUXBAY_MODE_*`. */
    int32_t (*mode)(uint32_t *mode);
    /* Name of the device, such as `cpu` or `cuda:0`. */
    int32_t (*device)(struct fluxbay_text *name);
};

/* An operation with its inputs and attributes. Borrowed for the call. */
struct fluxbay_apply {
    /* A number of `FLUXBAY_OP_*`. */
    uint32_t operation;
    /* 0. */
    uint32_t reserved;
    /* Input tensors. */
    const fluxbay_handle *inputs;
    /* Number of inputs. */
    size_t input_count;
    /* Integer attributes. */
    const int64_t *ints;
    /* Number of integer attributes. */
    size_t int_count;
    /* Floating-point attributes. */
    const double *floats;
    /* Number of floating-point attributes. */
    size_t float_count;
};

/* ---- operation ------------------------------------------------------------------------------- */
/* Codes of the tensor operations that the host offers through `apply(code, inputs, ints, floats)
   -> outputs`.

   A released code never changes its meaning; new operations get new codes. Conventions of the
   documentation below:
   * `inputs` are shapes; `[..]` stands for any leading dimensions, `w?` for an input that may be
     left out (at the end of the list). `ints` and `floats` are the attribute lists in their
     order; a name with `= v` may be left out and is then `v`.
   * Dimensions may be negative: `-1` is the last one. `dims...` empty means all dimensions.
   * "Broadcasting" is numpy's: shapes are aligned at the right, a 1 stretches.
   * Floating inputs of one call have one dtype. f32 and f64 are computed as they are, bf16 and
     f16 through f32.
   * Gradients flow to floating inputs only. Results of integer dtype are constants. An operation
     marked as not differentiable answers with an error when a gradient would have to flow
     through it.
   * Any wrong shape, dtype, attribute count or dimension is an error that names the operation;
     nothing is undefined. */

/* `a + b`. Inputs: a, b (broadcasting; any one dtype). */
#define FLUXBAY_OP_ADD 1
/* `a - b`, as `FLUXBAY_OP_ADD`. */
#define FLUXBAY_OP_SUB 2
/* `a * b`, as `FLUXBAY_OP_ADD`. */
#define FLUXBAY_OP_MUL 3
/* `a / b`, as `FLUXBAY_OP_ADD`. */
#define FLUXBAY_OP_DIV 4
/* `min(a, b)`; where both are equal the gradient goes to `a`. */
#define FLUXBAY_OP_MINIMUM 5
/* `max(a, b)`; where both are equal the gradient goes to `a`. */
#define FLUXBAY_OP_MAXIMUM 6
/* `a ^ b`; floating inputs. Gradient: `b a^(b-1)` and `a^b ln a` (0 where `a` is 0). */
#define FLUXBAY_OP_POW 7
/* `x mul + add`. Floats: mul, add. */
#define FLUXBAY_OP_AFFINE 20
/* `-x`. */
#define FLUXBAY_OP_NEG 21
/* `|x|`, gradient 0 at 0. */
#define FLUXBAY_OP_ABS 22
/* `e^x`. */
#define FLUXBAY_OP_EXP 23
/* Natural logarithm. */
#define FLUXBAY_OP_LOG 24
/* Square root. */
#define FLUXBAY_OP_SQRT 25
/* `x^2`. */
#define FLUXBAY_OP_SQR 26
/* `1 / x`. */
#define FLUXBAY_OP_RECIP 27
/* Sine. */
#define FLUXBAY_OP_SIN 28
/* Cosine. */
#define FLUXBAY_OP_COS 29
/* Hyperbolic tangent. */
#define FLUXBAY_OP_TANH 30
/* `max(x, 0)`, gradient 0 at 0. */
#define FLUXBAY_OP_RELU 31
/* `x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3)))`: the tanh form (Hendrycks and Gimpel 2016). */
#define FLUXBAY_OP_GELU 32
/* `x/2 (1 + erf(x / sqrt 2))`. */
#define FLUXBAY_OP_GELU_ERF 33
/* `x sigmoid(x)`. */
#define FLUXBAY_OP_SILU 34
/* `1 / (1 + e^-x)`. */
#define FLUXBAY_OP_SIGMOID 35
/* `x` where positive, else `alpha (e^x - 1)`. Floats: alpha = 1. */
#define FLUXBAY_OP_ELU 36
/* `x` where positive, else `slope x`. Floats: slope = 0.01. */
#define FLUXBAY_OP_LEAKY_RELU 37
/* `ln(1 + e^x)`. */
#define FLUXBAY_OP_SOFTPLUS 38
/* `x ^ exponent`. Floats: exponent. */
#define FLUXBAY_OP_POWF 39
/* `x` kept within `[min, max]`; gradient 0 outside. Floats: min, max. */
#define FLUXBAY_OP_CLAMP 40
/* -1, 0 or 1. Gradient 0. */
#define FLUXBAY_OP_SIGN 41
/* Largest whole number not above. Gradient 0. */
#define FLUXBAY_OP_FLOOR 42
/* Smallest whole number not below. Gradient 0. */
#define FLUXBAY_OP_CEIL 43
/* Nearest whole number, halves to even. Gradient 0. */
#define FLUXBAY_OP_ROUND 44
/* Error function. */
#define FLUXBAY_OP_ERF 45
/* `a == b`.

   Not differentiable. */
#define FLUXBAY_OP_EQ 60
/* `a != b`.

   Not differentiable. */
#define FLUXBAY_OP_NE 61
/* `a < b`.

   Not differentiable. */
#define FLUXBAY_OP_LT 62
/* `a <= b`.

   Not differentiable. */
#define FLUXBAY_OP_LE 63
/* `a > b`.

   Not differentiable. */
#define FLUXBAY_OP_GT 64
/* `a >= b`.

   Not differentiable. */
#define FLUXBAY_OP_GE 65
/* Inputs: condition (u8, u32 or i64), a, b; all broadcasting. `a` where the condition is not 0,
   else `b`. */
#define FLUXBAY_OP_WHERE_COND 66
/* Sum over dims. Any dtype. */
#define FLUXBAY_OP_SUM 80
/* Mean over dims. */
#define FLUXBAY_OP_MEAN 81
/* Largest value over dims; the gradient goes to the first one that is largest. */
#define FLUXBAY_OP_MAX 82
/* Smallest value over dims; the gradient goes to the first one that is smallest. */
#define FLUXBAY_OP_MIN 83
/* Variance over dims. Ints: keepdim, correction (1 divides by n - 1), dims... */
#define FLUXBAY_OP_VAR 84
/* Euclidean norm over all elements, a scalar; gradient 0 where the norm is 0. */
#define FLUXBAY_OP_NORM 85
/* Index (u32) of the first largest value. Ints: keepdim, dim.

   Not differentiable. */
#define FLUXBAY_OP_ARGMAX 86
/* Index (u32) of the first smallest value. Ints: keepdim, dim.

   Not differentiable. */
#define FLUXBAY_OP_ARGMIN 87
/* `ln sum e^x` over dims, without overflow. */
#define FLUXBAY_OP_LOG_SUM_EXP 88
/* Running sum. Ints: dim. */
#define FLUXBAY_OP_CUMSUM 89
/* Stable sort. Ints: dim, descending = 0. Outputs: values, indices (u32). */
#define FLUXBAY_OP_SORT 90
/* The k largest along the last dimension, descending. Ints: k. Outputs: values, indices (u32). */
#define FLUXBAY_OP_TOP_K 91
/* Inputs: a `[.., m, k]`, b `[.., k, n]`; leading dimensions broadcast. Output `[.., m, n]`. */
#define FLUXBAY_OP_MATMUL 110
/* Inputs: x `[.., in]`, w `[out, in]`, b? `[out]`. Ints: activation = 0 (see
   `FLUXBAY_ACTIVATION_*`). Output `[.., out]`: `act(x w^T + b)`. */
#define FLUXBAY_OP_LINEAR 111
/* As `FLUXBAY_OP_LINEAR` of samples of any shape: x `[batch, ..]`, whose other dimensions are
   taken as one and have `in` elements together. Output `[batch, out]`. */
#define FLUXBAY_OP_FLAT_LINEAR 112
/* Inputs: x `[n, in]`, groups `[n]` (u32 or i64), then a w `[out, in]` for each group. Output
   `[n, out]`: row i is `x_i w^T` with the w of group i. */
#define FLUXBAY_OP_GROUPED_LINEAR 113
/* Same elements, new shape. Ints: shape; one may be -1. */
#define FLUXBAY_OP_RESHAPE 130
/* Ints: two dimensions to swap. */
#define FLUXBAY_OP_TRANSPOSE 131
/* Ints: every dimension once, in the new order. */
#define FLUXBAY_OP_PERMUTE 132
/* Ints: dim, start, length. */
#define FLUXBAY_OP_NARROW 133
/* Ints: dim (whose size must be 1). */
#define FLUXBAY_OP_SQUEEZE 134
/* Ints: dim, the place of the new dimension of size 1. */
#define FLUXBAY_OP_UNSQUEEZE 135
/* Ints: the shape to broadcast to. */
#define FLUXBAY_OP_BROADCAST_AS 136
/* Inputs: one or more, equal but for dim. Ints: dim. */
#define FLUXBAY_OP_CAT 137
/* Inputs: one or more of equal shape. Ints: dim, the new one. */
#define FLUXBAY_OP_STACK 138
/* The same values laid out in row-major order. */
#define FLUXBAY_OP_CONTIGUOUS 139
/* Ints: triples (dim, before, after). Floats: value = 0. */
#define FLUXBAY_OP_PAD 140
/* Ints: dims to reverse. */
#define FLUXBAY_OP_FLIP 141
/* Inputs: x, indices `[n]`. Ints: dim. Output: x with that dimension replaced by n picked
   slices. */
#define FLUXBAY_OP_INDEX_SELECT 160
/* Inputs: x, indices (rank of x; other dimensions not larger). Ints: dim. `out[i][j] =
   x[indices[i][j]][j]` for dim 0. */
#define FLUXBAY_OP_GATHER 161
/* Inputs: x, indices, source (shape of indices). Ints: dim. Adds source at the places that
   gather would read. */
#define FLUXBAY_OP_SCATTER_ADD 162
/* Inputs: weights `[n, c]`, ids `[..]`. Output `[.., c]`. */
#define FLUXBAY_OP_EMBEDDING 163
/* Inputs: ids `[..]`. Ints: classes, dtype = f32. Output `[.., classes]`.

   Not differentiable. */
#define FLUXBAY_OP_ONE_HOT 164
/* Inputs: x `[n, ..]`, segments `[n]`. Ints: count, mode = 0 (0 sum, 1 mean). Output `[count,
   ..]`: sum or mean of the rows of each segment, 0 where there are none. */
#define FLUXBAY_OP_SEGMENT_REDUCE 165
/* Inputs: x `[n, in, l]`, w `[out, in / groups, k]`, b? `[out]`. Ints: stride = 1, padding = 0,
   dilation = 1, groups = 1, activation = 0. */
#define FLUXBAY_OP_CONV1D 180
/* Inputs: x `[n, in, h, w]`, w `[out, in / groups, kh, kw]`, b? `[out]`. Ints: stride h, w = 1,
   padding h, w = 0, dilation h, w = 1, groups = 1, activation = 0. */
#define FLUXBAY_OP_CONV2D 181
/* Inputs: x `[n, in, h, w]`, w `[in, out / groups, kh, kw]`, b? `[out]`. Ints: stride h, w = 1,
   padding h, w = 0, output padding h, w = 0, dilation h, w = 1, groups = 1. */
#define FLUXBAY_OP_CONV_TRANSPOSE2D 182
/* Input `[n, c, h, w]`. Ints: kernel h, w, stride h, w = kernel, padding h, w = 0 (at most half
   the kernel). Ties: the first largest of a window gets the gradient. */
#define FLUXBAY_OP_MAX_POOL2D 183
/* As `FLUXBAY_OP_MAX_POOL2D`; zeros of the padding count. */
#define FLUXBAY_OP_AVG_POOL2D 184
/* Input `[n, c, h, w]`. Ints: new h, new w. Nearest neighbour: `out[i] = x[i h / new h]`. */
#define FLUXBAY_OP_UPSAMPLE_NEAREST2D 185
/* Input `[n, c, h, w]`. Ints: new h, new w, method = 0 (0 bilinear, 1 bicubic), antialias = 0,
   align corners = 0. PyTorch's `interpolate`: pixels are squares whose centres are mapped, or
   their corners are; with antialias the filter grows with the reduction, as Pillow's does. */
#define FLUXBAY_OP_RESIZE2D 186
/* Input `[n, c, h, w]`. Ints: new h, new w. `out[i]` is the mean from `floor(i h / new h)` to
   `ceil((i + 1) h / new h)`, along each axis. */
#define FLUXBAY_OP_ADAPTIVE_AVG_POOL2D 187
/* Ints: dim = -1. */
#define FLUXBAY_OP_SOFTMAX 200
/* Ints: dim = -1. */
#define FLUXBAY_OP_LOG_SOFTMAX 201
/* Inputs: logits `[.., c]`, target: labels (u32 or i64) `[..]` or probabilities `[.., c]`. Ints:
   reduction = mean (see `FLUXBAY_REDUCTION_*`), ignored label = none (i64 minimum). Floats:
   label smoothing = 0. The mean is over labels that are not ignored. Gradient to the logits
   only. */
#define FLUXBAY_OP_CROSS_ENTROPY 202
/* Inputs: log-probabilities `[.., c]`, labels `[..]`. Ints: reduction = mean. `-x[label]`. */
#define FLUXBAY_OP_NLL 203
/* Inputs: prediction, target (same shape). Ints: reduction = mean. `(x - y)^2`. Gradient to
   both. */
#define FLUXBAY_OP_MSE 204
/* As `FLUXBAY_OP_MSE`, `|x - y|`. */
#define FLUXBAY_OP_MAE 205
/* As `FLUXBAY_OP_MSE`. Floats: delta = 1. `d^2/2` within delta, else `delta (|d| - delta/2)`. */
#define FLUXBAY_OP_HUBER 206
/* Inputs: logits, target probabilities (same shape). Ints: reduction = mean. Gradient to both. */
#define FLUXBAY_OP_BCE_WITH_LOGITS 207
/* Inputs: logits `[.., c]`, target: labels (u32 or i64) `[..]` or probabilities `[.., c]`, class
   weights `[c]`. Ints and floats as `FLUXBAY_OP_CROSS_ENTROPY`. Each class's share of the target
   is multiplied by its weight; the mean of labels is divided by the sum of their weights, that
   of probabilities by the number of rows. Gradient to the logits only. */
#define FLUXBAY_OP_WEIGHTED_CROSS_ENTROPY 208
/* Inputs: logits x, target probabilities y (same shape), weights p of positive targets
   (broadcasting to that shape). Ints: reduction = mean. `(1 - y) softplus(x) + p y
   softplus(-x)`. Gradient to the logits and the targets. */
#define FLUXBAY_OP_WEIGHTED_BCE_WITH_LOGITS 209
/* Inputs: x `[.., c]`, w? `[c]`, b? `[c]`. Floats: epsilon = 1e-5. Over the last dimension (Ba
   et al. 2016). */
#define FLUXBAY_OP_LAYER_NORM 220
/* Inputs: x `[.., c]`, w? `[c]`. Floats: epsilon = 1e-5. `x / sqrt(mean x^2 + epsilon) w`. */
#define FLUXBAY_OP_RMS_NORM 221
/* Inputs: x `[n, c, ..]`, w `[c]`, b `[c]`, running mean `[c]`, running variance `[c]`. Ints:
   mode = 0 (engine's mode; 1 training, 2 evaluation). Floats: epsilon = 1e-5, momentum = 0.1.
   Training uses the batch's statistics and updates the running ones in place (variance with n
   - 1), as PyTorch does. */
#define FLUXBAY_OP_BATCH_NORM 222
/* Inputs: x `[n, c, ..]`, w? `[c]`, b? `[c]`. Ints: groups. Floats: epsilon = 1e-5. */
#define FLUXBAY_OP_GROUP_NORM 223
/* Ints: stream = -1 (the engine's current). Floats: p. Training: zero with probability p, else
   `x / (1 - p)`; evaluation: `x`. */
#define FLUXBAY_OP_DROPOUT 224
/* Input: packed queries, keys and values `[b, t, 3 c]`. Ints: heads, causal (0 or 1). Output
   `[b, t, c]`: `softmax(q k^T / sqrt(c / heads)) v` per head. */
#define FLUXBAY_OP_ATTENTION 225
/* Inputs: q `[b, h, n, d]`, k and v `[b, g, m, d]` with h a multiple of g (head i reads group `i
   g / h`), bias? (floating, broadcasting to `[b, h, n, m]`, added to the scores), lengths? (u32
   or i64 `[b]`: keys of each sequence, the rest is padding). Ints: causal = 0, window = 0 (0:
   none), stream = -1 (of the dropout). Floats: scale = `1 / sqrt(d)` (0 or left out), dropout =
   0. The queries are the last n of the m places: query i is at place `i + m - n`. If causal, it
   sees keys up to its place; with a window w, keys less than w places away. Output `[b, h, n,
   d]`: `softmax(scale q k^T + bias) v` over the keys seen; 0 where there are none. */
#define FLUXBAY_OP_SCALED_ATTENTION 226
/* Inputs: x `[.., t, d]`, cosines and sines `[t, d / 2]`, or `[b, t, d / 2]` for x of `[b, ..,
   t, d]`. Ints: interleaved = 0. Rotates pairs of channels: (i, i + d / 2), or (2 i, 2 i + 1) if
   interleaved. Gradient to x only. */
#define FLUXBAY_OP_ROTARY 227
/* Ints: dtype code. Between floating dtypes the gradient is converted back; to an integer dtype
   the result is a constant. */
#define FLUXBAY_OP_TO_DTYPE 240
/* The same values as a constant.

   Not differentiable. */
#define FLUXBAY_OP_DETACH 241
/* Ints: stream (-1: the engine's current), dtype, shape... Floats: low = 0, high = 1. In `[low,
   high)`.

   Not differentiable. */
#define FLUXBAY_OP_UNIFORM 260
/* Ints as `FLUXBAY_OP_UNIFORM`. Floats: mean = 0, standard deviation = 1.

   Not differentiable. */
#define FLUXBAY_OP_NORMAL 261
/* Ints as `FLUXBAY_OP_UNIFORM`. Floats: probability of 1.

   Not differentiable. */
#define FLUXBAY_OP_BERNOULLI 262
/* Ints: stream, n. A random order of `0..n`, u32.

   Not differentiable. */
#define FLUXBAY_OP_PERMUTATION 263
/* Ints: dtype, shape...

   Not differentiable. */
#define FLUXBAY_OP_ZEROS 264
/* Ints: dtype, shape...

   Not differentiable. */
#define FLUXBAY_OP_ONES 265
/* Ints: dtype, shape... Floats: value.

   Not differentiable. */
#define FLUXBAY_OP_FULL 266
/* Ints: dtype. Floats: start, end, step = 1. `start, start + step, ..` below end.

   Not differentiable. */
#define FLUXBAY_OP_ARANGE 267
/* Inputs: one or more floating tensors. Euclidean norm over all their elements together, f32 or
   f64 scalar.

   Not differentiable. */
#define FLUXBAY_OP_GLOBAL_NORM 280
/* Ints: bins. Floats: min, max. Counts (u32, `[bins]`) of equal bins; values outside and NaN are
   not counted; max counts in the last.

   Not differentiable. */
#define FLUXBAY_OP_HISTOGRAM 281
/* Inputs: parameter, gradient, momentum buffer? . Floats: learning rate, momentum = 0, dampening
   = 0, weight decay = 0, nesterov = 0. Ints: step, counted from 1 (the first step sets the
   buffer to the gradient). PyTorch's `SGD`.

   Not differentiable. */
#define FLUXBAY_OP_SGD_UPDATE 300
/* Inputs: parameter, gradient, first moment, second moment. Ints: step, counted from 1. Floats:
   learning rate, beta1 = 0.9, beta2 = 0.999, epsilon = 1e-8, weight decay = 0 (added to the
   gradient). PyTorch's `Adam`.

   Not differentiable. */
#define FLUXBAY_OP_ADAM_UPDATE 301
/* As `FLUXBAY_OP_ADAM_UPDATE`, weight decay = 0.01, decoupled. PyTorch's `AdamW`.

   Not differentiable. */
#define FLUXBAY_OP_ADAMW_UPDATE 302
/* Inputs: parameter, gradient, square average, momentum buffer? , gradient average? (present
   when centred). Floats: learning rate, alpha = 0.99, epsilon = 1e-8, weight decay = 0, momentum
   = 0. Ints: centred = 0 (then the buffer must be given too). PyTorch's `RMSprop`.

   Not differentiable. */
#define FLUXBAY_OP_RMSPROP_UPDATE 303
/* Inputs: parameter, gradient, momentum. Floats: learning rate, beta1 = 0.9, beta2 = 0.99,
   weight decay = 0 (decoupled). Lion (Chen et al. 2023, algorithm 2).

   Not differentiable. */
#define FLUXBAY_OP_LION_UPDATE 304
/* Inputs: target, source (same shape and dtype). `target = source`.

   Not differentiable. */
#define FLUXBAY_OP_ASSIGN 305
/* Inputs: target, source. Floats: weight. `target += weight (source - target)`.

   Not differentiable. */
#define FLUXBAY_OP_LERP_ 306
/* Inputs: target. Floats: factor. `target *= factor`.

   Not differentiable. */
#define FLUXBAY_OP_SCALE_ 307
/* Inputs: target, source. Floats: factor. `target += factor source`.

   Not differentiable. */
#define FLUXBAY_OP_ADD_SCALED_ 308

/* Activations fused into `FLUXBAY_OP_LINEAR`, `FLUXBAY_OP_FLAT_LINEAR` and the convolutions. */
/* None. */
#define FLUXBAY_ACTIVATION_NONE 0
/* As `FLUXBAY_OP_RELU`. */
#define FLUXBAY_ACTIVATION_RELU 1
/* As `FLUXBAY_OP_GELU`. */
#define FLUXBAY_ACTIVATION_GELU 2
/* As `FLUXBAY_OP_GELU_ERF`. */
#define FLUXBAY_ACTIVATION_GELU_ERF 3
/* As `FLUXBAY_OP_SILU`. */
#define FLUXBAY_ACTIVATION_SILU 4
/* As `FLUXBAY_OP_SIGMOID`. */
#define FLUXBAY_ACTIVATION_SIGMOID 5
/* As `FLUXBAY_OP_TANH`. */
#define FLUXBAY_ACTIVATION_TANH 6

/* What a loss makes of its values. */
/* Their mean, a scalar. */
#define FLUXBAY_REDUCTION_MEAN 0
/* Their sum, a scalar. */
#define FLUXBAY_REDUCTION_SUM 1
/* Themselves: one per sample. */
#define FLUXBAY_REDUCTION_NONE 2

/* ---- learner --------------------------------------------------------------------------------- */
/* The learner: where the run is, and the step table for phases.

   All functions are `[training]`. Those under "for phases" may be called only while a phase's
   `step` or `epoch` runs, and only by that phase: a callback that calls them is refused.
   `forward` and `loss` are also open to instances with a read grant on `model`, at any time:
   then nothing is recorded, and the model is in evaluation mode. */

/* All models at once, where a function takes the index of one. */
#define FLUXBAY_ALL_MODELS UINT32_MAX

/* Largest number of tensors in a batch. */
#define FLUXBAY_BATCH_FIELDS 4

/* One batch: the tensors of its fields, in the data set's order. Field 0 is `xs`, field 1 is
   `ys`.

   The handles are borrowed: the host keeps them until the step has ended. */
struct fluxbay_batch {
    /* `[samples, ...]` each. */
    fluxbay_handle fields[FLUXBAY_BATCH_FIELDS];
    /* Number of fields. */
    uint32_t field_count;
    /* Number of samples, at least 1; the last batch of an epoch may be smaller. */
    uint32_t samples;
    /* Position of the batch in its epoch, counted from 0. */
    uint64_t index;
};

/* Where the run is. */
struct fluxbay_progress {
    /* Phase, epoch and step, as in an event; `kind` has no meaning. */
    struct fluxbay_event at;
    /* Number of epochs that the fit will run. */
    uint64_t epochs;
    /* Number of samples that an epoch of the running phase reads; 0 if unknown. */
    uint64_t samples_per_epoch;
    /* Number of samples in the current batch; 0 outside steps. */
    uint64_t samples;
    /* Number of phases in the run. */
    uint32_t phases;
    /* Number of models in the run. */
    uint32_t models;
};

/* Modes of a forward pass, added up. */
/* Operations are recorded for a backward pass. */
#define FLUXBAY_MODE_RECORDING 1
/* Dropout is active, batch normalisation uses the statistics of the batch. */
#define FLUXBAY_MODE_TRAINING 2

/* The learner's functions. */
struct fluxbay_learner_table {
    /* Where the run is. */
    int32_t (*progress)(struct fluxbay_progress *progress);
    /* Instance id of phase `index`. */
    int32_t (*phase_name)(uint32_t index, struct fluxbay_text *name);
    /* What phase `index` is for, a number of `FLUXBAY_PHASE_*`. */
    int32_t (*phase_kind)(uint32_t index, uint32_t *kind);
    /* Name of a custom or standard event. */
    int32_t (*event_name)(uint32_t kind, struct fluxbay_text *name);
    /* Index of the model called `name`; an empty name means the only one. */
    int32_t (*model)(struct fluxbay_text name, uint32_t *index);
    /* Index of the loss called `name`; an empty name means the only one. */
    int32_t (*loss_index)(struct fluxbay_text name, uint32_t *index);
    /* Begins an epoch: fires epoch-begin.

       A run that is resumed within an epoch calls the phase's `epoch` anew: its first
       `epoch_begin` then fires nothing, and `next_batch` returns the first batch after the
       checkpoint. What an epoch sums up over its steps belongs into the instance's state, not
       into local variables. */
    int32_t (*epoch_begin)(void);
    /* The next batch of the epoch; `field_count` 0 after the last. */
    int32_t (*next_batch)(struct fluxbay_batch *batch);
    /* Ends the epoch that ended with `status`: fires epoch-end, and before it epoch-cancelled if
       the epoch was cancelled.

       Returns the status that the phase must return: `OK` also for a cancelled epoch. */
    int32_t (*epoch_end)(int32_t status);
    /* Runs this phase's own `step` on a batch. For an epoch that drives its own loop. */
    int32_t (*step)(const struct fluxbay_batch *batch);
    /* Begins a step: clears the step state, sets `step.xs` and `step.ys` to the batch, fires
       step-begin. */
    int32_t (*step_begin)(const struct fluxbay_batch *batch);
    /* Ends the step that ended with `status`: fires step-end, or step-cancelled instead.

       Returns the status that the phase must return: `OK` also for a cancelled step. */
    int32_t (*step_end)(int32_t status);
    /* Calls the subscribers of an event, standard or custom, in their order. */
    int32_t (*dispatch)(uint32_t kind);
    /* Runs model `model` on its inputs. Writes at most `capacity` outputs, each one reference
       for the caller. The phase itself sets `step.yhats` with the state table. */
    int32_t (*forward)(uint32_t model, const fluxbay_handle *inputs, size_t input_count,
        fluxbay_handle *outputs, size_t capacity, size_t *output_count);
    /* Computes loss `loss` of predictions and targets: a tensor with one element. The phase
       itself sets `step.loss` with the state table; without it, no callback or metric has a
       loss. */
    int32_t (*loss)(uint32_t loss, fluxbay_handle yhats, fluxbay_handle ys, fluxbay_handle *value);
    /* Computes the gradients of `loss` for the parameters of model `model`, or of
       `FLUXBAY_ALL_MODELS`, and sets `step.grads` to them. */
    int32_t (*backward)(uint32_t model, fluxbay_handle loss);
    /* Applies `step.grads` to the parameters of model `model`, or of `FLUXBAY_ALL_MODELS`, with
       their optimizers. */
    int32_t (*update)(uint32_t model);
    /* Sets the `FLUXBAY_MODE_*` of forward passes until the end of the step; `old` is the mode
       before. Training phases begin with both bits, validation phases with none. */
    int32_t (*set_mode)(uint32_t mode, uint32_t *old);
    /* Begins a rehearsal of phase `index`. Allowed between epochs only, such as at fit-begin,
       and one at a time. */
    int32_t (*rehearse_begin)(uint32_t index);
    /* Runs one step of the rehearsed phase on its next batch; after the last batch the data
       begins again. Callbacks do not receive its events, nothing is recorded, displayed or
       logged. The step state can be read until the next step. */
    int32_t (*rehearse_step)(void);
    /* Ends the rehearsal: parameters, optimizer states, random numbers, counts, the state tree
       and the states of phases are restored to what they were when it began. Values that should
       stay in the state tree must be written afterwards. */
    int32_t (*rehearse_end)(void);
    /* Returns cached memory to the system; `resident` is the resident memory of the process
       afterwards, in bytes, 0 if unknown. */
    int32_t (*trim_memory)(uint64_t *resident);
};

/* ---- display --------------------------------------------------------------------------------- */
/* Text and progress on the terminal. The host decides how it looks: a bar on a terminal, plain
   lines elsewhere, nothing with `--quiet`. */

/* The display functions. All `[training]`. */
struct fluxbay_display_table {
    /* Prints lines above any bar. */
    int32_t (*print)(struct fluxbay_text text);
    /* Begins this instance's bar: a label and the number of units; 0 where unknown. */
    int32_t (*progress_begin)(struct fluxbay_text label, uint64_t total);
    /* Moves the bar to unit `position` and sets the text beside it. */
    int32_t (*progress_set)(uint64_t position, struct fluxbay_text message);
    /* Ends the bar and prints `message` in its place. */
    int32_t (*progress_end)(struct fluxbay_text message);
    /* Whether progress is drawn as a bar: 1 or 0. If not, its texts need not be formatted. */
    uint32_t (*interactive)(void);
};

/* ---- log ------------------------------------------------------------------------------------- */
/* Lines of the log. */

/* One line of the log. Borrowed for the call. */
struct fluxbay_log_record {
    /* 1 error, 2 warning, 3 information, 4 debug, 5 trace. */
    uint32_t level;
    /* Line in `file`, 0 where unknown. */
    uint32_t line;
    /* Module path, or another name of where it comes from. */
    struct fluxbay_text target;
    /* Source file, empty where unknown. */
    struct fluxbay_text file;
    /* Name of the plugin. */
    struct fluxbay_text plugin;
    /* The message. */
    struct fluxbay_text text;
};

/* ---- logger ---------------------------------------------------------------------------------- */
/* Records: what callbacks report, and loggers that write it. */

/* Kinds of records. */
/* `value`. */
#define FLUXBAY_RECORD_SCALAR 0
/* `text`. */
#define FLUXBAY_RECORD_TEXT 1
/* `tensor` with the values to count. */
#define FLUXBAY_RECORD_HISTOGRAM 2
/* `tensor` `[height, width]` or `[channels, height, width]`, values in 0..=1. */
#define FLUXBAY_RECORD_IMAGE 3
/* `text` is a JSON object of hyper-parameters. */
#define FLUXBAY_RECORD_HYPER_PARAMETERS 4

/* Scopes of a metric. */
/* Of one step. */
#define FLUXBAY_SCOPE_STEP 0
/* Of an epoch. */
#define FLUXBAY_SCOPE_EPOCH 1

/* One record. Borrowed for the call. */
struct fluxbay_record {
    /* A number of `FLUXBAY_RECORD_*`. */
    uint32_t kind;
    /* 0. */
    uint32_t reserved;
    /* Tag such as `step/training/metrics/loss`. */
    struct fluxbay_text tag;
    /* Position on the tag's axis: steps or epochs. */
    uint64_t step;
    /* Unix time in seconds. */
    double time;
    /* A scalar's value. */
    double value;
    /* A text. */
    struct fluxbay_text text;
    /* A tensor, borrowed, or `FLUXBAY_NO_TENSOR`. */
    fluxbay_handle tensor;
};

/* A checkpoint that an instance wants. Borrowed for the call. */
struct fluxbay_checkpoint_request {
    /* Metric that ranks checkpoints, as `PHASE/NAME` such as `validation/loss`: the last value
       of an epoch that was reported for the run's metrics files. */
    struct fluxbay_text metric;
    /* Number of best checkpoints that are kept besides the newest; 0 keeps all. */
    uint64_t keep;
    /* 1 where higher values are better, else 0. */
    uint32_t higher_is_better;
    /* 0. */
    uint32_t reserved;
};

/* Functions of a logger. All `[training]`. */
struct fluxbay_logger_table {
    /* Opens the backend; `dir` is this instance's folder in the run, which may not exist yet.
       Called once, before the first record. */
    int32_t (*open)(fluxbay_instance self, struct fluxbay_text dir);
    /* Writes one record. */
    int32_t (*write)(fluxbay_instance self, const struct fluxbay_record *record);
    /* Writes out what is buffered. */
    int32_t (*flush)(fluxbay_instance self);
    /* The last call: flushes and closes. */
    int32_t (*close)(fluxbay_instance self);
};

/* The host's recording functions. All `[training]`. */
struct fluxbay_record_table {
    /* Records a metric of the running phase in the run's metrics files; `scope` is a number of
       `FLUXBAY_SCOPE_*`, `name` in kebab-case. */
    int32_t (*metric)(uint32_t scope, struct fluxbay_text name, double value);
    /* Passes a record to every logger of the run; the host sets `time`. */
    int32_t (*log)(const struct fluxbay_record *record);
    /* Number of loggers of the run. */
    int32_t (*loggers)(size_t *count);
    /* Requests a checkpoint: at the end of this epoch of the fit, after its last checkpoint
       event, or after the current step if requested within one. `kept` is 1 if the run keeps
       checkpoints, else 0. The last request decides how many of this instance's checkpoints are
       kept. */
    int32_t (*checkpoint)(const struct fluxbay_checkpoint_request *request, uint32_t *kept);
};

/* ---- metric ---------------------------------------------------------------------------------- */
/* Metrics: numbers gathered over the steps of an epoch. */

/* One step, as a metric sees it. */
struct fluxbay_metric_input {
    /* Predictions `[samples, ...]`, borrowed. */
    fluxbay_handle yhats;
    /* Targets `[samples, ...]`, borrowed. */
    fluxbay_handle ys;
    /* The step's loss. */
    double loss;
    /* Number of samples: the weight of this step. */
    uint64_t samples;
};

/* Functions of a metric. All `[training]`. */
struct fluxbay_metric_table {
    /* Forgets all steps. */
    int32_t (*reset)(fluxbay_instance self);
    /* Adds one step; `value` is that of the step alone. */
    int32_t (*update)(fluxbay_instance self, const struct fluxbay_metric_input *input,
        double *value);
    /* The value over all steps since `reset`; NaN if there were none. */
    int32_t (*compute)(fluxbay_instance self, double *value);
    /* More than one number, as JSON (a confusion matrix, values per class), valid until the next
       call of this instance; empty if there is nothing more. */
    int32_t (*details)(fluxbay_instance self, struct fluxbay_text *json);
};

/* Id of the plugin extension that holds `struct fluxbay_metric_rows`. */
#define FLUXBAY_METRIC_EXTENSION "fluxbay.metric/1"

/* Which values of a metric are better. */
/* Unknown: whatever ranks by the metric needs a setting that says it. */
#define FLUXBAY_DIRECTION_UNKNOWN 0
/* Lower values, as of a loss. */
#define FLUXBAY_DIRECTION_LOWER 1
/* Higher values, as of an accuracy. */
#define FLUXBAY_DIRECTION_HIGHER 2

/* Addition to a metric. A metric without a row has an unknown direction. */
struct fluxbay_metric_row {
    /* `METRIC`. */
    uint32_t kind;
    /* 0. */
    uint32_t reserved;
    /* Name of the component. */
    struct fluxbay_text component;
    /* Which values are better, a number of `FLUXBAY_DIRECTION_*`. Called once, after `create`,
       since it may depend on the configuration. `[training]` */
    int32_t (*direction)(fluxbay_instance self, uint32_t *direction);
};

/* The rows of a plugin: what its `extension` returns for `FLUXBAY_METRIC_EXTENSION`. */
struct fluxbay_metric_rows {
    /* Size of a row in bytes, as the plugin was built. */
    uint64_t size;
    /* First row. */
    const struct fluxbay_metric_row *first;
    /* Number of rows, each for another component. */
    size_t count;
};

/* ---- figures --------------------------------------------------------------------------------- */
/* Figures of a run: the numbers that instances report at the end of an epoch, such as
   `validation/accuracy`. An instance declares the figures that it reports, and requests those
   that it watches; the host finds out before the first step whether each of them exists, in
   which phase, and which values are better.

   A host extension, see `FLUXBAY_FIGURES_EXTENSION`. All functions are `[training]`. */

/* Id of the host extension that is a `struct fluxbay_figures_table`. */
#define FLUXBAY_FIGURES_EXTENSION "fluxbay.figures/1"

/* The functions for figures. */
struct fluxbay_figures_table {
    /* Size of this struct in bytes, as the host was built. */
    uint64_t size;
    /* Declares that this instance reports figure `name` at the end of every epoch of `phase` (an
       instance id; empty for every phase that it handles). `direction` is a number of
       `FLUXBAY_DIRECTION_*`. Only within `create`. */
    int32_t (*declare)(struct fluxbay_text phase, struct fluxbay_text name, uint32_t direction);
    /* As `declare`, with the direction of a child metric. Only within `create`. */
    int32_t (*declare_child)(struct fluxbay_text phase, struct fluxbay_text name, uint32_t child);
    /* Requests figure `metric` of `phase` (an instance id; empty for the phase that reports it,
       validation before training). `better` is a number of `FLUXBAY_DIRECTION_*`; unknown takes
       the declared direction. Only within `create`; resolved when the composition is complete,
       and reported there if there is no such figure. */
    int32_t (*watch)(struct fluxbay_text metric, struct fluxbay_text phase, uint32_t better,
        uint32_t *watched);
    /* What request `watched` was resolved to: the phase's instance id, valid until the next call
       of the host, and the direction. From `init` on. */
    int32_t (*watched)(uint32_t watched, struct fluxbay_text *phase, uint32_t *direction);
};

/* ---- anomaly --------------------------------------------------------------------------------- */
/* Detection of NaN and infinities: which operation of a step first produced one.

   A host extension, see `FLUXBAY_ANOMALY_EXTENSION`. All functions are `[training]`. */

/* Id of the host extension that holds `struct fluxbay_anomaly_table`. */
#define FLUXBAY_ANOMALY_EXTENSION "fluxbay.anomaly/1"

/* Which elements are detected; bits of the number that `watch` takes. */
/* NaN. */
#define FLUXBAY_DETECT_NAN 1
/* Infinities of either sign. */
#define FLUXBAY_DETECT_INFINITE 2

/* The functions for detection. */
struct fluxbay_anomaly_table {
    /* Size of this struct in bytes, as the host was built. */
    uint64_t size;
    /* Starts detection anew for the given bits of `FLUXBAY_DETECT_*`; 0 ends it. While it is on,
       the results of every operation and every gradient are read, which makes steps several
       times slower. */
    int32_t (*watch)(uint32_t elements);
    /* The first result with such an element since `watch`. The caller sets `found.size`. */
    int32_t (*first)(struct fluxbay_anomaly *found);
};

/* A result of an operation that has an element that is NaN or infinite. */
struct fluxbay_anomaly {
    /* Size of this struct in bytes, as the caller was built. */
    uint64_t size;
    /* 1 if there is one; otherwise the other fields are not set. */
    uint32_t found;
    /* 1 if it is a gradient, computed in a backward pass. */
    uint32_t backward;
    /* 1 if the element is NaN, 0 if it is infinite. */
    uint32_t nan;
    /* 1 if an input of the operation had such an element already. */
    uint32_t from_input;
    /* 1 if the operation uses `parameter`, 0 if the parameter was used before it. */
    uint32_t direct;
    /* 0. */
    uint32_t reserved;
    /* Number of results that were read before it. */
    uint64_t number;
    /* Name of the operation, valid until the next call of the host. */
    struct fluxbay_text operation;
    /* Model and path of the parameter that was used last, such as `model.hidden.0.weight`; empty
       if there is none. Valid until the next call of the host. */
    struct fluxbay_text parameter;
};

/* ---- position -------------------------------------------------------------------------------- */
/* Where the tokens of a forward pass stand, for models that are given a text piece by piece.

   A host extension, see `FLUXBAY_POSITION_EXTENSION`. All functions are `[training]`. */

/* Id of the host extension that holds `struct fluxbay_position_table`. */
#define FLUXBAY_POSITION_EXTENSION "fluxbay.position/1"

/* The place of the first token of a forward pass. */
struct fluxbay_position_table {
    /* Size of this struct in bytes, as the host was built. */
    uint64_t size;
    /* Number of tokens of the same text that earlier forward passes have seen. It is 0 except
       while a text is generated with a cache: then the inputs are the new tokens only, and
       causal attention adds the keys and values of the earlier ones. Models with learnt or
       rotary positions begin to count them here. */
    int32_t (*first)(uint64_t *first);
};

/* ---- packing --------------------------------------------------------------------------------- */
/* Rows of a batch that hold several samples, for models whose positions look at each other.

   A host extension, see `FLUXBAY_PACKING_EXTENSION`. All functions are `[training]`. */

/* Id of the host extension that holds `struct fluxbay_packing_table`. */
#define FLUXBAY_PACKING_EXTENSION "fluxbay.packing/1"

/* Which elements of a row belong to one sample. */
struct fluxbay_packing_table {
    /* Size of this struct in bytes, as the host was built. */
    uint64_t size;
    /* Segments and positions for inputs `xs` of shape `[batch, time, ..]`: both u32 `[batch,
       time]`, the number of the sample that an element belongs to, from 1 on (0 behind the
       last), and its place in that sample. The caller owns one reference to each. Both are
       `FLUXBAY_NO_TENSOR` where rows hold one sample each: outside of steps, for batches without
       the fields `segments` and `positions`, and for inputs with another number of rows or
       elements. In a forward pass over a part of a batch they are those of its rows. */
    int32_t (*of)(fluxbay_handle xs, fluxbay_handle *segments, fluxbay_handle *positions);
};

/* ---- freezing -------------------------------------------------------------------------------- */
/* Parameters that a callback takes out of training, and back in.

   A host extension, see `FLUXBAY_FREEZING_EXTENSION`. All functions are `[training]`. */

/* Id of the host extension that holds `struct fluxbay_freezing_table`. */
#define FLUXBAY_FREEZING_EXTENSION "fluxbay.freezing/1"

/* The functions for freezing. */
struct fluxbay_freezing_table {
    /* Size of this struct in bytes, as the host was built. */
    uint64_t size;
    /* Freezes (`frozen` 1) or unfreezes (0) the parameters whose path, `PATH` or `MODEL.PATH`,
       matches a pattern, in which `*` stands for any text. `count` is set to their number. A
       frozen parameter is a constant: it has no gradient and no optimizer changes it. To be
       called outside of forward and backward passes, such as at step-begin. Checkpoints do not
       keep it. */
    int32_t (*freeze)(struct fluxbay_text pattern, uint32_t frozen, uint64_t *count);
};

/* ---- model ----------------------------------------------------------------------------------- */
/* Models: parameters that the host keeps, and a forward pass over them. */

/* The fields of the data, which a model is built for. */
struct fluxbay_model_spec {
    /* Fields of a batch in the data set's order, shapes per sample. Field 0 is `xs`, field 1 is
       `ys`. */
    const struct fluxbay_field_spec *fields;
    /* Number of fields. */
    size_t field_count;
};

/* Functions of a model. All `[training]`. */
struct fluxbay_model_table {
    /* Makes the parameters with the tensor table's `parameter`; called once, before any forward
       pass. */
    int32_t (*build)(fluxbay_instance self, const struct fluxbay_model_spec *spec);
    /* Computes outputs from inputs: at most `capacity`, each one reference for the host. */
    int32_t (*forward)(fluxbay_instance self, const fluxbay_handle *inputs, size_t input_count,
        fluxbay_handle *outputs, size_t capacity, size_t *output_count);
};

/* Id of the plugin extension that holds `struct fluxbay_model_names_rows`. */
#define FLUXBAY_MODEL_NAMES_EXTENSION "fluxbay.model-names/1"

/* Addition to a model of a published family: where its weights come from, and the rules that
   turn published names into paths of parameters. */
struct fluxbay_model_names_row {
    /* `MODEL`. */
    uint32_t kind;
    /* 0. */
    uint32_t reserved;
    /* Name of the component. */
    struct fluxbay_text component;
    /* A JSON object, valid until the next call of this instance; empty for a model of no
       published family. `from`: a folder with safetensors files, or null. `config`: what is
       written as `config.json` beside trained weights, or null. `rules`: a list, applied in
       order to the names of a file, each an object with one key: `rename` {from, to}, `ignore`
       {names}, `transpose` {names}, `merge` {from: list, to, dim}, `split` {from, to: list,
       dim}, `fresh` {names}: parameters that may be missing or have another shape. In patterns
       `*` stands for any text and `#` for digits, and in results for what they matched.
       `adapter`: null, or for a model with parameters `lora_A.weight` and `lora_B.weight` below
       paths of layers an object: `from` (a folder, or null), `config` (written as
       `adapter_config.json`), `scale`. Called after `build`. `[training]` */
    int32_t (*names)(fluxbay_instance self, struct fluxbay_text *json);
};

/* The rows of a plugin: what its `extension` returns for `FLUXBAY_MODEL_NAMES_EXTENSION`. */
struct fluxbay_model_names_rows {
    /* Size of a row in bytes, as the plugin was built. */
    uint64_t size;
    /* First row. */
    const struct fluxbay_model_names_row *first;
    /* Number of rows, each for another component. */
    size_t count;
};

/* ---- loss ------------------------------------------------------------------------------------ */
/* Loss functions. */

/* Functions of a loss. All `[training]`. */
struct fluxbay_loss_table {
    /* Computes the loss of predictions and targets `[samples, ...]`: a tensor with one element,
       the mean over the samples; one reference for the host. */
    int32_t (*forward)(fluxbay_instance self, fluxbay_handle yhats, fluxbay_handle ys,
        fluxbay_handle *value);
};

/* ---- phase ----------------------------------------------------------------------------------- */
/* Phases: what a step and an epoch do. */

/* Functions of a phase. All `[training]`. */
struct fluxbay_phase_table {
    /* Called once, when all instances exist and before the first epoch. */
    int32_t (*init)(fluxbay_instance self);
    /* One step on one batch. The phase itself calls the learner's `step_begin` and `step_end`,
       and between them sets `step.yhats` and `step.loss` (write access) and dispatches the
       events of the loop. */
    int32_t (*step)(fluxbay_instance self, const struct fluxbay_batch *batch);
    /* One epoch. The phase itself calls the learner's `epoch_begin` and `epoch_end`. Null: the
       host passes every batch to `step`. */
    int32_t (*epoch)(fluxbay_instance self);
};

/* ---- callback -------------------------------------------------------------------------------- */
/* Callbacks: code that handles events. */

/* How a callback gets along with another one that writes the same path. */
/* It does not decide it. */
#define FLUXBAY_RESOLUTION_NOT_DEFINED 0
/* The two cannot be in one run. */
#define FLUXBAY_RESOLUTION_UNRESOLVABLE 1
/* This one runs first. */
#define FLUXBAY_RESOLUTION_RUN_FIRST 2
/* They do not disturb each other. */
#define FLUXBAY_RESOLUTION_NO_CONFLICT 3

/* Functions of a callback. All `[training]`. */
struct fluxbay_callback_table {
    /* Called once, when all instances exist and before the first event; state may be written. */
    int32_t (*init)(fluxbay_instance self);
    /* Handles an event that this instance subscribed to. */
    int32_t (*on)(fluxbay_instance self, const struct fluxbay_event *event);
    /* How this instance gets along with an instance of component `other` (such as
       `callback/scheduler`) that also writes `path`: a number of `FLUXBAY_RESOLUTION_*`. Called
       during composition; no host function may be called. */
    uint32_t (*resolve)(fluxbay_instance self, struct fluxbay_text other,
        struct fluxbay_text path);
};

/* ---- schedule -------------------------------------------------------------------------------- */
/* Schedules: a hyper-parameter's value over time. */

/* Functions of a schedule. All `[training]`. */
struct fluxbay_schedule_table {
    /* The value at time `t`, counted from 1. It must be finite and depend on nothing but `t` and
       the configuration. */
    int32_t (*value)(fluxbay_instance self, double t, double *value);
    /* The time from which the value no longer changes; 0 if there is none. */
    int32_t (*length)(fluxbay_instance self, uint64_t *length);
};

/* ---- optimizer ------------------------------------------------------------------------------- */
/* Optimizers: the rule that updates a parameter from its gradient. The host keeps and saves the
   state tensors; the arithmetic runs through the tensor table, in place. */

/* One parameter to update. */
struct fluxbay_update {
    /* Dotted path of the parameter within its model. */
    struct fluxbay_text path;
    /* The parameter, to be changed in place. Borrowed. */
    fluxbay_handle parameter;
    /* Its gradient. Borrowed. */
    fluxbay_handle gradient;
    /* State tensors of this parameter, zeros at first, in the order of `optimizer_state`.
       Borrowed. */
    const fluxbay_handle *states;
    /* Number of state tensors. */
    size_t state_count;
    /* Number of this update of the parameter, counted from 1. */
    uint64_t step;
};

/* Functions of an optimizer. All `[training]`. */
struct fluxbay_optimizer_table {
    /* Called once per step, before its updates: read hyper-parameters here. */
    int32_t (*begin)(fluxbay_instance self);
    /* Updates one parameter in place. */
    int32_t (*update)(fluxbay_instance self, const struct fluxbay_update *request);
};

/* ---- kinds ----------------------------------------------------------------------------------- */
/* Components of kinds that contract 1.0 did not have: the extension `fluxbay.kinds/1`. */

/* Id of the plugin extension that holds `struct fluxbay_kind_rows`. */
#define FLUXBAY_KINDS_EXTENSION "fluxbay.kinds/1"

/* One component of a later kind. Its first fields are those of `struct fluxbay_component`, with
   the same meaning. */
struct fluxbay_kind_row {
    /* A number of `FLUXBAY_KIND_*`, above those of contract 1.0. */
    uint32_t kind;
    /* Version of the state that `save` writes. */
    uint32_t state_version;
    /* Name in kebab-case, unique within kind and plugin. */
    struct fluxbay_text component;
    /* Makes an instance. `[training]` */
    int32_t (*create)(struct fluxbay_text config, fluxbay_instance *instance);
    /* Ends an instance, also one that panicked. `[training]` */
    int32_t (*destroy)(fluxbay_instance self);
    /* Writes the state into a buffer of the plugin's that stays valid until the next call of
       this instance. `[training]` */
    int32_t (*save)(fluxbay_instance self, struct fluxbay_text *bytes);
    /* Restores a state that was saved in the format of `state_version`; on failure the old state
       must stay. `[training]` */
    int32_t (*load)(fluxbay_instance self, uint32_t state_version, struct fluxbay_text bytes);
    /* Table of the kind. Its first word is its size in bytes, as the plugin was built. */
    const void *table;
};

/* The rows of a plugin: what its `extension` returns for `FLUXBAY_KINDS_EXTENSION`. */
struct fluxbay_kind_rows {
    /* Size of a row in bytes, as the plugin was built. */
    uint64_t size;
    /* First row. */
    const struct fluxbay_kind_row *first;
    /* Number of rows, each for another component. */
    size_t count;
};

/* ---- transform ------------------------------------------------------------------------------- */
/* Transforms: a field of a sample in, a field of a sample out, on the loader's threads. */

/* The sample that a transform is applied to. Borrowed for the call. */
struct fluxbay_transform_context {
    /* Size of this struct in bytes, as the host was built. */
    uint64_t size;
    /* Epoch, counted from 1; 0 outside of an epoch. */
    uint64_t epoch;
    /* Index of the sample within its split of the data set. */
    uint64_t index;
    /* 1 if the sample is read for training, else 0. */
    uint32_t training;
    /* 0. */
    uint32_t reserved;
    /* Lower half of the number that all random draws of this call derive from. It depends on the
       run's seed, the epoch, the sample and the transform's id, so that the result does not
       depend on threads or on what was read before. */
    uint64_t draw_low;
    /* Upper half of that number. */
    uint64_t draw_high;
};

/* One field of one sample. */
struct fluxbay_sample {
    /* What the field is: name, element type and shape. */
    const struct fluxbay_field_spec *field;
    /* First byte, aligned for the element type; elements in row-major order. */
    uint8_t *ptr;
    /* Number of bytes. */
    size_t len;
};

/* Functions of a transform. */
struct fluxbay_transform_table {
    /* Size of this struct in bytes, as the plugin was built. */
    uint64_t size;
    /* Checks a field, and says what it becomes. Pointers in `output` stay valid until the next
       call of this instance. Called for each chain that the transform is part of. `[training]` */
    int32_t (*describe)(fluxbay_instance self, const struct fluxbay_field_spec *input,
        struct fluxbay_field_spec *output);
    /* Transforms one sample. Every element of `output` must be written. `input` must not be
       changed. Called by several threads at a time, but never while another function of this
       instance runs. `[loader]` */
    int32_t (*apply)(fluxbay_instance self, const struct fluxbay_transform_context *context,
        const struct fluxbay_sample *input, const struct fluxbay_sample *output);
};

/* ---- steps ----------------------------------------------------------------------------------- */
/* What data sets and transforms do with raw values, as a list of steps that other programs can
   do: the extensions `fluxbay.dataset-steps/1` and `fluxbay.transform-steps/1`.

   A list is a JSON array of objects with one key each, applied in order to a tensor whose first
   dimension counts samples. Axes count the dimensions of a sample from 0. Steps compute in
   double precision; the last result is cast to the element type of the field.

   | step | value | what it does | |---|---|---| | `transpose` | list of axes | permutes the
   dimensions of a sample | | `reshape` | sizes | another shape of a sample | | `cut` | `axis`,
   `start`, `size` | a part along an axis | | `pad` | `axis`, `before`, `after` | zeros on both
   sides | | `mix` | `axis`, `weights`, `bits` | each place of the result is a weighted sum along
   the axis; `weights` is a list of objects `first` and `weights`. With `bits` above 0 the
   weights are whole numbers of `2^-bits`, and results are rounded to bytes | | `affine` |
   `axis`, `offset`, `divisor` | `(x - offset) / divisor`, with a list of numbers along the axis,
   or one number | | `clip` | `least`, `most` | cuts off; either may be null | | `impute` |
   `values`, `indicators` | replaces NaN, by one value or one for each along the last axis; with
   `indicators` 1 for a replaced number and 0 for another follow along the last axis | |
   `one-hot` | `classes` | a new last axis with 1 at the number of the class; no 1 for other
   numbers | */

/* Addition to a data set whose preprocessing can be part of an exported model. */
struct fluxbay_dataset_steps_row {
    /* `DATASET`. */
    uint32_t kind;
    /* 0. */
    uint32_t reserved;
    /* Name of the component. */
    struct fluxbay_text component;
    /* How raw values become the field of inputs. `size` is the size of raw samples that the user
       names, such as height and width of images; `rank` 0 for the data set's own. The text is a
       JSON object, valid until the next call of this instance; empty if the steps cannot say it.
       `inputs`: a list of objects with `name`, `dtype` (`u8`, `i64`, `f32`, `f64`), `shape`,
       `steps` and optionally `categories`, the words that whole numbers from 0 stand for.
       Results of several inputs are put together along the last axis. `output`: object with
       `dtype` and `shape` of the field. Called after `restore`. `[training]` */
    int32_t (*steps)(fluxbay_instance self, const uint64_t *size, size_t rank,
        struct fluxbay_text *json);
};

/* The rows of a plugin: what its `extension` returns for `DATASET_STEPS_EXTENSION`. */
struct fluxbay_dataset_steps_rows {
    /* Size of a row in bytes, as the plugin was built. */
    uint64_t size;
    /* First row. */
    const struct fluxbay_dataset_steps_row *first;
    /* Number of rows, each for another component. */
    size_t count;
};

/* Addition to a transform that can be part of an exported model. */
struct fluxbay_transform_steps_row {
    /* `TRANSFORM`. */
    uint32_t kind;
    /* 0. */
    uint32_t reserved;
    /* Name of the component. */
    struct fluxbay_text component;
    /* The steps for a field, a JSON array that is valid until the next call of this instance;
       empty if the steps cannot say what the transform does. `[training]` */
    int32_t (*steps)(fluxbay_instance self, const struct fluxbay_field_spec *input,
        struct fluxbay_text *json);
};

/* The rows of a plugin: what its `extension` returns for `TRANSFORM_STEPS_EXTENSION`. */
struct fluxbay_transform_steps_rows {
    /* Size of a row in bytes, as the plugin was built. */
    uint64_t size;
    /* First row. */
    const struct fluxbay_transform_steps_row *first;
    /* Number of rows, each for another component. */
    size_t count;
};

/* ---- sampler --------------------------------------------------------------------------------- */
/* Samplers: the order in which an epoch reads the training samples. */

/* The training samples, as a sampler sees them. Borrowed for the call. */
struct fluxbay_sampler_spec {
    /* Size of this struct in bytes, as the host was built. */
    uint64_t size;
    /* Number of training samples, at least 1. */
    uint64_t samples;
    /* The class label of each sample; null where the data has no field of class labels. */
    const uint32_t *labels;
    /* Number of classes; 0 where `labels` is null. */
    uint64_t classes;
};

/* The epoch whose order is wanted. Borrowed for the call. */
struct fluxbay_order_context {
    /* Size of this struct in bytes, as the host was built. */
    uint64_t size;
    /* Epoch, counted from 1. */
    uint64_t epoch;
    /* Lower half of the number that all random draws of this call derive from; it depends on the
       run's seed, the epoch and the sampler's id. */
    uint64_t draw_low;
    /* Upper half of that number. */
    uint64_t draw_high;
};

/* Functions of a sampler. All `[training]`. */
struct fluxbay_sampler_table {
    /* Size of this struct in bytes, as the plugin was built. */
    uint64_t size;
    /* Receives the training samples; `count` is set to the number of samples that an epoch
       reads, at least 1. Called once, before `order`. */
    int32_t (*open)(fluxbay_instance self, const struct fluxbay_sampler_spec *spec,
        uint64_t *count);
    /* Writes the order of an epoch: `count` places among the training samples, each below their
       number. It must depend on the context alone, so that a resumed run reads the same samples. */
    int32_t (*order)(fluxbay_instance self, const struct fluxbay_order_context *context,
        uint64_t *places, size_t count);
};

/* ---- communicator ---------------------------------------------------------------------------- */
/* Communicators: bytes between the processes of a run on several. */

/* The place of a process among those of a run. The host sets `size`, `open` the rest. */
struct fluxbay_joined {
    /* Size of this struct in bytes, as the host was built; the plugin writes no byte behind it. */
    uint64_t size;
    /* Number of this process, below `ranks`. */
    uint32_t rank;
    /* Number of processes, at least 1. */
    uint32_t ranks;
    /* Number of this process among those on the same machine. */
    uint32_t local;
    /* Not used. */
    uint32_t reserved;
};

/* Functions of a communicator. All `[training]`.

   `gather` and `exchange` are called by every process in the same order, with the same counts.
   They wait for the others, at most until the deadline, counted in milliseconds from the call;
   an error after that says so. After an error the host calls only `close`. Numbers are never
   added up here: the host adds, in an order of its own, so that results do not depend on the
   communicator. */
struct fluxbay_communicator_table {
    /* Size of this struct in bytes, as the plugin was built. */
    uint64_t size;
    /* Joins the other processes. Called once, before all others. */
    int32_t (*open)(fluxbay_instance self, uint64_t deadline, struct fluxbay_joined *joined);
    /* Sends the same bytes to every process and receives those of each, its own among them, one
       after the other in the order of the ranks: `counts[rank]` bytes of each rank. */
    int32_t (*gather)(fluxbay_instance self, struct fluxbay_text sent, uint8_t *received,
        const uint64_t *counts, size_t ranks, uint64_t deadline);
    /* Sends other bytes to every process: the first `sent_counts[0]` bytes of `sent` to rank 0,
       those after them to rank 1, and so on. Receives as `gather` does. */
    int32_t (*exchange)(fluxbay_instance self, struct fluxbay_text sent,
        const uint64_t *sent_counts, uint8_t *received, const uint64_t *counts, size_t ranks,
        uint64_t deadline);
    /* Leaves the other processes; nothing is sent afterwards. With `failed` 1 it does not wait
       for them and ends what it can of theirs, since they may be waiting for this one. */
    int32_t (*close)(fluxbay_instance self, uint32_t failed);
};

/* ---- child ----------------------------------------------------------------------------------- */
/* Instances that belong to another instance: the metrics of a metrics callback, the schedule of
   a scheduler, the callback inside a throttle. They may come from any plugin; the host passes
   each call on.

   All functions are `[training]`; `child` is a number that the calling instance got from setup's
   `child`. */

/* The child functions. */
struct fluxbay_child_table {
    /* Calls a metric's `reset`. */
    int32_t (*metric_reset)(uint32_t child);
    /* Calls a metric's `update`. */
    int32_t (*metric_update)(uint32_t child, const struct fluxbay_metric_input *input,
        double *value);
    /* Calls a metric's `compute`. */
    int32_t (*metric_compute)(uint32_t child, double *value);
    /* Calls a metric's `details`; valid until the next call of the host. */
    int32_t (*metric_details)(uint32_t child, struct fluxbay_text *json);
    /* Calls a schedule's `value`. */
    int32_t (*schedule_value)(uint32_t child, double t, double *value);
    /* Calls a schedule's `length`. */
    int32_t (*schedule_length)(uint32_t child, uint64_t *length);
    /* Lets a callback handle an event, with that callback's own access to the state. */
    int32_t (*callback_on)(uint32_t child, const struct fluxbay_event *event);
    /* Whether a callback subscribes to event `kind`: 1 or 0. */
    int32_t (*callback_handles)(uint32_t child, uint32_t kind, uint32_t *handles);
};

/* ---- host ------------------------------------------------------------------------------------ */
/* What the host offers to every plugin. */

/* The host's functions. One static table per host process, valid until it ends. */
struct fluxbay_host_table {
    /* Size of this struct in bytes, as the host was built. */
    uint64_t size;
    /* Contract that the host serves. */
    struct fluxbay_version contract;
    /* Leaves the text of the error whose status the caller is about to return, on this thread.
       `[any]` */
    void (*fail)(struct fluxbay_text text);
    /* The text of the last error on this thread, valid until the next call of the host. `[any]` */
    void (*last_error)(struct fluxbay_text *text);
    /* Records a line of the log. `[any]` */
    void (*log)(const struct fluxbay_log_record *record);
    /* A table that the host offers beyond 1.0, or null. `[any]` */
    const void *(*extension)(struct fluxbay_text id);
    /* What an instance declares while it is created. */
    const struct fluxbay_setup_table *setup;
    /* Tensors. */
    const struct fluxbay_tensor_table *tensor;
    /* The state tree. */
    const struct fluxbay_state_table *state;
    /* The learner: where the run is, and the step table for phases. */
    const struct fluxbay_learner_table *learner;
    /* Metrics and records of the run. */
    const struct fluxbay_record_table *record;
    /* Text and progress on the terminal. */
    const struct fluxbay_display_table *display;
    /* Instances that belong to another instance. */
    const struct fluxbay_child_table *child;
};

/* ---- entry ----------------------------------------------------------------------------------- */
/* The entry of a plugin: what the host finds when it has opened the file. */

/* `FLUXBAY1` in ASCII, little-endian: first word of an `struct fluxbay_entry`. */
#define FLUXBAY_MAGIC UINT64_C(0x3159414258554c46)

/* Name of the ELF section that holds the manifest. */
#define FLUXBAY_MANIFEST_SECTION ".fluxbay.manifest"

/* One component. The table of its kind is present, all others are null. */
struct fluxbay_component {
    /* A number of `FLUXBAY_KIND_*`. */
    uint32_t kind;
    /* Version of the state that `save` writes. */
    uint32_t state_version;
    /* Name in kebab-case, unique within kind and plugin. */
    struct fluxbay_text name;
    /* Makes an instance. `[training]`

       `config` is a JSON object that fits the manifest's schema, defaults filled in. Only the
       host's setup functions may be called. On success `instance` is filled; the host calls
       `destroy` once for it. */
    int32_t (*create)(struct fluxbay_text config, fluxbay_instance *instance);
    /* Ends an instance, also one that panicked. `[training]` */
    int32_t (*destroy)(fluxbay_instance self);
    /* Writes the state into a buffer of the plugin's that stays valid until the next call of
       this instance. `[training]` */
    int32_t (*save)(fluxbay_instance self, struct fluxbay_text *bytes);
    /* Restores a state that was saved in the format of `state_version`; on failure the old state
       must stay. `[training]` */
    int32_t (*load)(fluxbay_instance self, uint32_t state_version, struct fluxbay_text bytes);
    /* Table of a phase. */
    const struct fluxbay_phase_table *phase;
    /* Table of a callback. */
    const struct fluxbay_callback_table *callback;
    /* Table of a model. */
    const struct fluxbay_model_table *model;
    /* Table of a loss. */
    const struct fluxbay_loss_table *loss;
    /* Table of a data set. */
    const struct fluxbay_dataset_table *dataset;
    /* Table of a metric. */
    const struct fluxbay_metric_table *metric;
    /* Table of a schedule. */
    const struct fluxbay_schedule_table *schedule;
    /* Table of a logger. */
    const struct fluxbay_logger_table *logger;
    /* Table of an optimizer. */
    const struct fluxbay_optimizer_table *optimizer;
};

/* Everything that a plugin offers. */
struct fluxbay_entry {
    /* `FLUXBAY_MAGIC`. */
    uint64_t magic;
    /* Size of this struct in bytes, as the plugin was built. */
    uint64_t size;
    /* Contract that the plugin was built for. */
    struct fluxbay_version contract;
    /* The manifest's JSON: the same bytes as in the section. */
    struct fluxbay_text manifest;
    /* First component. */
    const struct fluxbay_component *components;
    /* Number of components. */
    size_t component_count;
    /* Passes the host's functions to the plugin; called once per loaded file, before anything
       else. `[any]`

       Calling it again with the same table changes nothing. */
    int32_t (*init)(const struct fluxbay_host_table *host);
    /* Most verbose level that the host wants to see: 0 nothing, 1 error ... 5 trace. `[any]` */
    void (*set_log_level)(uint32_t level);
    /* A table that the plugin offers beyond 1.0, or null. `[any]` */
    const void *(*extension)(struct fluxbay_text id);
};


#ifdef __cplusplus
}
#endif

#endif
