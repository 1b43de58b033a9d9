//! Errors of writing and reading the record of a run.

use std::{io, path::Path, path::PathBuf};

use crate::library::escape;

/// An error of the record, with path and help.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// A file operation failed.
    #[error("cannot {doing} {}: {error}{}", escape::path(.path), help(.error))]
    Io {
        /// The operation, such as `write`.
        doing: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The error of the system.
        error: io::Error,
    },
    /// The folder holds other files and no run.
    #[error("{} is not empty and holds no run (it has {}): choose an empty or a new folder", escape::path(.path), escape::text(.found))]
    NotOurs {
        /// The folder.
        path: PathBuf,
        /// One file that is in it.
        found: String,
    },
    /// The folder holds a run.
    #[error("{} already holds a run ({state}): a run is never overwritten. Choose another folder, or continue it with `fluxbay resume {}`", escape::path(.path), escape::path(.path))]
    Occupied {
        /// The folder.
        path: PathBuf,
        /// State of that run.
        state: String,
    },
    /// The folder holds no run.
    #[error("{} holds no run, it has no state.json: `fluxbay runs list` shows all runs", escape::path(.path))]
    NoRun {
        /// The folder.
        path: PathBuf,
    },
    /// Another process uses the folder.
    #[error("{} is in use by another process{}: wait for it, or choose another folder", escape::path(.path), holder(.pid))]
    Locked {
        /// The folder.
        path: PathBuf,
        /// Its process id, if known.
        pid: Option<u32>,
    },
    /// A file has unexpected content.
    #[error("{}: {problem}", escape::path(.path))]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong, and what to do.
        problem: String,
    },
}

impl RecordError {
    /// For `map_err`.
    pub(crate) fn io(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> RecordError {
        let path = path.to_owned();
        move |error| RecordError::Io { doing, path, error }
    }
}

fn help(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            ". Free space on the disk; the files written before are complete"
        }
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            ". Choose a writable folder with `--run-dir DIR`"
        }
        _ => "",
    }
}

fn holder(pid: &Option<u32>) -> String {
    pid.map(|pid| format!(" ({pid})")).unwrap_or_default()
}
