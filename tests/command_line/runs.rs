//! `runs` and `evaluate`: what was trained, looked at again.

use std::fs;
use std::path::Path;

use fluxbay_tests::{fluxbay, plugin_dir, run, scratch, succeed};
use serde_json::Value;

fn train(dir: &Path, plugins: &Path, more: &[&str]) {
    succeed(
        fluxbay(dir, plugins)
            .args(["train", "--set", "run.epochs=2", "--limit-batches", "8"])
            .args(more),
    );
}

#[test]
fn evaluate_gives_the_very_figures_of_the_last_validation_and_touches_nothing() {
    let (dir, plugins) = (scratch(), plugin_dir());
    train(dir.path(), plugins.path(), &["--run-dir", "out"]);
    let out = dir.path().join("out");
    let metrics = fs::read_to_string(out.join("metrics.jsonl")).unwrap();
    let validation = |line: &Value| {
        line["phase"] == "validation" && line["scope"] == "epoch" && line["epoch"] == 2
    };
    let lines: Vec<Value> = metrics
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .filter(validation)
        .collect();
    let listing = |path: &Path| {
        let mut names: Vec<_> =
            fs::read_dir(path).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    };
    let before = (listing(&out), fs::read(out.join("state.json")).unwrap());
    let finished = succeed(fluxbay(dir.path(), plugins.path()).args(["evaluate", "out", "--json"]));
    let answer: Value = serde_json::from_str(&finished.stdout).unwrap();
    for name in ["loss", "accuracy"] {
        let find = |all: &[Value]| {
            all.iter().find(|one| one["name"] == name).map(|one| one["value"].clone())
        };
        assert_eq!(
            find(answer["figures"].as_array().unwrap()),
            find(&lines),
            "{name}: {answer}\n{lines:?}"
        );
        assert!(find(&lines).is_some());
    }
    assert_eq!(before, (listing(&out), fs::read(out.join("state.json")).unwrap()));
    // On other data the figures are others.
    let training = succeed(
        fluxbay(dir.path(), plugins.path())
            .args(["evaluate", "out", "--data", "training", "--json"]),
    );
    assert_ne!(
        serde_json::from_str::<Value>(&training.stdout).unwrap()["figures"],
        answer["figures"]
    );
    // The error for a model of another shape names the parameter.
    let other = run(fluxbay(dir.path(), plugins.path()).args([
        "evaluate",
        "out",
        "--set",
        "model.hidden=[3]",
    ]));
    assert_eq!(other.code, Some(2), "{}", other.stderr);
    assert!(
        other.stderr.contains("model.safetensors does not fit the model of the run: parameter"),
        "{}",
        other.stderr
    );
    let missing = run(fluxbay(dir.path(), plugins.path()).args(["evaluate", "nowhere"]));
    assert!(missing.code == Some(2) && missing.stderr.contains("runs list"), "{}", missing.stderr);
}

#[test]
fn a_device_that_the_program_was_not_built_for_is_refused_before_anything_is_made() {
    let (dir, plugins) = (scratch(), plugin_dir());
    let refused = run(fluxbay(dir.path(), plugins.path()).args([
        "train",
        "--set",
        "run.device=cuda",
        "--run-dir",
        "out",
    ]));
    assert_eq!(refused.code, Some(2), "{}", refused.stderr);
    assert!(
        refused.stderr.contains("`cuda:0` cannot be used")
            && refused.stderr.contains("built without CUDA"),
        "{}",
        refused.stderr
    );
    assert!(
        refused.stderr.contains("use `device = \"cpu\"`") && !dir.path().join("out").exists(),
        "{}",
        refused.stderr
    );
}

#[test]
fn runs_are_listed_compared_shown_and_removed() {
    let (dir, plugins) = (scratch(), plugin_dir());
    let command =
        |arguments: &[&str]| succeed(fluxbay(dir.path(), plugins.path()).args(arguments)).stdout;
    assert!(command(&["runs", "list"]).contains("fluxbay train"));
    train(dir.path(), plugins.path(), &["--set", "run.name=first"]);
    train(
        dir.path(),
        plugins.path(),
        &[
            "--set",
            "run.name=second",
            "--set",
            "optimizer.learning-rate=0.01",
            "--remove",
            "recorder",
        ],
    );
    let list = command(&["runs", "list"]);
    assert!(
        list.contains("-first")
            && list.contains("-second")
            && list.matches("finished").count() == 2,
        "{list}"
    );
    assert!(list.lines().all(|line| line.chars().count() <= 100), "{list}");
    let compared = command(&["runs", "compare", "first", "second"]);
    for part in [
        "optimizer.learning-rate",
        "0.01",
        "callback.recorder",
        "plugins: identical",
        "validation accuracy",
    ] {
        assert!(compared.contains(part), "{part} is missing in\n{compared}");
    }
    let shown = command(&["runs", "show"]);
    for part in
        ["-second", "finished in epoch 2 of 2", "fluxbay-models", "fluxbay evaluate", "checkpoints"]
    {
        assert!(shown.contains(part), "{part} is missing in\n{shown}");
    }
    // The command line of the user, without internal options.
    assert!(
        shown.contains("fluxbay train --set run.epochs=2 --limit-batches 8")
            && !shown.contains("--supervised"),
        "{shown}"
    );
    // Stdin is not a terminal.
    let asked = run(fluxbay(dir.path(), plugins.path())
        .args(["runs", "remove", "first"])
        .stdin(std::process::Stdio::null()));
    assert!(asked.code == Some(2) && asked.stderr.contains("--yes"), "{}", asked.stderr);
    assert!(command(&["runs", "remove", "first", "--yes"]).contains("removed runs/"));
    let left = command(&["runs", "list"]);
    assert!(!left.contains("-first") && left.contains("-second"), "{left}");
}
