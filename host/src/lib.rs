//! The fluxbay host.

pub mod learner;
