//! Why a run's record could not be kept or read.

use std::{io, path::Path, path::PathBuf};

use crate::library::shown;

/// An error of the record, with its place and the help.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// The system refused.
    #[error("cannot {doing} {}: {error}{}", shown::path(.path), help(.error))]
    Io {
        /// What was done.
        doing: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The system's answer.
        error: io::Error,
    },
    /// The folder has things in it that are not a run.
    #[error("{} is not empty and holds no run (it has {}): choose an empty or a new folder", shown::path(.path), shown::text(.found))]
    NotOurs {
        /// The folder.
        path: PathBuf,
        /// One thing that is in it.
        found: String,
    },
    /// The folder has a run in it.
    #[error("{} already holds a run ({state}): a run is never overwritten. Choose another folder, or go on with `fluxbay resume {}`", shown::path(.path), shown::path(.path))]
    Occupied {
        /// The folder.
        path: PathBuf,
        /// How that run stands.
        state: String,
    },
    /// The folder is no run.
    #[error("{} holds no run, it has no state.json: `fluxbay runs list` shows the runs there are", shown::path(.path))]
    NoRun {
        /// The folder.
        path: PathBuf,
    },
    /// Another process works in the folder.
    #[error("{} is in use by another process{}: wait for it, or choose another folder", shown::path(.path), holder(.pid))]
    Locked {
        /// The folder.
        path: PathBuf,
        /// Its process id, where it could be read.
        pid: Option<u32>,
    },
    /// A file does not hold what it should.
    #[error("{}: {problem}", shown::path(.path))]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong, and what to do.
        problem: String,
    },
}

impl RecordError {
    /// For `map_err`.
    pub(super) fn io(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> RecordError {
        let path = path.to_owned();
        move |error| RecordError::Io { doing, path, error }
    }
}

fn help(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            ". Make room on the disk; what was written before is whole"
        }
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            ". Choose a folder that can be written to with `--run-dir DIR`"
        }
        _ => "",
    }
}

fn holder(pid: &Option<u32>) -> String {
    pid.map(|pid| format!(" ({pid})")).unwrap_or_default()
}
