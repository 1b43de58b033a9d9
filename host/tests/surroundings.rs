//! Each change of the surroundings is found, named and undone. A test of its own, since it changes
//! the process that it runs in.

use fluxbay::surroundings::{Surroundings, What, float, process};

/// What [`Surroundings::restore`] reports after `misdeed`, and that nothing differs afterwards.
fn after(misdeed: impl FnOnce()) -> Vec<What> {
    let before = Surroundings::capture();
    misdeed();
    let changes = before.restore();
    assert!(changes.iter().all(|change| change.restored), "{changes:?}");
    assert_eq!(before.restore(), [], "the second comparison");
    changes.into_iter().map(|change| change.what).collect()
}

#[test]
fn every_change_of_the_process_is_found_and_undone() {
    #[cfg(target_arch = "x86_64")]
    rounding_and_flushing_are_found_and_undone();
    a_forked_copy_knows_that_it_is_one();

    assert_eq!(after(|| ()), []);
    assert_eq!(after(|| std::env::set_current_dir("/").unwrap()), [What::WorkingFolder]);
    let nothing = rustix::fs::Mode::from_raw_mode(0o777);
    assert_eq!(
        after(|| {
            rustix::process::umask(nothing);
        }),
        [What::FileModeMask]
    );
    let ignore_signals = || {
        // SAFETY: the test runs alone, and restores what it changes.
        unsafe {
            libc::signal(libc::SIGTERM, libc::SIG_IGN);
            libc::signal(libc::SIGUSR1, libc::SIG_IGN);
        }
    };
    assert_eq!(after(ignore_signals), [What::SignalHandler, What::SignalHandler]);
    let block_a_signal = || {
        // SAFETY: as above; the set is initialised before it is used.
        unsafe {
            let mut set = std::mem::zeroed();
            libc::sigemptyset(&raw mut set);
            libc::sigaddset(&raw mut set, libc::SIGINT);
            libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut());
        }
    };
    assert_eq!(after(block_a_signal), [What::SignalMask]);
    let set_a_variable = || {
        // SAFETY: as above.
        unsafe { std::env::set_var("FLUXBAY_TEST_OF_SURROUNDINGS", "1") }
    };
    assert_eq!(after(set_a_variable), [What::Environment]);
    let replace_standard_input = || {
        // SAFETY: as above.
        unsafe { libc::dup2(libc::open(c"/dev/zero".as_ptr(), libc::O_RDONLY), 0) };
    };
    assert_eq!(after(replace_standard_input), [What::StandardDescriptor]);
    let files = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    let fewer = rustix::process::Rlimit { current: Some(64), maximum: files.maximum };
    assert_eq!(
        after(|| rustix::process::setrlimit(rustix::process::Resource::Nofile, fewer).unwrap()),
        [What::ResourceLimit]
    );
}

#[cfg(target_arch = "x86_64")]
fn rounding_and_flushing_are_found_and_undone() {
    let (before, control) = (Surroundings::capture(), float::Control::read());
    // Rounding upward, flush to zero, denormals are zero.
    for (bits, words) in
        [(0x4000_u32, "rounding from to nearest to upward"), (0x8040, "flush to zero on")]
    {
        let mut word = 0_u32;
        // SAFETY: the words are a local variable; the control word is restored below.
        unsafe {
            std::arch::asm!("stmxcsr [{}]", in(reg) &raw mut word, options(nostack));
            word |= bits;
            std::arch::asm!("ldmxcsr [{}]", in(reg) &raw const word, options(nostack));
        }
        assert!(!control.holds());
        let changes = before.restore();
        assert!(control.holds());
        assert_eq!(changes.len(), 1, "{changes:?}");
        assert!(changes[0].to_string().contains(words), "{}", changes[0]);
    }
}

fn a_forked_copy_knows_that_it_is_one() {
    process::mark_copies();
    assert!(!process::is_copy());
    // SAFETY: the child only looks at a flag and ends.
    let status = unsafe {
        let child = libc::fork();
        if child == 0 {
            if process::is_copy() {
                process::end_copy();
            }
            libc::_exit(0);
        }
        let mut status = 0;
        libc::waitpid(child, &raw mut status, 0);
        libc::WEXITSTATUS(status)
    };
    assert_eq!(status, process::COPY_STATUS);
}
