//! Records: what callbacks report, and loggers that write it.

use abi_stable::StableAbi;

use super::{
    handle::{Handle, Instance},
    text::Text,
};

/// Kinds of records.
pub mod record {
    /// `value`.
    pub const SCALAR: u32 = 0;
    /// `text`.
    pub const TEXT: u32 = 1;
    /// `tensor` with the values to count.
    pub const HISTOGRAM: u32 = 2;
    /// `tensor` `[height, width]` or `[channels, height, width]`, values in 0..=1.
    pub const IMAGE: u32 = 3;
    /// `text` is a JSON object of hyper-parameters.
    pub const HYPER_PARAMETERS: u32 = 4;
}

/// Scopes of a metric.
pub mod scope {
    /// Of one step.
    pub const STEP: u32 = 0;
    /// Of an epoch.
    pub const EPOCH: u32 = 1;
}

/// One record. Borrowed for the call.
#[repr(C)]
#[derive(StableAbi, Clone, Copy, Debug)]
pub struct RecordRaw {
    /// A number of [`record`].
    pub kind: u32,
    /// 0.
    pub reserved: u32,
    /// Tag such as `step/training/metrics/loss`.
    pub tag: Text,
    /// Position on the tag's axis: steps or epochs.
    pub step: u64,
    /// Unix time in seconds.
    pub time: f64,
    /// A scalar's value.
    pub value: f64,
    /// A text.
    pub text: Text,
    /// A tensor, borrowed, or `Handle::NONE`.
    pub tensor: Handle,
}

/// A checkpoint that an instance wants. Borrowed for the call.
#[repr(C)]
#[derive(StableAbi, Clone, Copy, Debug)]
pub struct CheckpointRequest {
    /// Metric that ranks checkpoints, as `PHASE/NAME` such as `validation/loss`: the last value of
    /// an epoch that was reported for the run's metrics files.
    pub metric: Text,
    /// Number of best checkpoints that are kept besides the newest; 0 keeps all.
    pub keep: u64,
    /// 1 where higher values are better, else 0.
    pub higher_is_better: u32,
    /// 0.
    pub reserved: u32,
}

/// Functions of a logger. All `[training]`.
#[repr(C)]
#[derive(StableAbi, Clone, Copy, Debug)]
pub struct LoggerTable {
    /// Opens the backend; `dir` is this instance's folder in the run, which may not exist yet. Called
    /// once, before the first record.
    pub open: unsafe extern "C" fn(this: Instance, dir: Text) -> i32,
    /// Writes one record.
    pub write: unsafe extern "C" fn(this: Instance, record: *const RecordRaw) -> i32,
    /// Writes out what is buffered.
    pub flush: unsafe extern "C" fn(this: Instance) -> i32,
    /// The last call: flushes and closes.
    pub close: unsafe extern "C" fn(this: Instance) -> i32,
}

/// The host's recording functions. All `[training]`.
#[repr(C)]
#[derive(StableAbi, Clone, Copy, Debug)]
pub struct RecordTable {
    /// Records a metric of the running phase in the run's metrics files; `scope` is a number of
    /// [`scope`], `name` in kebab-case.
    pub metric: unsafe extern "C" fn(scope: u32, name: Text, value: f64) -> i32,
    /// Passes a record to every logger of the run; the host sets `time`.
    pub log: unsafe extern "C" fn(record: *const RecordRaw) -> i32,
    /// Number of loggers of the run.
    pub loggers: unsafe extern "C" fn(count: *mut usize) -> i32,
    /// Requests a checkpoint: at the end of this epoch of the fit, after its last checkpoint event, or
    /// after the current step if requested within one. `kept` is 1 if the run keeps checkpoints, else
    /// 0. The last request decides how many of this instance's checkpoints are kept.
    pub checkpoint: unsafe extern "C" fn(request: *const CheckpointRequest, kept: *mut u32) -> i32,
}
