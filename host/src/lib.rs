//! The fluxbay host.

pub mod learner;
pub mod library;
pub mod tensor;
