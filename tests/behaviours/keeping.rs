//! Which checkpoints are kept: behaviour 25, through the binary.

use std::path::Path;

use fluxbay_tests::{fluxbay, scratch, succeed, write};

use crate::run::*;

/// Epochs of the checkpoints that are left after a run of `epochs` epochs.
fn kept(epochs: u64, checkpointer: &str, more: &str) -> Vec<u64> {
    let dir = scratch();
    let phases = "[[phase]]\ncomponent = \"training\"\n[[phase]]\ncomponent = \"validation\"\n";
    let callbacks = format!(
        "[[callback]]\ncomponent = \"metrics\"\n{more}[[callback]]\ncomponent = \"checkpointer\"\n{checkpointer}"
    );
    let model = SCALAR.replace("0.001", "0.0001");
    let text = fixture(&format!("{model}{phases}{callbacks}"))
        .replace("epochs = 5", &format!("epochs = {epochs}"));
    write(dir.path(), "run.toml", &text);
    succeed(fluxbay(dir.path(), plugins()).args([
        "train",
        "run.toml",
        "--run-dir",
        "out",
        "--set",
        "checkpoints.every-epochs=100",
    ]));
    epochs_in(&dir.path().join("out/checkpoints"))
}

fn epochs_in(folder: &Path) -> Vec<u64> {
    let found = fluxbay::record::checkpoint::scan(folder);
    found.iter().map(|found| found.about.as_ref().unwrap().epochs).collect()
}

#[test]
fn behaviour_25_every_epoch_has_its_checkpoint() {
    assert_eq!(kept(5, "", ""), [1, 2, 3, 4, 5]);
    assert_eq!(kept(6, "every = 3\n", ""), [3, 6]);
}

#[test]
fn behaviour_25_the_best_stay_and_the_newest_even_if_it_is_the_worst() {
    assert_eq!(kept(5, "keep-top-k = 8\n", "").len(), 5);
    // The loss falls with every epoch.
    assert_eq!(kept(10, "keep-top-k = 8\n", ""), [3, 4, 5, 6, 7, 8, 9, 10]);
    let forced =
        "[[callback]]\ncomponent = \"forced\"\nloss = \"1e5\"\nfrom-epoch = 11\ntraining = false\n";
    assert_eq!(kept(11, "keep-top-k = 8\n", forced), [3, 4, 5, 6, 7, 8, 9, 10, 11]);
}

#[test]
fn behaviour_25_any_metric_ranks_in_either_direction() {
    assert_eq!(
        kept(5, "keep-top-k = 2\nbetter = \"higher\"\n", ""),
        [1, 2, 5],
        "the two worst, and the newest"
    );
    // A checkpoint ranked by a training metric is taken right after the training phase, when the
    // epoch is not done yet: those of epochs 3 to 5 count 2 to 4. The last one is of the whole run.
    assert_eq!(kept(5, "keep-top-k = 3\nphase = \"training\"\n", ""), [2, 3, 4, 5]);
}

#[test]
fn behaviour_25_the_phase_that_measures_the_metric_ranks() {
    let of = |phase: &str, better: &str, first: &str| {
        let scripted = format!(
            "metrics = [{{ component = \"scripted\", name = \"s\", phase = \"{phase}\", values = [\"{first}\", \"3\", \"1\", \"2\", \"4\"] }}]\n"
        );
        let ranked = format!("keep-top-k = 2\nmetric = \"s\"\nbetter = \"{better}\"\n");
        kept(5, &ranked, &scripted)
    };
    // Taken within epochs 3, 4 (the best) and 5 (the newest), and at the end of the run.
    assert_eq!(of("training", "lower", "nan"), [2, 3, 4, 5]);
    // NaN of either sign is never among the best.
    assert_eq!(of("validation", "lower", "-nan"), [3, 4, 5]);
    assert_eq!(of("validation", "higher", "nan"), [2, 5]);
}

#[test]
fn behaviour_25_a_metric_that_is_not_measured_is_refused() {
    let dir = scratch();
    let callbacks = "[[callback]]\ncomponent = \"metrics\"\n[[callback]]\ncomponent = \"checkpointer\"\nkeep-top-k = 2\nmetric = \"accuracy\"\n";
    write(
        dir.path(),
        "run.toml",
        &fixture(&format!("{SCALAR}[[phase]]\ncomponent = \"training\"\n{callbacks}")),
    );
    let finished = fluxbay_tests::run(fluxbay(dir.path(), plugins()).args([
        "train",
        "run.toml",
        "--run-dir",
        "out",
    ]));
    assert_eq!(finished.code, Some(2), "{}", finished.stderr);
    for part in [
        "`checkpointer` ranks by the figure `accuracy`, which nothing in this run reports",
        "figures of this run: `training/loss`",
    ] {
        assert!(finished.stderr.contains(part), "{part} is missing in\n{}", finished.stderr);
    }
    assert!(!dir.path().join("out").exists());
}
