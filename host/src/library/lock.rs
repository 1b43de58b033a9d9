//! `plugins.lock`: names, versions and hashes of the plugins that a run may use.
//!
//! The file lies beside the run file. With `--locked`, a plugin that it does not name, or whose
//! hash differs, is refused before any of its code runs.

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::escape;
use super::file::Sha256;
use super::inspect::Inspected;
use super::report::{Refusal, RefusalReason, Stage};

/// Name of the file.
pub const FILE_NAME: &str = "plugins.lock";
/// Version of the file's format.
const VERSION: u32 = 1;
/// Size limit of the file, in bytes.
const MAX_BYTES: u64 = 4 << 20;

/// Why a lock file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// It does not exist or cannot be read.
    #[error("{}: the lock file cannot be read: {source}; write it with `fluxbay lock`", escape::path(.path))]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is no valid lock file.
    #[error("{}: {problem}; write it again with `fluxbay lock`", escape::path(.path))]
    Invalid {
        /// The file.
        path: PathBuf,
        /// What is wrong, with line and column where known.
        problem: String,
    },
}

/// One plugin of the lock file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pinned {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Hash of its bytes, in hexadecimal.
    pub sha256: String,
}

/// Contents of the file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LockFile {
    version: u32,
    #[serde(default)]
    plugin: Vec<Pinned>,
}

/// The plugins that a run may use.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lock {
    plugins: Vec<Pinned>,
}

