//! Problems that are reported before the first step: by `train`, by its dry run and by `compose`.

use std::path::Path;

use fluxbay_tests::{Finished, fluxbay, plugin_dir, run, scratch, succeed, write};

/// The three commands that report problems of a run.
const COMMANDS: [&[&str]; 3] =
    [&["train", "--run-dir", "out"], &["train", "--dry-run"], &["compose"]];

/// Runs the three commands; each must fail with 2 and all parts of the message, and train nothing.
fn refused(dir: &Path, plugins: &Path, arguments: &[&str], parts: &[&str]) {
    for command in COMMANDS {
        let finished: Finished = run(fluxbay(dir, plugins).args(command).args(arguments));
        assert_eq!(finished.code, Some(2), "{command:?} {arguments:?}: {}", finished.stderr);
        for part in parts {
            assert!(finished.stderr.contains(part), "{part} is missing in\n{}", finished.stderr);
        }
        assert!(!dir.join("out").exists(), "{command:?} {arguments:?} left a record");
    }
}

/// A table with a feature and a target.
fn table(dir: &Path, name: &str, target: impl Fn(usize) -> String) {
    let rows: String = (0..100).map(|row| format!("{row},{}\n", target(row))).collect();
    write(dir, name, &format!("a,y\n{rows}"));
}

const CSV: &str = "
[run]
epochs = 1
[data]
component = 'csv'
path = 'table.csv'
target = 'y'
[loader]
batch-size = 10
validation = 0.2
[model]
component = 'mlp'
[loss]
component = 'cross-entropy'
[optimizer]
component = 'sgd'
";

#[test]
fn a_split_without_samples() {
    let (dir, plugins) = (scratch(), plugin_dir());
    table(dir.path(), "table.csv", |row| ["no", "yes"][row % 2].to_owned());
    write(dir.path(), "csv.toml", CSV);
    let none = "phase `validation` reads the validation data, but there is none";
    let parts = [none, "loader.validation = 0.2", "--remove validation"];
    refused(dir.path(), plugins.path(), &["--set", "loader.validation=0.0"], &parts);
    refused(dir.path(), plugins.path(), &["csv.toml", "--set", "loader.validation=0.0"], &parts);
    let training = ["--set", "loader.validation=0.0", "--remove", "validation"];
    let dry = run(fluxbay(dir.path(), plugins.path()).args(["train", "--dry-run"]).args(training));
    assert_eq!(dry.code, Some(0), "{}", dry.stderr);
    let composed = run(fluxbay(dir.path(), plugins.path()).args([
        "compose",
        "--no-data",
        "--set",
        "loader.validation=0.0",
    ]));
    assert_eq!(composed.code, Some(0), "{}", composed.stderr);
}

#[test]
fn targets_that_the_loss_does_not_take() {
    let (dir, plugins) = (scratch(), plugin_dir());
    write(dir.path(), "csv.toml", CSV);
    // Whole numbers that look like a regression, without `task`.
    table(dir.path(), "table.csv", |row| (row % 25).to_string());
    let numbers = [
        "the loss `cross-entropy` takes class labels or rows of class probabilities",
        "the target `y` of the data set `csv` is one number per sample (f32)",
        "set `task = \"classification\"` in [data]",
    ];
    refused(dir.path(), plugins.path(), &["csv.toml"], &numbers);
    let task = ["train", "csv.toml", "--set", "data.task=classification", "--dry-run"];
    let fixed = run(fluxbay(dir.path(), plugins.path()).args(task));
    assert_eq!(fixed.code, Some(0), "{}", fixed.stderr);
    table(dir.path(), "table.csv", |row| format!("{row}.5"));
    refused(dir.path(), plugins.path(), &["csv.toml"], &numbers);
    // The reverse: labels for a loss of numbers.
    let labels = ["the loss `mse` takes numbers", "has labels of 10 classes (u32)"];
    refused(dir.path(), plugins.path(), &["--set", "loss.component=mse"], &labels);
}

