//! How a step, an epoch or a fit is left before its time: cancelled by a plugin, or failed.
//!
//! Nothing unwinds. A [`Stop`] travels upwards as a value; over the contract it is a status and a
//! text, and the host keeps the value itself aside so that the instance that began it is not
//! forgotten on the way.

use fluxbay_plugin::abi::status;

/// What is left, from the smallest to the largest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum StopKind {
    /// This step.
    CancelStep,
    /// This epoch of this phase.
    CancelEpoch,
    /// The fit, orderly.
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

    /// Whether something failed.
    pub fn is_failure(self) -> bool {
        self >= StopKind::Error
    }
}

/// Why and by whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StopReason {
    /// What is left.
    pub kind: StopKind,
    /// Instance that began it; empty for the host itself.
    pub by: String,
    /// Its component, such as `callback/stop-on-nan`.
    pub component: String,
    /// Its plugin.
    pub plugin: String,
    /// What it was doing, such as `handling step-end in epoch 2, step 17 of phase training`.
    pub doing: String,
    /// Reason or error text.
    pub text: String,
}

/// A reason to stop, on its way up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stop(pub Box<StopReason>);

/// What parts of the loop answer.
pub type Flow<T = ()> = Result<T, Stop>;

impl Stop {
    /// A failure of the host's own making, such as an unreadable file.
    #[cold]
    #[inline(never)]
    pub fn host(text: impl Into<String>) -> Stop {
        Stop(Box::new(StopReason {
            kind: StopKind::Error,
            by: String::new(),
            component: String::new(),
            plugin: String::new(),
            doing: String::new(),
            text: text.into(),
        }))
    }

    /// An orderly end of the fit that the host itself asks for, such as after a signal.
    pub fn fit(text: impl Into<String>) -> Stop {
        let mut stop = Stop::host(text);
        stop.0.kind = StopKind::CancelFit;
        stop
    }

    /// What is left.
    pub fn kind(&self) -> StopKind {
        self.0.kind
    }

    /// The weightier of two.
    pub fn or_worse(self, other: Stop) -> Stop {
        if other.kind() > self.kind() { other } else { self }
    }
}

impl std::fmt::Display for Stop {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let StopReason { kind, by, component, plugin, doing, text } = &*self.0;
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
        if !doing.is_empty() {
            write!(f, " {doing}")?;
        }
        write!(f, ": {text}")
    }
}

impl std::error::Error for Stop {}

/// The first and worst of several outcomes, for places where everybody has to be called.
#[derive(Debug, Default)]
pub struct Worst(Option<Stop>);

impl Worst {
    /// Takes an outcome in.
    pub fn note(&mut self, flow: Flow) {
        if let Err(stop) = flow {
            self.0 = Some(match self.0.take() {
                Some(first) => first.or_worse(stop),
                None => stop,
            });
        }
    }

    /// The outcome of all.
    pub fn flow(self) -> Flow {
        self.0.map_or(Ok(()), Err)
    }
}

/// How a fit ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// All epochs were run.
    Finished,
    /// A plugin, or a signal, ended it early and orderly.
    Stopped {
        /// Why.
        reason: String,
        /// The instance; empty where it was not one.
        by: String,
    },
    /// Something failed.
    Failed(Stop),
}

/// What a fit leaves to say.
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
