//! Validation within training epochs: it changes nothing but what it measures, and a run goes on from
//! within it.

use std::fs;

use fluxbay_tests::{run, succeed};
use serde_json::Value;

use crate::components::assert_resumes;
use crate::place::{ADAMW, MLP, Place, digits};

const METRICS: &str = "[[callback]]\ncomponent = \"metrics\"\nmetrics = [\"accuracy\"]\n";

/// The metrics of a phase as (scope, epoch, step, name, value).
fn measured(place: &Place, run: &str, phase: &str) -> Vec<(String, u64, u64, String, f64)> {
    let lines = fs::read_to_string(place.path(run).join("metrics.jsonl")).unwrap();
    let line = |line: &str| {
        let line: Value = serde_json::from_str(line).unwrap();
        let text = |key: &str| line[key].as_str().unwrap().to_owned();
        let number = |key: &str| line[key].as_u64().unwrap();
        let value = line["value"].as_f64().unwrap();
        (text("phase"), (text("scope"), number("epoch"), number("step"), text("name"), value))
    };
    let lines = lines.lines().map(line);
    lines.filter(|(of, _)| of == phase).map(|(_, line)| line).collect()
}

#[test]
fn training_is_the_same_with_and_without_validation_within_its_epochs() {
    // Four steps of training an epoch.
    let place = Place::new(&digits(&format!("{MLP}{ADAMW}{METRICS}")));
    let train = |name: &str, every: &str| {
        let every = format!("run.validate-every={every}");
        succeed(&mut place.fluxbay(&["train", "run.toml", "--run-dir", name, "--set", &every]));
    };
    train("plain", "0");
    for (name, every, expected) in
        [("one", "1", vec![1, 2, 3, 0]), ("three", "3", vec![3, 0]), ("half", "0.5", vec![2, 0])]
    {
        train(name, every);
        assert_eq!(measured(&place, name, "training"), measured(&place, "plain", "training"));
        let model = |name: &str| fs::read(place.path(name).join("model.safetensors")).unwrap();
        assert_eq!(model(name), model("plain"), "every {every}");
        let validated = measured(&place, name, "validation");
        for epoch in 1..=3 {
            let of = |name: &str| -> Vec<(u64, f64)> {
                let of = validated.iter().filter(|line| {
                    (line.0.as_str(), line.1, line.3.as_str()) == ("epoch", epoch, name)
                });
                of.map(|line| (line.2, line.4)).collect()
            };
            let steps: Vec<u64> = of("loss").iter().map(|(step, _)| *step).collect();
            assert_eq!(steps, expected, "every {every}, epoch {epoch}");
            // The last is measured where the plain run measures.
            let plain = measured(&place, "plain", "validation");
            for metric in ["loss", "accuracy"] {
                let there = plain.iter().find(|line| {
                    (line.0.as_str(), line.1, line.3.as_str()) == ("epoch", epoch, metric)
                });
                assert_eq!(of(metric).last().unwrap().1, there.unwrap().4);
            }
        }
    }
    // Within the epoch it is the model of that step that is measured.
    let losses: Vec<f64> = measured(&place, "one", "validation")
        .into_iter()
        .filter(|line| line.0 == "epoch" && line.3 == "loss")
        .map(|line| line.4)
        .collect();
    assert!(losses.windows(2).all(|pair| pair[0] != pair[1]), "{losses:?}");
}

#[test]
fn a_run_goes_on_from_within_a_validation() {
    let text = digits(&format!(
        "{MLP}{ADAMW}{METRICS}[checkpoints]\nkeep-best = 2\nevery-steps = 3\n\
         [[callback]]\ncomponent = \"ema\"\ndecay = 0.5\n[[callback]]\ncomponent = \"gradient-accumulation\"\nsteps = 2\n\
         [[callback]]\ncomponent = \"early-stopping\"\n[[callback]]\ncomponent = \"reduce-on-plateau\"\n\
         [[callback]]\ncomponent = \"checkpointer\"\nkeep-top-k = 2\n"
    ));
    let text = text.replace("epochs = 3", "epochs = 2\nvalidate-every = 2").replace("360", "180");
    assert_resumes(&text, 24);
}

#[test]
fn validations_within_epochs_count_for_stopping_and_problems_are_reported() {
    let stop = "[[callback]]\ncomponent = \"early-stopping\"\ncriterion = { type = \"number-limit\", n = 3 }\n";
    let place = Place::new(&digits(&format!("{MLP}{ADAMW}{stop}")));
    let set = |value: &'static str| ["train", "run.toml", "--run-dir", "out", "--set", value];
    let finished = succeed(&mut place.fluxbay(&set("run.validate-every=1")));
    assert!(finished.stderr.contains("stopped early in epoch 1"), "{}", finished.stderr);
    assert_eq!(measured(&place, "out", "training").iter().filter(|one| one.0 == "step").count(), 3);

    let wrong =
        run(&mut place.fluxbay(&["compose", "run.toml", "--set", "run.validate-every=1.5"]));
    assert_eq!(wrong.code, Some(2));
    assert!(wrong.stderr.contains("a whole number of steps"), "{}", wrong.stderr);
    let arguments =
        ["compose", "run.toml", "--set", "run.validate-every=2", "--remove", "validation"];
    let wrong = run(&mut place.fluxbay(&arguments));
    assert!(wrong.stderr.contains("no validation phase"), "{}", wrong.stderr);
}
