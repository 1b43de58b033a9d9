//! Counts the log lines of each plugin; the logger of the child process.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use log::{Log, Metadata, Record};

/// Number of lines by plugin.
struct LogCounter(Mutex<BTreeMap<String, usize>>);

static LINES: LogCounter = LogCounter(Mutex::new(BTreeMap::new()));

impl Log for LogCounter {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        let plugin =
            record.target().strip_prefix("plugin::").and_then(|rest| rest.split("::").next());
        if let Some(plugin) = plugin {
            let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            *lines.entry(plugin.to_owned()).or_default() += 1;
        }
    }

    fn flush(&self) {}
}

/// Makes the counter the logger of this process.
pub(super) fn install() {
    if log::set_logger(&LINES).is_ok() {
        log::set_max_level(log::LevelFilter::Info);
    }
}

/// Number of lines that a plugin has logged so far.
pub(super) fn lines(plugin: &str) -> usize {
    LINES.0.lock().unwrap_or_else(PoisonError::into_inner).get(plugin).copied().unwrap_or(0)
}
