//! The `--in` option and the completion of run names.

use std::ffi::OsStr;
use std::path::PathBuf;

use clap_complete::engine::ArgValueCompleter;

use crate::cli::candidates;
use crate::cli::outcome::Failure;
use crate::cli::run_lookup::{self, RUNS};
use crate::record::{RunEntry, RunIndex};

/// The folder that runs are looked for in.
#[derive(Clone, Debug, clap::Args)]
pub(in crate::cli) struct Place {
    /// The folder that contains the run folders.
    #[arg(long = "in", value_name = "DIR", default_value = RUNS)]
    pub(super) folder: PathBuf,
}

impl Place {
    pub(super) fn index(&self) -> RunIndex {
        RunIndex::read(&self.folder)
    }

    pub(in crate::cli) fn find(&self, text: &OsStr) -> Result<RunEntry, Failure> {
        run_lookup::find_in(&self.index(), text)
    }
}

/// Completes names of runs.
pub(in crate::cli) fn names() -> ArgValueCompleter {
    ArgValueCompleter::new(candidates::runs)
}
