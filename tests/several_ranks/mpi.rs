//! Runs over MPI, with every launcher that is installed; tests of others say that they are skipped.

use std::{process::Command, time::Duration};

use crate::normalization::synced;
use crate::place::{ADAMW, MLP, Place, TROUBLE, digits};
use crate::same_bits::{CALLBACKS, batch_norm};

/// Launchers of the packages of Debian and Ubuntu, with the arguments for so many processes.
const LAUNCHERS: [(&str, &[&str]); 2] =
    [("mpirun.openmpi", &["--oversubscribe"]), ("mpiexec.hydra", &[])];

fn is_there(launcher: &str) -> bool {
    let found = Command::new(launcher).arg("--version").output().is_ok();
    if !found {
        eprintln!("skipped for {launcher}: it is not installed");
    }
    found
}

/// A command that starts `fluxbay` with a launcher.
fn launched(place: &Place, launcher: (&str, &[&str]), ranks: usize, arguments: &[&str]) -> Command {
    let inner = place.fluxbay(arguments);
    let mut command = Command::new(launcher.0);
    let count = if launcher.0 == "srun" { "-n" } else { "-np" };
    command.args(launcher.1).args([count, &ranks.to_string()]).arg(inner.get_program());
    command.args(inner.get_args()).current_dir(place.dir.path()).env_clear();
    for (name, value) in inner.get_envs() {
        command.env(name, value.unwrap_or_default());
    }
    command.env("OMPI_ALLOW_RUN_AS_ROOT", "1").env("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1");
    command.env("TMPDIR", place.dir.path());
    command
}

fn run_file(more: &str) -> String {
    digits("gradient-blocks = 2\n", &format!("{MLP}{ADAMW}{more}"))
        .replace("component = \"sockets\"", "component = \"mpi\"")
}

#[test]
fn every_mpi_gives_the_bits_of_one_process() {
    let place = Place::new(&run_file(""));
    // Without a launcher, MPI is not needed.
    place.succeed(1, &["train", "run.toml", "--run-dir", "alone"]);
    for launcher in LAUNCHERS.into_iter().filter(|launcher| is_there(launcher.0)) {
        let train = ["train", "run.toml", "--run-dir", launcher.0];
        let finished = fluxbay_tests::run(&mut launched(&place, launcher, 2, &train));
        assert_eq!(finished.code, Some(0), "{}: {}", launcher.0, finished.stderr);
        assert_eq!(place.differences("alone", launcher.0), Vec::<String>::new(), "{}", launcher.0);
    }
}

#[test]
#[ignore = "eight processes of two launchers: run by hand, `-- --ignored every_mpi_gives`"]
fn every_mpi_gives_the_same_bits_on_1_2_4_and_8_processes() {
    let in_blocks = |more: &str| digits("gradient-blocks = 8\n", more);
    let all = format!("{MLP}{ADAMW}{CALLBACKS}");
    for text in [in_blocks(&all), in_blocks(&batch_norm()), synced()] {
        let place = Place::new(&text.replace("component = \"sockets\"", "component = \"mpi\""));
        place.succeed(1, &["train", "run.toml", "--run-dir", "alone"]);
        for launcher in LAUNCHERS.into_iter().filter(|launcher| is_there(launcher.0)) {
            for ranks in [1, 2, 4, 8] {
                let out = format!("{}-{ranks}", launcher.0);
                let train = ["train", "run.toml", "--run-dir", &out];
                let finished = fluxbay_tests::run(&mut launched(&place, launcher, ranks, &train));
                assert_eq!(finished.code, Some(0), "{out}: {}", finished.stderr);
                assert_eq!(place.differences("alone", &out), Vec::<String>::new(), "{out}");
            }
        }
    }
}

