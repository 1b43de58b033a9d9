//! The standard descriptors, and descriptors of the host's own for its output.

use std::{
    fs::File,
    io,
    os::fd::{AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd, RawFd},
    sync::OnceLock,
};

use rustix::{fs, io as descriptor_io};

/// Identity of the file behind a descriptor.
type Identity = (u64, u64);

/// The three standard descriptors: copies above 2, and the files behind them.
#[derive(Debug)]
pub(super) struct Standard {
    kept: [Option<(OwnedFd, Identity)>; 3],
}

fn borrowed(number: RawFd) -> BorrowedFd<'static> {
    // SAFETY: standard descriptors are borrowed for a call only; one that is closed makes the call
    // fail with EBADF, which is handled.
    unsafe { BorrowedFd::borrow_raw(number) }
}

fn identity(descriptor: BorrowedFd<'_>) -> Option<Identity> {
    fs::fstat(descriptor).ok().map(|about| (about.st_dev, about.st_ino))
}

/// A copy of a descriptor with a number above 2, closed in programs that are started.
fn copy_above_2(descriptor: BorrowedFd<'_>) -> Option<OwnedFd> {
    descriptor_io::fcntl_dupfd_cloexec(descriptor, 3).ok()
}

impl Standard {
    pub(super) fn capture() -> Standard {
        let kept = [0, 1, 2].map(|number| {
            let descriptor = borrowed(number);
            Some((copy_above_2(descriptor)?, identity(descriptor)?))
        });
        Standard { kept }
    }

    /// Restores those that were closed or replaced: their numbers, and whether it succeeded.
    pub(super) fn restore(&self) -> Vec<(usize, bool)> {
        let mut changed = Vec::new();
        for (number, kept) in self.kept.iter().enumerate() {
            let Some((copy, before)) = kept else { continue };
            if identity(borrowed(number as RawFd)) == Some(*before) {
                continue;
            }
            // SAFETY: `dup2` replaces one of the standard descriptors, which no `OwnedFd` of the host
            // owns.
            let restored = unsafe { libc::dup2(copy.as_raw_fd(), number as RawFd) } >= 0;
            changed.push((number, restored));
        }
        changed
    }
}

/// A copy of standard output (1) or standard error (2) for the host's own printing, made at the first
/// call. Whatever a plugin does with descriptors 1 and 2, the host prints where it printed before.
///
/// # Errors
/// The descriptor was closed before the host started.
pub fn own_output(number: RawFd) -> io::Result<&'static File> {
    static OWN: [OnceLock<Option<File>>; 2] = [OnceLock::new(), OnceLock::new()];
    let place = &OWN[usize::from(number == 2)];
    let file = place.get_or_init(|| {
        let copy = copy_above_2(borrowed(number))?;
        // SAFETY: the number was just taken from the `OwnedFd` that owned it.
        Some(unsafe { File::from_raw_fd(copy.into_raw_fd()) })
    });
    file.as_ref().ok_or_else(|| io::Error::from_raw_os_error(libc::EBADF))
}

/// Sends what plugins print to standard output to standard error instead, so that it does not mix with
/// data that the host prints there. The host prints to its own copy ([`own_output`]).
pub(super) fn redirect_prints_of_plugins() {
    if own_output(1).is_ok() && own_output(2).is_ok() {
        // SAFETY: `dup2` replaces descriptor 1, which no `OwnedFd` of the host owns.
        unsafe { libc::dup2(2, 1) };
    }
}
