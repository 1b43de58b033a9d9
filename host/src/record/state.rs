//! `state.json`: the state of a run, in one small file that is replaced atomically.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::{RecordError, Timestamp, atomic};

/// Version of the format.
const FORMAT: u32 = 1;

/// Status of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// In progress; or killed, if no process has the folder locked.
    Running,
    /// All epochs are done.
    Finished,
    /// Stopped early by a plugin.
    Stopped,
    /// Ended by an error.
    Failed,
    /// Ended by a signal.
    Interrupted,
}

impl Status {
    /// The name in the file.
    pub fn name(self) -> &'static str {
        match self {
            Status::Running => "running",
            Status::Finished => "finished",
            Status::Stopped => "stopped",
            Status::Failed => "failed",
            Status::Interrupted => "interrupted",
        }
    }
}

/// The content of `state.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct RunState {
    /// Version of the format.
    pub format: u32,
    /// Status of the run.
    pub status: Status,
    /// Reason of the end; empty while it runs and if it finished.
    #[serde(default)]
    pub reason: String,
    /// Instance that ended it; empty for none.
    #[serde(default)]
    pub by: String,
    /// Exit code of the process; `None` while it runs.
    pub exit_code: Option<u8>,
    /// Current epoch, from 1; 0 before the first.
    pub epoch: u64,
    /// Current step of the epoch.
    pub step: u64,
    /// Start of the run.
    pub started: String,
    /// Time of this update.
    pub updated: String,
    /// Process id.
    pub process: u32,
    /// Number of times it was resumed.
    #[serde(default)]
    pub resumed: u32,
}

impl RunState {
    /// The state of a run that starts now.
    pub fn begin() -> RunState {
        let now = Timestamp::now().rfc3339();
        RunState {
            format: FORMAT,
            status: Status::Running,
            reason: String::new(),
            by: String::new(),
            exit_code: None,
            epoch: 0,
            step: 0,
            started: now.clone(),
            updated: now,
            process: crate::breadcrumb::command_process(),
            resumed: 0,
        }
    }

    /// Reads the file.
    ///
    /// # Errors
    /// If it cannot be read, or has a newer format.
    pub fn read(path: &Path) -> Result<RunState, RecordError> {
        let text = std::fs::read(path).map_err(RecordError::io("read", path))?;
        let content = |problem| RecordError::Content { path: path.to_owned(), problem };
        let state: RunState = serde_json::from_slice(&text)
            .map_err(|error| content(format!("is not the state of a run: {error}")))?;
        if state.format > FORMAT {
            let problem = format!(
                "has format {}, this host reads up to {FORMAT}: use the newer host that wrote it",
                state.format
            );
            return Err(content(problem));
        }
        Ok(state)
    }

    /// Replaces the file.
    ///
    /// # Errors
    /// If the file cannot be written; then the old file is untouched.
    pub fn write(&mut self, path: &Path) -> Result<(), RecordError> {
        self.updated = Timestamp::now().rfc3339();
        let mut text = serde_json::to_vec_pretty(self).unwrap_or_default();
        text.push(b'\n');
        atomic::replace(path, &text)
    }
}
