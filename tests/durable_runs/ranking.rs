//! Which checkpoints exist follows from the run alone, and each is ranked by metrics of the model
//! that it holds.

use std::{fs, process::Command};

use fluxbay::record::checkpoint::{self, CheckpointInfo};
use fluxbay_tests::{run, succeed, write};
use serde_json::Value;

use crate::place::{ADAMW, MLP, Place, digits};

/// The checkpoints of a run, as paths and information, oldest first.
fn checkpoints(place: &Place, run: &str) -> Vec<(String, CheckpointInfo)> {
    checkpoint::scan(&place.path(run).join("checkpoints"))
        .into_iter()
        .map(|found| (found.path.to_str().unwrap().to_owned(), found.about.unwrap()))
        .collect()
}

/// Metrics of the model of a checkpoint, or of the run's final model, measured again.
fn evaluated(place: &Place, run: &str, checkpoint: Option<&str>, name: &str) -> f64 {
    let mut arguments = vec!["evaluate", run, "--json"];
    arguments.extend(checkpoint.map(|path| ["--checkpoint", path]).into_iter().flatten());
    let finished = succeed(&mut place.fluxbay(&arguments));
    // The number is read from the text: the JSON parser may be off by the last bit.
    let mut lines = finished.stdout.lines().map(str::trim);
    let named = format!("\"name\": \"{name}\",");
    let found = lines.by_ref().find(|line| *line == named).and(lines.next());
    let value = found.and_then(|line| line.strip_prefix("\"value\": "));
    value.and_then(|text| text.parse().ok()).unwrap_or_else(|| panic!("{}", finished.stdout))
}

/// Asserts that every checkpoint with a metric of the validation has the model that it measured.
fn assert_credited(place: &Place, run: &str) -> usize {
    let credited: Vec<(String, f64)> = checkpoints(place, run)
        .into_iter()
        .filter_map(|(path, about)| Some((path, *about.metrics.get("validation/loss")?)))
        .collect();
    for (path, loss) in &credited {
        assert_eq!(evaluated(place, run, Some(path), "loss"), *loss, "{path}");
    }
    credited.len()
}

/// Sleeps in `fsync`, a few milliseconds or none, as a busy disk does.
const SLOW_DISK: &str = r#"
#define _GNU_SOURCE
#include <dlfcn.h>
#include <time.h>
#include <unistd.h>

int fsync(int file) {
    static int (*real)(int);
    if (!real) real = (int (*)(int))dlsym(RTLD_NEXT, "fsync");
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    usleep(now.tv_nsec / 1000 % 7 * 4000);
    return real(file);
}
"#;

#[test]
fn equal_runs_keep_equal_checkpoints_however_slow_the_disk() {
    let place = Place::new(
        &digits(&format!(
            "{MLP}{ADAMW}[checkpoints]\nevery-steps = 3\nkeep-last = 2\nkeep-best = 2\n\
             [[callback]]\ncomponent = \"checkpointer\"\nkeep-top-k = 1\n"
        ))
        .replace("epochs = 3", "epochs = 6"),
    );
    let source = write(place.dir.path(), "slow.c", SLOW_DISK);
    let disk = place.path("slow.so");
    let compiled =
        Command::new("cc").args(["-shared", "-fPIC", "-o"]).arg(&disk).arg(source).status();
    if !compiled.is_ok_and(|status| status.success()) {
        eprintln!("skipped: there is no C compiler `cc`");
        return;
    }
    let listed = |name: &str| -> Vec<(u64, String, Vec<String>)> {
        let all = checkpoints(&place, name).into_iter();
        all.map(|(_, about)| (about.sequence, about.reason, about.asked_by)).collect()
    };
    succeed(&mut place.fluxbay(&["train", "run.toml", "--run-dir", "first"]));
    let expected = listed("first");
    assert!(expected.len() >= 3, "{expected:?}");
    for number in 0..20 {
        let name = format!("slow-{number}");
        succeed(place.fluxbay(&["train", "run.toml", "--run-dir", &name]).env("LD_PRELOAD", &disk));
        assert_eq!(listed(&name), expected, "{name}");
    }
    assert!(assert_credited(&place, "first") >= 2);
}

#[test]
fn checkpoints_between_steps_are_not_ranked_by_an_earlier_measurement() {
    // Four steps of training and one of validation an epoch.
    for every in [3, 7] {
        let place = Place::new(&digits(&format!(
            "{MLP}{ADAMW}[checkpoints]\nevery-epochs = 0\nevery-steps = {every}\nat-end = false\nkeep-last = 1\nkeep-best = 2\n"
        )));
        succeed(&mut place.fluxbay(&["train", "run.toml", "--run-dir", "out"]));
        assert_eq!(assert_credited(&place, "out"), 2, "every {every} steps");
    }
}

