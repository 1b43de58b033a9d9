//! The first stage: which files of the search path may be plugins.
//!
//! Directories are read in the order of the search path and never entered deeper; a candidate is
//! any entry whose name ends in `.so`. Nothing is opened here.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::report::{Reason, Refusal, Stage};
use super::shown;

/// Which part of the search path a directory comes from; earlier ones win.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Origin {
    /// `--plugin-dir`.
    CommandLine,
    /// `FLUXBAY_PLUGIN_PATH`.
    Environment,
    /// `[plugins] dirs` of the run file.
    Project,
    /// The user's data directory.
    User,
    /// Beside the executable.
    Executable,
}

impl Origin {
    /// How a listing names it.
    pub fn label(self) -> &'static str {
        match self {
            Origin::CommandLine => "--plugin-dir",
            Origin::Environment => "FLUXBAY_PLUGIN_PATH",
            Origin::Project => "run file",
            Origin::User => "user data directory",
            Origin::Executable => "beside the executable",
        }
    }

    /// Whether somebody named this directory, so that its absence is worth a word.
    fn is_named(self) -> bool {
        matches!(self, Origin::CommandLine | Origin::Environment | Origin::Project)
    }
}

/// One directory of the search path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SearchDir {
    /// The directory.
    pub path: PathBuf,
    /// Who named it.
    pub origin: Origin,
}

/// Directories to look for plugins in, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SearchPath {
    dirs: Vec<SearchDir>,
}

/// Name of the environment variable that lists directories.
pub const PATH_VARIABLE: &str = "FLUXBAY_PLUGIN_PATH";

impl SearchPath {
    /// A path without directories.
    pub fn new() -> Self {
        Self::default()
    }

    /// The path of a command: given directories, then the environment's, the run file's, the
    /// user's, and the executable's own.
    pub fn standard(given: &[PathBuf], project: &[PathBuf]) -> Self {
        let mut path = Self::new();
        for dir in given {
            path.push(dir, Origin::CommandLine);
        }
        if let Some(list) = std::env::var_os(PATH_VARIABLE) {
            for dir in std::env::split_paths(&list).filter(|dir| !dir.as_os_str().is_empty()) {
                path.push(dir, Origin::Environment);
            }
        }
        for dir in project {
            path.push(dir, Origin::Project);
        }
        if let Some(dir) = user_data_dir() {
            path.push(dir.join("plugins"), Origin::User);
        }
        if let Some(dir) =
            std::env::current_exe().ok().and_then(|exe| exe.parent().map(Path::to_owned))
        {
            path.push(dir, Origin::Executable);
        }
        path
    }

    /// Adds a directory at the end.
    pub fn push(&mut self, dir: impl Into<PathBuf>, origin: Origin) {
        self.dirs.push(SearchDir { path: dir.into(), origin });
    }

    /// The directories in order.
    pub fn dirs(&self) -> &[SearchDir] {
        &self.dirs
    }
}

/// `$XDG_DATA_HOME/fluxbay` or `~/.local/share/fluxbay`.
fn user_data_dir() -> Option<PathBuf> {
    base_dir("XDG_DATA_HOME", ".local/share")
}

/// `$XDG_CACHE_HOME/fluxbay` or `~/.cache/fluxbay`.
pub fn user_cache_dir() -> Option<PathBuf> {
    base_dir("XDG_CACHE_HOME", ".cache")
}

/// `$XDG_CONFIG_HOME/fluxbay` or `~/.config/fluxbay`.
pub fn user_config_dir() -> Option<PathBuf> {
    base_dir("XDG_CONFIG_HOME", ".config")
}

fn base_dir(variable: &str, below_home: &str) -> Option<PathBuf> {
    // The XDG specification says to ignore a relative path.
    let absolute =
        |value: std::ffi::OsString| Some(PathBuf::from(value)).filter(|path| path.is_absolute());
    let base = std::env::var_os(variable).and_then(absolute);
    let base = base.or_else(|| {
        std::env::var_os("HOME").and_then(absolute).map(|home| home.join(below_home))
    })?;
    Some(base.join("fluxbay"))
}

/// A file that may be a plugin, by its name alone.
#[derive(Clone, Debug)]
pub struct Candidate {
    pub(super) path: PathBuf,
    pub(super) origin: Origin,
    /// Index of its directory in the list of those read.
    pub(super) dir: usize,
}

impl Candidate {
    /// A file named by the user rather than found in a directory.
    pub fn named(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), origin: Origin::CommandLine, dir: 0 }
    }

    /// Where it was found.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The directory that it was found through.
    pub fn origin(&self) -> Origin {
        self.origin
    }
}

/// What came of reading one directory.
#[derive(Clone, Debug, Serialize)]
pub struct DirReport {
    /// The directory as named.
    #[serde(serialize_with = "shown_path")]
    pub path: PathBuf,
    /// Who named it.
    pub origin: Origin,
    /// Whether it is there.
    pub exists: bool,
    /// Entries whose name ends in `.so`.
    pub candidates: usize,
    /// All other entries.
    pub others: usize,
    /// Why it, or a part of it, was not looked at.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub refusal: Option<Refusal>,
}

fn shown_path<S: serde::Serializer>(path: &Path, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&shown::path(path))
}

