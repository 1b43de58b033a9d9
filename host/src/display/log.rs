//! The log of the process: lines that pass the filter go to the screen, lines of level info and
//! above to `log.txt` of the run.
//!
//! Log lines of plugins arrive here as well, with the plugin's name as target. Text is escaped. A
//! target that logs too much is limited; a line reports how many were left out.

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{Mutex, MutexGuard, OnceLock, PoisonError},
    time::{Duration, Instant},
};

use log::{Level, LevelFilter, Log, Metadata, Record};

use super::{Screen, screen::Paint};
use crate::{
    library::escape,
    record::{Lines, RecordError, Timestamp},
};

/// Lines of one target that are logged in one [`WINDOW`].
const MOST_LINES: u32 = 200;
/// Time over which [`MOST_LINES`] counts.
const WINDOW: Duration = Duration::from_secs(1);
/// Longest line, in characters.
const LONGEST: usize = 4000;

static LOG: OnceLock<HostLog> = OnceLock::new();

/// What is shown on the screen if `RUST_LOG` is not set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verbosity {
    /// Errors.
    Quiet,
    /// Warnings as well.
    Normal,
    /// Information as well.
    Verbose,
    /// Everything except traces.
    Debug,
}

/// The logger of this process.
pub struct HostLog {
    filter: env_logger::Logger,
    screen: Screen,
    file: Mutex<Option<Lines>>,
    flood: Mutex<BTreeMap<String, Window>>,
}

#[derive(Debug)]
struct Window {
    began: Instant,
    lines: u32,
}

/// What happens to a line.
#[derive(Debug, PartialEq, Eq)]
enum Pass {
    Yes,
    /// It is logged, after a line that reports how many were left out.
    After(u32),
    No,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl HostLog {
    /// Installs the logger of this process. Called once, before anything is logged; a second call
    /// has no effect.
    pub fn install(verbosity: Verbosity, screen: Screen) {
        let default = match verbosity {
            Verbosity::Quiet => "error",
            Verbosity::Normal => "warn",
            Verbosity::Verbose => "info",
            Verbosity::Debug => "debug",
        };
        let filter =
            env_logger::Builder::from_env(env_logger::Env::default().default_filter_or(default))
                .build();
        let log = LOG.get_or_init(|| HostLog {
            filter,
            screen,
            file: Mutex::default(),
            flood: Mutex::default(),
        });
        if log::set_logger(log).is_ok() {
            log::set_max_level(log.filter.filter());
        }
    }

    /// Starts to write lines of level info and above to a file, until [`HostLog::close_file`].
    ///
    /// # Errors
    /// The file cannot be opened.
    pub fn open_file(path: &Path) -> Result<(), RecordError> {
        let Some(log) = LOG.get() else { return Ok(()) };
        let lines =
            if path.exists() { Lines::reopen(path, None)? } else { Lines::create(path, "")? };
        *lock(&log.file) = Some(lines);
        log::set_max_level(log.filter.filter().max(LevelFilter::Info));
        Ok(())
    }

    /// Writes the remaining lines and closes the file.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn close_file() -> Result<(), RecordError> {
        let Some(log) = LOG.get() else { return Ok(()) };
        log::set_max_level(log.filter.filter());
        let lines = lock(&log.file).take();
        lines.map_or(Ok(()), |mut lines| lines.sync().map(drop))
    }

    fn pass(&self, target: &str, now: Instant) -> Pass {
        let mut flood = lock(&self.flood);
        let Some(window) = flood.get_mut(target) else {
            flood.insert(target.to_owned(), Window { began: now, lines: 1 });
            return Pass::Yes;
        };
        if now.duration_since(window.began) >= WINDOW {
            let left_out = window.lines.saturating_sub(MOST_LINES);
            *window = Window { began: now, lines: 1 };
            return if left_out > 0 { Pass::After(left_out) } else { Pass::Yes };
        }
        window.lines = window.lines.saturating_add(1);
        if window.lines > MOST_LINES { Pass::No } else { Pass::Yes }
    }