#[test]
fn a_metric_measured_before_training_ranks_the_model_that_it_measured() {
    let reversed = "[[phase]]\ncomponent = \"validation\"\n[[phase]]\ncomponent = \"training\"\n";
    let text = digits(&format!(
        "{MLP}{ADAMW}[checkpoints]\nkeep-last = 1\nkeep-best = 1\n[[callback]]\ncomponent = \"checkpointer\"\nkeep-top-k = 2\n"
    ))
    .replace(
        "[[phase]]\ncomponent = \"training\"\n[[phase]]\ncomponent = \"validation\"\n",
        reversed,
    );
    assert!(text.contains(reversed));
    let place = Place::new(&text);
    succeed(&mut place.fluxbay(&["train", "run.toml", "--run-dir", "out"]));
    assert!(assert_credited(&place, "out") >= 2);
}

const EMA: &str = "[[callback]]\ncomponent = \"ema\"\ndecay = 0.9\n";

#[test]
fn with_averaged_weights_the_measured_model_is_in_the_checkpoint_and_the_trained_one_resumes() {
    let place = Place::new(&digits(&format!(
        "{MLP}{ADAMW}{EMA}[checkpoints]\nkeep-last = 0\nkeep-best = 1\n"
    )));
    succeed(&mut place.fluxbay(&["train", "run.toml", "--run-dir", "straight"]));
    assert_eq!(assert_credited(&place, "straight"), 3);
    // The last checkpoint and the final model are those of the last validation.
    let all = checkpoints(&place, "straight");
    let last = &all.last().unwrap().1;
    assert_eq!(evaluated(&place, "straight", None, "loss"), last.metrics["validation/loss"]);
    // Resuming starts from the trained weights: it gives the same bits, from any of them.
    for (number, (path, _)) in all.iter().enumerate().take(2) {
        let name = format!("from-{number}");
        succeed(Command::new("cp").arg("-r").args([place.path("straight"), place.path(&name)]));
        let from = path.replace("straight", &name);
        succeed(&mut place.fluxbay(&["resume", "--from", &from]));
        place.assert_same("straight", &name);
    }
}

#[test]
fn interrupted_within_a_validation_of_averaged_weights_it_ends_the_same() {
    let place = Place::new(
        &digits(&format!("{MLP}{ADAMW}{EMA}[checkpoints]\nkeep-last = 0\n"))
            .replace("batch-size = 360", "batch-size = 120"),
    );
    succeed(&mut place.fluxbay(&["train", "run.toml", "--run-dir", "straight"]));
    // 12 steps of training and 3 of validation an epoch: within the first and second validation.
    for steps in [13, 29] {
        let name = format!("out-{steps}");
        let stopped = run(&mut place.fluxbay(&[
            "train",
            "run.toml",
            "--run-dir",
            &name,
            "--interrupt-at",
            &steps.to_string(),
        ]));
        assert_eq!(stopped.code, Some(130), "{}", stopped.stderr);
        let (_, about) = checkpoints(&place, &name).pop().unwrap();
        assert_eq!(about.phase, "validation");
        succeed(&mut place.fluxbay(&["resume", &name]));
        place.assert_same("straight", &name);
        assert_eq!(assert_credited(&place, &name), 3);
    }
}

#[test]
fn the_best_model_is_restored_when_the_fit_ends() {
    // The loss falls, so that the highest one is the first.
    let place = Place::new(&digits(&format!(
        "{MLP}{ADAMW}[checkpoints]\nkeep-last = 1\nrestore-best = true\nbetter = \"higher\"\n"
    )));
    let finished = succeed(&mut place.fluxbay(&["train", "run.toml", "--run-dir", "out"]));
    let metrics = fs::read_to_string(place.path("out/metrics.jsonl")).unwrap();
    let losses: Vec<f64> = metrics
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .filter(|line| {
            line["phase"] == "validation" && line["scope"] == "epoch" && line["name"] == "loss"
        })
        .map(|line| line["value"].as_f64().unwrap())
        .collect();
    let best = losses.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    assert!(losses.len() == 3 && *losses.last().unwrap() < best, "{losses:?}");
    assert_eq!(evaluated(&place, "out", None, "loss"), best);
    assert!(finished.stderr.contains("model.safetensors is the model of"), "{}", finished.stderr);
    // The newest checkpoint is there for training on.
    assert_eq!(checkpoints(&place, "out").last().unwrap().1.epochs, 3);
    succeed(&mut place.fluxbay(&["resume", "out", "--set", "run.epochs=4"]));
}
