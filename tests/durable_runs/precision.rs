//! Runs with products of bf16: the same bits again and after an interruption, and what is refused.

use std::fs;

use fluxbay_tests::{run, succeed};

use crate::components::assert_resumes;
use crate::place::{ADAMW, Place, digits};

/// A residual network over the digits in this precision.
fn residual(precision: &str) -> String {
    digits(&format!(
        "[model]\ncomponent = \"resnet\"\nsmall-images = true\nstem = 4\nwidths = [4, 8]\nblocks = [1, 1]\n{ADAMW}"
    ))
    .replace("epochs = 3", &format!("epochs = 2\nprecision = \"{precision}\""))
}

/// Trains a run; the files of its model.
fn model(precision: &str) -> (Place, Vec<u8>) {
    let place = Place::new(&residual(precision));
    succeed(&mut place.fluxbay(&["train", "run.toml", "--run-dir", "record"]));
    let model = fs::read(place.path("record").join("model.safetensors")).unwrap();
    (place, model)
}

#[test]
fn a_run_in_bf16_has_the_same_bits_again_and_others_than_in_f32() {
    let (place, first) = model("bf16");
    assert!(first == model("bf16").1, "the same run has other bits");
    assert!(first != model("f32").1, "bf16 changes nothing");
    let header: String = String::from_utf8_lossy(&first[8..2000]).into_owned();
    assert!(header.contains("\"F32\"") && !header.contains("BF16"), "{header}");
    let resolved = fs::read_to_string(place.path("record").join("resolved.toml")).unwrap();
    assert!(resolved.contains("precision = \"bf16\""), "{resolved}");
}

#[test]
fn a_run_in_bf16_resumes_to_the_same_bits() {
    assert_resumes(&residual("bf16"), 2);
}

#[test]
fn a_run_is_not_resumed_in_another_precision() {
    let (place, _) = model("bf16");
    let more = ["resume", "record", "--set", "run.epochs=3", "--set"];
    let refused = run(&mut place.fluxbay(&[&more[..], &["run.precision=\"f32\""]].concat()));
    assert!(
        refused.code == Some(2) && refused.stderr.contains("run.precision"),
        "{}",
        refused.stderr
    );
    succeed(&mut place.fluxbay(&more[..4]));
}

#[test]
fn other_precisions_are_refused_with_the_reason() {
    let place = Place::new(&residual("f16"));
    let refused = run(&mut place.fluxbay(&["compose", "run.toml"]));
    assert!(refused.code == Some(2) && refused.stderr.contains("65504"), "{}", refused.stderr);
    assert!(refused.stderr.contains("precision = \"bf16\""), "{}", refused.stderr);
}
