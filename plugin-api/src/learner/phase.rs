//! The learner of a phase: it runs steps and epochs.

use super::{Batch, Learner, Step};
use crate::{Result, Tensor, abi::status, setup::Setup, state::Write, trampoline::calls};

/// The [`Learner`] that a phase receives: it also runs steps and epochs. `[training thread]`
#[derive(Debug)]
pub struct PhaseLearner {
    learner: Learner,
    pub(super) xs: Write<Tensor>,
    pub(super) ys: Write<Tensor>,
    pub(super) yhats: Write<Tensor>,
    pub(super) loss: Write<Tensor>,
}

impl std::ops::Deref for PhaseLearner {
    type Target = Learner;

    fn deref(&self) -> &Learner {
        &self.learner
    }
}

impl PhaseLearner {
    pub(crate) fn new(setup: &mut Setup) -> Result<PhaseLearner> {
        Ok(PhaseLearner {
            learner: Learner::new(),
            xs: setup.write("step.xs")?,
            ys: setup.write("step.ys")?,
            yhats: setup.write("step.yhats")?,
            loss: setup.write("step.loss")?,
        })
    }

    /// Runs one step: clears the step state, sets `step.xs` and `step.ys` to the batch, fires
    /// step-begin, runs `body`, fires step-end.
    ///
    /// If the step is cancelled, step-cancelled is fired instead of step-end and the result is `Ok`:
    /// training continues with the next batch.
    ///
    /// # Errors
    /// Those of `body` and of callbacks, and the cancelling of the epoch or the fit. Return them.
    pub fn run_step(
        &self,
        batch: &Batch,
        body: impl FnOnce(&Step<'_>) -> Result<()>,
    ) -> Result<()> {
        let result = calls::step_begin(batch.raw()).and_then(|()| body(&Step { learner: self }));
        calls::step_end(status_of(result))
    }

    /// Runs one epoch: fires epoch-begin, runs `body`, fires epoch-end.
    ///
    /// If the epoch is cancelled, epoch-cancelled is fired before epoch-end and the result is `Ok`:
    /// the next phase runs.
    ///
    /// # Errors
    /// Those of `body` and of callbacks, and the cancelling of the fit. Return them.
    pub fn run_epoch(&self, body: impl FnOnce(&Epoch<'_>) -> Result<()>) -> Result<()> {
        let result = calls::epoch_begin().and_then(|()| body(&Epoch { learner: self }));
        calls::epoch_end(status_of(result))
    }
}

/// The status of a result. The text of an error is left with the host.
fn status_of(result: Result<()>) -> i32 {
    match result {
        Ok(()) => status::OK,
        Err(error) => calls::leave(&error),
    }
}

/// A running epoch, see [`PhaseLearner::run_epoch`]. It dereferences to the learner.
#[derive(Debug)]
pub struct Epoch<'a> {
    learner: &'a PhaseLearner,
}

impl std::ops::Deref for Epoch<'_> {
    type Target = Learner;

    fn deref(&self) -> &Learner {
        self.learner
    }
}

impl Epoch<'_> {
    /// The next batch of the phase's data; none after the last.
    ///
    /// # Errors
    /// Those of the data set.
    pub fn next_batch(&self) -> Result<Option<Batch>> {
        Ok(calls::next_batch()?.map(Batch::borrowed))
    }
}
