//! The fluxbay host.

pub mod cli;
pub mod learner;
pub mod library;
pub mod tensor;
