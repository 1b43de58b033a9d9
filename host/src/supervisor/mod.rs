//! Keeps watch over the process that runs plugins.
//!
//! Commands that call plugins run in a child process, the worker; the command itself only waits.
//! Before each call into a plugin the worker leaves a breadcrumb in memory that both share: which
//! instance, for what, where in the run. So when a plugin takes the worker down (a crash, an abort,
//! `exit`), or does not return, the supervisor still tells who it was, writes how the run ended
//! into its record, and answers with a code that is no success. Nothing here makes a plugin's
//! memory safe from another's: it makes their ends told.
//!
//! [`crumb`] is what the learner leaves, [`worker`] the child's side, `watch` the parent's,
//! `report` the words.

pub mod crumb;
mod fault;
mod page;
mod report;
mod roster;
mod watch;
pub mod worker;

pub use roster::{Line, write};
pub use watch::{Ended, OPTION, Supervised, supervise};

/// Environment variable that turns it off when set to `off`, for debuggers.
pub const VARIABLE: &str = "FLUXBAY_SUPERVISOR";

/// Whether commands run their plugins in a child process.
pub fn is_wanted() -> bool {
    std::env::var_os(VARIABLE).is_none_or(|value| value != "off")
}
