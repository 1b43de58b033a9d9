//! Data sets: samples by index, written into the host's buffers on the loader's threads.

use abi_stable::StableAbi;

use super::{handle::Instance, text::Text};

/// One field of a sample.
#[repr(C)]
#[derive(StableAbi, Clone, Copy, Debug)]
pub struct FieldSpec {
    /// `xs`, `ys`, or a name of its own; its state path is `step.NAME`.
    pub name: Text,
    /// Element type, a number of [`dtype`](super::handle::dtype).
    pub dtype: u32,
    /// 0.
    pub reserved: u32,
    /// Dimensions of one sample, without the batch's.
    pub shape: *const u64,
    /// Number of dimensions; 0 for a scalar per sample.
    pub rank: usize,
    /// Number of classes where the field holds class labels (`u32`, below this number); else 0.
    pub classes: u64,
}

/// One part of a data set.
#[repr(C)]
#[derive(StableAbi, Clone, Copy, Debug)]
pub struct SplitSpec {
    /// `training`, `validation`, or `all`: the host then divides it.
    pub name: Text,
    /// Number of samples.
    pub samples: u64,
}

/// Buffer for one field of a batch.
#[repr(C)]
#[derive(StableAbi, Clone, Copy, Debug)]
pub struct BufferRaw {
    /// First byte, aligned for the field's element type; samples lie one after the other.
    pub ptr: *mut u8,
    /// Number of bytes: samples x bytes per sample.
    pub len: usize,
}

/// Functions of a data set.
#[repr(C)]
#[derive(StableAbi, Clone, Copy, Debug)]
pub struct DatasetTable {
    /// Opens files and determines fields and splits; called once, after the composition was
    /// accepted. `[training]`
    pub open: unsafe extern "C" fn(this: Instance) -> i32,
    /// Number of fields. `[training]`
    pub field_count: unsafe extern "C" fn(this: Instance) -> usize,
    /// Field `index`; pointers in it stay valid as long as the instance. `[training]`
    pub field: unsafe extern "C" fn(this: Instance, index: usize, spec: *mut FieldSpec) -> i32,
    /// Number of splits. `[training]`
    pub split_count: unsafe extern "C" fn(this: Instance) -> usize,
    /// Split `index`; pointers in it stay valid as long as the instance. `[training]`
    pub split: unsafe extern "C" fn(this: Instance, index: usize, spec: *mut SplitSpec) -> i32,
    /// Passes the indices of the samples that are used for training, so that statistics (means,
    /// medians) are computed from them alone. Called before the first `fill`; if called again, the
    /// last call counts. `[training]`
    pub prepare: unsafe extern "C" fn(
        this: Instance,
        split: usize,
        indices: *const u64,
        count: usize,
    ) -> i32,
    /// Writes the samples of `split` at `indices` into one buffer per field. Called by several threads
    /// at a time, but never while another function of this instance runs. `[loader]`
    pub fill: unsafe extern "C" fn(
        this: Instance,
        split: usize,
        indices: *const u64,
        count: usize,
        buffers: *const BufferRaw,
        buffer_count: usize,
    ) -> i32,
}

/// Id of the plugin extension that holds [`DatasetStateRows`].
pub const DATASET_STATE_EXTENSION: &str = "fluxbay.dataset-state/1";

/// Addition to a data set that learns from its training samples: statistics, categories, class
/// order, a vocabulary. The host saves what it learned with the run, and restores it where the same
/// model is used on other data.
#[repr(C)]
#[derive(StableAbi, Clone, Copy, Debug)]
pub struct DatasetStateRow {
    /// [`DATASET`](super::kind::DATASET).
    pub kind: u32,
    /// 0.
    pub reserved: u32,
    /// Name of the component.
    pub component: Text,
    /// What was learned, valid until the next call of this instance. Called after `open` and
    /// `prepare`, while no `fill` of this instance runs. `[training]`
    pub learnt: unsafe extern "C" fn(this: Instance, bytes: *mut Text) -> i32,
    /// Takes what another instance of this component learned, in the format of state version
    /// `version`. Called after `create` and before `open`. `open` and `prepare` then learn nothing;
    /// they refuse data that does not fit, naming the value (an unknown class, a letter outside the
    /// vocabulary). `[training]`
    pub restore: unsafe extern "C" fn(this: Instance, version: u32, bytes: Text) -> i32,
}

