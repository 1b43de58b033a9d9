//! Looking at a run before it trains in earnest.

use std::fs;
use std::path::Path;

use fluxbay_tests::{Finished, fluxbay, plugin_dir, run, scratch, succeed};
use serde_json::Value;

fn json(path: &Path) -> Value {
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

#[test]
fn a_dry_run_says_what_would_be_trained_and_leaves_nothing() {
    let (dir, plugins) = (scratch(), plugin_dir());
    let before: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    let Finished { stderr, stdout, .. } = succeed(fluxbay(dir.path(), plugins.path()).args(["train", "--dry-run"]));
    for part in ["digits", "30 epochs, seed 42", "1,438 training", "parameters", "fluxbay-models", "dry run: nothing was trained"] {
        assert!(stderr.contains(part), "{part} is missing in\n{stderr}");
    }
    assert_eq!(stdout, "");
    let left: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).filter(|name| name != ".cache").collect();
    assert_eq!(left, before);
}

#[test]
fn a_fast_dev_run_goes_through_everything_once_and_keeps_nothing() {
    let (dir, plugins) = (scratch(), plugin_dir());
    let finished = succeed(fluxbay(dir.path(), plugins.path()).args(["train", "--fast-dev-run=3"]));
    assert!(finished.stderr.contains("finished 1 epoch") && finished.stderr.contains("3 training steps"), "{}", finished.stderr);
    assert!(!finished.stderr.contains("  record ") && !dir.path().join("runs").exists(), "{}", finished.stderr);
}

#[test]
fn limits_hold_for_every_phase_and_stand_in_the_record() {
    let (dir, plugins) = (scratch(), plugin_dir());
    succeed(fluxbay(dir.path(), plugins.path()).args(["train", "--limit-batches", "5", "--set", "run.epochs=2", "--run-dir", "out"]));
    let steps = |phase: &str| {
        let text = fs::read_to_string(dir.path().join("out/metrics.jsonl")).unwrap();
        let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        lines.filter(|line| line["phase"] == phase && line["scope"] == "step" && line["name"] == "loss").count()
    };
    assert_eq!((steps("training"), steps("validation")), (10, 10));
    assert!(fs::read_to_string(dir.path().join("out/resolved.toml")).unwrap().contains("limit-batches = 5"));
}

#[test]
fn a_model_learns_a_few_batches_by_heart() {
    let (dir, plugins) = (scratch(), plugin_dir());
    let arguments =
        ["train", "--overfit-batches", "2", "--set", "run.epochs=60", "--run-dir", "out", "--set", "checkpoints.every-epochs=0"];
    succeed(fluxbay(dir.path(), plugins.path()).args(arguments));
    let text = fs::read_to_string(dir.path().join("out/metrics.jsonl")).unwrap();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let last = |phase: &str| {
        lines.iter().rfind(|line| line["phase"] == phase && line["scope"] == "epoch" && line["name"] == "loss").unwrap()["value"]
            .as_f64()
            .unwrap()
    };
    // Both phases read the same samples, so what was learnt holds for the other as well.
    assert!(last("training") < 0.05 && last("validation") < 0.05, "{} {}", last("training"), last("validation"));
}

#[test]
fn when_the_time_is_up_the_run_ends_in_an_orderly_way() {
    let (dir, plugins) = (scratch(), plugin_dir());
    let arguments = ["train", "--max-time", "0.3s", "--set", "run.epochs=1000000", "--run-dir", "out"];
    let finished = succeed(fluxbay(dir.path(), plugins.path()).args(arguments));
    assert!(finished.stderr.contains("stopped") && finished.stderr.contains("the time that the run may take is up"), "{}", finished.stderr);
    let state = json(&dir.path().join("out/state.json"));
    assert_eq!((&state["status"], &state["exit-code"]), (&Value::from("stopped"), &Value::from(0)), "{state}");
    assert!(dir.path().join("out/model.safetensors").is_file());
}

#[test]
fn wrong_numbers_and_times_are_told_with_what_is_right() {
    let (dir, plugins) = (scratch(), plugin_dir());
    for (arguments, part) in [
        (["train", "--max-time", "soon"], "10m"),
        (["train", "--limit-batches", "0"], "from 1 on"),
        (["list", "--kind", "calback"], "did you mean `callback`?"),
        (["list", "--event", "step-ends"], "did you mean `step-end`?"),
        (["list", "--plugin", "fluxbay-modls"], "did you mean `fluxbay-models`?"),
        (["list", "--writes", "cbstat.history"], "did you mean `cbstate.history`?"),
        (["new", "callback", "My_Callback"], "`my-callback`"),
    ] {
        let finished = run(fluxbay(dir.path(), plugins.path()).args(arguments));
        assert!(finished.code == Some(2) && finished.stderr.contains(part), "{arguments:?}: {}", finished.stderr);
    }
}