/// Reads the directories of `path`: at most `limit` candidates of each, sorted by the bytes of
/// their names.
pub(super) fn discover(path: &SearchPath, limit: usize) -> (Vec<Candidate>, Vec<DirReport>) {
    let mut seen = BTreeSet::new();
    let mut candidates = Vec::new();
    let mut reports: Vec<DirReport> = Vec::new();
    for dir in path.dirs() {
        let identity = std::fs::metadata(&dir.path).map(|m| (m.dev(), m.ino()));
        if let Ok(identity) = identity
            && !seen.insert(identity)
        {
            continue;
        }
        let index = reports.len();
        let mut report = DirReport {
            path: dir.path.clone(),
            origin: dir.origin,
            exists: true,
            candidates: 0,
            others: 0,
            refusal: None,
        };
        match read(&dir.path, &mut report.others) {
            Ok(mut names) => {
                names.sort_unstable();
                report.candidates = names.len();
                if names.len() > limit {
                    let message = format!(
                        "{} files end in .so; only the first {limit} by name are looked at",
                        names.len()
                    );
                    report.refusal = Some(refusal(
                        Reason::TooManyFiles,
                        message,
                        "spread them over several directories, or remove those that are no plugins",
                    ));
                    names.truncate(limit);
                }
                candidates.extend(names.into_iter().map(|path| Candidate {
                    path,
                    origin: dir.origin,
                    dir: index,
                }));
            }
            Err(error) => {
                report.exists = error.kind() != io::ErrorKind::NotFound;
                if report.exists || dir.origin.is_named() {
                    let (message, help) = explain(&error);
                    report.refusal = Some(refusal(Reason::Unreadable, message, help));
                }
            }
        }
        reports.push(report);
    }
    (candidates, reports)
}

fn refusal(reason: Reason, message: impl Into<String>, help: impl Into<String>) -> Refusal {
    Refusal::fixed(Stage::Discover, reason, message, help)
}

fn explain(error: &io::Error) -> (String, &'static str) {
    match error.kind() {
        io::ErrorKind::NotFound => {
            ("the directory does not exist".into(), "make it, or correct its name")
        }
        io::ErrorKind::NotADirectory => {
            ("it is not a directory".into(), "name the directory that holds the plugins")
        }
        io::ErrorKind::PermissionDenied => (
            "reading the directory is not permitted".into(),
            "give yourself the right to read it, or leave it out",
        ),
        _ => (
            format!("the directory cannot be read: {error}"),
            "leave it out, or repair the file system",
        ),
    }
}

fn read(dir: &Path, others: &mut usize) -> io::Result<Vec<PathBuf>> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        if has_plugin_name(&entry.file_name()) {
            names.push(entry.path());
        } else {
            *others += 1;
        }
    }
    Ok(names)
}

/// Whether a file is looked at: its name ends in `.so` and is more than that.
fn has_plugin_name(name: &OsStr) -> bool {
    let name = name.as_bytes();
    name.len() > 3 && name.ends_with(b".so")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn touch(path: &Path) {
        fs::write(path, b"").expect("writable");
    }

    #[test]
    fn only_names_ending_in_so_are_candidates_and_they_come_sorted() {
        let dir = tempfile::tempdir().expect("temporary directory");
        for name in ["b.so", "a.so", "c.so.1", ".so", "README"] {
            touch(&dir.path().join(name));
        }
        fs::create_dir(dir.path().join("deeper")).expect("writable");
        touch(&dir.path().join("deeper/d.so"));
        let mut path = SearchPath::new();
        path.push(dir.path(), Origin::User);
        path.push(dir.path().join("."), Origin::Executable);
        let (found, reports) = discover(&path, 100);
        let names: Vec<_> =
            found.iter().map(|c| c.path().file_name().expect("named").to_owned()).collect();
        assert_eq!(names, ["a.so", "b.so"]);
        assert_eq!(reports.len(), 1, "the same directory is read once");
        assert_eq!((reports[0].candidates, reports[0].others), (2, 4));
    }

    #[test]
    fn a_missing_directory_is_reported_only_if_somebody_named_it() {
        let mut path = SearchPath::new();
        path.push("/nonexistent/a", Origin::CommandLine);
        path.push("/nonexistent/b", Origin::User);
        let (_, reports) = discover(&path, 100);
        assert_eq!(reports[0].refusal.as_ref().map(|r| r.reason), Some(Reason::Unreadable));
        assert!(reports[1].refusal.is_none() && !reports[1].exists);
    }

    #[test]
    fn beyond_the_limit_the_first_by_name_are_taken_and_it_is_said() {
        let dir = tempfile::tempdir().expect("temporary directory");
        for index in 0..20 {
            touch(&dir.path().join(format!("{index:02}.so")));
        }
        let mut path = SearchPath::new();
        path.push(dir.path(), Origin::CommandLine);
        let (found, reports) = discover(&path, 5);
        assert_eq!(found.len(), 5);
        assert!(found[4].path().ends_with("04.so"));
        let refusal = reports[0].refusal.as_ref().expect("a limit was hit");
        assert_eq!(refusal.reason, Reason::TooManyFiles);
        assert!(refusal.message.contains("20 files"), "{}", refusal.message);
    }
}
