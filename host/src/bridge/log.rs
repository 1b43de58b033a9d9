//! Log lines of plugins, handed to the host's logger.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};

use fluxbay_plugin::abi::log::LogRecordRaw;
use log::{Level, Record};

use crate::calls::bounded;

thread_local! {
    /// Set while a line is on its way: where host and plugin share one `log` (components linked
    /// into the host), the host's logger is the plugin's, and would hand the line back for ever.
    static BUSY: Cell<bool> = const { Cell::new(false) };
}

/// Any thread. Lines below the host's level cost nothing more than the call.
pub unsafe extern "C" fn log(record: *const LogRecordRaw) {
    // SAFETY: the contract lends the record for the call.
    let Some(raw) = (unsafe { record.as_ref() }) else { return };
    let level = match raw.level {
        0 | 1 => Level::Error,
        2 => Level::Warn,
        3 => Level::Info,
        4 => Level::Debug,
        _ => Level::Trace,
    };
    if level > log::max_level() || BUSY.replace(true) {
        return;
    }
    // A logger that panics must not unwind into the plugin.
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        // SAFETY: the contract lends the texts for the call.
        let (target, file, plugin, text) = unsafe {
            (raw.target.to_text(), raw.file.to_text(), raw.plugin.to_text(), raw.text.to_text())
        };
        let target = if target.is_empty() {
            format!("plugin::{plugin}")
        } else {
            format!("plugin::{plugin}::{target}")
        };
        let file = (!file.is_empty()).then_some(&*file);
        let line = (raw.line != 0).then_some(raw.line);
        let text = bounded(&text);
        let arguments = format_args!("{text}");
        log::logger().log(
            &Record::builder()
                .level(level)
                .target(&target)
                .file(file)
                .line(line)
                .args(arguments)
                .build(),
        );
    }));
    BUSY.set(false);
    if let Err(payload) = outcome {
        std::mem::forget(payload);
    }
}