#[test]
fn a_failure_on_one_rank_ends_the_whole_job() {
    for launcher in LAUNCHERS.into_iter().filter(|launcher| is_there(launcher.0)) {
        for kind in ["error", "abort"] {
            let place = Place::new(&run_file(TROUBLE));
            let train = ["train", "run.toml", "--run-dir", "out"];
            let mut command = launched(&place, launcher, 2, &train);
            command.env("TROUBLE", format!("{kind} 1 3"));
            let process = command
                .stdout(std::process::Stdio::piped())
                .stderr(std::process::Stdio::piped())
                .spawn()
                .unwrap();
            let ended = crate::place::Ranks::of(process).wait(Duration::from_secs(60));
            assert_ne!(ended[0].code, Some(0), "{}: {}", launcher.0, ended[0].stderr);
            assert!(ended[0].stderr.contains("`trouble`"), "{}", ended[0].stderr);
            let state = place.state("out");
            assert_eq!(state["status"], "failed", "{} {kind}: {state}", launcher.0);
            assert_eq!(state["by"], "trouble", "{} {kind}: {state}", launcher.0);
        }
    }
}

#[test]
fn the_option_ranks_starts_the_local_launcher() {
    if !is_there("mpirun") {
        return;
    }
    let text = run_file("").replace("[communicator]\ncomponent = \"mpi\"\n", "");
    let place = Place::new(&text);
    let mut command = place.fluxbay(&["train", "run.toml", "--run-dir", "out", "--ranks", "2"]);
    command.env("OMPI_ALLOW_RUN_AS_ROOT", "1").env("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1");
    fluxbay_tests::succeed(&mut command);
    assert_eq!(place.state_of_rank("out", 1)["status"], "finished");
}

/// `srun` with the arguments that make it work together with a library.
const SRUN: [(&str, &str); 2] = [("--mpi=pmix", "openmpi"), ("--mpi=pmi2", "mpich")];

#[test]
#[ignore = "needs a Slurm, such as that of tests/several_ranks/local-slurm, and SLURM_CONF"]
fn srun_starts_ranks_and_ends_all_if_one_fails() {
    let place = Place::new(&run_file(TROUBLE));
    place.succeed(1, &["train", "run.toml", "--run-dir", "alone"]);
    for (mpi, name) in SRUN {
        let failed = format!("failed-{name}");
        for (out, trouble) in [(name, ""), (failed.as_str(), "abort 1 3")] {
            let train = ["train", "run.toml", "--run-dir", out];
            let srun = ("srun", &["--kill-on-bad-exit=1", mpi][..]);
            let mut command = launched(&place, srun, 2, &train);
            command.env("TROUBLE", trouble);
            command.env("SLURM_CONF", std::env::var_os("SLURM_CONF").unwrap());
            let finished = fluxbay_tests::run(&mut command);
            let is_good = trouble.is_empty();
            assert_eq!(finished.code == Some(0), is_good, "{out}: {}", finished.stderr);
            if is_good {
                assert_eq!(place.differences("alone", out), Vec::<String>::new(), "{out}");
                assert_eq!(place.state_of_rank(out, 1)["ranks"], 2, "{out}");
            } else {
                let state = place.state(out);
                assert_eq!((&state["status"], &state["by"]), (&"failed".into(), &"trouble".into()));
            }
        }
    }
}

#[test]
fn verify_resume_changes_the_number_of_processes_over_mpi() {
    if !is_there("mpirun") {
        return;
    }
    let text = run_file("").replace("[communicator]\ncomponent = \"mpi\"\n", "");
    let place = Place::new(&text);
    let verify = ["verify-resume", "run.toml", "--ranks", "1,2", "--interruptions", "2"];
    let mut command = place.fluxbay(&verify);
    command.env("OMPI_ALLOW_RUN_AS_ROOT", "1").env("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1");
    let finished = fluxbay_tests::succeed(&mut command);
    assert!(finished.stdout.contains("on 1, 2, 1 processes"), "{}", finished.stdout);
}

#[test]
fn a_launcher_and_a_library_of_another_are_refused() {
    let [(open, more), (hydra, _)] = LAUNCHERS;
    if !is_there(open) || !is_there(hydra) {
        return;
    }
    let text = run_file("")
        .replace("component = \"mpi\"", "component = \"mpi\"\nlibrary = \"libmpich.so.12\"");
    let place = Place::new(&text);
    let finished =
        fluxbay_tests::run(&mut launched(&place, (open, more), 2, &["train", "run.toml"]));
    assert_ne!(finished.code, Some(0));
    assert!(finished.stderr.contains("do not belong together"), "{}", finished.stderr);
}
