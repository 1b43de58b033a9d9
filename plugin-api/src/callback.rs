//! Callbacks.

use crate::{Component, Event, Learner, Result};

/// Code that handles events of the training loop.
pub trait Callback: Component {
    /// Called once when the run is composed, before the first event.
    fn init(&mut self, learner: &Learner) -> Result<()> {
        let _ = learner;
        Ok(())
    }

    /// Handles an event that this callback subscribed to. `[training thread]`
    ///
    /// `Err(Error::cancel_fit("why"))` and its siblings leave the step, the epoch or the fit.
    fn on(&mut self, event: &Event, learner: &Learner) -> Result<()>;

    /// How to live with an instance of component `other` (such as `callback/scheduler`) that writes
    /// `path` too.
    fn resolve(&self, other: &str, path: &str) -> Resolution {
        let _ = (other, path);
        Resolution::NotDefined
    }
}

/// How two callbacks that write the same path live together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resolution {
    /// This one has no opinion.
    NotDefined,
    /// The two cannot work in one run.
    Unresolvable,
    /// This one runs first.
    RunFirst,
    /// They do not disturb each other.
    NoConflict,
}
