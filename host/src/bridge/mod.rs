//! The host's side of the contract: the tables that plugins call, and the calls into theirs.
//!
//! Each function here is thin: it checks pointers, turns them into safe types, asks the
//! [`Runtime`](crate::learner::Runtime) that is calling the plugin on this thread, and turns the
//! answer into a status and a text. No panic of the host leaves it. This is the only part of the
//! learner with `unsafe`; what things mean is decided in [`learner`](crate::learner).

pub(crate) mod ambient;
mod answer;
pub mod call;
mod child;
pub mod dataset;
mod display;
mod host;
mod learner;
mod log;
mod memory;
mod record;
mod setup;
mod state;
mod tensor;

pub use host::HOST;
