//! The surroundings of the process that belong to the host: floating-point control, working folder,
//! file mode mask, standard descriptors, signals, locale, environment, limits, process number.
//!
//! A plugin runs in the host's process and can change all of these for everyone. The host captures
//! them before it runs code of a plugin, compares them afterwards and restores them
//! ([`Surroundings::restore`]); the caller reports the [`Change`]s together with the plugin's name.
//! Loading a plugin and creating an instance are compared in full. Calls in a step compare what costs
//! next to nothing: [`float::Control`] and [`process::is_copy`].
//!
//! Nothing here knows plugins or calls them.

mod descriptors;
pub mod float;
pub mod process;
mod signals;

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fmt,
    path::PathBuf,
    sync::atomic::{AtomicBool, Ordering},
};

pub use descriptors::own_output;
use descriptors::redirect_prints_of_plugins;

/// What was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum What {
    /// Rounding mode, flush-to-zero or exception masks.
    FloatControl,
    /// The working folder.
    WorkingFolder,
    /// The mask of file modes.
    FileModeMask,
    /// A standard descriptor was closed or replaced.
    StandardDescriptor,
    /// The handler of a signal.
    SignalHandler,
    /// The signals that this thread blocks.
    SignalMask,
    /// The locale.
    Locale,
    /// The environment variables.
    Environment,
    /// A resource limit.
    ResourceLimit,
}

impl What {
    /// A noun for messages.
    pub fn name(self) -> &'static str {
        match self {
            What::FloatControl => "the floating-point control",
            What::WorkingFolder => "the working folder",
            What::FileModeMask => "the file mode mask",
            What::StandardDescriptor => "a standard descriptor",
            What::SignalHandler => "a signal handler",
            What::SignalMask => "the signal mask",
            What::Locale => "the locale",
            What::Environment => "the environment",
            What::ResourceLimit => "a resource limit",
        }
    }
}

/// One thing that differs from what was captured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// What it is.
    pub what: What,
    /// Before and after, for a message.
    pub detail: String,
    /// Whether the captured state holds again.
    pub restored: bool,
}

impl fmt::Display for Change {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let end = if self.restored { "; restored" } else { "; it cannot be restored" };
        write!(out, "{} was changed ({}){end}", self.what.name(), self.detail)
    }
}

/// The surroundings at one moment. Captured and restored on one thread, since floating-point control
/// and signal mask belong to a thread.
#[derive(Debug)]
pub struct Surroundings {
    float: float::Control,
    folder: Option<PathBuf>,
    mode_mask: Option<u32>,
    descriptors: descriptors::Standard,
    signals: signals::Signals,
    locale: Vec<u8>,
    environment: BTreeMap<OsString, OsString>,
    limits: Vec<process::Limit>,
}

impl Surroundings {
    /// Captures the surroundings.
    pub fn capture() -> Surroundings {
        Surroundings {
            float: float::Control::read(),
            folder: std::env::current_dir().ok(),
            mode_mask: process::mode_mask(),
            descriptors: descriptors::Standard::capture(),
            signals: signals::Signals::capture(),
            locale: process::locale(),
            environment: std::env::vars_os().collect(),
            limits: process::limits(),
        }
    }

    /// Compares the surroundings with what was captured, restores what differs, and returns the
    /// differences.
    pub fn restore(&self) -> Vec<Change> {
        let mut changes = Vec::new();
        let mut found = |what, detail: String, restored| {
            changes.push(Change { what, detail, restored });
        };
        let float = float::Control::read();
        if float != self.float {
            self.float.write();
            found(What::FloatControl, float.difference(self.float), true);
        }
        let folder = std::env::current_dir().ok();
        if folder != self.folder {
            let shown = |folder: &Option<PathBuf>| {
                folder.as_ref().map_or("unknown".to_owned(), |path| path.display().to_string())
            };
            let restored =
                self.folder.as_ref().is_some_and(|path| std::env::set_current_dir(path).is_ok());
            let detail = format!("from {} to {}", shown(&self.folder), shown(&folder));
            found(What::WorkingFolder, detail, restored);
        }
        let mode_mask = process::mode_mask();
        if let (Some(before), Some(now)) = (self.mode_mask, mode_mask)
            && before != now
        {
            process::set_mode_mask(before);
            found(What::FileModeMask, format!("from {before:03o} to {now:03o}"), true);
        }
        for (number, restored) in self.descriptors.restore() {
            let name = ["standard input", "standard output", "standard error"][number];
            found(What::StandardDescriptor, format!("{name}, descriptor {number}"), restored);
        }
        for (name, restored) in self.signals.restore_handlers() {
            found(What::SignalHandler, name.to_owned(), restored);
        }
        if self.signals.restore_mask() {
            found(What::SignalMask, "signals that this thread blocks".to_owned(), true);
        }
        let locale = process::locale();
        if locale != self.locale {
            let detail = format!(
                "from {} to {}",
                String::from_utf8_lossy(&self.locale),
                String::from_utf8_lossy(&locale)
            );
            found(What::Locale, detail, process::set_locale(&self.locale));
        }
        let environment: BTreeMap<OsString, OsString> = std::env::vars_os().collect();
        if environment != self.environment {
            let names = process::restore_environment(&self.environment, &environment);
            found(What::Environment, names.join(", "), true);
        }
        for limit in &self.limits {
            if let Some((detail, restored)) = limit.restore() {
                found(What::ResourceLimit, detail, restored);
            }
        }
        changes
    }
}

static WATCHED: AtomicBool = AtomicBool::new(false);

/// Declares that the surroundings of this process belong to the host: from here on they are compared
/// and restored, prints of plugins go to standard error, and forked copies are ended. Called once, at
/// the start of a process that runs plugins; a program that embeds the host decides for itself.
pub fn watch() {
    redirect_prints_of_plugins();
    process::mark_copies();
    WATCHED.store(true, Ordering::Relaxed);
}

/// The surroundings now, if they belong to the host.
pub fn captured() -> Option<Surroundings> {
    WATCHED.load(Ordering::Relaxed).then(Surroundings::capture)
}

/// Runs `call`, which runs code of a plugin, restores what it changed of the surroundings, and logs a
/// warning for each change. `whose` names the plugin and what was called.
///
/// A process that the plugin forked and that comes back here is ended: two processes would write one
/// record.
///
/// Only in a process that called [`watch`]; elsewhere it just calls.
pub fn guarded<T>(whose: impl Fn() -> String, call: impl FnOnce() -> T) -> T {
    let Some(before) = captured() else { return call() };
    let result = call();
    if process::is_copy() {
        end_copy(&whose());
    }
    before.restore_and_warn(whose);
    result
}

impl Surroundings {
    /// As [`Surroundings::restore`]; logs a warning for each change.
    pub fn restore_and_warn(&self, whose: impl Fn() -> String) {
        for change in self.restore() {
            log::warn!("{}: {change}", whose());
        }
    }
}

/// Ends this process, a copy that a plugin forked, with a line on stderr. The original process
/// continues.
#[cold]
#[inline(never)]
pub fn end_copy(whose: &str) -> ! {
    if let Ok(mut output) = own_output(2) {
        let line = format!(
            "warning: {whose}: it called fork, and the new process came back to the host; that process is ended, the run continues\n"
        );
        let _ = std::io::Write::write_all(&mut output, line.as_bytes());
    }
    process::end_copy()
}
