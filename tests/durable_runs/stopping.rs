//! Signals, kills, and runs that had ended early.

use std::{
    fs,
    time::{Duration, Instant},
};

use fluxbay::record::checkpoint;
use fluxbay_tests::{run, succeed};

use crate::place::{ADAMW, MLP, Place, Random, Running, digits, long, wait_for};

#[test]
fn a_signal_ends_the_run_after_its_step_and_it_goes_on_as_if_nothing_had_happened() {
    let place = Place::new(&long(60));
    succeed(&mut place.fluxbay(&["train", "run.toml", "--run-dir", "straight"]));
    for (signal, code, status) in [
        ("-INT", 130, "SIGINT"),
        ("-TERM", 143, "SIGTERM"),
        ("-HUP", 129, "SIGHUP"),
        ("-USR2", 140, "SIGUSR2"),
    ] {
        let name = status.to_lowercase();
        let running = Running::start(place.fluxbay(&["train", "run.toml", "--run-dir", &name]));
        let metrics = place.path(&name).join("metrics.jsonl");
        wait_for("training", || fs::metadata(&metrics).is_ok_and(|metadata| metadata.len() > 0));
        running.signal(signal);
        let (found, said) = running.finish();
        assert_eq!(found, Some(code), "{said}");
        assert!(said.contains("fluxbay resume"), "{said}");
        let state = place.state(&name);
        assert_eq!(
            (&state["status"], &state["reason"], &state["exit-code"]),
            (&"interrupted".into(), &status.into(), &code.into())
        );
        let left = checkpoint::scan(&place.path(&name).join("checkpoints"));
        assert_eq!(left.last().unwrap().about.as_ref().unwrap().reason, "signal");
        succeed(&mut place.fluxbay(&["resume", &name]));
        place.assert_same("straight", &name);
    }
}

#[test]
fn a_signal_to_save_does_not_end_the_run() {
    let slow = "[[callback]]\ncomponent = \"slow\"\nmilliseconds = 5\n";
    let text = format!("{}{slow}[checkpoints]\nkeep-last = 0\n", long(12));
    let place = Place::new(&text).with_slow();
    succeed(&mut place.fluxbay(&["train", "run.toml", "--run-dir", "straight"]));
    let given: [(&str, &[&str]); 3] = [
        ("-USR1", &[]),
        ("-USR2", &["--save-on", "usr2"]),
        ("-HUP", &["--save-on", "usr1", "--save-on", "hup"]),
    ];
    for (signal, more) in given {
        let name = format!("saved{signal}");
        let mut command = place.fluxbay(&["train", "run.toml", "--run-dir", &name]);
        command.args(more);
        let running = Running::start(command);
        let metrics = place.path(&name).join("metrics.jsonl");
        wait_for("training", || fs::metadata(&metrics).is_ok_and(|metadata| metadata.len() > 0));
        running.signal(signal);
        let saved = || {
            let all = checkpoint::scan(&place.path(&name).join("checkpoints"));
            let reasons = all.into_iter().filter_map(|found| found.about.ok());
            reasons.map(|about| about.reason).any(|reason| reason == "signal")
        };
        wait_for("the checkpoint", saved);
        let (code, said) = running.finish();
        assert_eq!(code, Some(0), "{said}");
        assert!(said.contains(&format!("SIG{}: saving", &signal[1..])), "{said}");
        place.assert_same("straight", &name);
    }
    // What does not save ends the run.
    let mut command = place.fluxbay(&["train", "run.toml", "--run-dir", "ended"]);
    command.args(["--save-on", "usr2"]);
    let running = Running::start(command);
    let metrics = place.path("ended/metrics.jsonl");
    wait_for("training", || fs::metadata(&metrics).is_ok_and(|metadata| metadata.len() > 0));
    running.signal("-USR1");
    let (code, said) = running.finish();
    assert_eq!(code, Some(138), "{said}");
    assert_eq!(place.state("ended")["reason"], "SIGUSR1");
}

#[test]
fn signals_to_save_in_short_succession_do_not_end_the_run() {
    // More than two seconds of steps after the second signal: a supervisor that took it for a second
    // request to end would kill the run by then.
    let slow = "[[callback]]\ncomponent = \"slow\"\nmilliseconds = 50\n";
    let place = Place::new(&format!("{}{slow}", long(3))).with_slow();
    let running = Running::start(place.fluxbay(&["train", "run.toml", "--run-dir", "out"]));
    let metrics = place.path("out/metrics.jsonl");
    wait_for("training", || fs::metadata(&metrics).is_ok_and(|metadata| metadata.len() > 0));
    running.signal("-USR1");
    std::thread::sleep(Duration::from_millis(300));
    running.signal("-USR1");
    let begin = Instant::now();
    let (code, said) = running.finish();
    assert_eq!(code, Some(0), "{said}");
    assert!(begin.elapsed() > Duration::from_secs(2), "it ended too early to tell");
    assert_eq!(place.state("out")["status"], "finished");
    assert_eq!(said.matches("SIGUSR1: saving").count(), 2, "{said}");
}

#[test]
fn a_signal_before_the_first_step_is_not_lost() {
    let place = Place::new(&long(60));
    for (signal, code) in [("-INT", 130), ("-TERM", 143), ("-USR1", 0)] {
        let name = format!("early{signal}");
        let running = Running::start(place.fluxbay(&["train", "run.toml", "--run-dir", &name]));
        // The folder is there before plugins and data are opened.
        wait_for("the folder", || place.path(&name).join("resolved.toml").exists());
        running.signal(signal);
        let (found, said) = running.finish();
        assert_eq!(found, Some(code), "{said}");
        let status = if code == 0 { "finished" } else { "interrupted" };
        assert_eq!(place.state(&name)["status"], status);
        if code != 0 {
            succeed(&mut place.fluxbay(&["resume", &name]));
        }
    }
    place.assert_same("early-INT", "early-TERM");
    place.assert_same("early-INT", "early-USR1");
}

