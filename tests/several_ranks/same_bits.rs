//! With `gradient-blocks`, a run has the same bits on every number of ranks that divides it.

use crate::place::{ADAMW, MLP, Place, digits};

/// Callbacks that change gradients, inputs, parameters and what is measured.
pub const CALLBACKS: &str = "[[callback]]\ncomponent = \"gradient-clipping\"\nnorm = 1.0\n[[callback]]\n\
     component = \"gradient-accumulation\"\nsteps = 2\n[[callback]]\ncomponent = \"ema\"\n[[callback]]\n\
     component = \"mixup\"\n[[callback]]\ncomponent = \"metrics\"\nmetrics = [\"accuracy\", \"f1\"]\n";

/// Trains a run on 1, 2, 4 and 8 ranks, and compares the records.
pub fn assert_same_on_every_number_of_ranks(run_file: &str) -> Place {
    let place = Place::new(run_file);
    for ranks in [1, 2, 4, 8] {
        let out = format!("on-{ranks}");
        place.succeed(ranks, &["train", "run.toml", "--run-dir", &out]);
    }
    for other in ["on-2", "on-4", "on-8"] {
        assert_eq!(place.differences("on-1", other), Vec::<String>::new());
    }
    place
}

#[test]
fn dropout_clipping_accumulation_averages_and_mixup_give_the_same_bits() {
    let blocks = "gradient-blocks = 8\n";
    let place =
        assert_same_on_every_number_of_ranks(&digits(blocks, &format!("{MLP}{ADAMW}{CALLBACKS}")));
    // Without another communicator, one process alone gives them, too.
    let text = std::fs::read_to_string(place.path("run.toml")).unwrap();
    let alone = text.replace("[communicator]\ncomponent = \"sockets\"\n", "");
    std::fs::write(place.path("run.toml"), alone).unwrap();
    place.succeed(1, &["train", "run.toml", "--run-dir", "alone"]);
    let model = |run: &str| std::fs::read(place.path(run).join("model.safetensors")).unwrap();
    assert!(model("alone") == model("on-4"));
}

/// A model with batch normalisation, and its optimizer.
pub fn batch_norm() -> String {
    "[model]\ncomponent = \"sequential\"\nlayers = [{ type = \"flatten\" }, { type = \"linear\", out = 8 }, \
     { type = \"batch-norm\" }, { type = \"activation\" }, { type = \"linear\", out = 10 }]\n\
     [optimizer]\ncomponent = \"sgd\"\nlearning-rate = 0.05\nmomentum = 0.9\n"
        .to_owned()
}

#[test]
fn batch_normalisation_gives_the_same_bits() {
    assert_same_on_every_number_of_ranks(&digits("gradient-blocks = 8\n", &batch_norm()));
}

#[test]
fn recomputed_blocks_of_the_model_change_no_bit() {
    let run_file = digits("gradient-blocks = 2\n", &format!("{MLP}{ADAMW}"));
    let place = Place::new(&run_file);
    place.succeed(1, &["train", "run.toml", "--run-dir", "kept"]);
    let recompute = ["--set", "model.recompute=[\"hidden.*\", \"output\"]"];
    for (ranks, out) in [(1, "again-on-1"), (2, "again-on-2")] {
        let train = ["train", "run.toml", "--run-dir", out];
        place.succeed(ranks, &[&train[..], &recompute].concat());
        let model = |run: &str| std::fs::read(place.path(run).join("model.safetensors")).unwrap();
        assert!(model("kept") == model(out), "{out}");
    }
}

#[test]
fn a_run_goes_on_with_another_number_of_ranks() {
    let run_file = digits("gradient-blocks = 4\n", &format!("{MLP}{ADAMW}{CALLBACKS}"))
        .replace("epochs = 2", "epochs = 4");
    let place = Place::new(&run_file);
    place.succeed(1, &["train", "run.toml", "--run-dir", "straight"]);
    let interrupted = |ranks, at: &str, command: &[&str]| {
        let mut arguments = command.to_vec();
        arguments.extend(["--interrupt-at", at]);
        let all = place.start(ranks, &arguments).wait(std::time::Duration::from_secs(120));
        for finished in all {
            assert_eq!(finished.code, Some(130), "{}", finished.stderr);
        }
    };
    interrupted(2, "3", &["train", "run.toml", "--run-dir", "changed"]);
    interrupted(4, "11", &["resume", "changed"]);
    interrupted(1, "17", &["resume", "changed"]);
    place.succeed(2, &["resume", "changed"]);
    assert_eq!(place.differences("straight", "changed"), Vec::<String>::new());
}

