//! The learner: where the run stands, and the step table that the host hands to a phase.
//!
//! All functions are `[training]`. Those under "for phases" may be called only while a phase's
//! `step` or `epoch` runs, and only by that phase: a callback that calls them is refused. `forward`
//! and `loss` are also open to instances with a read grant on `model`, at any time: then nothing is
//! recorded, and the model is in evaluation mode.

use abi_stable::StableAbi;

use super::{event::EventRaw, handle::Handle, text::Text};

/// All models at once, where a function takes the index of one.
pub const ALL: u32 = u32::MAX;

/// Most tensors that a batch has.
pub const FIELDS: usize = 4;

/// One batch: the tensors of its fields, in the data set's order. Field 0 is `xs`, field 1 is `ys`.
///
/// The handles are borrowed: the host keeps them until the step has ended.
#[repr(C)]
#[derive(StableAbi, Clone, Copy, Debug)]
pub struct BatchRaw {
    /// `[samples, ...]` each.
    pub fields: [Handle; FIELDS],
    /// How many of them are there.
    pub field_count: u32,
    /// Number of samples, at least 1; the last batch of an epoch may be smaller.
    pub samples: u32,
    /// Position of the batch in its epoch, from 0.
    pub index: u64,
}

/// Where the run stands.
#[repr(C)]
#[derive(StableAbi, Clone, Copy, Debug)]
pub struct ProgressRaw {
    /// The event's view of it: phase, epoch, step.
    pub at: EventRaw,
    /// Epochs that the fit will run.
    pub epochs: u64,
    /// Samples that an epoch of the running phase reads; 0 where unknown.
    pub samples_per_epoch: u64,
    /// Samples of the current batch; 0 outside steps.
    pub samples: u64,
    /// Phases of the run.
    pub phases: u32,
    /// Models of the run.
    pub models: u32,
}

/// Modes of a forward pass, added up.
pub mod mode {
    /// Operations are recorded for a backward pass.
    pub const RECORDING: u32 = 1;
    /// Dropout drops and batch normalisation uses the batch's own statistics.
    pub const TRAINING: u32 = 2;
}

/// The learner's functions.
#[repr(C)]
#[derive(StableAbi, Clone, Copy, Debug)]
pub struct LearnerTable {
    /// Where the run stands.
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
    /// In a run that is resumed within an epoch, the phase's `epoch` is called anew: its first
    /// `epoch_begin` fires nothing then, and `next_batch` goes on with the first batch that was not
    /// worked on. What an epoch gathers over its steps belongs into the instance's state, not into
    /// local variables.
    pub epoch_begin: unsafe extern "C" fn() -> i32,
    /// The next batch of the epoch; `field_count` 0 after the last.
    pub next_batch: unsafe extern "C" fn(batch: *mut BatchRaw) -> i32,
    /// Ends the epoch that ended with `status`: fires epoch-end, after epoch-cancelled where it was
    /// cancelled.
    ///
    /// Answers what the epoch's caller must see: `OK` also for a cancelled epoch, else the status
    /// that goes on upwards.
    pub epoch_end: unsafe extern "C" fn(status: i32) -> i32,
    /// Runs this phase's own `step` on a batch. For an epoch that drives its own loop.
    pub step: unsafe extern "C" fn(batch: *const BatchRaw) -> i32,

    // -- for phases: the step --
    /// Begins a step: empties the step state, puts the batch's fields there (`step.xs`, `step.ys`),
    /// fires step-begin.
    pub step_begin: unsafe extern "C" fn(batch: *const BatchRaw) -> i32,
    /// Ends the step that ended with `status`: fires step-end, or step-cancelled in its place.
    ///
    /// Answers what the step's caller must see: `OK` also for a cancelled step, else the status
    /// that goes on upwards.
    pub step_end: unsafe extern "C" fn(status: i32) -> i32,
    /// Sends an event, standard or custom, to its subscribers in their order.
    pub dispatch: unsafe extern "C" fn(kind: u32) -> i32,
    /// Runs model `model` on its inputs. Gives at most `capacity` outputs, each one reference for
    /// the caller.
    pub forward: unsafe extern "C" fn(
        model: u32,
        inputs: *const Handle,
        input_count: usize,
        outputs: *mut Handle,
        capacity: usize,
        output_count: *mut usize,
    ) -> i32,
    /// Runs loss `loss` on predictions and targets; gives a tensor with one element.
    pub loss: unsafe extern "C" fn(loss: u32, yhats: Handle, ys: Handle, value: *mut Handle) -> i32,
    /// Gradients of `loss` for the parameters of model `model`, or of [`ALL`], in place of those
    /// that they had; they appear as `step.grads`.
    pub backward: unsafe extern "C" fn(model: u32, loss: Handle) -> i32,
    /// Applies `step.grads` to the parameters of model `model`, or of [`ALL`], with their
    /// optimizers.
    pub update: unsafe extern "C" fn(model: u32) -> i32,
    /// Sets the [`mode`] of forward passes until the end of the step, and answers the one before.
    /// Training phases begin with both, validation phases with neither.
    pub set_mode: unsafe extern "C" fn(mode: u32, old: *mut u32) -> i32,

    // -- for callbacks: steps that leave no trace --
    /// Begins a rehearsal of phase `index`. Only between epochs, such as at fit-begin, and one at a
    /// time.
    pub rehearse_begin: unsafe extern "C" fn(index: u32) -> i32,
    /// Runs one step of the rehearsed phase on its next batch; after the last one it begins anew.
    /// No callback hears of it, nothing is recorded, shown or logged. The step state stays readable
    /// until the next step.
    pub rehearse_step: unsafe extern "C" fn() -> i32,
    /// Ends the rehearsal: parameters, optimizer states, random numbers, counts, the state tree and
    /// the states of phases are what they were when it began. So what the caller wants to keep in
    /// the state tree it writes afterwards.
    pub rehearse_end: unsafe extern "C" fn() -> i32,

    /// Gives memory that is held for later use back to the system; `resident` is what the process
    /// then occupies, in bytes, 0 where unknown.
    pub trim_memory: unsafe extern "C" fn(resident: *mut u64) -> i32,
}
