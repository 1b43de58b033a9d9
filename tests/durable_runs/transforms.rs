//! Augmented runs are the same after kills and with any number of loader threads.

use std::fs;

use fluxbay_tests::succeed;

use crate::place::{ADAMW, MLP, Place, Random, Running, digits, wait_for};

/// Transforms and a sampler over the digits.
fn augmented() -> String {
    let chain = "[[transform]]\ncomponent = \"random-crop\"\nsize = [8, 8]\npadding = 1\n\
                 [[transform]]\ncomponent = \"color-jitter\"\n[[transform]]\ncomponent = \"rotation\"\n\
                 [[transform]]\ncomponent = \"random-erasing\"\n[[transform]]\ncomponent = \"normalize\"\nvalues = \"half\"\n\
                 [sampler]\ncomponent = \"balanced\"\nsamples = 600\n[checkpoints]\nevery-steps = 3\nkeep-last = 2\n";
    digits(&format!("{MLP}{ADAMW}{chain}"))
        .replace("epochs = 3", "epochs = 6")
        .replace("batch-size = 360", "batch-size = 50")
}

#[test]
fn an_augmented_run_that_is_killed_again_and_again_ends_as_one_that_is_not() {
    let place = Place::new(&augmented());
    succeed(&mut place.fluxbay(&["train", "run.toml", "--run-dir", "straight"]));
    let mut random = Random(7);
    let mut arguments = vec!["train", "run.toml", "--run-dir", "killed"];
    for _ in 0..6 {
        let mut running = Running::start(place.fluxbay(&arguments));
        let checkpoints = place.path("killed/checkpoints");
        wait_for("a checkpoint", || {
            fs::read_dir(&checkpoints).is_ok_and(|mut all| all.next().is_some())
                || running.0.try_wait().is_ok_and(|ended| ended.is_some())
        });
        std::thread::sleep(std::time::Duration::from_millis(random.below(60)));
        let _ = running.0.kill();
        drop(running);
        arguments = vec!["resume", "killed"];
        if place.state("killed")["status"] == "finished" {
            break;
        }
    }
    if place.state("killed")["status"] != "finished" {
        succeed(&mut place.fluxbay(&arguments));
    }
    place.assert_same("straight", "killed");
}

#[test]
fn loader_threads_and_read_ahead_change_no_bit() {
    let place = Place::new(&augmented());
    let mut models = Vec::new();
    for (name, prefetch, threads) in
        [("none", 0, 0), ("one", 1, 1), ("two", 4, 2), ("eight", 16, 8)]
    {
        let mut command = place.fluxbay(&["train", "run.toml", "--run-dir", name]);
        command.args(["--set", &format!("loader.prefetch={prefetch}")]);
        command.args(["--set", &format!("loader.threads={threads}")]);
        succeed(&mut command);
        models.push(fs::read(place.path(name).join("model.safetensors")).unwrap());
    }
    assert!(models.iter().all(|model| *model == models[0]));
}
