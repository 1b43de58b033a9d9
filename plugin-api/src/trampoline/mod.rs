//! The crossing between safe Rust and the contract's tables: the only place of this crate, beside
//! `abi`, with `unsafe`.
//!
//! `calls` goes from the plugin to the host; the other files hold, for each kind of component, the
//! functions that the host calls. Each of those catches panics, so that nothing unwinds into the
//! host.

pub mod callback;
pub(crate) mod calls;
pub mod dataset;
mod guard;
pub mod instance;
pub mod logger;
pub mod loss;
pub mod metric;
pub mod model;
pub mod optimizer;
pub mod phase;
pub mod plugin;
pub mod schedule;
