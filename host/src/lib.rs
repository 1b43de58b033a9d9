//! The fluxbay host.

pub mod bridge;
pub mod learner;
pub mod library;
pub mod loader;
pub mod tensor;
