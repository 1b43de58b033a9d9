//! Metrics: numbers gathered over the steps of an epoch.

use abi_stable::StableAbi;

use super::{
    handle::{Handle, Instance},
    text::Text,
};

/// One step, as a metric sees it.
#[repr(C)]
#[derive(StableAbi, Clone, Copy, Debug)]
pub struct MetricInput {
    /// Predictions `[samples, ...]`, borrowed.
    pub yhats: Handle,
    /// Targets `[samples, ...]`, borrowed.
    pub ys: Handle,
    /// The step's loss.
    pub loss: f64,
    /// Number of samples: the weight of this step.
    pub samples: u64,
}

/// Functions of a metric. All `[training]`.
#[repr(C)]
#[derive(StableAbi, Clone, Copy, Debug)]
pub struct MetricTable {
    /// Forgets all steps.
    pub reset: unsafe extern "C" fn(this: Instance) -> i32,
    /// Adds one step; `value` is that of the step alone.
    pub update:
        unsafe extern "C" fn(this: Instance, input: *const MetricInput, value: *mut f64) -> i32,
    /// The value over all steps since `reset`; NaN if there were none.
    pub compute: unsafe extern "C" fn(this: Instance, value: *mut f64) -> i32,
    /// More than one number, as JSON (a confusion matrix, values per class), valid until the next
    /// call of this instance; empty if there is nothing more.
    pub details: unsafe extern "C" fn(this: Instance, json: *mut Text) -> i32,
}

/// Id of the plugin extension that holds [`MetricRows`].
pub const METRIC_EXTENSION: &str = "fluxbay.metric/1";

/// Which values of a metric are better.
pub mod direction {
    /// Unknown: whatever ranks by the metric needs a setting that says it.
    pub const UNKNOWN: u32 = 0;
    /// Lower values, as of a loss.
    pub const LOWER: u32 = 1;
    /// Higher values, as of an accuracy.
    pub const HIGHER: u32 = 2;
}

/// Addition to a metric. A metric without a row has an unknown direction.
#[repr(C)]
#[derive(StableAbi, Clone, Copy, Debug)]
pub struct MetricRow {
    /// [`METRIC`](super::kind::METRIC).
    pub kind: u32,
    /// 0.
    pub reserved: u32,
    /// Name of the component.
    pub component: Text,
    /// Which values are better, a number of [`direction`]. Called once, after `create`, since it may
    /// depend on the configuration. `[training]`
    pub direction: unsafe extern "C" fn(this: Instance, direction: *mut u32) -> i32,
}

/// The rows of a plugin: what its `extension` returns for [`METRIC_EXTENSION`].
#[repr(C)]
#[derive(StableAbi, Clone, Copy, Debug)]
pub struct MetricRows {
    /// Size of a row in bytes, as the plugin was built.
    pub size: u64,
    /// First row.
    pub first: *const MetricRow,
    /// Number of rows, each for another component.
    pub count: usize,
}

// SAFETY: immutable data of the plugin's, whose functions state their own threads.
unsafe impl Send for MetricRows {}
// SAFETY: as above.
unsafe impl Sync for MetricRows {}
// SAFETY: as above.
unsafe impl Send for MetricRow {}
// SAFETY: as above.
unsafe impl Sync for MetricRow {}
