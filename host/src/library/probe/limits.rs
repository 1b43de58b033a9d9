//! Resource limits of the child.

use rustix::process::{Resource, Rlimit, Signal, setrlimit};

use super::ProbeLimits;

/// Lowers the limits of this process, and has it killed when its parent dies.
pub(super) fn apply(limits: &ProbeLimits) {
    let seconds = limits.time.as_secs().max(1);
    for (resource, soft, hard) in [
        (Resource::Core, 0, 0),
        // Linux sends SIGXCPU at the soft limit, and SIGKILL at the hard one.
        (Resource::Cpu, seconds, seconds + 1),
        (Resource::As, limits.address_space, limits.address_space),
        (Resource::Fsize, 64 << 20, 64 << 20),
        (Resource::Nofile, 256, 256),
    ] {
        // A limit that is already lower stays.
        let maximum = rustix::process::getrlimit(resource).maximum;
        let at_most = |limit: u64| Some(maximum.map_or(limit, |maximum| maximum.min(limit)));
        let _ = setrlimit(resource, Rlimit { current: at_most(soft), maximum: at_most(hard) });
    }
    let _ = rustix::process::set_parent_process_death_signal(Some(Signal::KILL));
}
