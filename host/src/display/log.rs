//! The log of the process: what people ask to see stands on the screen, above the bars; what
//! happened goes to `log.txt`.
//!
//! Lines of plugins arrive here as well, with the plugin's name in their target. Texts are escaped,
//! and a target that floods is held back, with a line that says how much was left out.

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

/// Lines of one target that are taken in one [`WINDOW`].
const MOST_LINES: u32 = 200;
/// See [`MOST_LINES`].
const WINDOW: Duration = Duration::from_secs(1);
/// Longest line, in characters.
const LONGEST: usize = 4000;

static LOG: OnceLock<HostLog> = OnceLock::new();

/// How much is shown on the screen where `RUST_LOG` is not set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verbosity {
    /// Errors.
    Quiet,
    /// Warnings too.
    Normal,
    /// Information too.
    Verbose,
    /// Everything but traces.
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

/// What is to be done with a line.
#[derive(Debug, PartialEq, Eq)]
enum Pass {
    Yes,
    /// Take it, and say that so many before it were left out.
    After(u32),
    No,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl HostLog {
    /// Becomes the logger of this process. Called once, before anything is logged; a second call
    /// changes nothing.
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

    /// From now on everything of level information and above goes to a file too, until
    /// [`HostLog::close_file`].
    ///
    /// # Errors
    /// Where the file cannot be opened.
    pub fn open_file(path: &Path) -> Result<(), RecordError> {
        let Some(log) = LOG.get() else { return Ok(()) };
        let lines =
            if path.exists() { Lines::reopen(path, None)? } else { Lines::create(path, "")? };
        *lock(&log.file) = Some(lines);
        log::set_max_level(log.filter.filter().max(LevelFilter::Info));
        Ok(())
    }

    /// Writes what is left and closes the file.
    ///
    /// # Errors
    /// Where it cannot be written.
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
        let from = speaker(target).map(|plugin| format!(" [{plugin}]")).unwrap_or_default();
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
            self.show(Level::Error, "", &format!("the log is not written any more: {error}"));
        }
    }
}

/// The plugin that a target names, escaped.
fn speaker(target: &str) -> Option<&str> {
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
            // The next line meets the same disk and reports it.
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
    fn a_flood_is_held_back_and_counted_per_target() {
        let log = log();
        let begin = Instant::now();
        let passed = (0..1000).filter(|_| log.pass("plugin::loud", begin) == Pass::Yes).count();
        assert_eq!(passed, MOST_LINES as usize);
        assert_eq!(log.pass("plugin::calm", begin), Pass::Yes);
        assert_eq!(log.pass("plugin::loud", begin + WINDOW), Pass::After(800));
        assert_eq!(log.pass("plugin::loud", begin + WINDOW), Pass::Yes);
    }

    #[test]
    fn lines_name_the_plugin_and_stay_lines() {
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
            (speaker("plugin::mean::module"), speaker("fluxbay::loader")),
            (Some("mean"), None)
        );
    }
}