#[test]
fn a_second_signal_ends_the_run_at_once_and_a_running_folder_is_locked() {
    let slow = "[[callback]]\ncomponent = \"slow\"\nstep = 3\nmilliseconds = 600_000\n";
    let place = Place::new(&digits(&format!("{MLP}{ADAMW}[checkpoints]\nevery-steps = 1\n{slow}")))
        .with_slow();
    let running = Running::start(place.fluxbay(&["train", "run.toml", "--run-dir", "out"]));
    wait_for("the third step", || place.path("in-step").exists());
    let second = run(&mut place.fluxbay(&["resume", "out"]));
    assert_eq!(second.code, Some(2), "{}", second.stderr);
    assert!(
        second.stderr.contains("in use by another process")
            && second.stderr.contains(&running.0.id().to_string()),
        "{}",
        second.stderr
    );
    running.signal("-INT");
    std::thread::sleep(Duration::from_millis(300));
    running.signal("-INT");
    let begin = Instant::now();
    let (code, said) = running.finish();
    assert_eq!(code, Some(130), "{said}");
    assert!(begin.elapsed() < Duration::from_secs(60));
    let (found, damaged) = checkpoint::newest(&place.path("out/checkpoints"));
    assert!(damaged.is_empty() && found.unwrap().1.about.step >= 1);
}

#[test]
fn killed_at_100_random_moments_nothing_is_lost_and_the_end_is_the_same() {
    const KILLS: u32 = 100;
    const SEED: u64 = 20_260_301;
    let text = format!("{}[checkpoints]\nevery-steps = 1\nkeep-last = 3\n", long(300));
    let place = Place::new(&text);
    let (mut random, mut kills, mut in_save, mut before_first, mut finished) =
        (Random(SEED), 0, 0, 0, 0);
    // How long it takes to come to the first step, so that most kills come later.
    let begin = Instant::now();
    let probe = Running::start(place.fluxbay(&["train", "run.toml", "--run-dir", "probe"]));
    wait_for("the first checkpoint", || {
        !checkpoint::scan(&place.path("probe/checkpoints")).is_empty()
    });
    let start = begin.elapsed();
    drop(probe);
    succeed(&mut place.fluxbay(&[
        "train",
        "run.toml",
        "--run-dir",
        "straight",
        "--set",
        "checkpoints.every-steps=0",
    ]));
    while kills < KILLS {
        let name = format!("killed-{finished}");
        let folder = place.path(&name).join("checkpoints");
        let arguments: &[&str] = if place.path(&name).exists() {
            &["resume", &name]
        } else {
            &["train", "run.toml", "--run-dir", &name]
        };
        let mut running = Running::start(place.fluxbay(arguments));
        let start = start.as_micros() as u64;
        let wait = start * 4 / 5 + random.below(start / 2);
        std::thread::sleep(Duration::from_micros(wait));
        if running.0.try_wait().unwrap().is_some() {
            // It came to its end before it could be killed: the next one begins.
            let (code, said) = running.finish();
            assert_eq!(code, Some(0), "after {kills} kills: {said}");
            place.assert_same("straight", &name);
            finished += 1;
            continue;
        }
        running.0.kill().unwrap();
        running.0.wait().unwrap();
        kills += 1;
        let hidden =
            |entry: std::fs::DirEntry| entry.file_name().to_string_lossy().starts_with('.');
        in_save +=
            u32::from(fs::read_dir(&folder).is_ok_and(|entries| entries.flatten().any(hidden)));
        let found = checkpoint::scan(&folder);
        before_first += u32::from(found.is_empty());
        for found in &found {
            checkpoint::verify(&found.path).unwrap_or_else(|damage| {
                panic!("kill {kills}: {}: {damage}", found.path.display())
            });
        }
    }
    let name = format!("killed-{finished}");
    if place.path(&name).exists() {
        succeed(&mut place.fluxbay(&["resume", &name]));
        place.assert_same("straight", &name);
        finished += 1;
    }
    println!(
        "killed {kills} times in {finished} runs ({in_save} within a save, {before_first} before a first one), seed {SEED}: 0 lost, 0 unreadable, \
         each end the same as that of a run that was never killed"
    );
    assert!(in_save > 0, "no kill fell into a save");
}

#[test]
fn a_run_that_had_ended_early_stays_ended_unless_told_otherwise() {
    let place = Place::new(&digits(&format!(
        "{MLP}{ADAMW}[[callback]]\ncomponent = \"early-stopping\"\ncriterion = {{ type = \"number-limit\", n = 2 }}\n"
    )));
    let straight = succeed(&mut place.fluxbay(&["train", "run.toml", "--run-dir", "straight"]));
    assert!(straight.stderr.contains("stopped early in epoch 2"), "{}", straight.stderr);
    succeed(&mut place.fluxbay(&["train", "run.toml", "--run-dir", "out"]));
    let again = succeed(&mut place.fluxbay(&["resume", "out"]));
    assert!(again.stderr.contains("stopped early in epoch 2"), "{}", again.stderr);
    assert_eq!(
        (&place.state("out")["status"], &place.state("out")["by"]),
        (&"stopped".into(), &"early-stopping".into())
    );
    place.assert_same("straight", "out");
    let past = succeed(&mut place.fluxbay(&["resume", "out", "--past-stop"]));
    assert!(past.stderr.contains("stopped early in epoch 3"), "{}", past.stderr);
}
