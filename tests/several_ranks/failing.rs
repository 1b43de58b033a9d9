//! What ends one rank ends all, in the same step, and the record says why.

use std::{fs, process::Command, time::Duration};

use fluxbay::record::checkpoint;
use fluxbay_tests::scratch;

use crate::place::{ADAMW, MLP, Place, TROUBLE, digits, plugins};

const LIMIT: Duration = Duration::from_secs(60);
const TRAIN: [&str; 4] = ["train", "run.toml", "--run-dir", "out"];

fn run_file() -> String {
    digits(
        "gradient-blocks = 2\n",
        &format!("{MLP}{ADAMW}[checkpoints]\nevery-steps = 2\n{TROUBLE}"),
    )
}

/// How a failure of a rank ends the run, by default with exit code 1 and `trouble` named.
struct Case {
    kind: &'static str,
    code: i32,
    status: &'static str,
    by: &'static str,
    /// Part of the reason in the record.
    says: &'static str,
}

const fn case(kind: &'static str, says: &'static str) -> Case {
    Case { kind, code: 1, status: "failed", by: "trouble", says }
}

/// What a plugin or the system does to one rank while it trains.
const CASES: [Case; 10] = [
    case("error", "something is wrong"),
    case("panic", "panicked"),
    case("abort", "SIGABRT"),
    case("segfault", "SIGSEGV"),
    case("kill", "SIGKILL"),
    case("exit", "exit code 0"),
    Case { code: 0, status: "stopped", ..case("cancel-fit", "enough") },
    Case { code: 143, status: "interrupted", by: "", ..case("terminate", "SIGTERM") },
    case("stop", "as by SIGSTOP"),
    case("hang", "did not return"),
];

/// Trains a run that fails in step 5 on one rank, and resumes it.
fn fails_on(rank: usize) {
    let straight = Place::new(&run_file());
    straight.succeed(1, &TRAIN);
    let undisturbed = straight.path("out");
    for case in &CASES {
        let waits = matches!(case.kind, "stop" | "hang");
        let timeout = if waits { "rank-timeout = 3" } else { "rank-timeout = 60" };
        let place = Place::new(&run_file().replace("rank-timeout = 60", timeout));
        let trouble = format!("{} {rank} 5", case.kind);
        let what = format!("{} on rank {rank}", case.kind);
        for finished in place.start_in_trouble(2, &trouble, &TRAIN).wait(LIMIT) {
            assert_eq!(finished.code, Some(case.code), "{what}: {}", finished.stderr);
        }
        let state = place.state("out");
        let said = (state["status"].as_str().unwrap(), state["by"].as_str().unwrap());
        assert_eq!(said, (case.status, case.by), "{what}: {state}");
        // That of another rank is quoted with its number.
        let reason = state["reason"].as_str().unwrap();
        assert!(reason.contains(case.says), "{what}: {reason}");
        let is_named = rank == 0 || case.by.is_empty() || reason.contains("rank 1");
        assert!(is_named, "{what}: {reason}");
        let of_rank = place.state_of_rank("out", rank);
        assert_eq!(of_rank["status"], case.status, "{what}: {of_rank}");
        assert_eq!(of_rank["by"], case.by, "{what}: {of_rank}");
        let (found, damaged) = checkpoint::newest(&place.path("out/checkpoints"));
        assert!(found.is_some() && damaged.is_empty(), "{what}");
        place.succeed(1, &["resume", "out", "--past-stop"]);
        // A cancelled step has left its update out.
        if case.kind != "cancel-fit" {
            let mut differences = place.differences(undisturbed.to_str().unwrap(), "out");
            // Its time limit is another one.
            differences.retain(|one| !(waits && one.starts_with("run.toml, ")));
            assert_eq!(differences, Vec::<String>::new(), "{what}");
        }
    }
}

#[test]
fn whatever_happens_to_rank_0_ends_all_is_recorded_and_resumes() {
    fails_on(0);
}

#[test]
fn whatever_happens_to_rank_1_ends_all_is_recorded_and_resumes() {
    fails_on(1);
}

