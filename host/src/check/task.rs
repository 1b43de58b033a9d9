//! What the parent tells the child, and what the child answers.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::report::CheckOutcome;

/// The child's argument, as JSON.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Task {
    /// Folder that contains only the copy of the plugin.
    pub front: PathBuf,
    /// Further folders of the search path.
    pub dirs: Vec<PathBuf>,
    /// Hash of the plugin.
    pub sha256: String,
    /// Seed of all generated inputs.
    pub seed: u64,
    /// The author's run files.
    pub runs: Vec<PathBuf>,
    /// First item of the plan to run.
    pub from: usize,
    /// Names of the checks to run; all if empty.
    pub only: Vec<String>,
    /// Folder for the output of trainings.
    pub scratch: PathBuf,
    /// Time for all checks.
    pub budget: Duration,
    /// Time that is left of it.
    pub left: Duration,
    /// Indices of components of which no instance can be created.
    pub without_instance: BTreeSet<usize>,
}

/// A message on the channel, one JSON text per line.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Message {
    /// The plugin was loaded, or refused.
    Loaded,
    /// An item of the plan begins.
    Begin(usize),
    /// It has ended.
    Ended(usize, Box<CheckOutcome>),
    /// All items have ended.
    Done,
}
