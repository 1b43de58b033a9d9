//! The host functions that plugins call: one table per topic, all in [`HOST`].
//!
//! Each function is thin: it checks pointers, turns them into safe types, asks the
//! [`Runtime`](crate::learner::Runtime) of the call in progress on this thread, and turns the
//! answer into a status and an error text. Panics of the host are caught here. The learner decides
//! what things mean; calls in the other direction are in [`calls`](crate::calls).

mod anomaly;
mod answer;
mod child;
mod display;
mod figures;
mod freezing;
mod host;
mod learner;
mod log;
mod memory;
mod packing;
mod position;
mod record;
mod setup;
mod state;
mod tensor;

pub use host::HOST;