impl Lock {
    /// A lock of these plugins.
    pub fn of<'a>(plugins: impl IntoIterator<Item = &'a Inspected>) -> Self {
        let pinned = plugins.into_iter().map(|plugin| Pinned {
            name: plugin.manifest().plugin.name.clone(),
            version: plugin.manifest().plugin.version.clone(),
            sha256: plugin.sha256().hex(),
        });
        let mut plugins: Vec<Pinned> = pinned.collect();
        plugins.sort();
        plugins.dedup();
        Self { plugins }
    }

    /// The pinned plugins, by name.
    pub fn plugins(&self) -> &[Pinned] {
        &self.plugins
    }

    /// Reads a lock file.
    ///
    /// # Errors
    /// [`LockError`].
    pub fn read(path: &Path) -> Result<Self, LockError> {
        let unreadable = |source| LockError::Unreadable { path: path.to_owned(), source };
        let length = fs::metadata(path).map_err(unreadable)?.len();
        if length > MAX_BYTES {
            let problem = format!("it has {length} bytes; at most {MAX_BYTES} are read");
            return Err(LockError::Invalid { path: path.to_owned(), problem });
        }
        let text = fs::read_to_string(path).map_err(unreadable)?;
        Self::parse(&text).map_err(|problem| LockError::Invalid { path: path.to_owned(), problem })
    }

    /// Reads the text of a lock file.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let file: LockFile = toml::from_str(text).map_err(|error| {
            let start = error.span().map_or(0, |span| span.start.min(text.len()));
            let line = 1 + text.as_bytes()[..start].iter().filter(|byte| **byte == b'\n').count();
            let message: Vec<&str> = error.message().lines().map(str::trim).collect();
            format!("line {line}: {}", escape::text(&message.join(", ")))
        })?;
        if file.version != VERSION {
            return Err(format!(
                "version {} of the lock file is not known; this host reads {VERSION}",
                file.version
            ));
        }
        if let Some(wrong) =
            file.plugin.iter().find(|plugin| Sha256::from_hex(&plugin.sha256).is_none())
        {
            return Err(format!(
                "the sha256 of plugin {} is not 64 hexadecimal digits",
                escape::text(&wrong.name)
            ));
        }
        Ok(Self { plugins: file.plugin })
    }

    /// The text of the lock file.
    pub fn to_text(&self) -> String {
        let mut out = format!(
            "# Written by `fluxbay lock`. Keep it with the run file.\nversion = {VERSION}\n"
        );
        for Pinned { name, version, sha256 } in &self.plugins {
            let _ = write!(
                out,
                "\n[[plugin]]\nname = {name:?}\nversion = {version:?}\nsha256 = {sha256:?}\n"
            );
        }
        out
    }

    /// Checks that the lock has the plugin's name and hash.
    ///
    /// # Errors
    /// `not-locked`.
    pub(super) fn check(&self, plugin: &Inspected) -> Result<(), Refusal> {
        let (name, sha256) = (&plugin.manifest().plugin.name, plugin.sha256().hex());
        let mut same_name = self.plugins.iter().filter(|pinned| pinned.name == *name).peekable();
        let refuse = |message: String| {
            let help =
                "install the pinned release, or pin this one with `fluxbay lock` if you mean it";
            Err(Refusal::new(Stage::Trust, RefusalReason::NotLocked, message, help))
        };
        let Some(first) = same_name.peek().copied() else {
            return refuse(format!("the lock file does not name the plugin {name}"));
        };
        if same_name.any(|pinned| pinned.sha256 == sha256) {
            return Ok(());
        }
        let (pinned, version) = (&first.version, &plugin.manifest().plugin.version);
        refuse(format!(
            "the lock file pins {name} {pinned} with sha256 {}, this is {version} with {sha256}",
            first.sha256
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::library::{Catalog, Manifest};

    fn catalog() -> Catalog {
        let manifest = |name: &str| {
            let text = format!(
                r#"{{"schema":1,"contract":"1.0","plugin":{{"name":"{name}","version":"1.0.0-rc.1"}}}}"#
            );
            Manifest::parse(&text).expect("good")
        };
        Catalog::described([manifest("b"), manifest("a")])
    }

    fn of(plugins: &[crate::library::PluginEntry]) -> Lock {
        Lock::of(plugins.iter().map(|plugin| plugin.trusted().inspected()))
    }

    #[test]
    fn what_is_written_reads_back_sorted() {
        let lock = of(catalog().plugins());
        assert_eq!(lock.plugins().iter().map(|p| p.name.as_str()).collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(Lock::parse(&lock.to_text()), Ok(lock));
    }

    #[test]
    fn other_bytes_and_other_plugins_are_refused_with_both_hashes() {
        let catalog = catalog();
        let plugin = |index: usize| catalog.plugins()[index].trusted().inspected();
        let mut lock = of(&catalog.plugins()[..1]);
        assert_eq!(lock.check(plugin(0)), Ok(()));
        assert_eq!(lock.check(plugin(1)).map_err(|r| r.reason), Err(RefusalReason::NotLocked));
        let other = Sha256::of(b"other").hex();
        lock.plugins[0].sha256.clone_from(&other);
        let refusal = lock.check(plugin(0)).expect_err("other bytes");
        assert!(
            refusal.message.contains(&other) && refusal.message.contains(&plugin(0).sha256().hex()),
            "{refusal}"
        );
    }

    #[test]
    fn a_damaged_lock_file_is_an_error_and_never_an_empty_lock() {
        for text in [
            "",
            "version = 2",
            "version = 1\n[[plugin]]\nname = \"a\"",
            "version = 1\nplugins = []",
            "\u{1b}",
        ] {
            assert!(Lock::parse(text).is_err(), "{text:?}");
        }
        let problem = Lock::parse("version = 1\nname = [\n").expect_err("no TOML");
        assert!(problem.contains("line ") && !problem.contains('\n'), "{problem}");
        let short = "version = 1\n[[plugin]]\nname = \"a\"\nversion = \"1.0.0\"\nsha256 = \"ab\"";
        assert!(Lock::parse(short).is_err_and(|problem| problem.contains("64 hexadecimal digits")));
        assert!(matches!(
            Lock::read(Path::new("/nonexistent/plugins.lock")),
            Err(LockError::Unreadable { .. })
        ));
    }
}
