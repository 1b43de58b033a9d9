//! The memory that worker and supervisor share: a static of the worker, backed by an anonymous file.
//!
//! In a process without a supervisor it is ordinary memory, so that writing a breadcrumb takes the
//! same few stores everywhere.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd, RawFd};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// The hidden option that hands the descriptor of the shared memory to the worker.
pub const WORKER_OPTION: &str = "--supervised";
/// Bytes of the shared memory: a multiple of every page size in use.
pub const BYTES: usize = 64 << 10;
/// Numbers in it.
const WORDS: usize = BYTES / 8;

/// Places of the numbers.
pub mod word {
    /// Instance and activity of the training thread; 0 while the host itself works.
    pub const NOW: usize = 0;
    /// Calls into plugins so far, to distinguish one long call from many short ones.
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
    /// Address of the faulting access.
    pub const ADDRESS: usize = 7;
    /// Thread that received it.
    pub const THREAD: usize = 8;
    /// Stack pointer of that thread; 0 if unknown.
    pub const STACK: usize = 9;
    /// Thread that called `exit`.
    pub const EXIT_THREAD: usize = 10;
    /// The training thread.
    pub const TRAINING_THREAD: usize = 11;
    /// Milliseconds after which a call that has not returned is ended; 0 for never.
    pub const LIMIT: usize = 12;
    /// Number of the supervisor's process.
    pub const SUPERVISOR: usize = 13;
    /// First lane of the other threads; its first word is the thread.
    pub const LANES: usize = 64;
    /// Words of a lane.
    pub const LANE: usize = 4;
    /// Within a lane: instance and activity of the call in progress, 0 for none.
    pub const LANE_NOW: usize = 1;
    /// Within a lane: number of calls.
    pub const LANE_CALLS: usize = 2;
    /// Within a lane: instance and activity of the last call, or the kind of a host thread.
    pub const LANE_LAST: usize = 3;
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

/// Process id of the command that the user started: the supervisor's if there is one.
pub fn command_process() -> u32 {
    match u32::try_from(PAGE.words[word::SUPERVISOR].load(Relaxed)) {
        Ok(supervisor) if supervisor != 0 => supervisor,
        _ => std::process::id(),
    }
}

/// The system's id of the calling thread.
pub fn thread() -> u64 {
    // SAFETY: asks the kernel for a number.
    let thread = unsafe { libc::gettid() };
    u64::from(thread.unsigned_abs())
}

/// Whether this process has a thread with this id.
pub fn is_alive(thread: u64) -> bool {
    let Ok(thread) = i32::try_from(thread) else { return false };
    // SAFETY: signal 0 only checks that the thread exists.
    let found = unsafe { libc::syscall(libc::SYS_tgkill, libc::getpid(), thread, 0) };
    found == 0
}

/// Maps the file that the supervisor passed as descriptor `number` over [`PAGE`]. Called once,
/// before the first breadcrumb.
///
/// # Errors
/// If the descriptor is not such a file.
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
    // that are all 0 in the file too; only single atomics of it are borrowed elsewhere.
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
