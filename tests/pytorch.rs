//! The standard models and optimizers against PyTorch: with equal weights and batches, the losses
//! of all steps agree.
//!
//! `tests/reference/training.py` records the expected losses and the versions.

use std::fs;

use fluxbay_tests::{fluxbay, plugin_dir, repository, scratch};

/// Largest relative difference of a loss. Observed: 6e-7, from another order of summation.
const TOLERANCE: f64 = 1e-5;

fn trains_like_pytorch(name: &str) {
    let (dir, plugins) = (scratch(), plugin_dir());
    let reference = repository().join("tests/reference");
    let numbers = fs::read_to_string(reference.join("pytorch.json")).expect("the recorded numbers");
    let numbers: serde_json::Value = serde_json::from_str(&numbers).expect("recorded as JSON");
    let expected: Vec<f64> = numbers["models"][name]
        .as_array()
        .expect("a model")
        .iter()
        .filter_map(|loss| loss.as_f64())
        .collect();
    let record = dir.path().join("record");
    let mut train = fluxbay(dir.path(), plugins.path());
    train
        .arg("train")
        .arg(reference.join(format!("{name}.toml")))
        .arg("--run-dir")
        .arg(&record)
        .arg("--quiet");
    let output = train.output().expect("the binary starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let lines = fs::read_to_string(record.join("metrics.jsonl")).expect("the run's metrics");
    let losses: Vec<f64> = lines
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).expect("a line is JSON"))
        .filter(|line| line["scope"] == "step" && line["name"] == "loss")
        .filter_map(|line| line["value"].as_f64())
        .collect();
    assert_eq!(losses.len(), expected.len());
    assert!(expected.len() > 10);
    for (step, (ours, theirs)) in losses.iter().zip(&expected).enumerate() {
        assert!(
            (ours - theirs).abs() < TOLERANCE * theirs,
            "{name}, step {}: loss {ours}, PyTorch has {theirs}",
            step + 1
        );
    }
}

#[test]
fn mlp_with_nesterov_trains_like_pytorch() {
    trains_like_pytorch("mlp");
}

#[test]
fn cnn_with_adam_trains_like_pytorch() {
    trains_like_pytorch("cnn");
}

#[test]
fn gpt_with_adamw_trains_like_pytorch() {
    trains_like_pytorch("gpt");
}
