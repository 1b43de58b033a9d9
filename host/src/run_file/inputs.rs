//! The files and overrides that a run description is read from.

use std::path::PathBuf;

/// The files and overrides of one run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inputs {
    /// Run files; later ones override earlier ones. Without a file, the built-in run.
    pub files: Vec<PathBuf>,
    /// Environment variables; those whose name begins with `FLUXBAY__` set a key
    /// (`FLUXBAY__RUN__EPOCHS=3`).
    pub environment: Vec<(String, String)>,
    /// `kind/name{key = value}` each.
    pub add: Vec<String>,
    /// `key.path=value` each.
    pub set: Vec<String>,
    /// Instance ids.
    pub remove: Vec<String>,
}
