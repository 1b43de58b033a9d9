//! What data sets and transforms do with raw values, as a list of steps that other programs can do: the extensions
//! `fluxbay.dataset-steps/1` and `fluxbay.transform-steps/1`.
//!
//! A list is a JSON array of objects with one key each, applied in order to a tensor whose first dimension counts samples.
//! Axes count the dimensions of a sample from 0. Steps compute in double precision; the last result is cast to the
//! element type of the field.
//!
//! | step | value | what it does |
//! |---|---|---|
//! | `transpose` | list of axes | permutes the dimensions of a sample |
//! | `reshape` | sizes | another shape of a sample |
//! | `cut` | `axis`, `start`, `size` | a part along an axis |
//! | `pad` | `axis`, `before`, `after` | zeros on both sides |
//! | `mix` | `axis`, `weights`, `bits` | each place of the result is a weighted sum along the axis; `weights` is a list of objects `first` and `weights`. With `bits` above 0 the weights are whole numbers of `2^-bits`, and results are rounded to bytes |
//! | `affine` | `axis`, `offset`, `divisor` | `(x - offset) / divisor`, with a list of numbers along the axis, or one number |
//! | `clip` | `least`, `most` | cuts off; either may be null |
//! | `impute` | `values`, `indicators` | replaces NaN, by one value or one for each along the last axis; with `indicators` 1 for a replaced number and 0 for another follow along the last axis |
//! | `one-hot` | `classes` | a new last axis with 1 at the number of the class; no 1 for other numbers |

use abi_stable::StableAbi;

use super::{dataset::FieldSpec, handle::Instance, text::Text};

/// Id of the plugin extension that holds [`DatasetStepsRows`].
pub const DATASET_STEPS_EXTENSION: &str = "fluxbay.dataset-steps/1";
/// Id of the plugin extension that holds [`TransformStepsRows`].
pub const TRANSFORM_STEPS_EXTENSION: &str = "fluxbay.transform-steps/1";

/// Addition to a data set whose preprocessing can be part of an exported model.
#[repr(C)]
#[derive(StableAbi, Clone, Copy, Debug)]
pub struct DatasetStepsRow {
    /// [`DATASET`](super::kind::DATASET).
    pub kind: u32,
    /// 0.
    pub reserved: u32,
    /// Name of the component.
    pub component: Text,
    /// How raw values become the field of inputs. `size` is the size of raw samples that the user names, such as height
    /// and width of images; `rank` 0 for the data set's own. The text is a JSON object, valid until the next call of this
    /// instance; empty if the steps cannot say it. `inputs`: a list of objects with `name`, `dtype` (`u8`, `i64`, `f32`,
    /// `f64`), `shape`, `steps` and optionally `categories`, the words that whole numbers from 0 stand for. Results of
    /// several inputs are put together along the last axis. `output`: object with `dtype` and `shape` of the field.
    /// Called after `restore`. `[training]`
    pub steps:
        unsafe extern "C" fn(this: Instance, size: *const u64, rank: usize, json: *mut Text) -> i32,
}

/// The rows of a plugin: what its `extension` returns for [`DATASET_STEPS_EXTENSION`].
#[repr(C)]
#[derive(StableAbi, Clone, Copy, Debug)]
pub struct DatasetStepsRows {
    /// Size of a row in bytes, as the plugin was built.
    pub size: u64,
    /// First row.
    pub first: *const DatasetStepsRow,
    /// Number of rows, each for another component.
    pub count: usize,
}

/// Addition to a transform that can be part of an exported model.
#[repr(C)]
#[derive(StableAbi, Clone, Copy, Debug)]
pub struct TransformStepsRow {
    /// [`TRANSFORM`](super::kind::TRANSFORM).
    pub kind: u32,
    /// 0.
    pub reserved: u32,
    /// Name of the component.
    pub component: Text,
    /// The steps for a field, a JSON array that is valid until the next call of this instance; empty if the steps cannot
    /// say what the transform does. `[training]`
    pub steps:
        unsafe extern "C" fn(this: Instance, input: *const FieldSpec, json: *mut Text) -> i32,
}

/// The rows of a plugin: what its `extension` returns for [`TRANSFORM_STEPS_EXTENSION`].
#[repr(C)]
#[derive(StableAbi, Clone, Copy, Debug)]
pub struct TransformStepsRows {
    /// Size of a row in bytes, as the plugin was built.
    pub size: u64,
    /// First row.
    pub first: *const TransformStepsRow,
    /// Number of rows, each for another component.
    pub count: usize,
}

// SAFETY: immutable data of the plugin's, whose functions state their own threads.
unsafe impl Send for DatasetStepsRows {}
// SAFETY: as above.
unsafe impl Sync for DatasetStepsRows {}
// SAFETY: as above.
unsafe impl Send for DatasetStepsRow {}
// SAFETY: as above.
unsafe impl Sync for DatasetStepsRow {}
// SAFETY: as above.
unsafe impl Send for TransformStepsRows {}
// SAFETY: as above.
unsafe impl Sync for TransformStepsRows {}
// SAFETY: as above.
unsafe impl Send for TransformStepsRow {}
// SAFETY: as above.
unsafe impl Sync for TransformStepsRow {}
