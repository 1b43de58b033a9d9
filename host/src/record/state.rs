//! `state.json`: how a run stands or how it ended, in one small file that is always whole.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::{Moment, RecordError, atomic};

/// Number of the file's form.
const FORMAT: u32 = 1;

/// How a run stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// It is training; or it was killed, where no process holds the folder any more.
    Running,
    /// All epochs were run.
    Finished,
    /// A plugin ended it early and orderly.
    Stopped,
    /// Something failed.
    Failed,
    /// A signal ended it.
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
    /// Number of the file's form.
    pub format: u32,
    /// How the run stands.
    pub status: Status,
    /// Why it ended; empty while it runs and where it finished.
    #[serde(default)]
    pub reason: String,
    /// Instance that ended it; empty where it was none.
    #[serde(default)]
    pub by: String,
    /// The process' exit code; none while it runs.
    pub exit_code: Option<u8>,
    /// Epoch that was reached, from 1; 0 before the first.
    pub epoch: u64,
    /// Step within it that was reached.
    pub step: u64,
    /// When it began.
    pub started: String,
    /// When this was written.
    pub updated: String,
    /// Process that runs or ran it.
    pub process: u32,
    /// How often it was resumed.
    #[serde(default)]
    pub resumed: u32,
}

impl RunState {
    /// A run that begins now.
    pub fn begin() -> RunState {
        let now = Moment::now().rfc3339();
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
            process: crate::supervisor::worker::process(),
            resumed: 0,
        }
    }

    /// Reads the file.
    ///
    /// # Errors
    /// Where it cannot be read, or is of another form.
    pub fn read(path: &Path) -> Result<RunState, RecordError> {
        let text = std::fs::read(path).map_err(RecordError::io("read", path))?;
        let content = |problem| RecordError::Content { path: path.to_owned(), problem };
        let state: RunState = serde_json::from_slice(&text)
            .map_err(|error| content(format!("is no state of a run: {error}")))?;
        if state.format > FORMAT {
            let problem = format!(
                "has form {}, this host reads up to {FORMAT}: use the newer host that wrote it",
                state.format
            );
            return Err(content(problem));
        }
        Ok(state)
    }

    /// Replaces the file.
    ///
    /// # Errors
    /// Where the system refuses; the old file is untouched then.
    pub fn write(&mut self, path: &Path) -> Result<(), RecordError> {
        self.updated = Moment::now().rfc3339();
        let mut text = serde_json::to_vec_pretty(self).unwrap_or_default();
        text.push(b'\n');
        atomic::replace(path, &text)
    }
}
