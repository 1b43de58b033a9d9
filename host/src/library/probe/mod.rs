//! The probe stage: a child process loads the plugin first.
//!
//! The child is this program again (`fluxbay __probe`). It answers over a private descriptor, in
//! frames that carry a nonce, the last of which says that the answer is complete; whatever the
//! plugin prints is no answer. It runs in a process group of its own, under limits of time,
//! processor, memory and file size, and the whole group is killed and reaped at the end, however
//! that comes. There is no fallback: without a complete answer the plugin is refused.
//!
//! A hostile plugin can still find the nonce in its own process, so this protects from broken
//! plugins, not from malicious ones: those must not get past the trust stage.

mod child;
mod frame;
mod limits;
#[cfg(test)]
mod tests;
mod verdict;
mod watch;

use std::path::PathBuf;
use std::sync::OnceLock;
use std::time::Duration;

use super::report::{Reason, Refusal, Stage};
use super::store::Stored;

pub use child::run as run_child;

/// Name of the hidden command that is the child.
pub const COMMAND: &str = "__probe";

/// What a probed plugin may use up.
#[derive(Clone, Debug)]
pub struct ProbeLimits {
    /// From start to answer.
    pub time: Duration,
    /// Resident memory, in bytes.
    pub memory: u64,
    /// Address space, in bytes.
    pub address_space: u64,
    /// Bytes of its output that are kept, from the end.
    pub output: usize,
}

impl Default for ProbeLimits {
    fn default() -> Self {
        Self {
            time: Duration::from_secs(10),
            memory: 2 << 30,
            address_space: 64 << 30,
            output: 4 << 10,
        }
    }
}

/// Why a plugin did not pass, with what it printed last.
#[derive(Clone, Debug)]
pub struct Failure {
    /// What happened.
    pub refusal: Refusal,
    /// The end of what it wrote to stdout and stderr, printable.
    pub output: String,
}

/// The program that serves as child; set by [`enable`].
static PROGRAM: OnceLock<PathBuf> = OnceLock::new();

/// Makes `load` probe every plugin that has not passed before. Called by a program whose hidden
/// command [`COMMAND`] calls [`run_child`]; in others, such as tests, re-executing the program
/// would do something else.
pub fn enable(program: PathBuf) {
    let _ = PROGRAM.set(program);
}

/// The child program, where probing is enabled.
pub fn program() -> Option<&'static PathBuf> {
    PROGRAM.get()
}

fn refuse(reason: Reason, message: impl Into<String>, help: impl Into<String>) -> Refusal {
    Refusal::fixed(Stage::Probe, reason, message, help)
}

impl Stored {
    /// Lets a child process, which is `program`, load the plugin.
    ///
    /// # Errors
    /// What loading would be refused for, or `crashed`, `exited`, `timed-out`, `out-of-memory`,
    /// `protocol-error`, or `probe-unavailable`.
    pub fn probe(
        &self,
        program: &std::path::Path,
        limits: &ProbeLimits,
    ) -> Result<(), Box<Failure>> {
        watch::probe(program, &self.path, limits).map_err(Box::new)
    }
}
