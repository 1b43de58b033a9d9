//! Events: what a phase dispatches and a callback handles.

use abi_stable::StableAbi;

/// Before the first epoch of a fit.
pub const FIT_BEGIN: u32 = 0;
/// After the last epoch of a fit, however it ended.
pub const FIT_END: u32 = 1;
/// Before the first step of a phase's epoch.
pub const EPOCH_BEGIN: u32 = 2;
/// After the last step of a phase's epoch; also after a cancelled one.
pub const EPOCH_END: u32 = 3;
/// A batch is there: `step.xs` and `step.ys` may be read and changed.
pub const STEP_BEGIN: u32 = 4;
/// The step is complete.
pub const STEP_END: u32 = 5;
/// `step.yhats` is there, the loss is not.
pub const LOSS_BEGIN: u32 = 6;
/// `step.loss` is there, the gradients are not.
pub const BACKWARD_BEGIN: u32 = 7;
/// `step.grads` is there, the parameters are not updated yet.
pub const BACKWARD_END: u32 = 8;
/// The step was cancelled; takes the place of step-end.
pub const STEP_CANCELLED: u32 = 9;
/// The epoch was cancelled; epoch-end follows, unless the fit ends too: then this stands in for it.
pub const EPOCH_CANCELLED: u32 = 10;
/// The fit was cancelled; fit-end follows.
pub const FIT_CANCELLED: u32 = 11;
/// Something failed; takes the place of the ends that are still owed to whoever saw a begin.
pub const ERROR: u32 = 12;
/// Every reader of epoch-end has run: state may be saved now.
pub const CHECKPOINT: u32 = 13;
/// Number of standard events.
pub const STANDARD: u32 = 14;
/// Custom events are numbered from here, run by run.
pub const CUSTOM: u32 = 64;

/// Names of the standard events, by number.
pub const NAMES: [&str; STANDARD as usize] = [
    "fit-begin",
    "fit-end",
    "epoch-begin",
    "epoch-end",
    "step-begin",
    "step-end",
    "loss-begin",
    "backward-begin",
    "backward-end",
    "step-cancelled",
    "epoch-cancelled",
    "fit-cancelled",
    "error",
    "checkpoint",
];

/// Kinds of phases.
pub mod phase_kind {
    /// Updates parameters.
    pub const TRAINING: u32 = 0;
    /// Measures; parameters stay as they are.
    pub const VALIDATION: u32 = 1;
    /// Anything else.
    pub const OTHER: u32 = 2;
    /// No phase is running (fit-begin, fit-end).
    pub const NONE: u32 = 3;
}

/// One event, as a callback sees it. Borrowed for the call.
#[repr(C)]
#[derive(StableAbi, Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventRaw {
    /// A number of this module, or a custom one.
    pub kind: u32,
    /// Index of the running phase in the run; `u32::MAX` where none runs.
    pub phase: u32,
    /// A number of [`phase_kind`].
    pub phase_kind: u32,
    /// 0.
    pub reserved: u32,
    /// Epoch of the fit, from 1; 0 before the first.
    pub epoch: u64,
    /// Step within the epoch, from 1; 0 outside steps.
    pub step: u64,
    /// Steps that this phase has begun since the run began, this one included.
    pub total_steps: u64,
    /// Steps that an epoch of this phase has; 0 where unknown.
    pub steps_per_epoch: u64,
}