/// The rows of a plugin: what its `extension` returns for [`DATASET_STATE_EXTENSION`].
#[repr(C)]
#[derive(StableAbi, Clone, Copy, Debug)]
pub struct DatasetStateRows {
    /// Size of a row in bytes, as the plugin was built.
    pub size: u64,
    /// First row.
    pub first: *const DatasetStateRow,
    /// Number of rows, each for another component.
    pub count: usize,
}

// SAFETY: immutable data of the plugin's, whose functions state their own threads.
unsafe impl Send for DatasetStateRows {}
// SAFETY: as above.
unsafe impl Sync for DatasetStateRows {}
// SAFETY: as above.
unsafe impl Send for DatasetStateRow {}
// SAFETY: as above.
unsafe impl Sync for DatasetStateRow {}

/// Id of the plugin extension that holds [`DatasetInputsRows`].
pub const DATASET_INPUTS_EXTENSION: &str = "fluxbay.dataset-inputs/1";

/// Addition to a data set that reads files to predict from: samples without targets, one piece of the
/// files after the other, with constant memory.
#[repr(C)]
#[derive(StableAbi, Clone, Copy, Debug)]
pub struct DatasetInputsRow {
    /// [`DATASET`](super::kind::DATASET).
    pub kind: u32,
    /// 0.
    pub reserved: u32,
    /// Name of the component.
    pub component: Text,
    /// Begins to read `count` files in this order, in place of those of the configuration. Called
    /// instead of `open` and `prepare`, after `create` and `restore`, and again for other files. The
    /// fields are then those of training; there is no split. `[training]`
    pub begin: unsafe extern "C" fn(this: Instance, paths: *const Text, count: usize) -> i32,
    /// Reads the next samples, at most `most`; `count` 0 means that there are no more. They are the
    /// samples of split 0 that `fill` writes, by their index from 0, until the next `read`. Where a
    /// file has no targets, their fields are 0. `[training]`
    pub read: unsafe extern "C" fn(this: Instance, most: usize, count: *mut usize) -> i32,
    /// What identifies sample `index` of the last `read` to the user, such as its line or file name.
    /// Valid until the next call of this instance. `[training]`
    pub key: unsafe extern "C" fn(this: Instance, index: usize, key: *mut Text) -> i32,
    /// Name of class `class` of field `field`; empty if it has none. Also called after `open`. Valid
    /// until the next call of this instance. `[training]`
    pub class_name:
        unsafe extern "C" fn(this: Instance, field: usize, class: u64, name: *mut Text) -> i32,
}

/// The rows of a plugin: what its `extension` returns for [`DATASET_INPUTS_EXTENSION`].
#[repr(C)]
#[derive(StableAbi, Clone, Copy, Debug)]
pub struct DatasetInputsRows {
    /// Size of a row in bytes, as the plugin was built.
    pub size: u64,
    /// First row.
    pub first: *const DatasetInputsRow,
    /// Number of rows, each for another component.
    pub count: usize,
}

// SAFETY: immutable data of the plugin's, whose functions state their own threads.
unsafe impl Send for DatasetInputsRows {}
// SAFETY: as above.
unsafe impl Sync for DatasetInputsRows {}
// SAFETY: as above.
unsafe impl Send for DatasetInputsRow {}
// SAFETY: as above.
unsafe impl Sync for DatasetInputsRow {}

