//! Recording: what callbacks report, and loggers that write it somewhere.

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
    /// How many of the best ones stay, beside the newest; 0 keeps all.
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
    /// Opens the backend; `dir` is a folder of the run that belongs to this instance. Called once
    /// before the first record.
    pub open: unsafe extern "C" fn(this: Instance, dir: Text) -> i32,
    /// Writes one record.
    pub write: unsafe extern "C" fn(this: Instance, record: *const RecordRaw) -> i32,
    /// Everything written so far is on its way to the disk.
    pub flush: unsafe extern "C" fn(this: Instance) -> i32,
    /// The last call: flushes and closes.
    pub close: unsafe extern "C" fn(this: Instance) -> i32,
}

/// The host's recording functions. All `[training]`.
#[repr(C)]
#[derive(StableAbi, Clone, Copy, Debug)]
pub struct RecordTable {
    /// A figure of the running phase for the run's metrics files; `scope` is a number of [`scope`],
    /// `name` kebab-case.
    pub metric: unsafe extern "C" fn(scope: u32, name: Text, value: f64) -> i32,
    /// Hands a record to every logger of the run; `time` is filled in by the host.
    pub log: unsafe extern "C" fn(record: *const RecordRaw) -> i32,
    /// Number of loggers of the run.
    pub loggers: unsafe extern "C" fn(count: *mut usize) -> i32,
    /// Asks for a checkpoint at the end of this epoch of the fit, once every callback has heard its
    /// last checkpoint event; asked for within a step, as soon as that step is over. `kept` is 1
    /// where the run keeps checkpoints, else 0. The last request counts for what stays of those
    /// that this instance asked for.
    pub checkpoint: unsafe extern "C" fn(request: *const CheckpointRequest, kept: *mut u32) -> i32,
}
