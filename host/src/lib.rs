//! The fluxbay host.

pub mod bridge;
pub mod check;
pub mod cli;
pub mod compose;
pub mod display;
pub mod durable;
pub mod learner;
pub mod library;
pub mod loader;
pub mod record;
pub mod run_file;
pub mod session;
pub mod supervisor;

/// Tensors of a run: handles, operations with gradients, parameters, random numbers. A crate of its
/// own, so that a change of the host compiles without the kernels.
pub use fluxbay_tensor as tensor;
