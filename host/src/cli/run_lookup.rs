//! The arguments that name an existing run.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use super::outcome::{Exit, Failure};
use crate::bundle::is_bundle;
use crate::library::escape;
use crate::record::{RunEntry, RunIndex};

/// Folder of the run folders, unless another one is given.
pub(super) const RUNS: &str = "runs";

/// The run that a RUN argument names: a folder, the name of a run below [`RUNS`] or its beginning
/// or end, or `last`.
///
/// # Errors
/// No run matches, or several do.
pub(super) fn find(text: &OsStr) -> Result<RunEntry, Failure> {
    find_in(&RunIndex::read(RUNS.as_ref()), text)
}

/// As [`find`], among the runs of an index.
///
/// # Errors
/// No run matches, or several do.
pub(super) fn find_in(index: &RunIndex, text: &OsStr) -> Result<RunEntry, Failure> {
    let found = match text.to_str() {
        Some(text) => index.find(text),
        // Names of runs are UTF-8, so this can only be a folder.
        None => RunEntry::read(text.as_ref())
            .ok_or_else(|| format!("{} is not a run folder", escape::path(text.as_ref()))),
    };
    found.map_err(|error| Failure::new(Exit::Configuration, error))
}

/// The folder of the bundle or run that an argument names.
///
/// # Errors
/// No run matches, or several do.
pub(super) fn find_model(text: &OsStr) -> Result<PathBuf, Failure> {
    let path = Path::new(text);
    if is_bundle(path) {
        return Ok(path.to_owned());
    }
    find(text).map(|run| run.path)
}