    fn show(&self, level: Level, target: &str, text: &str) {
        let (paint, name) = match level {
            Level::Error => (Paint::Red, "error"),
            Level::Warn => (Paint::Yellow, "warning"),
            Level::Info => (Paint::Green, "info"),
            Level::Debug => (Paint::Cyan, "debug"),
            Level::Trace => (Paint::Dim, "trace"),
        };
        let name = self.screen.colors().paint(paint, name);
        let from = plugin_of(target).map(|plugin| format!(" [{plugin}]")).unwrap_or_default();
        self.screen.print_always(&format!("{name}{from}: {text}"));
    }

    fn write(&self, level: Level, target: &str, text: &str) {
        let mut file = lock(&self.file);
        let Some(lines) = &mut *file else { return };
        let line = format!(
            "{} {:5} {target}: {text}",
            Timestamp::now().rfc3339(),
            level.as_str().to_ascii_lowercase()
        );
        if let Err(error) = lines.push(|buffer| buffer.extend_from_slice(line.as_bytes())) {
            *file = None;
            drop(file);
            self.show(Level::Error, "", &format!("log.txt is no longer written: {error}"));
        }
    }
}

/// The plugin that a target names.
fn plugin_of(target: &str) -> Option<&str> {
    target.strip_prefix("plugin::").map(|rest| rest.split("::").next().unwrap_or(rest))
}

impl Log for HostLog {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= log::max_level()
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let pass = self.pass(record.target(), Instant::now());
        if pass == Pass::No {
            return;
        }
        let target = escape::text(record.target());
        if let Pass::After(left_out) = pass {
            let text = format!(
                "{left_out} lines were left out: more than {MOST_LINES} in {} s",
                WINDOW.as_secs()
            );
            self.write(Level::Warn, &target, &text);
            self.show(Level::Warn, &target, &text);
        }
        let text: String = record.args().to_string().chars().take(LONGEST).collect();
        let on_screen = self.filter.matches(record);
        if record.level() <= Level::Info || on_screen {
            self.write(record.level(), &target, &escape::text(&text));
        }
        if on_screen {
            self.show(record.level(), &target, &escape::paragraph(&text));
        }
    }

    fn flush(&self) {
        if let Some(lines) = &mut *lock(&self.file) {
            // The next line fails in the same way and reports it.
            let _ = lines.flush();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::display::{Colors, Look};

    fn log() -> HostLog {
        let filter = env_logger::Builder::new().filter_level(LevelFilter::Off).build();
        HostLog {
            filter,
            screen: Screen::new(Look::Quiet, Colors::Off),
            file: Mutex::default(),
            flood: Mutex::default(),
        }
    }

    #[test]
    fn lines_are_limited_and_counted_per_target() {
        let log = log();
        let begin = Instant::now();
        let passed = (0..1000).filter(|_| log.pass("plugin::loud", begin) == Pass::Yes).count();
        assert_eq!(passed, MOST_LINES as usize);
        assert_eq!(log.pass("plugin::calm", begin), Pass::Yes);
        assert_eq!(log.pass("plugin::loud", begin + WINDOW), Pass::After(800));
        assert_eq!(log.pass("plugin::loud", begin + WINDOW), Pass::Yes);
    }

    #[test]
    fn lines_name_the_plugin_and_are_escaped() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log.txt");
        let log = log();
        *lock(&log.file) = Some(Lines::create(&path, "").unwrap());
        log.write(Level::Warn, "plugin::mean::module", &escape::text("two\nlines \x1b[31m"));
        log.flush();
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.ends_with("Z warn  plugin::mean::module: two\\nlines \\x1b[31m\n"), "{text}");
        assert_eq!(text.lines().count(), 1);
        assert_eq!(
            (plugin_of("plugin::mean::module"), plugin_of("fluxbay::loader")),
            (Some("mean"), None)
        );
    }
}
