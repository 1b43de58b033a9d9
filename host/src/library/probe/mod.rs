//! The probe stage: a child process loads the plugin first.
//!
//! The child is this program with the hidden command `__probe`. It answers over a private
//! descriptor in frames that carry a nonce; the last frame marks the answer as complete, so that
//! output of the plugin is never taken for one. The child runs in its own process group under limits
//! of time, processor, memory and file size, and the whole group is killed at the end. Without a
//! complete answer the plugin is refused.
//!
//! A hostile plugin can find the nonce in its own process: the probe protects from broken plugins,
//! the trust stage from malicious ones.

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

use super::report::{Refusal, RefusalReason, Stage};
use super::store::Stored;

pub use child::run as run_child;

/// Name of the hidden command that is the child.
pub const COMMAND: &str = "__probe";

/// Limits of the child process.
#[derive(Clone, Debug)]
pub struct ProbeLimits {
    /// Time from the start to the answer.
    pub time: Duration,
    /// Resident memory, in bytes.
    pub memory: u64,
    /// Address space, in bytes.
    pub address_space: u64,
    /// Bytes of its output that are kept, counted from the end.
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

/// Environment variable with the time limit of a probe in seconds.
pub const LIMIT_VARIABLE: &str = "FLUXBAY_PROBE_LIMIT";

impl ProbeLimits {
    /// The default limits, with the time of [`LIMIT_VARIABLE`] if that is set. The child of a probe
    /// inherits the variable.
    pub fn of_environment() -> Self {
        let Some(text) = std::env::var_os(LIMIT_VARIABLE) else { return Self::default() };
        Self::with_time(&text.to_string_lossy()).unwrap_or_else(|| {
            log::warn!("{LIMIT_VARIABLE} is no number of seconds from 1 to 3600 and is ignored");
            Self::default()
        })
    }

    fn with_time(seconds: &str) -> Option<Self> {
        let seconds = seconds.trim().parse().ok().filter(|seconds| (1..=3600).contains(seconds))?;
        Some(Self { time: Duration::from_secs(seconds), ..Self::default() })
    }
}

/// Why a plugin failed the probe.
#[derive(Clone, Debug)]
pub struct ProbeFailure {
    /// The refusal.
    pub refusal: Refusal,
    /// The end of its output on stdout and stderr, escaped.
    pub output: String,
}

/// The program that serves as child; set by [`enable`].
static PROGRAM: OnceLock<PathBuf> = OnceLock::new();

/// Enables probing of every plugin that has not passed before. For programs whose hidden command
/// [`COMMAND`] calls [`run_child`]; without this call (as in tests) nothing is probed.
pub fn enable(program: PathBuf) {
    let _ = PROGRAM.set(program);
}

/// The child program, if probing is enabled.
pub fn program() -> Option<&'static PathBuf> {
    PROGRAM.get()
}

fn refuse(reason: RefusalReason, message: impl Into<String>, help: impl Into<String>) -> Refusal {
    Refusal::new(Stage::Probe, reason, message, help)
}

impl Stored {
    /// Loads the plugin in a child process of `program`.
    ///
    /// # Errors
    /// The refusal of the load stage, or `crashed`, `exited`, `timed-out`, `out-of-memory`,
    /// `protocol-error`, or `probe-unavailable`.
    pub fn probe(
        &self,
        program: &std::path::Path,
        limits: &ProbeLimits,
    ) -> Result<(), Box<ProbeFailure>> {
        watch::probe(program, &self.path, limits).map_err(Box::new)
    }
}
