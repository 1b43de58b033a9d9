//! Child processes of a run on several: started by the launcher of MPI, or one by one for the
//! communicator of another plugin, and waited for.

use std::ffi::{OsStr, OsString};
use std::io;
use std::process::{Child, Command, ExitStatus, Stdio};

use crate::run_file::RunDescription;

/// The communicator that `--ranks` starts a launcher for.
const MPI: &str = "mpi";
/// Number of a process that was started one by one.
const RANK: &str = "FLUXBAY_RANK";
/// Number of processes.
const RANKS: &str = "FLUXBAY_RANKS";
/// An empty folder of the processes of one run, where they can find each other.
const MEETING: &str = "FLUXBAY_MEETING";

/// How the processes of a run are started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Starter {
    /// By the launcher of MPI that is installed, as `--ranks` does.
    Launcher,
    /// One by one, each with its number in the environment.
    OneByOne,
}

impl Starter {
    /// The one for the communicator of a run; a run without any gets MPI.
    pub(super) fn of(run: &RunDescription) -> Starter {
        match &run.communicator {
            Some(spec) if spec.component != MPI => Starter::OneByOne,
            _ => Starter::Launcher,
        }
    }

    /// Runs this program on `ranks` processes and waits for all of them. Returns how they ended; a
    /// launcher is one process.
    ///
    /// # Errors
    /// If a process cannot be started.
    pub(super) fn run(self, arguments: &[OsString], ranks: usize) -> io::Result<Vec<ExitStatus>> {
        if self == Starter::Launcher || ranks == 1 {
            let mut command = command(arguments);
            if ranks > 1 {
                command.arg("--ranks").arg(ranks.to_string());
            }
            return command.status().map(|status| vec![status]);
        }
        let meeting = tempfile::Builder::new().prefix("fluxbay-ranks-").tempdir()?;
        let start = |rank: usize| {
            command(arguments)
                .env(RANK, rank.to_string())
                .env(RANKS, ranks.to_string())
                .env(MEETING, meeting.path())
                .spawn()
        };
        let mut processes = Processes(Vec::new());
        for rank in 0..ranks {
            processes.0.push(start(rank)?);
        }
        processes.0.iter_mut().map(Child::wait).collect()
    }
}

/// Processes of one run: dropped before all have been waited for, they are ended.
struct Processes(Vec<Child>);

impl Drop for Processes {
    fn drop(&mut self) {
        for process in &mut self.0 {
            // Fails for those that were waited for.
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

fn command(arguments: &[OsString]) -> Command {
    let program = std::env::current_exe();
    let mut command =
        Command::new(program.as_deref().map_or(OsStr::new("fluxbay"), |p| p.as_ref()));
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null());
    command
}
