//! Signal handlers of the process and the signal mask of a thread.

use std::mem::MaybeUninit;

/// Signals whose handlers are the host's, and their names.
const WATCHED: [(i32, &str); 14] = [
    (libc::SIGHUP, "SIGHUP"),
    (libc::SIGINT, "SIGINT"),
    (libc::SIGQUIT, "SIGQUIT"),
    (libc::SIGILL, "SIGILL"),
    (libc::SIGABRT, "SIGABRT"),
    (libc::SIGBUS, "SIGBUS"),
    (libc::SIGFPE, "SIGFPE"),
    (libc::SIGUSR1, "SIGUSR1"),
    (libc::SIGSEGV, "SIGSEGV"),
    (libc::SIGUSR2, "SIGUSR2"),
    (libc::SIGPIPE, "SIGPIPE"),
    (libc::SIGTERM, "SIGTERM"),
    (libc::SIGCHLD, "SIGCHLD"),
    (libc::SIGXFSZ, "SIGXFSZ"),
];

/// Flag that the C library adds to every action that it sets.
const SA_RESTORER: i32 = 0x0400_0000;

/// Handlers and mask at one moment.
pub(super) struct Signals {
    handlers: [libc::sigaction; WATCHED.len()],
    mask: libc::sigset_t,
}

impl std::fmt::Debug for Signals {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Signals").finish_non_exhaustive()
    }
}

fn handler(signal: i32) -> libc::sigaction {
    let mut action = MaybeUninit::zeroed();
    // SAFETY: without a new action the call only writes the current one; all zeros are a valid
    // `sigaction` for the case that it fails.
    unsafe {
        libc::sigaction(signal, std::ptr::null(), action.as_mut_ptr());
        action.assume_init()
    }
}

fn mask() -> libc::sigset_t {
    let mut set = MaybeUninit::zeroed();
    // SAFETY: without a new mask the call only writes the current one.
    unsafe {
        libc::pthread_sigmask(libc::SIG_BLOCK, std::ptr::null(), set.as_mut_ptr());
        set.assume_init()
    }
}

/// Whether both sets hold the same of the signals that have names.
fn same_mask(one: &libc::sigset_t, other: &libc::sigset_t) -> bool {
    // SAFETY: both sets were initialised by `pthread_sigmask`.
    (1..=64)
        .all(|signal| unsafe { libc::sigismember(one, signal) == libc::sigismember(other, signal) })
}

impl Signals {
    pub(super) fn capture() -> Signals {
        Signals { handlers: WATCHED.map(|(signal, _)| handler(signal)), mask: mask() }
    }

    /// Restores handlers that were replaced: the names of their signals, and whether it succeeded.
    pub(super) fn restore_handlers(&self) -> Vec<(&'static str, bool)> {
        let mut changed = Vec::new();
        for ((signal, name), before) in WATCHED.iter().zip(&self.handlers) {
            let now = handler(*signal);
            let same_flags = (now.sa_flags ^ before.sa_flags) & !SA_RESTORER == 0;
            if now.sa_sigaction == before.sa_sigaction && same_flags {
                continue;
            }
            // SAFETY: the action is one that was in force before.
            let restored = unsafe { libc::sigaction(*signal, before, std::ptr::null_mut()) } == 0;
            changed.push((*name, restored));
        }
        changed
    }

    /// Restores the mask of the calling thread: whether it differed.
    pub(super) fn restore_mask(&self) -> bool {
        if same_mask(&mask(), &self.mask) {
            return false;
        }
        // SAFETY: the mask is one that was in force before.
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &self.mask, std::ptr::null_mut()) };
        true
    }
}
