//! `ranks/R.json`: the state of one process of a run on several. Every process writes its own.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{RecordError, Status, Timestamp, atomic};

/// Folder of the files, within that of the run.
pub const FOLDER: &str = "ranks";

/// The state of a process of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct RankState {
    /// Number of the process.
    pub rank: usize,
    /// Number of processes.
    pub ranks: usize,
    /// Process id of the command.
    pub process: u32,
    /// Name of its machine.
    pub host: String,
    /// Status of the process.
    pub status: Status,
    /// Reason of the end; empty while it runs and if it finished.
    #[serde(default)]
    pub reason: String,
    /// Instance that ended it; empty for none.
    #[serde(default)]
    pub by: String,
    /// Whether it could not reach the others any more.
    #[serde(default)]
    pub lost: bool,
    /// Seconds that it waits for the others.
    #[serde(default)]
    pub timeout: f64,
    /// Seconds in calls of the communicator: sending, receiving and waiting for others.
    #[serde(default)]
    pub communicating: f64,
    /// Seconds of these in which it waited until the others sent something, too.
    #[serde(default)]
    pub waiting: f64,
    /// Time of this update.
    pub updated: String,
}

impl RankState {
    /// The state of a process that begins to train.
    pub fn begin(rank: usize, ranks: usize, timeout: f64) -> RankState {
        RankState {
            rank,
            ranks,
            process: crate::breadcrumb::command_process(),
            host: host(),
            status: Status::Running,
            reason: String::new(),
            by: String::new(),
            lost: false,
            timeout,
            communicating: 0.0,
            waiting: 0.0,
            updated: Timestamp::now().rfc3339(),
        }
    }

    /// The file of a rank of the run in `folder`.
    pub fn file(folder: &Path, rank: usize) -> PathBuf {
        folder.join(FOLDER).join(format!("{rank}.json"))
    }

    /// Reads a file; `None` for one that is not there or holds something else.
    pub fn read(path: &Path) -> Option<RankState> {
        serde_json::from_slice(&std::fs::read(path).ok()?).ok()
    }

    /// Replaces the file.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn write(&mut self, path: &Path) -> Result<(), RecordError> {
        self.updated = Timestamp::now().rfc3339();
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(RecordError::io("create", folder))?;
        }
        let mut text = serde_json::to_vec_pretty(self).unwrap_or_default();
        text.push(b'\n');
        atomic::replace(path, &text)
    }

    /// The first failure that an instance caused on another rank than `rank` of the run in `folder`.
    pub fn failure_of_another(folder: &Path, rank: usize) -> Option<RankState> {
        let failed = failures(folder, rank).filter(|state| !state.by.is_empty());
        failed.min_by(|a, b| a.updated.cmp(&b.updated))
    }

    /// Whether another rank than `rank` of the run in `folder` could not reach the others.
    pub fn has_another_given_up(folder: &Path, rank: usize) -> bool {
        failures(folder, rank).any(|state| state.lost)
    }
}

/// The other ranks than `rank` of the run in `folder` that have failed.
fn failures(folder: &Path, rank: usize) -> impl Iterator<Item = RankState> {
    let files = std::fs::read_dir(folder.join(FOLDER)).into_iter().flatten().flatten();
    let states = files.filter_map(|file| RankState::read(&file.path()));
    states.filter(move |state| state.rank != rank && state.status == Status::Failed)
}

/// The name of this machine; empty if the system does not say it.
fn host() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    name.trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_failure_of_another_rank_is_found() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(RankState::failure_of_another(folder.path(), 0), None);
        let mut lost = RankState::begin(4, 5, 60.0);
        (lost.status, lost.lost) = (Status::Failed, true);
        lost.write(&RankState::file(folder.path(), 4)).unwrap();
        // Nobody is to blame for it.
        assert_eq!(RankState::failure_of_another(folder.path(), 0), None);
        assert!(RankState::has_another_given_up(folder.path(), 0));
        assert!(!RankState::has_another_given_up(folder.path(), 4));
        for (rank, by) in [(0, "own"), (1, "first"), (2, "second"), (3, "")] {
            let mut state = RankState::begin(rank, 4, 60.0);
            (state.status, state.by) = (Status::Failed, by.to_owned());
            state.write(&RankState::file(folder.path(), rank)).unwrap();
            std::thread::sleep(std::time::Duration::from_millis(2));
        }
        let first = RankState::failure_of_another(folder.path(), 0).unwrap();
        assert_eq!((first.rank, first.by.as_str()), (1, "first"));
        assert_eq!(RankState::failure_of_another(folder.path(), 1).unwrap().by, "own");
    }
}
