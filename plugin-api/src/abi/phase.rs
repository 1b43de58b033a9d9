//! Phases: what a step and an epoch do.

use abi_stable::StableAbi;

use super::{handle::Instance, learner::BatchRaw};

/// Functions of a phase. All `[training]`.
#[repr(C)]
#[derive(StableAbi, Clone, Copy, Debug)]
pub struct PhaseTable {
    /// Called once, when all instances exist and before the first epoch.
    pub init: unsafe extern "C" fn(this: Instance) -> i32,
    /// One step on one batch. The phase itself calls the learner's `step_begin` and `step_end`, and
    /// between them sets `step.yhats` and `step.loss` (write access) and dispatches the events of the
    /// loop.
    pub step: unsafe extern "C" fn(this: Instance, batch: *const BatchRaw) -> i32,
    /// One epoch. The phase itself calls the learner's `epoch_begin` and `epoch_end`. Null: the host
    /// passes every batch to `step`.
    pub epoch: Option<unsafe extern "C" fn(this: Instance) -> i32>,
}
