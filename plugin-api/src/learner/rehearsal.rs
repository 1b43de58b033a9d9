//! Rehearsals: steps that leave no trace.

use super::Learner;
use crate::{Result, trampoline::calls};

/// A running rehearsal, see [`Learner::rehearse`]. It dereferences to the learner, so that the body
/// reads the step state of the rehearsed steps.
#[derive(Debug)]
pub struct Rehearsal<'a> {
    learner: &'a Learner,
}

impl std::ops::Deref for Rehearsal<'_> {
    type Target = Learner;

    fn deref(&self) -> &Learner {
        self.learner
    }
}

impl Rehearsal<'_> {
    /// Runs one step on the phase's next batch; after the last batch the data begins again. Callbacks
    /// do not receive its events. The step state can be read until the next step.
    ///
    /// # Errors
    /// Those of the phase's step.
    pub fn step(&self) -> Result<()> {
        calls::rehearse_step()
    }
}

impl Learner {
    /// Runs `body` as a rehearsal of phase `phase`: `body` runs steps of that phase which leave no
    /// trace. Allowed between epochs only, such as at fit-begin, and one at a time.
    ///
    /// Afterwards parameters, optimizer states, random numbers, counts, the state tree and the
    /// phases are as they were before, whatever `body` returns. Values that should stay in the state
    /// tree must be written after the rehearsal.
    ///
    /// # Errors
    /// Those of `body`; also if there is no such phase, or a rehearsal is not allowed now.
    pub fn rehearse<T>(
        &self,
        phase: usize,
        body: impl FnOnce(&Rehearsal<'_>) -> Result<T>,
    ) -> Result<T> {
        calls::rehearse_begin(phase as u32)?;
        let result = body(&Rehearsal { learner: self });
        calls::rehearse_end()?;
        result
    }
}
