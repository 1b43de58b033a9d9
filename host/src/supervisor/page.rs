//! The memory that worker and supervisor share: a page of the worker's static data, backed by an
//! anonymous file.
//!
//! In a process without a supervisor it is ordinary memory that nobody reads, so that leaving a
//! breadcrumb is the same few stores everywhere.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd, RawFd};
use std::sync::atomic::AtomicU64;

/// Bytes of the shared memory: a multiple of every page size in use.
pub const BYTES: usize = 64 << 10;
/// Numbers in it.
const WORDS: usize = BYTES / 8;

/// Places of the numbers.
pub mod word {
    /// Instance and activity of the training thread; 0 while the host itself works.
    pub const NOW: usize = 0;
    /// Calls into plugins so far: tells a long call from many short ones.
    pub const CALLS: usize = 1;
    /// Epoch, from 1.
    pub const EPOCH: usize = 2;
    /// Step, from 1; 0 outside steps.
    pub const STEP: usize = 3;
    /// Number of the running phase; `u32::MAX` for none.
    pub const PHASE: usize = 4;
    /// The worker's own exit code plus 1; 0 until it is done.
    pub const ENDED: usize = 5;
    /// First fatal signal.
    pub const SIGNAL: usize = 6;
    /// Address that it was about.
    pub const ADDRESS: usize = 7;
    /// Thread that met it.
    pub const THREAD: usize = 8;
    /// Stack pointer of that thread; 0 where it is not known.
    pub const STACK: usize = 9;
    /// Thread that called `exit`.
    pub const EXIT_THREAD: usize = 10;
    /// The training thread.
    pub const TRAINING_THREAD: usize = 11;
    /// Milliseconds after which a call that has not returned is ended; 0 for never.
    pub const LIMIT: usize = 12;
    /// Number of the supervisor's process.
    pub const SUPERVISOR: usize = 13;
    /// First of the lanes of other threads: thread, instance and activity, calls.
    pub const LANES: usize = 64;
    /// Numbers of a lane.
    pub const LANE: usize = 3;
    /// How many lanes there are.
    pub const LANE_COUNT: usize = 128;
}

/// See the module.
#[repr(C, align(65536))]
pub struct Page {
    /// The numbers, by [`word`].
    pub words: [AtomicU64; WORDS],
}

/// The page of this process.
pub static PAGE: Page = Page { words: [const { AtomicU64::new(0) }; WORDS] };

/// Number of the calling thread, as the system knows it.
pub fn thread() -> u64 {
    // SAFETY: asks the kernel for a number.
    let thread = unsafe { libc::gettid() };
    u64::from(thread.unsigned_abs())
}

/// Takes over the file that the supervisor handed on as descriptor `number`, and puts it under
/// [`PAGE`]. Called once, before anything leaves a breadcrumb.
///
/// # Errors
/// Where the descriptor is not such a file.
pub fn adopt(number: RawFd) -> io::Result<File> {
    if number <= 2 {
        return Err(io::Error::from(io::ErrorKind::InvalidInput));
    }
    // SAFETY: any number may be asked about; nothing else in this process owns a descriptor that it
    // was started with.
    if unsafe { libc::fcntl(number, libc::F_SETFD, libc::FD_CLOEXEC) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor is open, as was just seen, and the supervisor passed it on for this
    // process to own.
    let file = File::from(unsafe { OwnedFd::from_raw_fd(number) });
    if file.metadata()?.len() < BYTES as u64 {
        return Err(io::Error::from(io::ErrorKind::InvalidData));
    }
    let place = (&raw const PAGE).cast_mut().cast();
    // SAFETY: the place is exactly this static, aligned and sized to whole pages, made of atomics
    // that are all 0 in the file too; nobody else has borrowed more than single atomics of it.
    let mapped = unsafe {
        libc::mmap(
            place,
            BYTES,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_SHARED | libc::MAP_FIXED,
            file.as_raw_fd(),
            0,
        )
    };
    if mapped == libc::MAP_FAILED { Err(io::Error::last_os_error()) } else { Ok(file) }
}

/// Bytes of the numbers that are in use.
pub const USED: usize = 8 * (word::LANES + word::LANE * word::LANE_COUNT);

const _: () =
    assert!(size_of::<Page>() == BYTES && word::LANES + word::LANE * word::LANE_COUNT <= WORDS);
