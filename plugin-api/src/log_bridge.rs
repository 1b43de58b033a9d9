//! `log` in a plugin is a static of the plugin's own: this logger forwards its records to the host.

use std::sync::OnceLock;

use log::{Level, LevelFilter, Log, Metadata, Record};

use crate::{
    abi::{log::LogRecordRaw, text::Text},
    trampoline::calls,
};

struct Bridge {
    plugin: OnceLock<&'static str>,
}

static BRIDGE: Bridge = Bridge { plugin: OnceLock::new() };

impl Log for Bridge {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= log::max_level()
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let text = record.args().to_string();
        calls::log(&LogRecordRaw {
            level: match record.level() {
                Level::Error => 1,
                Level::Warn => 2,
                Level::Info => 3,
                Level::Debug => 4,
                Level::Trace => 5,
            },
            line: record.line().unwrap_or(0),
            target: Text::new(record.target()),
            file: Text::new(record.file().unwrap_or("")),
            plugin: Text::new(self.plugin.get().copied().unwrap_or("")),
            text: Text::new(&text),
        });
    }

    fn flush(&self) {}
}

/// Makes the host the logger of this plugin. Doing it again changes nothing.
pub(crate) fn install(plugin: &'static str) {
    if BRIDGE.plugin.set(plugin).is_ok() && log::set_logger(&BRIDGE).is_ok() {
        log::set_max_level(LevelFilter::Info);
    }
}

/// Follows the host's level: 0 nothing, 1 error ... 5 trace.
pub(crate) fn set_level(level: u32) {
    log::set_max_level(match level {
        0 => LevelFilter::Off,
        1 => LevelFilter::Error,
        2 => LevelFilter::Warn,
        3 => LevelFilter::Info,
        4 => LevelFilter::Debug,
        _ => LevelFilter::Trace,
    });
}
