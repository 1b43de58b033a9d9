//! Runs that save memory: blocks that are computed again, a budget, and what is told of both.

use std::fs;

use fluxbay_tests::{run, succeed, write};
use serde_json::Value;

use crate::components::assert_resumes;
use crate::place::{ADAMW, Place, digits};

/// A transformer over text; `{model}` and `{run}` are replaced by further settings.
fn text(model: &str, run: &str) -> String {
    format!(
        "[run]\nepochs = 1\nseed = 3\nthreads = 2\n{run}[data]\ncomponent = \"text\"\npath = \"text.txt\"\ncontext = 32\n\
         stride = 16\n[loader]\nbatch-size = 8\nlimit-batches = 6\n[model]\ncomponent = \"gpt\"\nlayers = 4\nwidth = 32\n\
         heads = 4\ndropout = 0.1\n{model}{ADAMW}[loss]\ncomponent = \"cross-entropy\"\n[[phase]]\ncomponent = \"training\"\n"
    )
}

/// A residual network with batch norm over the digits.
fn residual(model: &str) -> String {
    digits(&format!(
        "[model]\ncomponent = \"resnet\"\nstem = 4\nwidths = [4, 8]\nblocks = [2, 1]\n{model}{ADAMW}"
    ))
    .replace("epochs = 3", "epochs = 2")
}

fn place(run_file: &str) -> Place {
    let place = Place::new(run_file);
    let words = "The quick brown fox jumps over the lazy dog; ".repeat(40);
    write(&place.path("."), "text.txt", &words);
    place
}

/// Trains a run; its model, its last optimizer state, its losses, and what its tensors took.
fn trained(run_file: &str) -> (Vec<Vec<u8>>, Value) {
    let place = place(run_file);
    succeed(&mut place.fluxbay(&["train", "run.toml", "--run-dir", "record"]));
    let record = place.path("record");
    let mut files = vec![fs::read(record.join("model.safetensors")).unwrap()];
    let checkpoints = fs::read_dir(record.join("checkpoints")).unwrap();
    let mut checkpoints: Vec<_> = checkpoints.map(|entry| entry.unwrap().path()).collect();
    checkpoints.sort();
    let newest = checkpoints.last().expect("a checkpoint");
    let mut saved: Vec<_> = fs::read_dir(newest).unwrap().map(|one| one.unwrap().path()).collect();
    saved.retain(|path| path.extension().is_some_and(|end| end == "safetensors"));
    saved.sort();
    assert!(!saved.is_empty(), "{newest:?} has no tensors");
    files.extend(saved.iter().map(|path| fs::read(path).unwrap()));
    let profile = fs::read_to_string(record.join("profile.json")).unwrap();
    let profile: Value = serde_json::from_str(&profile).unwrap();
    (files, profile["memory"].clone())
}

fn number(memory: &Value, key: &str) -> u64 {
    memory[key].as_u64().unwrap_or_else(|| panic!("no {key} in {memory}"))
}

#[test]
fn a_transformer_trains_to_the_same_bits_with_recomputed_blocks_in_less_memory() {
    let (kept, all) = trained(&text("", ""));
    let (again, few) = trained(&text("recompute = [\"block.*\"]\n", ""));
    assert!(kept == again, "the models or checkpoints differ");
    assert_eq!((number(&all, "recomputed-blocks"), number(&few, "recomputed-blocks")), (0, 4));
    let (all, few) = (number(&all, "activations"), number(&few, "activations"));
    assert!(2 * few < all, "{few} of {all} bytes");
    // A budget that leaves room for some of the blocks.
    let limit = format!("memory = \"{}B\"\n", number(&trained(&text("", "")).1, "peak") * 2 / 3);
    let (within, less) = trained(&text("", &limit));
    assert!(kept == within, "the models or checkpoints differ");
    assert!(number(&less, "activations") < all && number(&less, "recomputed-blocks") > 0, "{less}");
}

#[test]
fn a_residual_network_trains_to_the_same_bits_with_recomputed_stages() {
    let (kept, all) = trained(&residual(""));
    let (again, few) = trained(&residual("recompute = [\"layer*.*\"]\n"));
    assert!(kept == again, "the models or checkpoints differ");
    assert_eq!(number(&few, "recomputed-blocks"), 3);
    assert!(number(&few, "activations") < number(&all, "activations"), "{few} of {all}");
}

