//! Errors of the tensor engine: every wrong input is one of these, never a panic.

use fluxbay_plugin::abi::handle::Handle;
use thiserror::Error;

/// A request that the engine cannot carry out.
#[derive(Debug, Error)]
pub enum TensorError {
    /// The handle names no living tensor of this engine.
    #[error(
        "tensor handle {handle} is {why}: a tensor is valid from the call that returned it until its last reference is released"
    )]
    BadHandle {
        /// The handle as it was passed.
        handle: DisplayHandle,
        /// `stale`, `unknown` or `empty`.
        why: &'static str,
    },
    /// No operation has this code.
    #[error(
        "no tensor operation has the code {code}; this host knows {known} operations (is the plugin newer than the host?)"
    )]
    UnknownOperation {
        /// The code as it was passed.
        code: u32,
        /// How many there are.
        known: usize,
    },
    /// An operation does not accept its inputs or attributes.
    #[error("{operation}: {message}")]
    Operation {
        /// Its name.
        operation: &'static str,
        /// What does not fit, with shapes.
        message: String,
    },
    /// A gradient cannot pass an operation or value.
    #[error("{operation}: {message}")]
    Gradient {
        /// The operation where it stopped, or `backward`.
        operation: &'static str,
        /// Why.
        message: String,
    },
    /// A parameter's path, shape or value does not fit.
    #[error("parameter {path} of model {model}: {message}")]
    Parameter {
        /// The model's name.
        model: String,
        /// The parameter's path.
        path: String,
        /// What does not fit.
        message: String,
    },
    /// Any other wrong request to the engine itself.
    #[error("{0}")]
    Request(String),
    /// candle returned an error.
    #[error("{operation}: {source}")]
    Candle {
        /// What was being done.
        operation: &'static str,
        /// candle's error.
        source: Box<candle_core::Error>,
    },
}

/// A handle printed as `index#generation`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DisplayHandle(pub Handle);

impl std::fmt::Display for DisplayHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}#{}", self.0.0 as u32, self.0.0 >> 32)
    }
}

impl TensorError {
    #[cold]
    #[inline(never)]
    pub(crate) fn request(message: impl Into<String>) -> Box<TensorError> {
        Box::new(TensorError::Request(message.into()))
    }
}

impl From<candle_core::Error> for Box<TensorError> {
    #[cold]
    #[inline(never)]
    fn from(source: candle_core::Error) -> Self {
        Box::new(TensorError::Candle { operation: "candle", source: Box::new(source) })
    }
}

/// Results of the engine. Errors are boxed, so that a successful result fits into registers.
pub type Result<T, E = Box<TensorError>> = std::result::Result<T, E>;
