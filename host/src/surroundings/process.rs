//! File mode mask, locale, environment, resource limits, process number.

use std::{
    collections::BTreeMap,
    ffi::{CStr, CString, OsString},
    sync::atomic::{AtomicBool, Ordering},
};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// The file mode mask. The kernel tells it without changing it, so other threads that create files
/// meanwhile are not affected.
pub(super) fn mode_mask() -> Option<u32> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let mask = status.lines().find_map(|line| line.strip_prefix("Umask:"))?;
    u32::from_str_radix(mask.trim(), 8).ok()
}

pub(super) fn set_mode_mask(mask: u32) {
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(mask));
}

/// The name of the locale for all categories.
pub(super) fn locale() -> Vec<u8> {
    // SAFETY: a null name asks for the current locale and changes nothing; the result is a text that
    // stays valid until the next call, and is copied at once.
    unsafe {
        let name = libc::setlocale(libc::LC_ALL, std::ptr::null());
        if name.is_null() { Vec::new() } else { CStr::from_ptr(name).to_bytes().to_vec() }
    }
}

pub(super) fn set_locale(name: &[u8]) -> bool {
    let Ok(name) = CString::new(name) else { return false };
    // SAFETY: the name is a text that this function returned before. Other threads of the host do
    // not use the C library's locale.
    unsafe { !libc::setlocale(libc::LC_ALL, name.as_ptr()).is_null() }
}

/// Restores the environment and returns the names of the variables that differed.
pub(super) fn restore_environment(
    before: &BTreeMap<OsString, OsString>,
    now: &BTreeMap<OsString, OsString>,
) -> Vec<String> {
    let mut names = Vec::new();
    for name in now.keys().chain(before.keys()) {
        if now.get(name) == before.get(name) {
            continue;
        }
        let shown = name.to_string_lossy().into_owned();
        if !names.contains(&shown) {
            names.push(shown);
        }
        // SAFETY: called on the thread that runs plugins, while a plugin is loaded or an instance is
        // created; no other thread of the host reads or writes the environment then.
        unsafe {
            match before.get(name) {
                Some(value) => std::env::set_var(name, value),
                None => std::env::remove_var(name),
            }
        }
    }
    names
}

/// One resource limit.
#[derive(Debug)]
pub(super) struct Limit {
    resource: Resource,
    name: &'static str,
    value: Rlimit,
}

pub(super) fn limits() -> Vec<Limit> {
    [
        (Resource::Nofile, "open files"),
        (Resource::Fsize, "file size"),
        (Resource::As, "address space"),
        (Resource::Data, "data"),
        (Resource::Stack, "stack"),
        (Resource::Cpu, "processor time"),
        (Resource::Core, "core size"),
    ]
    .into_iter()
    .map(|(resource, name)| Limit { resource, name, value: getrlimit(resource) })
    .collect()
}

impl Limit {
    /// Restores the limit where it differs: a message, and whether the limit holds again. A lowered
    /// hard limit can only be raised by a privileged process.
    pub(super) fn restore(&self) -> Option<(String, bool)> {
        let now = getrlimit(self.resource);
        if now == self.value {
            return None;
        }
        let shown =
            |limit: Option<u64>| limit.map_or("unlimited".to_owned(), |limit| limit.to_string());
        let detail =
            format!("{}: from {} to {}", self.name, shown(self.value.current), shown(now.current));
        let restored = setrlimit(self.resource, self.value).is_ok() || {
            let possible = Rlimit { current: now.maximum, maximum: now.maximum };
            let _ = setrlimit(self.resource, possible);
            false
        };
        Some((detail, restored))
    }
}

static IS_COPY: AtomicBool = AtomicBool::new(false);

/// Marks every process that is forked from this one as a copy. Called once, at the start of a process
/// that runs plugins.
pub fn mark_copies() {
    extern "C" fn in_the_copy() {
        IS_COPY.store(true, Ordering::Relaxed);
    }
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        // SAFETY: the handler stores one atomic flag, which is allowed in a forked process.
        unsafe { libc::pthread_atfork(None, None, Some(in_the_copy)) };
    });
}

/// Whether this process is a copy that a plugin made with `fork` and that has come back to the host.
/// One load.
#[inline]
pub fn is_copy() -> bool {
    IS_COPY.load(Ordering::Relaxed)
}

/// Ends a copy at once: no handlers, no buffers, no files of the run are touched.
#[cold]
pub fn end_copy() -> ! {
    // SAFETY: `_exit` ends the process; the original process continues.
    unsafe { libc::_exit(COPY_STATUS) }
}

/// Exit status of a copy that was ended.
pub const COPY_STATUS: i32 = 113;
