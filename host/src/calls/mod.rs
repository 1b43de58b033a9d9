//! Calls from the host into the functions of a plugin's component.
//!
//! A [`PluginInstance`] is the plugin's side of one instance. [`PluginInstance::call`] writes the
//! breadcrumb, sets the [`context`] in which host functions answer on this thread, and runs the
//! methods of [`Call`], which turn a status into a [`CallResult`]. Events have a shorter way:
//! [`EventHandler`] and [`EventRound`]. [`dataset`] opens and reads data sets and [`transform`] changes
//! their samples, on any thread; [`sampler`] orders them.
//! [`communicator`] connects the processes of a run.
//!
//! Nothing here knows the learner: what serves host functions is a [`Host`]. Together with
//! [`bridge`](crate::bridge), the functions that plugins call, it contains all unsafe code of
//! training.

mod bounded;
pub mod communicator;
pub mod context;
pub mod dataset;
mod error;
mod event_round;
mod extension;
mod fields;
mod methods;
mod plugin_instance;
pub mod sampler;
pub mod transform;

pub use bounded::{TEXT_LIMIT, bounded};
pub use context::Host;
pub use error::{CallError, CallResult};
pub use event_round::{EventHandler, EventRound};
pub use fields::{DataField, FieldSpecs};
pub use plugin_instance::{Call, PluginInstance};
