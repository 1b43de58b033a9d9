//! The rank of this process, as the launcher's environment says it.
//!
//! It is needed before the communicator is opened: only rank 0 keeps a record and shows the run.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::display::{Colors, Look, Screen};
use crate::learner::ranks::Ranks;
use crate::record::{RankState, RunEnd, Status, ranks};
use crate::run_file::RunDescription;
use crate::session::Session;
use crate::supervisor;

/// Variables with the rank of a process, of Open MPI, MPICH and its relatives, PMIx, Slurm, and of
/// launchers that know none of them.
const RANK: [&str; 5] =
    ["OMPI_COMM_WORLD_RANK", "PMI_RANK", "PMIX_RANK", "SLURM_PROCID", "FLUXBAY_RANK"];

/// The rank of this process in a run on several; 0 for a run without a communicator.
pub(super) fn of(run: &RunDescription) -> usize {
    if run.communicator.is_none() { 0 } else { of_environment() }
}

/// The rank of this process, if the run has a communicator; 0 without a launcher.
pub(super) fn of_environment() -> usize {
    rank(|name| std::env::var(name).ok())
}

/// Whether a launcher has started this process.
pub(super) fn is_launched() -> bool {
    // A batch script of Slurm has its variable, too.
    let of_launchers = RANK.iter().filter(|name| **name != "SLURM_PROCID");
    of_launchers.into_iter().any(|name| std::env::var_os(name).is_some())
}

/// The screen of a rank, unless it is the one of the process: only rank 0 shows the run.
pub(super) fn screen(rank: usize) -> Option<Screen> {
    (rank > 0).then(|| Screen::new(Look::Quiet, Colors::Off))
}

/// How long to wait for the report of a rank that no longer answers; its supervisor writes it.
const REPORTED: Duration = Duration::from_secs(2);

/// The file with the state of this process, in a run on several.
pub(super) struct RankFile<'a> {
    ranks: &'a Ranks,
    folder: PathBuf,
    state: RankState,
}

impl<'a> RankFile<'a> {
    /// Writes the state of a process that begins to train; `folder` is that of rank 0's record. `None`
    /// for a run on one process, and if the folder cannot be reached.
    pub(super) fn begin(session: &'a Session, folder: &Path) -> Option<RankFile<'a>> {
        let ranks = session.runtime().ranks().filter(|ranks| ranks.are_several())?;
        if ranks.rank() == 0 {
            // Fails if there is nothing to remove.
            let _ = std::fs::remove_dir_all(folder.join(ranks::FOLDER));
        }
        let folder = match ranks.text_of_first(&folder.to_string_lossy()) {
            Ok(text) => PathBuf::from(text),
            Err(stop) => {
                log::warn!("{stop}");
                return None;
            }
        };
        let mut state =
            RankState::begin(ranks.rank(), ranks.ranks(), session.run().run.rank_timeout);
        let file = RankState::file(&folder, ranks.rank());
        if let Err(error) = state.write(&file) {
            log::warn!("this rank leaves no state in the folder of the run: {error}");
            return None;
        }
        supervisor::worker::rank_in(&file);
        Some(RankFile { ranks, folder, state })
    }

    /// The reason why another rank failed, for an error that only says that it no longer answers.
    pub(super) fn failure(&mut self) -> Option<RankState> {
        if !self.ranks.are_lost() {
            return None;
        }
        // The supervisor of a rank that hangs ends it once another has given up.
        (self.state.status, self.state.lost) = (Status::Failed, true);
        self.state.reason = "it cannot reach the other ranks".to_owned();
        self.write();
        let begin = Instant::now();
        while begin.elapsed() < REPORTED {
            if let Some(state) = RankState::failure_of_another(&self.folder, self.state.rank) {
                return Some(state);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        None
    }

    /// Writes how the process ended.
    pub(super) fn end(mut self, ended: &RunEnd) {
        let state = &mut self.state;
        state.status = ended.status;
        (state.reason, state.by) = (ended.reason.clone(), ended.by.clone());
        state.communicating = self.ranks.communicated().as_secs_f64();
        state.waiting = self.ranks.waited().as_secs_f64();
        self.write();
    }

    fn write(&mut self) {
        let file = RankState::file(&self.folder, self.state.rank);
        if let Err(error) = self.state.write(&file) {
            log::warn!("the state of this rank was not written: {error}");
        }
    }
}

fn rank(variable: impl Fn(&str) -> Option<String>) -> usize {
    RANK.iter().find_map(|name| variable(name)?.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_launcher_says_the_rank_in_its_own_way() {
        assert_eq!(rank(|_| None), 0);
        for name in RANK {
            let of = |asked: &str| (asked == name).then(|| "3".to_owned());
            assert_eq!(rank(of), 3, "{name}");
        }
        assert_eq!(rank(|_| Some("none".to_owned())), 0);
    }
}
