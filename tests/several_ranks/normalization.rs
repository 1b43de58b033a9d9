//! Batch normalisation over the samples of all ranks.

use std::time::Duration;

use crate::place::{Place, TROUBLE, digits};
use crate::same_bits::{CALLBACKS, assert_same_on_every_number_of_ranks, batch_norm};

const SYNC: &str = "sync-batch-norm = true\n";

/// The loss of each training step.
fn losses(place: &Place, run: &str) -> Vec<f64> {
    let text = std::fs::read_to_string(place.path(run).join("metrics.jsonl")).unwrap();
    let lines = text.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    let is_loss = |line: &serde_json::Value| {
        line["phase"] == "training" && line["scope"] == "step" && line["name"] == "loss"
    };
    lines.filter(is_loss).map(|line| line["value"].as_f64().unwrap()).collect()
}

fn largest_difference(one: &[f64], other: &[f64]) -> f64 {
    assert!(one.len() == other.len() && one.len() > 5, "{} and {}", one.len(), other.len());
    one.iter().zip(other).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max)
}

#[test]
fn synchronised_batch_normalisation_trains_as_one_process_does() {
    let place = Place::new(&digits(SYNC, &batch_norm()));
    for (ranks, out) in [(1, "on-1"), (3, "on-3"), (3, "again")] {
        place.succeed(ranks, &["train", "run.toml", "--run-dir", out]);
    }
    let apart = ["--set", "run.sync-batch-norm=false"];
    place.succeed(3, &[&["train", "run.toml", "--run-dir", "apart"], &apart[..]].concat());
    let one = losses(&place, "on-1");
    let synchronised = largest_difference(&one, &losses(&place, "on-3"));
    let by_block = largest_difference(&one, &losses(&place, "apart"));
    assert!(synchronised < 1e-4 && by_block > 10.0 * synchronised, "{synchronised} {by_block}");
    assert_eq!(place.differences("on-3", "again"), Vec::<String>::new());
}

/// A run whose batches can be divided into eight blocks of the same size.
fn in_blocks(more: &str) -> String {
    let run = digits(&format!("{SYNC}gradient-blocks = 8\n"), more);
    run.replace("batch-size = 299", "batch-size = 256\ndrop-last = true")
}

/// A run with blocks: images of 8 by 8 in two channels, dropout behind a second normalisation.
pub fn synced() -> String {
    let model = "[model]\ncomponent = \"sequential\"\nlayers = [{ type = \"reshape\", shape = [1, 8, 8] }, { type = \"conv2d\", out = 2 }, \
                 { type = \"batch-norm\" }, { type = \"activation\" }, { type = \"flatten\" }, { type = \"linear\", out = 8 }, \
                 { type = \"batch-norm\" }, { type = \"dropout\" }, { type = \"linear\", out = 10 }]\n\
                 [optimizer]\ncomponent = \"adamw\"\nlearning-rate = 0.01\n";
    in_blocks(&format!("{model}{CALLBACKS}"))
}

#[test]
fn with_blocks_it_gives_the_same_bits_on_every_number_of_ranks() {
    let place = assert_same_on_every_number_of_ranks(&synced());
    let text = std::fs::read_to_string(place.path("run.toml")).unwrap();
    let alone = text.replace("[communicator]\ncomponent = \"sockets\"\n", "");
    std::fs::write(place.path("run.toml"), alone).unwrap();
    place.succeed(1, &["train", "run.toml", "--run-dir", "alone"]);
    let model = |run: &str| std::fs::read(place.path(run).join("model.safetensors")).unwrap();
    assert!(model("alone") == model("on-4"));
}

#[test]
fn blocks_are_normalised_as_the_whole_batch_is() {
    let place = Place::new(&in_blocks(&batch_norm()));
    let whole = ["--set", "run.gradient-blocks=0"];
    let apart = ["--set", "run.sync-batch-norm=false"];
    for (out, more) in [("joint", &[][..]), ("whole", &whole), ("apart", &apart)] {
        place.succeed(1, &[&["train", "run.toml", "--run-dir", out], more].concat());
    }
    let one = losses(&place, "whole");
    let joint = largest_difference(&one, &losses(&place, "joint"));
    let by_block = largest_difference(&one, &losses(&place, "apart"));
    assert!(joint < 1e-4 && by_block > 10.0 * joint, "{joint} {by_block}");
}

#[test]
fn what_cannot_be_synchronised_is_refused_and_failures_keep_their_cause() {
    let place = Place::new(&digits(&format!("{SYNC}gradient-blocks = 4\n"), &batch_norm()));
    for finished in place.start(2, &["train", "run.toml"]).wait(Duration::from_secs(60)) {
        assert_eq!(finished.code, Some(1), "{}", finished.stderr);
        assert!(finished.stderr.contains("4 blocks of the same size"), "{}", finished.stderr);
    }
    let place = Place::new(&in_blocks(&batch_norm()));
    let recompute = ["train", "run.toml", "--set", "model.recompute=[\"*\"]"];
    for finished in place.start(2, &recompute).wait(Duration::from_secs(60)) {
        assert_eq!(finished.code, Some(1), "{}", finished.stderr);
        assert!(finished.stderr.contains("leave out `recompute`"), "{}", finished.stderr);
    }
    let place = Place::new(&digits(SYNC, &format!("{}{TROUBLE}", batch_norm())));
    let train = ["train", "run.toml", "--run-dir", "out"];
    let all = place.start_in_trouble(2, "error 1 3", &train).wait(Duration::from_secs(60));
    for finished in all {
        assert_eq!(finished.code, Some(1), "{}", finished.stderr);
    }
    let state = place.state("out");
    assert_eq!(state["by"], "trouble", "{state}");
    assert!(state["reason"].as_str().unwrap().contains("on rank 1"), "{state}");
    // The last batch of the digits has fewer samples than ranks.
    let small = ["--set", "loader.batch-size=1436", "--set", "loader.validation=0.2"];
    let all = place.start(4, &[&["train", "run.toml"], &small[..]].concat());
    for finished in all.wait(Duration::from_secs(60)) {
        assert_eq!(finished.code, Some(1), "{}", finished.stderr);
        assert!(finished.stderr.contains("loader.drop-last"), "{}", finished.stderr);
    }
}
