//! Breadcrumbs: which plugin instance is being called, for what, and where in the run.
//!
//! The caller of a plugin writes them with a few stores into memory that it shares with the
//! [`supervisor`](crate::supervisor), which reads them when the process ends by a signal, exits, or
//! does not return from a call. In a process without a supervisor the memory is private and not
//! read. [`Activity`] says what a call is for, `write` records the names behind the numbers.

mod activity;
mod guard;
pub mod memory;
mod names;

pub use activity::{Activity, location};
pub use guard::{
    CallGuard, HostThread, LastCall, SideCallGuard, begin, call, host_thread, position, side_call,
    unpack, unpack_last,
};
pub use memory::{WORKER_OPTION, command_process};
pub use names::{Line, Names, here, open, write};