#[test]
fn runs_with_recomputed_blocks_resume_to_the_bit() {
    assert_resumes(&residual("recompute = \"layer1\"\n"), 2);
}

#[test]
fn compose_shows_the_blocks_and_a_pattern_without_any_is_an_error() {
    let place = place(&text("recompute = [\"block.1\", \"tokens\"]\n", "memory = \"1GiB\"\n"));
    let said = succeed(&mut place.fluxbay(&["compose", "run.toml"])).stdout;
    let rows: Vec<String> = said
        .lines()
        .skip_while(|line| !line.starts_with("computed again"))
        .skip(1)
        .take_while(|line| !line.is_empty())
        .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
        .collect();
    assert!(rows.iter().any(|row| row == "tokens of model 1 tensor always"), "{said}");
    let of_block = |at: usize| rows.iter().find(|row| row.starts_with(&format!("block.{at} ")));
    assert!(of_block(1).unwrap().ends_with("tensors always"), "{said}");
    assert!(of_block(0).unwrap().ends_with("tensors if memory is short"), "{said}");
    let json = succeed(&mut place.fluxbay(&["compose", "run.toml", "--json"])).stdout;
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["recomputed"][0]["path"], "block.0");
    assert_eq!(json["recomputed"][1]["when"], "always");
    assert_eq!(json["run"]["model"]["recompute"][0], "block.1");
    assert_eq!(json["run"]["run"]["memory"], "1GiB");
    let wrong = ["compose", "run.toml", "--set", "model.recompute=[\"blocks.*\"]"];
    let refused = run(&mut place.fluxbay(&wrong));
    assert_eq!(refused.code, Some(2));
    let told = &refused.stderr;
    assert!(told.contains("`blocks.*` in `recompute` of model `model` names no block"), "{told}");
    assert!(told.contains("did you mean `block.*`?"), "{told}");
    let refused = run(&mut place.fluxbay(&["compose", "run.toml", "--set", "run.memory=2"]));
    assert_eq!(refused.code, Some(2), "{}", refused.stderr);
    let refused = run(&mut place.fluxbay(&["compose", "run.toml", "--set", "run.memory=\"2 G\""]));
    assert!(refused.stderr.contains("`2 G` is no amount of memory"), "{}", refused.stderr);
}

#[test]
fn the_summary_tells_what_tensors_took_and_a_budget_that_is_too_small() {
    let place = place(&text("", "memory = \"100kB\"\n"));
    let finished = succeed(&mut place.fluxbay(&["train", "run.toml", "--run-dir", "record"]));
    let told = &finished.stderr;
    assert!(told.contains("memory  tensors at most"), "{told}");
    assert!(told.contains("more than run.memory = 100.0 kB"), "{told}");
}

#[test]
fn profile_shows_the_memory_of_each_layer() {
    let place = place(&text("", ""));
    let said = succeed(&mut place.fluxbay(&["profile", "run.toml", "--memory"])).stdout;
    assert!(said.starts_with("tensors at most") && said.contains("block.3.expand"), "{said}");
    let bytes = |more: &[&str]| {
        let arguments = [&["profile", "run.toml", "--memory", "--json"], more].concat();
        let said = succeed(&mut place.fluxbay(&arguments)).stdout;
        let json: Value = serde_json::from_str(&said).unwrap();
        let of = |layer: &&Value| layer["path"].as_str().unwrap().starts_with("block.");
        let layers: u64 = json["layers"]
            .as_array()
            .unwrap()
            .iter()
            .filter(of)
            .map(|layer| layer["bytes"].as_u64().unwrap())
            .sum();
        (layers, number(&json["memory"], "parameters"))
    };
    let (all, parameters) = bytes(&[]);
    let (few, same) = bytes(&["--set", "model.recompute=[\"block.*\"]"]);
    assert!(few < all && parameters == same && parameters > 0, "{few} of {all} bytes");
    assert_eq!(run(&mut place.fluxbay(&["profile", "run.toml"])).code, Some(2));
}
