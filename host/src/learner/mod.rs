//! The learner: the training loop, and everything of a run that plugins see.
//!
//! [`Runtime`] holds the parts of a run; the loop is in `fit`, `epoch` and `step`, events in
//! `dispatch`, what phases ask for in `models`. [`session`](crate::session) builds it;
//! [`bridge`](crate::bridge) serves the calls of plugins with it, [`calls`](crate::calls) makes the
//! calls into them. It is single-threaded. It opens no plugin, file or terminal: those are behind
//! the traits of [`ports`].

#![forbid(unsafe_code)]

mod applying;
mod assemble;
mod batches;
mod blame;
mod calling;
pub mod control;
mod create;
mod dispatch;
mod epoch;
pub mod events;
mod figures;
mod fit;
pub mod instance;
mod interrupt;
pub mod intervals;
mod measured;
mod measuring;
mod members;
mod memory;
mod metrics;
mod mode;
mod models;
mod optimizers;
mod packing;
mod pausing;
pub mod ports;
mod position;
pub mod profile;
pub mod ranks;
mod recording;
mod references;
pub mod refusal;
mod rehearsal;
mod rehearsing;
mod restore;
mod results;
mod roles;
mod run_data;
pub mod runtime;
pub mod saving;
mod schedules;
mod setup;
pub mod snapshot;
mod span;
pub mod state;
mod step;
mod take_snapshot;
#[cfg(test)]
mod tests;
mod validating;
mod values;

pub use applying::ModelTrace;
pub use control::{Ending, FitReport, Flow, Stop, StopKind, StopReason};
pub use instance::{Components, Declared, Instance, OnError, Prepared, Requested, ResolvedFigure};
pub use interrupt::{Interrupt, TIME_IS_UP};
pub use measured::MeasuredModel;
pub use roles::{Group, LossSlot, ModelSlot, OptimizerSlot, PhaseSlot, Roles};
pub use runtime::{Folders, Ports, Runtime};
pub use setup::{GroupSettings, NewInstance};
