//! The learner: the loop that drives phases, and everything that a plugin sees of a run.
//!
//! [`session`](crate::session) builds it, [`bridge`](crate::bridge) carries calls between it and
//! the plugins. It is single-threaded. It never opens a plugin, a data file or a terminal: those
//! stand behind the traits of [`ports`].

#![forbid(unsafe_code)]

mod callbacks;
pub mod control;
mod dispatch;
mod epoch;
pub mod events;
mod fit;
pub mod instances;
mod models;
pub mod optimizers;
pub mod ports;
mod position;
pub mod profile;
mod recording;
mod rehearsal;
pub mod runtime;
pub mod saving;
mod setup;
pub mod snapshot;
pub mod state;
mod step;
#[cfg(test)]
mod tests;
mod values;

pub use control::{Ending, FitReport, Flow, Stop, StopKind, StopReason};
pub use instances::{Answers, Components, Declared, Instance, OnError, Prepared};
pub use models::FieldSpecs;
pub use optimizers::OptimizerSlot;
pub use runtime::{Folders, LossSlot, ModelSlot, Parts, PhaseSlot, Ports, Runtime, TIME_IS_UP};
pub use setup::NewInstance;
