//! Errors and cancelling, as values that are returned with `?`.

use std::fmt;

use crate::abi::status;

/// The result of most functions of this crate: [`Error`] unless another error type is named.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a call did not complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Something failed: the run ends, or continues without this instance if its `on-error` says so.
    Failed,
    /// Ends the current step; training continues with the next batch.
    CancelStep,
    /// Ends the current epoch; the next phase runs.
    CancelEpoch,
    /// Ends the fit early, without an error.
    CancelFit,
    /// A plugin panicked during the call.
    Panicked,
}

/// An error, or a request to end a step, an epoch or the fit, with a text for the user.
///
/// ```
/// # use fluxbay_plugin::prelude::*;
/// fn first_line(path: &str) -> Result<String> {
///     let text = std::fs::read_to_string(path).context(path)?;
///     match text.lines().next() {
///         Some(line) => Ok(line.to_owned()),
///         None => bail!("{path} is empty"),
///     }
/// }
///
/// assert!(first_line("missing.csv").unwrap_err().message().starts_with("missing.csv: "));
/// assert!(Error::cancel_fit("the loss is low enough").message().contains("low"));
/// ```
// Boxed, so that a `Result` fits into registers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error(Box<Inner>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Inner {
    reason: Reason,
    message: String,
}

impl Error {
    /// An error with a text.
    pub fn new(message: impl Into<String>) -> Error {
        Error::of(Reason::Failed, message.into())
    }

    /// Ends the current step when a callback or a phase returns it. The text is the reason.
    pub fn cancel_step(why: impl Into<String>) -> Error {
        Error::of(Reason::CancelStep, why.into())
    }

    /// Ends the current epoch. The text is the reason.
    pub fn cancel_epoch(why: impl Into<String>) -> Error {
        Error::of(Reason::CancelEpoch, why.into())
    }

    /// Ends the fit. The text is the reason.
    pub fn cancel_fit(why: impl Into<String>) -> Error {
        Error::of(Reason::CancelFit, why.into())
    }

    fn of(reason: Reason, message: String) -> Error {
        Error(Box::new(Inner { reason, message }))
    }

    /// Whether it is an error, a request to end something, or a panic.
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

/// Adds to the error of a `Result` what was being done: `read(path).context(path)?`.
pub trait Context<T> {
    /// Puts `what` before the text of the error.
    ///
    /// # Errors
    /// The error of the result itself.
    fn context(self, what: impl fmt::Display) -> Result<T>;
}

impl<T, E: Into<Error>> Context<T> for std::result::Result<T, E> {
    fn context(self, what: impl fmt::Display) -> Result<T> {
        self.map_err(|error| error.into().context(what))
    }
}

/// Returns an [`Error`](crate::Error) with a formatted text from the function around it:
/// `bail!("{path} has {n} columns, not 4")`. For use in functions that return a
/// [`Result`](crate::Result).
#[macro_export]
macro_rules! bail {
    ($($arguments:tt)+) => {
        return ::core::result::Result::Err($crate::Error::new(::std::format!($($arguments)+)))
    };
}