#[test]
fn a_full_disk_of_one_rank_ends_all_and_the_run_resumes() {
    for rank in [0, 1] {
        // Metrics of far more bytes than the 70 KiB that a file may have below.
        let text = run_file().replace("epochs = 2", "epochs = 400");
        let place = Place::new(&text.replace("every-steps = 2", "every-steps = 20"));
        // The plugins that are copied on first use are larger, too.
        place.succeed(1, &["train", "run.toml", "--dry-run"]);
        let limited = |one: usize| {
            let train = place.fluxbay(&TRAIN);
            if one != rank {
                return train;
            }
            let mut command = Command::new("bash");
            command.args(["-c", "ulimit -f 70; exec \"$0\" \"$@\""]);
            command.arg(train.get_program()).args(train.get_args());
            command.current_dir(place.dir.path()).env_clear();
            command.envs(train.get_envs().filter_map(|(name, value)| Some((name, value?))));
            command
        };
        for finished in place.start_each(2, limited).wait(LIMIT) {
            assert_eq!(finished.code, Some(1), "rank {rank}: {}", finished.stderr);
            assert!(finished.stderr.contains("File too large"), "{}", finished.stderr);
        }
        let state = place.state("out");
        assert_eq!(state["status"], "failed", "rank {rank}: {state}");
        let reason = state["reason"].as_str().unwrap();
        assert!(reason.contains("cannot write"), "rank {rank}: {reason}");
        assert_eq!(reason.contains("on rank 1"), rank == 1, "{reason}");
        let (found, damaged) = checkpoint::newest(&place.path("out/checkpoints"));
        assert!(found.is_some() && damaged.is_empty(), "rank {rank}");
        place.succeed(2, &["resume", "out", "--set", "run.max-time=0.01"]);
    }
}

#[test]
fn unequal_plugins_and_run_files_are_refused_by_name() {
    for rank in [0, 1] {
        let place = Place::new(&run_file());
        // The same plugins, of which one has a byte more.
        let others = scratch();
        for file in fs::read_dir(plugins()).unwrap() {
            let file = file.unwrap();
            let other = others.path().join(file.file_name());
            if file.file_name() == "trouble.so" {
                let bytes = [fs::read(file.path()).unwrap(), vec![0]].concat();
                fs::write(other, bytes).unwrap();
            } else {
                // A copy: a link would change the files that other tests read.
                fs::copy(file.path(), other).unwrap();
            }
        }
        let other_plugins = |one: usize| {
            let mut command = place.fluxbay(&TRAIN);
            if one == rank {
                command.env("FLUXBAY_PLUGIN_PATH", others.path());
            }
            command
        };
        let other_run = |one: usize| {
            let mut command = place.fluxbay(&TRAIN);
            if one == rank {
                command.args(["--set", "run.seed=6"]);
            }
            command
        };
        let plugins = place.start_each(2, other_plugins).wait(LIMIT);
        let runs = place.start_each(2, other_run).wait(LIMIT);
        for (all, what) in [(plugins, "the plugins"), (runs, "the resolved run file")] {
            for finished in all {
                assert_eq!(finished.code, Some(2), "{what}: {}", finished.stderr);
                let said =
                    format!("rank 1 does not train the same run as rank 0, they differ in {what}");
                assert!(finished.stderr.contains(&said), "{}", finished.stderr);
            }
            assert!(!place.path("out").exists(), "{what}");
        }
    }
}

#[test]
fn a_cancel_on_one_rank_is_one_on_all() {
    for (kind, rank) in [("cancel-step", 1), ("cancel-epoch", 0)] {
        let place = Place::new(&run_file());
        let trouble = format!("{kind} {rank} 3");
        for finished in place.start_in_trouble(2, &trouble, &TRAIN).wait(LIMIT) {
            assert_eq!(finished.code, Some(0), "{}", finished.stderr);
        }
        let state = place.state("out");
        assert_eq!(state["status"], "finished", "{kind} on rank {rank}: {state}");
    }
}

#[test]
fn other_numbers_of_ranks_are_refused() {
    let place = Place::new(&digits("gradient-blocks = 4\n", &format!("{MLP}{ADAMW}")));
    let all = place.start(3, &["train", "run.toml"]).wait(LIMIT);
    for finished in all {
        assert_eq!(finished.code, Some(2), "{}", finished.stderr);
        assert!(
            finished.stderr.contains("4 blocks cannot be divided among 3 processes"),
            "{}",
            finished.stderr
        );
    }
}
