//! The result of a call into a plugin.

use fluxbay_plugin::abi::status;

use super::context;

/// A status other than OK, and the error text that came with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallError {
    /// The contract's number.
    pub status: i32,
    /// What the plugin said; may be empty.
    pub text: String,
}

impl CallError {
    /// The error for a status other than OK, with the text that was set since the call began.
    #[cold]
    #[inline(never)]
    pub fn of(status: i32) -> CallError {
        CallError { status, text: context::take_error() }
    }

    /// The text, or a replacement if the plugin gave none.
    pub fn reason(&self) -> &str {
        if self.text.is_empty() { "it gave no reason" } else { &self.text }
    }

    /// An error that the host found in what a call returned.
    #[cold]
    #[inline(never)]
    pub fn new(text: impl Into<String>) -> CallError {
        CallError { status: status::ERROR, text: text.into() }
    }
}

/// What a call returns.
pub type CallResult<T = ()> = Result<T, CallError>;

/// Turns a status into a result.
#[inline]
pub(super) fn check(code: i32) -> CallResult {
    if code == status::OK { Ok(()) } else { Err(CallError::of(code)) }
}
