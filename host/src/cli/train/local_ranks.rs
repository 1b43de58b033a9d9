//! `--ranks N`: the command again, as several processes of this machine, by the MPI launcher that is
//! installed.

use std::ffi::{OsStr, OsString};
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use super::rank;
use crate::cli::outcome::{Exit, Failure};

/// Launchers, in the order in which they are tried.
pub(in crate::cli) const LAUNCHERS: [&str; 4] =
    ["mpirun", "mpiexec", "mpirun.openmpi", "mpiexec.hydra"];
/// The option.
const OPTION: &str = "--ranks";
/// What connects the processes.
const COMMUNICATOR: &str = "communicator.component=\"mpi\"";

/// Replaces this process by the launcher; returns only if that fails.
pub(in crate::cli) fn launch(ranks: usize) -> Failure {
    let configuration = |text: String| Failure::new(Exit::Configuration, text);
    if rank::is_launched() {
        return configuration(
            "a launcher has started this process already: leave out `--ranks`".to_owned(),
        );
    }
    let Some((launcher, more)) = LAUNCHERS.iter().find_map(|name| Some((name, options(name)?)))
    else {
        return configuration(format!(
            "no MPI launcher is installed (looked for {}): install Open MPI or MPICH",
            LAUNCHERS.join(", ")
        ));
    };
    let program = match std::env::current_exe() {
        Ok(program) => program,
        Err(error) => return configuration(format!("cannot find this program: {error}")),
    };
    let mut command = Command::new(launcher);
    command.args(more).arg("-np").arg(ranks.to_string()).arg(program);
    command.args(arguments(std::env::args_os().skip(1))).arg("--set").arg(COMMUNICATOR);
    configuration(format!("cannot start {launcher}: {}", command.exec()))
}

/// The arguments of the command without the option.
fn arguments(all: impl Iterator<Item = OsString>) -> Vec<OsString> {
    let mut kept = Vec::new();
    let mut is_value = false;
    for argument in all {
        let is_option = argument == OPTION;
        let joined = argument.to_string_lossy().starts_with(&format!("{OPTION}="));
        if !is_value && !is_option && !joined {
            kept.push(argument);
        }
        is_value = is_option;
    }
    kept
}

/// The options that a launcher needs; `None` if it is not installed.
fn options(launcher: &str) -> Option<Vec<&'static OsStr>> {
    let output = Command::new(launcher).arg("--version").output().ok()?;
    Some(options_of(&String::from_utf8_lossy(&output.stdout)))
}

/// The options of the launcher that describes itself so.
fn options_of(version: &str) -> Vec<&'static OsStr> {
    if !version.contains("Open MPI") && !version.contains("OpenRTE") {
        return Vec::new();
    }
    // Time to write a checkpoint after a signal, and more processes than processors.
    ["--mca", "odls_base_sigkill_timeout", "30", "--oversubscribe"].map(OsStr::new).to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_option_is_left_out_of_the_arguments() {
        for given in ["train --ranks 2 run.toml", "train run.toml --ranks=2", "train run.toml"] {
            let kept = arguments(given.split(' ').map(OsString::from));
            assert_eq!(kept, ["train", "run.toml"], "{given}");
        }
    }

    #[test]
    fn open_mpi_gets_options_of_its_own() {
        assert_eq!(options_of("mpirun (Open MPI) 4.1.4\n").len(), 4);
        assert!(options_of("HYDRA build details:\n").is_empty());
    }
}
