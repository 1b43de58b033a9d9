//! The learner: where the run is, and the step table for phases.
//!
//! All functions are `[training]`. Those under "for phases" may be called only while a phase's
//! `step` or `epoch` runs, and only by that phase: a callback that calls them is refused. `forward`
//! and `loss` are also open to instances with a read grant on `model`, at any time: then nothing is
//! recorded, and the model is in evaluation mode.

use abi_stable::StableAbi;

use super::{event::EventRaw, handle::Handle, text::Text};

/// All models at once, where a function takes the index of one.
pub const ALL: u32 = u32::MAX;

/// Largest number of tensors in a batch.
pub const FIELDS: usize = 4;

/// One batch: the tensors of its fields, in the data set's order. Field 0 is `xs`, field 1 is `ys`.
///
/// The handles are borrowed: the host keeps them until the step has ended.
#[repr(C)]
#[derive(StableAbi, Clone, Copy, Debug)]
pub struct BatchRaw {
    /// `[samples, ...]` each.
    pub fields: [Handle; FIELDS],
    /// Number of fields.
    pub field_count: u32,
    /// Number of samples, at least 1; the last batch of an epoch may be smaller.
    pub samples: u32,
    /// Position of the batch in its epoch, counted from 0.
    pub index: u64,
}

/// Where the run is.
#[repr(C)]
#[derive(StableAbi, Clone, Copy, Debug)]
pub struct ProgressRaw {
    /// Phase, epoch and step, as in an event; `kind` has no meaning.
    pub at: EventRaw,
    /// Number of epochs that the fit will run.
    pub epochs: u64,
    /// Number of samples that an epoch of the running phase reads; 0 if unknown.
    pub samples_per_epoch: u64,
    /// Number of samples in the current batch; 0 outside steps.
    pub samples: u64,
    /// Number of phases in the run.
    pub phases: u32,
    /// Number of models in the run.
    pub models: u32,
}

/// Modes of a forward pass, added up.
pub mod mode {
    /// Operations are recorded for a backward pass.
    pub const RECORDING: u32 = 1;
    /// Dropout is active, batch normalisation uses the statistics of the batch.
    pub const TRAINING: u32 = 2;
}

/// The learner's functions.
#[repr(C)]
#[derive(StableAbi, Clone, Copy, Debug)]
pub struct LearnerTable {
    /// Where the run is.
    pub progress: unsafe extern "C" fn(progress: *mut ProgressRaw) -> i32,
    /// Instance id of phase `index`.
    pub phase_name: unsafe extern "C" fn(index: u32, name: *mut Text) -> i32,
    /// What phase `index` is for, a number of [`phase_kind`](super::event::phase_kind).
    pub phase_kind: unsafe extern "C" fn(index: u32, kind: *mut u32) -> i32,
    /// Name of a custom or standard event.
    pub event_name: unsafe extern "C" fn(kind: u32, name: *mut Text) -> i32,
    /// Index of the model called `name`; an empty name means the only one.
    pub model: unsafe extern "C" fn(name: Text, index: *mut u32) -> i32,
    /// Index of the loss called `name`; an empty name means the only one.
    pub loss_index: unsafe extern "C" fn(name: Text, index: *mut u32) -> i32,

    // -- for phases: the epoch --
    /// Begins an epoch: fires epoch-begin.
    ///
    /// A run that is resumed within an epoch calls the phase's `epoch` anew: its first `epoch_begin`
    /// then fires nothing, and `next_batch` returns the first batch after the checkpoint. What an
    /// epoch sums up over its steps belongs into the instance's state, not into local variables.
    pub epoch_begin: unsafe extern "C" fn() -> i32,
    /// The next batch of the epoch; `field_count` 0 after the last.
    pub next_batch: unsafe extern "C" fn(batch: *mut BatchRaw) -> i32,
    /// Ends the epoch that ended with `status`: fires epoch-end, and before it epoch-cancelled if the
    /// epoch was cancelled.
    ///
    /// Returns the status that the phase must return: `OK` also for a cancelled epoch.
    pub epoch_end: unsafe extern "C" fn(status: i32) -> i32,
    /// Runs this phase's own `step` on a batch. For an epoch that drives its own loop.
    pub step: unsafe extern "C" fn(batch: *const BatchRaw) -> i32,

    // -- for phases: the step --
    /// Begins a step: clears the step state, sets `step.xs` and `step.ys` to the batch, fires
    /// step-begin.
    pub step_begin: unsafe extern "C" fn(batch: *const BatchRaw) -> i32,
    /// Ends the step that ended with `status`: fires step-end, or step-cancelled instead.
    ///
    /// Returns the status that the phase must return: `OK` also for a cancelled step.
    pub step_end: unsafe extern "C" fn(status: i32) -> i32,
    /// Calls the subscribers of an event, standard or custom, in their order.
    pub dispatch: unsafe extern "C" fn(kind: u32) -> i32,
    /// Runs model `model` on its inputs. Writes at most `capacity` outputs, each one reference for the
    /// caller. The phase itself sets `step.yhats` with the state table.
    pub forward: unsafe extern "C" fn(
        model: u32,
        inputs: *const Handle,
        input_count: usize,
        outputs: *mut Handle,
        capacity: usize,
        output_count: *mut usize,
    ) -> i32,
    /// Computes loss `loss` of predictions and targets: a tensor with one element. The phase itself
    /// sets `step.loss` with the state table; without it, no callback or metric has a loss.
    pub loss: unsafe extern "C" fn(loss: u32, yhats: Handle, ys: Handle, value: *mut Handle) -> i32,
    /// Computes the gradients of `loss` for the parameters of model `model`, or of [`ALL`], and sets
    /// `step.grads` to them.
    pub backward: unsafe extern "C" fn(model: u32, loss: Handle) -> i32,
    /// Applies `step.grads` to the parameters of model `model`, or of [`ALL`], with their
    /// optimizers.
    pub update: unsafe extern "C" fn(model: u32) -> i32,
    /// Sets the [`mode`] of forward passes until the end of the step; `old` is the mode before.
    /// Training phases begin with both bits, validation phases with none.
    pub set_mode: unsafe extern "C" fn(mode: u32, old: *mut u32) -> i32,

    // -- for callbacks: steps that leave no trace --
    /// Begins a rehearsal of phase `index`. Allowed between epochs only, such as at fit-begin, and one
    /// at a time.
    pub rehearse_begin: unsafe extern "C" fn(index: u32) -> i32,
    /// Runs one step of the rehearsed phase on its next batch; after the last batch the data begins
    /// again. Callbacks do not receive its events, nothing is recorded, displayed or logged. The step
    /// state can be read until the next step.
    pub rehearse_step: unsafe extern "C" fn() -> i32,
    /// Ends the rehearsal: parameters, optimizer states, random numbers, counts, the state tree and
    /// the states of phases are restored to what they were when it began. Values that should stay in
    /// the state tree must be written afterwards.
    pub rehearse_end: unsafe extern "C" fn() -> i32,

    /// Returns cached memory to the system; `resident` is the resident memory of the process
    /// afterwards, in bytes, 0 if unknown.
    pub trim_memory: unsafe extern "C" fn(resident: *mut u64) -> i32,
}
