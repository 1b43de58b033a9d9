//! What ends one rank ends all, in the same step, and the record says why.

use std::time::Duration;

use crate::place::{ADAMW, MLP, Place, digits};

const LIMIT: Duration = Duration::from_secs(60);

fn run_file(kind: &str, rank: usize) -> String {
    digits(
        "",
        &format!(
            "{MLP}{ADAMW}[[callback]]\ncomponent = \"trouble\"\nkind = \"{kind}\"\nrank = \"{rank}\"\n"
        ),
    )
    .replace("rank-timeout = 60", if kind == "sleep" { "rank-timeout = 4" } else { "rank-timeout = 60" })
}

#[test]
fn a_failure_on_one_rank_ends_all_and_is_recorded_with_its_rank() {
    for (kind, rank) in [("error", 0), ("error", 1), ("panic", 1)] {
        let place = Place::new(&run_file(kind, rank));
        let all = place.start(2, &["train", "run.toml", "--run-dir", "out"]).wait(LIMIT);
        for finished in &all {
            assert_eq!(finished.code, Some(1), "{}", finished.stderr);
            assert!(finished.stderr.contains("`trouble`"), "{}", finished.stderr);
        }
        let state = place.state("out");
        assert_eq!((&state["status"], &state["by"]), (&"failed".into(), &"trouble".into()));
        let reason = state["reason"].as_str().unwrap();
        assert_eq!(reason.contains("on rank 1"), rank == 1, "{reason}");
        assert!(reason.contains("step 3") && reason.contains("backward-begin"), "{reason}");
    }
}

#[test]
fn a_cancel_on_one_rank_is_one_on_all() {
    for (kind, rank) in
        [("cancel-fit", 0), ("cancel-fit", 1), ("cancel-step", 1), ("cancel-epoch", 0)]
    {
        let place = Place::new(&run_file(kind, rank));
        place.succeed(2, &["train", "run.toml", "--run-dir", "out"]);
        let state = place.state("out");
        let expected = if kind == "cancel-fit" { "stopped" } else { "finished" };
        assert_eq!(state["status"], expected, "{kind} on rank {rank}: {state}");
    }
}

#[test]
fn a_rank_that_is_gone_or_silent_ends_the_others_within_the_deadline() {
    for (kind, rank, said) in [
        ("abort", 1, "has gone"),
        ("abort", 0, ""),
        ("exit", 1, "has gone"),
        ("sleep", 1, "did not answer for 4 s"),
    ] {
        let place = Place::new(&run_file(kind, rank));
        let all = place.start(2, &["train", "run.toml", "--run-dir", "out"]).wait(LIMIT);
        for finished in &all {
            assert_eq!(finished.code, Some(1), "{kind} on rank {rank}: {}", finished.stderr);
        }
        let state = place.state("out");
        assert_eq!(state["status"], "failed", "{kind} on rank {rank}: {state}");
        let reason = state["reason"].as_str().unwrap();
        assert!(reason.contains(said), "{kind} on rank {rank}: {reason}");
        // Its supervisor, or that of the other rank, has seen which instance was called.
        let by = if kind == "sleep" { "" } else { "trouble" };
        assert_eq!(state["by"], by, "{kind} on rank {rank}: {state}");
        let of_rank = place.state_of_rank("out", rank);
        assert_eq!(of_rank["status"], "failed", "{kind}: {of_rank}");
    }
}

#[test]
fn a_signal_to_one_rank_interrupts_all_in_the_same_step() {
    for rank in [0, 1] {
        let place = Place::new(
            &digits("", &format!("{MLP}{ADAMW}")).replace("epochs = 2", "epochs = 100000"),
        );
        let ranks = place.start(2, &["train", "run.toml", "--run-dir", "out"]);
        let metrics = place.path("out").join("metrics.jsonl");
        let begun = std::time::Instant::now();
        while !std::fs::metadata(&metrics).is_ok_and(|file| file.len() > 0) {
            assert!(begun.elapsed() < LIMIT, "no step was recorded");
            std::thread::sleep(Duration::from_millis(10));
        }
        let pid = rustix::process::Pid::from_child(&ranks.processes[rank]);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        for finished in ranks.wait(LIMIT) {
            assert_eq!(finished.code, Some(143), "{}", finished.stderr);
        }
        assert_eq!(place.state("out")["status"], "interrupted");
    }
}

#[test]
fn other_runs_and_numbers_of_ranks_are_refused() {
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