/// Id of the plugin extension that holds [`DatasetFillRows`].
pub const DATASET_FILL_EXTENSION: &str = "fluxbay.dataset-fill/1";

/// A request for samples. Borrowed for the call.
#[repr(C)]
#[derive(StableAbi, Clone, Copy, Debug)]
pub struct FillRequest {
    /// Size of this struct in bytes, as the host was built.
    pub size: u64,
    /// The run's seed.
    pub seed: u64,
    /// Epoch, counted from 1; 0 outside of an epoch, such as while labels are counted.
    pub epoch: u64,
    /// Index of the split.
    pub split: usize,
    /// 1 if the samples are read for training, else 0.
    pub training: u32,
    /// 0.
    pub reserved: u32,
    /// Indices of the samples within the split.
    pub indices: *const u64,
    /// Number of samples.
    pub count: usize,
    /// One buffer per field. A field whose buffer has a null pointer is not wanted.
    pub buffers: *const BufferRaw,
    /// Number of fields.
    pub buffer_count: usize,
    /// One byte per sample, 0 at the call: 1 leaves the sample out of its batch, for a sample that
    /// cannot be read. Its part of the buffers is ignored.
    pub left_out: *mut u8,
    /// `length_count` numbers per sample: how many elements it has along each dimension that
    /// [`DatasetRaggedRow::ragged`] names, field by field, in the order of the dimensions. At the call
    /// they are the maxima. Elements behind them need not be written. If no field is wanted, the
    /// lengths alone are asked for. A data set that was built before this field existed does not see
    /// it.
    pub lengths: *mut u64,
    /// Numbers per sample; 0 if no dimension differs.
    pub length_count: usize,
}

/// Addition to a data set: samples that depend on the epoch, single fields, samples that are left out,
/// and keys.
#[repr(C)]
#[derive(StableAbi, Clone, Copy, Debug)]
pub struct DatasetFillRow {
    /// [`DATASET`](super::kind::DATASET).
    pub kind: u32,
    /// 0.
    pub reserved: u32,
    /// Name of the component.
    pub component: Text,
    /// Used instead of `fill` of [`DatasetTable`], under the same conditions. `[loader]`
    pub fill: unsafe extern "C" fn(this: Instance, request: *const FillRequest) -> i32,
    /// The key of a sample, such as the path of its file: a text that stays the same if other samples
    /// are added or the data is stored in another way. At most `capacity` bytes of it are written to
    /// `key`, and `length` is set to its whole length; 0 if the sample has none. Called as `fill` is.
    /// `[loader]`
    pub key: unsafe extern "C" fn(
        this: Instance,
        split: usize,
        index: u64,
        key: *mut u8,
        capacity: usize,
        length: *mut usize,
    ) -> i32,
}

/// The rows of a plugin: what its `extension` returns for [`DATASET_FILL_EXTENSION`].
#[repr(C)]
#[derive(StableAbi, Clone, Copy, Debug)]
pub struct DatasetFillRows {
    /// Size of a row in bytes, as the plugin was built.
    pub size: u64,
    /// First row.
    pub first: *const DatasetFillRow,
    /// Number of rows, each for another component.
    pub count: usize,
}

// SAFETY: immutable data of the plugin's, whose functions state their own threads.
unsafe impl Send for DatasetFillRows {}
// SAFETY: as above.
unsafe impl Sync for DatasetFillRows {}
// SAFETY: as above.
unsafe impl Send for DatasetFillRow {}
// SAFETY: as above.
unsafe impl Sync for DatasetFillRow {}

/// Id of the plugin extension that holds [`DatasetTextRows`].
pub const DATASET_TEXT_EXTENSION: &str = "fluxbay.dataset-text/1";

