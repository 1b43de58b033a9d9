//! Callbacks.

use crate::{Component, Event, Learner, Result};

/// Code that handles events of the training loop. `[training thread]`
///
/// The events that it subscribes to, and the state paths that it reads and writes, are declared in
/// [`plugin!`](crate::plugin!). The crate's [front page](crate) shows a whole callback.
pub trait Callback: Component {
    /// Called once, when all instances exist and before the first event. State may be written.
    ///
    /// # Errors
    /// The run does not start.
    fn init(&mut self, learner: &Learner) -> Result<()> {
        let _ = learner;
        Ok(())
    }

    /// Handles an event that this callback subscribes to.
    ///
    /// # Errors
    /// [`Error::cancel_step`](crate::Error::cancel_step), `cancel_epoch` and `cancel_fit` end the
    /// step, the epoch or the fit. Any other error ends the run, or disables this instance if its
    /// `on-error` says so.
    fn on(&mut self, event: &Event, learner: &Learner) -> Result<()>;

    /// How this instance gets along with an instance of component `other` (such as
    /// `callback/scheduler`) that also writes `path`. Called while the run is composed, once per
    /// shared path; no function of the host may be called.
    fn resolve(&self, other: &str, path: &str) -> Resolution {
        let _ = (other, path);
        Resolution::NotDefined
    }
}

/// How two callbacks that write the same path get along.
///
/// One answer is enough. Two answers that contradict each other, or none, are a conflict that the
/// host reports before the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resolution {
    /// This callback does not decide it.
    NotDefined,
    /// The two cannot be in one run.
    Unresolvable,
    /// This callback runs first.
    RunFirst,
    /// They do not disturb each other, in any order.
    NoConflict,
}
