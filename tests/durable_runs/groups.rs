//! Parameter groups: what they have, that they resume, and what is reported.

use std::fs;

use fluxbay_tests::{run, succeed};

use crate::components::assert_resumes;
use crate::place::{ADAMW, MLP, Place, digits};

const GROUPS: &str = "decay-exempt = \"vectors\"\n[[optimizer.group]]\nid = \"head\"\nmatch = \"output.*\"\nlearning-rate = 0.05\n\
     [[optimizer.group]]\nid = \"hidden\"\nmatch = [\"*hidden*\"]\nmax-dimensions = 2\nscale = { learning-rate = 0.5 }\n";

#[test]
fn groups_and_their_schedules_resume_to_the_bit() {
    let schedules = "[[callback]]\ncomponent = \"scheduler\"\n[callback.schedules]\n\
         \"optimizer.learning-rate\" = { component = \"exp\", start = 0.05, decay = 0.9 }\n\
         \"optimizer.head.learning-rate\" = { component = \"exp\", start = 0.1, decay = 0.8 }\n";
    assert_resumes(&digits(&format!("{MLP}{ADAMW}{GROUPS}{schedules}")), 6);
}

#[test]
fn compose_shows_the_groups_and_the_resolved_run_is_the_same_run() {
    let place = Place::new(&digits(&format!("{MLP}{ADAMW}{GROUPS}")));
    let said = succeed(&mut place.fluxbay(&["compose", "run.toml"])).stdout;
    let row = |id: &str| {
        let line = said
            .lines()
            .find(|line| line.starts_with(&format!("  {id} ")) && line.contains("tensor"));
        line.unwrap_or_else(|| panic!("{said}")).split_whitespace().collect::<Vec<_>>().join(" ")
    };
    // 64 inputs, 8 hidden units, 10 classes.
    assert_eq!(row("optimizer.head"), "optimizer.head 1 tensor 80 parameters learning-rate = 0.05");
    assert_eq!(
        row("optimizer.head-decay-exempt"),
        "optimizer.head-decay-exempt 1 tensor 10 parameters learning-rate = 0.05, weight-decay = 0.0"
    );
    assert_eq!(
        row("optimizer.hidden"),
        "optimizer.hidden 1 tensor 512 parameters learning-rate x 0.5"
    );
    assert_eq!(row("optimizer"), "optimizer 0 tensors 0 parameters");
    let json = succeed(&mut place.fluxbay(&["compose", "run.toml", "--json"])).stdout;
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    let tensors =
        json["groups"].as_array().unwrap().iter().map(|one| one["tensors"].as_u64().unwrap());
    assert_eq!(tensors.sum::<u64>(), 4);

    succeed(&mut place.fluxbay(&["train", "run.toml", "--run-dir", "first"]));
    fs::copy(place.path("first/resolved.toml"), place.path("again.toml")).unwrap();
    succeed(&mut place.fluxbay(&["train", "again.toml", "--run-dir", "second"]));
    let file = |run: &str, name: &str| fs::read(place.path(run).join(name)).unwrap();
    assert_eq!(file("first", "model.safetensors"), file("second", "model.safetensors"));
    assert_eq!(file("first", "resolved.toml"), file("second", "resolved.toml"));
    let without = [
        "train",
        "run.toml",
        "--run-dir",
        "third",
        "--set",
        "optimizer.decay-exempt=[\"*.scale\"]",
    ];
    let refused = run(&mut place.fluxbay(&without));
    assert!(
        refused.stderr.contains("`*.scale` in `decay-exempt` matches no parameter"),
        "{}",
        refused.stderr
    );
}

#[test]
fn wrong_groups_are_reported_before_training_with_what_to_do() {
    let refused = |group: &str| {
        let place = Place::new(&digits(&format!("{MLP}{ADAMW}[[optimizer.group]]\n{group}")));
        let finished = run(&mut place.fluxbay(&["compose", "run.toml"]));
        assert_eq!(finished.code, Some(2), "{}", finished.stdout);
        assert!(finished.stderr.contains("run.toml:"), "{}", finished.stderr);
        finished.stderr
    };
    let said = refused("match = [\"*.bais\"]\nweight-decay = 0.0\n");
    assert!(said.contains("`*.bais` of parameter group `group-1` matches no parameter"), "{said}");
    assert!(said.contains("did you mean `bias`?") && said.contains("hidden.0.bias"), "{said}");
    let said = refused("weight-decay = 0.0\n");
    assert!(said.contains("does not say which parameters it has"), "{said}");
    let said = refused("match = \"*\"\nweight-decai = 0.0\n");
    assert!(said.contains("did you mean `weight-decay`?"), "{said}");
    let said = refused("match = \"*\"\nscale = { learning-rat = 0.1 }\n");
    assert!(said.contains("did you mean `learning-rate`?"), "{said}");
    let said = refused("match = \"*\"\n[[optimizer.group]]\nid = \"rest\"\nmatch = \"*.bias\"\n");
    assert!(said.contains("parameter group `rest` has no parameters"), "{said}");
    let said = refused("match = \"*\"\nid = \"learning-rate\"\n");
    assert!(said.contains("cannot have the name of a hyper-parameter"), "{said}");
}
