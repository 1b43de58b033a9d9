//! Metrics: numbers gathered over the batches of an epoch.

use abi_stable::StableAbi;

use super::{entry::Instance, handle::Handle, text::Text};

/// What a metric sees of a step.
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
    /// Forgets what was gathered.
    pub reset: unsafe extern "C" fn(this: Instance) -> i32,
    /// Takes in one step and gives the value for that step alone.
    pub update:
        unsafe extern "C" fn(this: Instance, input: *const MetricInput, value: *mut f64) -> i32,
    /// The value over everything gathered since `reset`; NaN where nothing was.
    pub compute: unsafe extern "C" fn(this: Instance, value: *mut f64) -> i32,
    /// More than one number, as JSON (a confusion matrix, values per class), valid until the next
    /// call of this instance; empty where there is no more.
    pub details: unsafe extern "C" fn(this: Instance, json: *mut Text) -> i32,
}
