//! The tutorial on the training loop: the code on the page is in its crate, and every step runs.

use std::{fs, path::Path};

use fluxbay_tests::{
    Finished, fluxbay, plugin_dir, repository, run, scratch, tutorial_plugin, write,
};

/// Code blocks of the page in one language.
fn blocks<'a>(page: &'a str, language: &str) -> Vec<&'a str> {
    page.split(&format!("```{language}\n"))
        .skip(1)
        .filter_map(|rest| rest.split("```").next())
        .collect()
}

#[test]
fn every_piece_of_code_on_the_page_is_in_the_crate() {
    let crate_dir = repository().join("docs/training-loop");
    let page = fs::read_to_string(crate_dir.join("README.md")).unwrap();
    let sources: Vec<String> = fs::read_dir(crate_dir.join("src"))
        .unwrap()
        .map(|file| fs::read_to_string(file.unwrap().path()).unwrap())
        .collect();
    let pieces = blocks(&page, "rust");
    assert!(pieces.len() >= 8, "the page has only {} pieces of code", pieces.len());
    for piece in pieces {
        assert!(sources.iter().any(|source| source.contains(piece)), "not in the crate:\n{piece}");
    }
}

/// Trains the digits with one of the tutorial's phases.
fn train(dir: &Path, phase: &str, more: &str) -> Finished {
    let plugins = plugin_dir();
    fs::copy(tutorial_plugin(), plugins.path().join("training_loop.so")).unwrap();
    write(
        dir,
        "run.toml",
        &format!(
            "[run]\nepochs = 2\n[data]\ncomponent = \"digits\"\n[loader]\nbatch-size = 64\n[model]\ncomponent = \"mlp\"\nhidden = [32]\n\
             [loss]\ncomponent = \"cross-entropy\"\n[optimizer]\ncomponent = \"adamw\"\nlearning-rate = 0.01\n\
             [[phase]]\ncomponent = \"{phase}\"\n{more}\n"
        ),
    );
    run(fluxbay(dir, plugins.path()).args(["train", "run.toml", "--run-dir", "out"]))
}

/// Recorded values of a metric, in order.
fn values(dir: &Path, phase: &str, scope: &str, name: &str) -> Vec<f64> {
    let text = fs::read_to_string(dir.join("out/metrics.jsonl")).unwrap();
    let records = text.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    let wanted = records.filter(|record| {
        record["phase"] == phase && record["scope"] == scope && record["name"] == name
    });
    wanted.map(|record| record["value"].as_f64().unwrap()).collect()
}

fn finished(dir: &Path, phase: &str, more: &str) {
    let finished = train(dir, phase, more);
    assert_eq!(finished.code, Some(0), "{phase}:\n{}", finished.stderr);
}

#[test]
fn a_bare_step_runs_and_learns_nothing() {
    let dir = scratch();
    finished(dir.path(), "bare", "[[phase]]\ncomponent = \"validation\"");
    assert!(values(dir.path(), "bare", "epoch", "loss").is_empty());
    let losses = values(dir.path(), "validation", "epoch", "loss");
    assert_eq!(losses.len(), 2);
    assert_eq!(losses[0], losses[1]);
}

#[test]
fn a_forward_pass_gives_a_loss_that_does_not_fall() {
    let dir = scratch();
    finished(dir.path(), "forward", "[[phase]]\ncomponent = \"full-validation\"");
    assert_eq!(values(dir.path(), "forward", "epoch", "loss").len(), 2);
    let losses = values(dir.path(), "full-validation", "epoch", "loss");
    assert_eq!(losses[0], losses[1]);
}

#[test]
fn all_phases_that_update_learn_the_same() {
    let results: Vec<Vec<f64>> = ["updating", "full-training", "default-epoch", "training"]
        .into_iter()
        .map(|phase| {
            let dir = scratch();
            finished(
                dir.path(),
                phase,
                &format!("id = \"{phase}\"\n[[phase]]\ncomponent = \"full-validation\""),
            );
            values(dir.path(), "full-validation", "epoch", "loss")
        })
        .collect();
    assert!(results[0][1] < 0.7 * results[0][0], "nothing was learnt: {:?}", results[0]);
    assert!(results.iter().all(|losses| *losses == results[0]), "{results:?}");
}

#[test]
fn an_own_epoch_ends_the_fit_at_a_low_loss() {
    let dir = scratch();
    let finished = train(dir.path(), "until-low-loss", "below = 2.0");
    assert_eq!(finished.code, Some(0), "{}", finished.stderr);
    let state: serde_json::Value =
        serde_json::from_str(&fs::read_to_string(dir.path().join("out/state.json")).unwrap())
            .unwrap();
    assert_eq!(state["status"], "stopped");
    assert!(state["reason"].as_str().unwrap().contains("is below 2"), "{state}");
    assert!(finished.stderr.contains("is below 2"), "{}", finished.stderr);
}
