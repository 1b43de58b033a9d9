//! Supervision of the process that runs plugins.
//!
//! Commands that call plugins run in a child process, the worker; the command itself only waits.
//! When a plugin ends the worker (a crash, an abort, `exit`) or a call does not return, the
//! supervisor reads the [`breadcrumb`](crate::breadcrumb) in the memory that both share, reports
//! the instance and the position of the run, writes the outcome into the record of the run, and
//! exits with a failure code. It does not protect memory from plugins; it only makes sure that
//! crashes are reported.
//!
//! [`worker`] is the child's side, `watch` the parent's, `report` the wording.

mod fault;
mod report;
mod watch;
pub mod worker;

pub use watch::{Ended, SAME_SIGNAL, Supervised, supervise};

/// Environment variable that turns supervision off if set to `off`, for debuggers.
pub const VARIABLE: &str = "FLUXBAY_SUPERVISOR";

/// Whether commands run their plugins in a child process.
pub fn is_wanted() -> bool {
    std::env::var_os(VARIABLE).is_none_or(|value| value != "off")
}