/// Adds the callback `metrics` with accuracy in the validation phase alone.
const ACCURACY: [&str; 2] =
    ["--add", "callback/metrics{metrics = [{component = 'accuracy', phase = 'validation'}]}"];

#[test]
fn figures_that_nothing_reports() {
    let (dir, plugins) = (scratch(), plugin_dir());
    let accuracy = "`validation/accuracy`";
    let misspelt = ["did you mean `accuracy`?", "`training/loss`", accuracy];
    let check = |more: &[&str], parts: &[&str]| {
        refused(dir.path(), plugins.path(), &[&ACCURACY, more].concat(), parts);
    };
    for keep in ["checkpoints.keep-best=2", "checkpoints.restore-best=true"] {
        let settings = ["--set", keep, "--set", "checkpoints.metric=validation/acuracy"];
        check(&settings, &[&["`checkpoints.metric` ranks by"][..], &misspelt].concat());
    }
    for callback in ["early-stopping", "reduce-on-plateau", "checkpointer"] {
        let add = |settings: &str| format!("callback/{callback}{{{settings}}}");
        let keep = if callback == "checkpointer" { ", keep-top-k = 1" } else { "" };
        let wrong = add(&format!("metric = 'acuracy'{keep}"));
        check(&["--add", &wrong], &[&[callback, "`acuracy`"][..], &misspelt].concat());
        let elsewhere = add(&format!("metric = 'accuracy', phase = 'training'{keep}"));
        check(&["--add", &elsewhere], &["of phase `training`", accuracy]);
        let nowhere = add(&format!("phase = 'test'{keep}"));
        check(&["--add", &nowhere], &["phase `test`", "`training`, `validation`"]);
        // The phase that measures it is found, and its direction is known.
        let right = add(&format!("metric = 'accuracy'{keep}"));
        let arguments = [&["compose"][..], &ACCURACY, &["--add", &right]].concat();
        let fine = run(fluxbay(dir.path(), plugins.path()).args(arguments));
        assert_eq!(fine.code, Some(0), "{callback}: {}", fine.stderr);
    }
}

#[test]
fn the_name_of_a_run_folder_is_text() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt as _;

    let (dir, plugins) = (scratch(), plugin_dir());
    let name = OsStr::from_bytes(b"run-\xff");
    let mut train = fluxbay(dir.path(), plugins.path());
    let refused = run(train.args(["train", "--run-dir"]).arg(name));
    assert_eq!(refused.code, Some(2), "{}", refused.stderr);
    assert!(refused.stderr.contains("not valid UTF-8"), "{}", refused.stderr);
    assert!(!dir.path().join(name).exists());
    // A folder of an earlier release is read.
    let small = ["train", "--set", "run.epochs=1", "--limit-batches", "2", "--run-dir", "out"];
    succeed(fluxbay(dir.path(), plugins.path()).args(small));
    std::fs::rename(dir.path().join("out"), dir.path().join(name)).unwrap();
    succeed(fluxbay(dir.path(), plugins.path()).arg("evaluate").arg(name));
    succeed(fluxbay(dir.path(), plugins.path()).args(["runs", "show"]).arg(name));
    let mut resume = fluxbay(dir.path(), plugins.path());
    succeed(resume.arg("resume").arg(name).args(["--set", "run.epochs=2"]));
}

#[test]
fn a_run_that_ranks_by_training_figures_can_be_evaluated() {
    let (dir, plugins) = (scratch(), plugin_dir());
    let ranked = [
        "train",
        "--run-dir",
        "out",
        "--limit-batches",
        "2",
        "--set",
        "run.epochs=1",
        "--set",
        "checkpoints.keep-best=1",
        "--set",
        "checkpoints.metric=training/loss",
        "--add",
        "callback/early-stopping{phase = 'training'}",
    ];
    succeed(fluxbay(dir.path(), plugins.path()).args(ranked));
    let evaluated = succeed(fluxbay(dir.path(), plugins.path()).args(["evaluate", "out"]));
    assert!(evaluated.stdout.contains("validation  loss"), "{}", evaluated.stdout);
}
