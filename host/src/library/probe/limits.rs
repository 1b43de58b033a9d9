//! Resource limits of the child.

use rustix::process::{Resource, Rlimit, Signal, setrlimit};

use super::ProbeLimits;

/// Lowers the limits of this process, and has it killed when its parent dies.
pub(super) fn apply(limits: &ProbeLimits) {
    let seconds = limits.time.as_secs().max(1);
    for (resource, limit) in [
        (Resource::Core, 0),
        (Resource::Cpu, seconds),
        (Resource::As, limits.address_space),
        (Resource::Fsize, 64 << 20),
        (Resource::Nofile, 256),
    ] {
        // A limit that is already lower stays.
        let known = rustix::process::getrlimit(resource);
        let limit = known.maximum.map_or(limit, |maximum| maximum.min(limit));
        let _ = setrlimit(resource, Rlimit { current: Some(limit), maximum: Some(limit) });
    }
    let _ = rustix::process::set_parent_process_death_signal(Some(Signal::KILL));
}
