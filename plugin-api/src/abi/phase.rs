//! Phases: what a step and an epoch do.

use abi_stable::StableAbi;

use super::{handle::Instance, learner::BatchRaw};

/// Functions of a phase. All `[training]`.
#[repr(C)]
#[derive(StableAbi, Clone, Copy, Debug)]
pub struct PhaseTable {
    /// Called once when the composition stands and before the first epoch.
    pub init: unsafe extern "C" fn(this: Instance) -> i32,
    /// One step on one batch, between the host's `step_begin` and `step_end`.
    pub step: unsafe extern "C" fn(this: Instance, batch: *const BatchRaw) -> i32,
    /// One epoch, between the host's `epoch_begin` and `epoch_end`. Null: every batch is given to
    /// `step` in turn.
    pub epoch: Option<unsafe extern "C" fn(this: Instance) -> i32>,
}
