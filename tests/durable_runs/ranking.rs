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
    let answer: Value = serde_json::from_str(&finished.stdout).unwrap();
    let found = answer["figures"].as_array().unwrap().iter().find(|one| one["name"] == name);
    found.unwrap_or_else(|| panic!("{answer}"))["value"].as_f64().unwrap()
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
    let compiled = Command::new("cc").args(["-shared", "-fPIC", "-o"]).arg(&disk).arg(source);
    if !compiled.status().is_ok_and(|status| status.success()) {
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
}

#[test]
fn the_best_model_is_restored_when_the_fit_ends() {
    // The learning rate makes the loss rise again.
    let rising = ADAMW.replace("0.01", "0.3");
    let place = Place::new(
        &digits(&format!("{MLP}{rising}[checkpoints]\nkeep-last = 1\nrestore-best = true\n"))
            .replace("epochs = 3", "epochs = 5"),
    );
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
    let best = losses.iter().copied().fold(f64::INFINITY, f64::min);
    assert!(losses.len() == 5 && *losses.last().unwrap() > best, "{losses:?}");
    assert_eq!(evaluated(&place, "out", None, "loss"), best);
    assert!(finished.stdout.contains("model.safetensors is the model of"), "{}", finished.stdout);
    // The newest checkpoint is there for training on.
    assert_eq!(checkpoints(&place, "out").last().unwrap().1.epochs, 5);
    succeed(&mut place.fluxbay(&["resume", "out", "--set", "run.epochs=6"]));
}