#[test]
fn optimizer_state_that_is_divided_changes_no_bit_and_needs_less_memory() {
    let place = Place::new(&digits("gradient-blocks = 4\n", &format!("{MLP}{ADAMW}{CALLBACKS}")));
    place.succeed(2, &["train", "run.toml", "--run-dir", "whole"]);
    let shard = ["--set", "run.shard-optimizer=true"];
    for (ranks, out) in [(1, "on-1"), (2, "on-2"), (4, "on-4")] {
        place.succeed(ranks, &[&["train", "run.toml", "--run-dir", out], &shard[..]].concat());
        assert_eq!(place.differences("whole", out), Vec::<String>::new(), "{out}");
    }
    let parameters = |run: &str| {
        let text = std::fs::read_to_string(place.path(run).join("profile.json")).unwrap();
        let profile: serde_json::Value = serde_json::from_str(&text).unwrap();
        profile["memory"]["optimizer"].as_f64().unwrap()
    };
    assert!(parameters("on-4") < 0.7 * parameters("whole"), "{}", parameters("on-4"));
    // A checkpoint has the states of all ranks: any number goes on, with or without the setting.
    let interrupt = ["--run-dir", "changed", "--interrupt-at", "5"];
    let train = [&["train", "run.toml"], &shard[..], &interrupt].concat();
    for finished in place.start(4, &train).wait(std::time::Duration::from_secs(120)) {
        assert_eq!(finished.code, Some(130), "{}", finished.stderr);
    }
    let whole = ["resume", "changed", "--set", "run.shard-optimizer=false", "--interrupt-at", "9"];
    for finished in place.start(1, &whole).wait(std::time::Duration::from_secs(120)) {
        assert_eq!(finished.code, Some(130), "{}", finished.stderr);
    }
    place.succeed(2, &[&["resume", "changed"], &shard[..]].concat());
    assert_eq!(place.differences("whole", "changed"), Vec::<String>::new());
}

#[test]
fn verify_resume_changes_the_number_of_ranks_at_every_interruption() {
    let place = Place::new(&digits("gradient-blocks = 4\n", &format!("{MLP}{ADAMW}")));
    let verify = |ranks: &str, more: &[&str]| {
        let mut command = place.fluxbay(&["verify-resume", "run.toml", "--ranks", ranks]);
        fluxbay_tests::run(command.args(more))
    };
    let finished = verify("1,2,4", &["--json"]);
    assert_eq!(finished.code, Some(0), "{}", finished.stderr);
    let json: serde_json::Value = serde_json::from_str(&finished.stdout).unwrap();
    assert_eq!(json["same"], true, "{json}");
    assert_eq!(json["ranks"], serde_json::json!([1, 2, 4, 1]));
    let refused = verify("1,2", &["--set", "run.gradient-blocks=0"]);
    assert_eq!(refused.code, Some(2), "{}", refused.stderr);
    assert!(refused.stderr.contains("--set run.gradient-blocks=2"), "{}", refused.stderr);
}

#[test]
fn without_blocks_the_same_number_of_ranks_gives_the_same_bits() {
    let place = Place::new(&digits("", &format!("{MLP}{ADAMW}")));
    place.succeed(3, &["train", "run.toml", "--run-dir", "one"]);
    place.succeed(3, &["train", "run.toml", "--run-dir", "other"]);
    assert_eq!(place.differences("one", "other"), Vec::<String>::new());
}

#[test]
fn one_rank_keeps_the_record_and_shows_the_run() {
    let place = Place::new(&digits("", &format!("{MLP}{ADAMW}")));
    let all = place.succeed(2, &["train", "run.toml", "--run-dir", "out"]);
    assert!(all[0].stderr.contains("out"), "{}", all[0].stderr);
    assert!(all[1].stderr.is_empty(), "{}", all[1].stderr);
    let left: Vec<String> = std::fs::read_dir(place.dir.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .filter(|name| name.starts_with("fluxbay-run-"))
        .collect();
    assert_eq!(left, Vec::<String>::new());
    assert_eq!(place.state("out")["status"], "finished");
    for rank in 0..2 {
        let state = place.state_of_rank("out", rank);
        assert_eq!((&state["status"], &state["ranks"]), (&"finished".into(), &2.into()));
        assert!(state["communicating"].as_f64().unwrap() > 0.0);
    }
}
