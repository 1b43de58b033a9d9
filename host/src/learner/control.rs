//! Early ends of a step, an epoch or a fit: cancelled by a plugin, or failed.
//!
//! A [`Stop`] is returned as a value; nothing unwinds. Across the contract it is a status and a
//! text; meanwhile the host keeps the value as a [`PendingStop`], so that the instance that caused
//! it is still known when the status comes back.

use std::cell::RefCell;

use fluxbay_plugin::abi::status;

/// The scope that a stop ends, smallest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum StopKind {
    /// This step.
    CancelStep,
    /// This epoch of this phase.
    CancelEpoch,
    /// The fit, in an orderly way.
    CancelFit,
    /// The fit, because something failed.
    Error,
    /// The fit, because a plugin panicked; its instance is not called again.
    Panic,
}

impl StopKind {
    /// The contract's status.
    pub fn status(self) -> i32 {
        match self {
            StopKind::CancelStep => status::CANCEL_STEP,
            StopKind::CancelEpoch => status::CANCEL_EPOCH,
            StopKind::CancelFit => status::CANCEL_FIT,
            StopKind::Error => status::ERROR,
            StopKind::Panic => status::PANIC,
        }
    }

    /// From the contract's status; unknown numbers count as an error.
    pub fn from_status(code: i32) -> StopKind {
        match code {
            status::CANCEL_STEP => StopKind::CancelStep,
            status::CANCEL_EPOCH => StopKind::CancelEpoch,
            status::CANCEL_FIT => StopKind::CancelFit,
            status::PANIC => StopKind::Panic,
            _ => StopKind::Error,
        }
    }

    /// Whether it is a failure.
    pub fn is_failure(self) -> bool {
        self >= StopKind::Error
    }
}

/// The cause of a stop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StopReason {
    /// The scope that ends.
    pub kind: StopKind,
    /// Instance that caused it; empty for the host itself.
    pub by: String,
    /// Its component, such as `callback/stop-on-nan`.
    pub component: String,
    /// Its plugin.
    pub plugin: String,
    /// What it was doing, such as `handling step-end in epoch 2, step 17 of phase training`.
    pub activity: String,
    /// Reason or error text.
    pub text: String,
}

/// A reason to stop, on its way up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stop(pub Box<StopReason>);

/// What parts of the loop return.
pub type Flow<T = ()> = Result<T, Stop>;

impl Stop {
    /// A failure of the host itself, such as an unreadable file.
    #[cold]
    #[inline(never)]
    pub fn host(text: impl Into<String>) -> Stop {
        Stop(Box::new(StopReason {
            kind: StopKind::Error,
            by: String::new(),
            component: String::new(),
            plugin: String::new(),
            activity: String::new(),
            text: text.into(),
        }))
    }

    /// An orderly end of the fit that the host itself asks for, such as after a signal.
    pub fn fit(text: impl Into<String>) -> Stop {
        let mut stop = Stop::host(text);
        stop.0.kind = StopKind::CancelFit;
        stop
    }

    /// An engine's error in an operation that the loop itself asked for.
    #[cold]
    #[inline(never)]
    pub fn engine(error: impl std::fmt::Display) -> Stop {
        Stop::host(error.to_string())
    }

    /// The error for a step that was cancelled while none was running.
    pub(super) fn outside_a_step(mut self) -> Stop {
        self.0.kind = StopKind::Error;
        self.0.text = format!("it cancelled a step where none was running ({})", self.0.text);
        self
    }

    /// The error for an epoch that was cancelled while none was running.
    pub(super) fn outside_an_epoch(mut self) -> Stop {
        self.0.kind = StopKind::Error;
        self.0.text = format!("it cancelled an epoch where none was running ({})", self.0.text);
        self
    }

    /// The scope that ends.
    pub fn kind(&self) -> StopKind {
        self.0.kind
    }

    /// The one that ends the larger scope; `self` if both end the same.
    pub fn or_worse(self, other: Stop) -> Stop {
        if other.kind() > self.kind() { other } else { self }
    }
}

impl std::fmt::Display for Stop {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let StopReason { kind, by, component, plugin, activity, text } = &*self.0;
        if by.is_empty() {
            return f.write_str(text);
        }
        let verb = match kind {
            StopKind::CancelStep => "cancelled the step",
            StopKind::CancelEpoch => "cancelled the epoch",
            StopKind::CancelFit => "ended the fit",
            StopKind::Error => "failed",
            StopKind::Panic => "panicked",
        };
        write!(f, "`{by}` ({component} of {plugin}) {verb}")?;
        if !activity.is_empty() {
            write!(f, " {activity}")?;
        }
        write!(f, ": {text}")
    }
}

impl std::error::Error for Stop {}

/// Collects the outcomes of calls that are all made, whatever the others return: the worst counts,
/// and of equals the first.
#[derive(Debug, Default)]
pub struct Worst(Option<Stop>);

impl Worst {
    /// Adds an outcome.
    pub fn note(&mut self, flow: Flow) {
        if let Err(stop) = flow {
            self.0 = Some(match self.0.take() {
                Some(first) => first.or_worse(stop),
                None => stop,
            });
        }
    }

    /// The worst outcome.
    pub fn flow(self) -> Flow {
        self.0.map_or(Ok(()), Err)
    }
}

/// A stop that is kept while its status passes through a plugin.
#[derive(Debug, Default)]
pub struct PendingStop(RefCell<Option<Stop>>);

impl PendingStop {
    /// Keeps a stop.
    pub fn set(&self, stop: Stop) {
        *self.0.borrow_mut() = Some(stop);
    }

    /// Takes the stop if its status, or another failure, came back: a panic passes through other
    /// instances as an error.
    pub fn take(&self, kind: StopKind) -> Option<Stop> {
        let same =
            |stop: &Stop| stop.kind() == kind || (stop.kind().is_failure() && kind.is_failure());
        self.0.borrow_mut().take().filter(same)
    }

    /// Drops the stop.
    #[inline]
    pub fn clear(&self) {
        self.0.take();
    }
}

/// How a fit ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// All epochs were run.
    Finished,
    /// A plugin, or a signal, ended it early, in an orderly way.
    Stopped {
        /// Why.
        reason: String,
        /// The instance; empty where it was not one.
        by: String,
    },
    /// Something failed.
    Failed(Stop),
}

/// The result of a fit.
#[derive(Clone, Debug, PartialEq)]
pub struct FitReport {
    /// How it ended.
    pub ending: Ending,
    /// Epochs of all phases that were completed, over the life of the learner.
    pub epochs: u64,
    /// Last value of each epoch metric, as (phase, name, value), in the order in which they first
    /// appeared.
    pub metrics: Vec<(String, String, f64)>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_survive_the_contract() {
        for kind in [
            StopKind::CancelStep,
            StopKind::CancelEpoch,
            StopKind::CancelFit,
            StopKind::Error,
            StopKind::Panic,
        ] {
            assert_eq!(StopKind::from_status(kind.status()), kind);
        }
        assert_eq!(StopKind::from_status(4711), StopKind::Error);
    }

    #[test]
    fn the_worst_wins_and_among_equals_the_first() {
        let mut worst = Worst::default();
        worst.note(Ok(()));
        worst.note(Err(Stop::fit("first")));
        worst.note(Err(Stop::host("second")));
        worst.note(Err(Stop::host("third")));
        assert_eq!(worst.flow().unwrap_err().0.text, "second");
    }
}
