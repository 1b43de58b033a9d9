//! Errors, and cancelling, as values that travel with `?`.

use std::fmt;

use crate::abi::status;

/// What most functions of this crate give.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a call did not complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Something is wrong: the run ends, or goes on without this instance where `on-error` says so.
    Failed,
    /// The current step ends here; training goes on with the next batch.
    CancelStep,
    /// The current epoch ends here; the next phase goes on.
    CancelEpoch,
    /// The fit ends here, in an orderly way.
    CancelFit,
    /// A plugin panicked on the way.
    Panicked,
}

/// An error, or a request to leave a step, an epoch or the fit, with a text for the person who
/// reads it.
// In a box, so that a `Result` fits into registers where all goes well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error(Box<Inner>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Inner {
    reason: Reason,
    message: String,
}

impl Error {
    /// Something is wrong.
    pub fn new(message: impl Into<String>) -> Error {
        Error::of(Reason::Failed, message.into())
    }

    /// Leaves the current step: return it from a callback or a phase.
    pub fn cancel_step(why: impl Into<String>) -> Error {
        Error::of(Reason::CancelStep, why.into())
    }

    /// Leaves the current epoch.
    pub fn cancel_epoch(why: impl Into<String>) -> Error {
        Error::of(Reason::CancelEpoch, why.into())
    }

    /// Leaves the fit.
    pub fn cancel_fit(why: impl Into<String>) -> Error {
        Error::of(Reason::CancelFit, why.into())
    }

    fn of(reason: Reason, message: String) -> Error {
        Error(Box::new(Inner { reason, message }))
    }

    /// What kind of error it is.
    pub fn reason(&self) -> Reason {
        self.0.reason
    }

    /// The text.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// Puts `what` before the text, as in `reading train.csv: no such file`.
    pub fn context(mut self, what: impl fmt::Display) -> Error {
        self.0.message = format!("{what}: {}", self.0.message);
        self
    }

    pub(crate) fn from_status(code: i32, message: String) -> Error {
        let reason = match code {
            status::CANCEL_STEP => Reason::CancelStep,
            status::CANCEL_EPOCH => Reason::CancelEpoch,
            status::CANCEL_FIT => Reason::CancelFit,
            status::PANIC => Reason::Panicked,
            _ => Reason::Failed,
        };
        Error::of(reason, message)
    }

    pub(crate) fn status(&self) -> i32 {
        match self.0.reason {
            Reason::Failed => status::ERROR,
            Reason::CancelStep => status::CANCEL_STEP,
            Reason::CancelEpoch => status::CANCEL_EPOCH,
            Reason::CancelFit => status::CANCEL_FIT,
            Reason::Panicked => status::PANIC,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl std::error::Error for Error {}

impl From<std::io::Error> for Error {
    fn from(error: std::io::Error) -> Error {
        Error::new(error.to_string())
    }
}

impl From<serde_json::Error> for Error {
    fn from(error: serde_json::Error) -> Error {
        Error::new(error.to_string())
    }
}

impl From<String> for Error {
    fn from(message: String) -> Error {
        Error::new(message)
    }
}

impl From<&str> for Error {
    fn from(message: &str) -> Error {
        Error::new(message)
    }
}

/// Adds to the error of a `Result` what was being done.
pub trait Context<T> {
    /// Puts `what` before the text of the error.
    fn context(self, what: impl fmt::Display) -> Result<T>;
}

impl<T, E: Into<Error>> Context<T> for std::result::Result<T, E> {
    fn context(self, what: impl fmt::Display) -> Result<T> {
        self.map_err(|error| error.into().context(what))
    }
}

/// Returns an [`Error`] with a formatted text: `bail!("{path} has {n} columns, not 4")`.
#[macro_export]
macro_rules! bail {
    ($($arguments:tt)+) => {
        return ::core::result::Result::Err($crate::Error::new(::std::format!($($arguments)+)))
    };
}
