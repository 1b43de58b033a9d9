//! The first stage: finds candidates by name.
//!
//! Directories are read in the order of the search path, without their subdirectories; every entry
//! whose name ends in `.so` is a candidate. No file is opened here.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::directories;
use super::report::{Refusal, RefusalReason, SearchOrigin, Stage, serialize_path};

/// One directory of the search path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SearchDir {
    /// The directory.
    pub path: PathBuf,
    /// Where it was named.
    pub origin: SearchOrigin,
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

    /// The search path of a command: `given` (command line), the environment's directories,
    /// `project` (run file), the user's data directory, the executable's directory, the plugins of
    /// its package.
    pub fn standard(given: &[PathBuf], project: &[PathBuf]) -> Self {
        let mut path = Self::new();
        for dir in given {
            path.push(dir, SearchOrigin::CommandLine);
        }
        if let Some(list) = std::env::var_os(PATH_VARIABLE) {
            for dir in std::env::split_paths(&list).filter(|dir| !dir.as_os_str().is_empty()) {
                path.push(dir, SearchOrigin::Environment);
            }
        }
        for dir in project {
            path.push(dir, SearchOrigin::Project);
        }
        if let Some(dir) = directories::user_data_dir() {
            path.push(dir.join("plugins"), SearchOrigin::User);
        }
        if let Some(dir) =
            std::env::current_exe().ok().and_then(|exe| exe.parent().map(Path::to_owned))
        {
            path.push(dir, SearchOrigin::Executable);
        }
        if let Some(dir) = directories::installed("lib/fluxbay/plugins") {
            path.push(dir, SearchOrigin::Executable);
        }
        path
    }

    /// Adds a directory at the end.
    pub fn push(&mut self, dir: impl Into<PathBuf>, origin: SearchOrigin) {
        self.dirs.push(SearchDir { path: dir.into(), origin });
    }

    /// The directories in order.
    pub fn dirs(&self) -> &[SearchDir] {
        &self.dirs
    }
}

/// A file that may be a plugin, judged by its name.
#[derive(Clone, Debug)]
pub struct Candidate {
    pub(super) path: PathBuf,
    pub(super) origin: SearchOrigin,
    /// Index of its directory in the list of those read.
    pub(super) dir: usize,
}

impl Candidate {
    /// A file named by the user rather than found in a directory.
    pub fn named(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), origin: SearchOrigin::CommandLine, dir: 0 }
    }

    /// Where it was found.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The directory that it was found through.
    pub fn origin(&self) -> SearchOrigin {
        self.origin
    }
}

/// The result of reading one directory.
#[derive(Clone, Debug, Serialize)]
pub struct DirReport {
    /// The directory as named.
    #[serde(serialize_with = "serialize_path")]
    pub path: PathBuf,
    /// Where it was named.
    pub origin: SearchOrigin,
    /// Whether it exists.
    pub exists: bool,
    /// Entries whose name ends in `.so`.
    pub candidates: usize,
    /// All other entries.
    pub others: usize,
    /// Why the directory, or some of its files, were skipped.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub refusal: Option<Refusal>,
}

/// Reads the directories of `path`. Returns at most `limit` candidates of each, sorted by the bytes
/// of their names.
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
                        "{} files end in .so; only the first {limit} by name are used",
                        names.len()
                    );
                    report.refusal = Some(refusal(
                        RefusalReason::TooManyFiles,
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
                    report.refusal = Some(refusal(RefusalReason::Unreadable, message, help));
                }
            }
        }
        reports.push(report);
    }
    (candidates, reports)
}

fn refusal(reason: RefusalReason, message: impl Into<String>, help: impl Into<String>) -> Refusal {
    Refusal::new(Stage::Discover, reason, message, help)
}

fn explain(error: &io::Error) -> (String, &'static str) {
    match error.kind() {
        io::ErrorKind::NotFound => {
            ("the directory does not exist".into(), "create it, or correct its name")
        }
        io::ErrorKind::NotADirectory => (
            "it is a file, but a directory is expected".into(),
            "name the directory that holds the plugin",
        ),
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

/// Whether a name is longer than `.so` and ends in it.
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
        path.push(dir.path(), SearchOrigin::User);
        path.push(dir.path().join("."), SearchOrigin::Executable);
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
        path.push("/nonexistent/a", SearchOrigin::CommandLine);
        path.push("/nonexistent/b", SearchOrigin::User);
        let (_, reports) = discover(&path, 100);
        assert_eq!(reports[0].refusal.as_ref().map(|r| r.reason), Some(RefusalReason::Unreadable));
        assert!(reports[1].refusal.is_none() && !reports[1].exists);
    }

    #[test]
    fn beyond_the_limit_the_first_by_name_are_taken_and_it_is_said() {
        let dir = tempfile::tempdir().expect("temporary directory");
        for index in 0..20 {
            touch(&dir.path().join(format!("{index:02}.so")));
        }
        let mut path = SearchPath::new();
        path.push(dir.path(), SearchOrigin::CommandLine);
        let (found, reports) = discover(&path, 5);
        assert_eq!(found.len(), 5);
        assert!(found[4].path().ends_with("04.so"));
        let refusal = reports[0].refusal.as_ref().expect("a limit was hit");
        assert_eq!(refusal.reason, RefusalReason::TooManyFiles);
        assert!(refusal.message.contains("20 files"), "{}", refusal.message);
    }
}