/// Addition to a data set whose samples are token ids: texts to ids and ids to texts, for texts that a
/// model writes. Called after `create` and `restore`, also without `open`.
#[repr(C)]
#[derive(StableAbi, Clone, Copy, Debug)]
pub struct DatasetTextRow {
    /// [`DATASET`](super::kind::DATASET).
    pub kind: u32,
    /// 0.
    pub reserved: u32,
    /// Name of the component.
    pub component: Text,
    /// The ids of a text, without special tokens around it. Valid until the next call of this
    /// instance. `[training]`
    pub encode: unsafe extern "C" fn(
        this: Instance,
        text: Text,
        ids: *mut *const u32,
        count: *mut usize,
    ) -> i32,
    /// The text of `count` ids, without special tokens; U+FFFD where the ids end within a character.
    /// Valid until the next call of this instance. `[training]`
    pub decode:
        unsafe extern "C" fn(this: Instance, ids: *const u32, count: usize, text: *mut Text) -> i32,
    /// Id of the token that ends a text; [`NO_TOKEN`] if there is none. `[training]`
    pub end: unsafe extern "C" fn(this: Instance, id: *mut u64) -> i32,
}

/// What [`DatasetTextRow::end`] answers if no token ends a text.
pub const NO_TOKEN: u64 = u64::MAX;

/// The rows of a plugin: what its `extension` returns for [`DATASET_TEXT_EXTENSION`].
#[repr(C)]
#[derive(StableAbi, Clone, Copy, Debug)]
pub struct DatasetTextRows {
    /// Size of a row in bytes, as the plugin was built.
    pub size: u64,
    /// First row.
    pub first: *const DatasetTextRow,
    /// Number of rows, each for another component.
    pub count: usize,
}

// SAFETY: immutable data of the plugin's, whose functions state their own threads.
unsafe impl Send for DatasetTextRows {}
// SAFETY: as above.
unsafe impl Sync for DatasetTextRows {}
// SAFETY: as above.
unsafe impl Send for DatasetTextRow {}
// SAFETY: as above.
unsafe impl Sync for DatasetTextRow {}

/// Id of the plugin extension that holds [`DatasetRaggedRows`].
pub const DATASET_RAGGED_EXTENSION: &str = "fluxbay.dataset-ragged/1";

/// Addition to a data set whose samples differ in size: texts, sounds. It has a [`DatasetFillRow`],
/// too. The shape of a field states the maximum along such a dimension, and samples lie in the buffers
/// of `fill` as if all had it; the host cuts and pads what a batch needs.
#[repr(C)]
#[derive(StableAbi, Clone, Copy, Debug)]
pub struct DatasetRaggedRow {
    /// [`DATASET`](super::kind::DATASET).
    pub kind: u32,
    /// 0.
    pub reserved: u32,
    /// Name of the component.
    pub component: Text,
    /// Writes 1 into `differs` for each of the `rank` dimensions of field `field` along which samples
    /// have different numbers of elements, 0 for the others, and the value of the elements that are
    /// added behind the end of a sample into `padding`. Called after `open`, and after `begin` of
    /// [`DatasetInputsRow`]. `[training]`
    pub ragged: unsafe extern "C" fn(
        this: Instance,
        field: usize,
        differs: *mut u8,
        rank: usize,
        padding: *mut f64,
    ) -> i32,
}

/// The rows of a plugin: what its `extension` returns for [`DATASET_RAGGED_EXTENSION`].
#[repr(C)]
#[derive(StableAbi, Clone, Copy, Debug)]
pub struct DatasetRaggedRows {
    /// Size of a row in bytes, as the plugin was built.
    pub size: u64,
    /// First row.
    pub first: *const DatasetRaggedRow,
    /// Number of rows, each for another component.
    pub count: usize,
}

// SAFETY: immutable data of the plugin's, whose functions state their own threads.
unsafe impl Send for DatasetRaggedRows {}
// SAFETY: as above.
unsafe impl Sync for DatasetRaggedRows {}
// SAFETY: as above.
unsafe impl Send for DatasetRaggedRow {}
// SAFETY: as above.
unsafe impl Sync for DatasetRaggedRow {}
