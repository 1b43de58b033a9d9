//! A run that the release before this one has begun is resumed by this one.

use std::{fs, path::Path};

use fluxbay_tests::{repository, run, succeed};
use serde_json::Value;

use crate::place::{ADAMW, MLP, Place, digits};

/// Values of an uninterrupted run of the release that wrote `release-0.1.0`: the epoch, and the
/// losses of training and validation.
const STRAIGHT: [(u64, f64, f64); 2] =
    [(2, 2.1720794384602216, 2.1162970066070557), (3, 2.058391416520502, 1.994901180267334)];

fn copy(from: &Path, into: &Path) {
    fs::create_dir(into).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let (path, copy_of) = (entry.path(), into.join(entry.file_name()));
        if path.is_dir() {
            copy(&path, &copy_of);
        } else {
            fs::copy(path, copy_of).unwrap();
        }
    }
}

#[test]
fn checkpoints_of_the_release_before_are_resumed() {
    let place = Place::new(&digits(&format!("{MLP}{ADAMW}")));
    for checkpoint in ["0000000005-epoch-1", "0000000007-epoch-1"] {
        let out = place.path(checkpoint);
        copy(&repository().join("tests/durable_runs/release-0.1.0"), &out);
        let from = out.join("checkpoints").join(checkpoint);
        let arguments = ["resume", "--from", from.to_str().unwrap()];
        let refused = run(&mut place.fluxbay(&arguments));
        assert_eq!(refused.code, Some(2), "{}", refused.stderr);
        assert!(
            refused.stderr.contains("a run with other plugins"),
            "new settings with their defaults are no change: {}",
            refused.stderr
        );
        succeed(place.fluxbay(&arguments).arg("--allow-other-plugins"));
        assert_eq!(place.state(checkpoint)["status"], "finished");
        let metrics = fs::read_to_string(out.join("metrics.jsonl")).unwrap();
        let lines: Vec<Value> =
            metrics.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        for (epoch, training, validation) in STRAIGHT {
            for (phase, loss) in [("training", training), ("validation", validation)] {
                let found = lines.iter().filter(|line| {
                    line["phase"] == phase
                        && line["epoch"] == epoch
                        && line["scope"] == "epoch"
                        && line["name"] == "loss"
                });
                let values: Vec<f64> = found.map(|line| line["value"].as_f64().unwrap()).collect();
                // The last bits depend on the processor.
                assert!(
                    values.len() == 1 && (values[0] - loss).abs() < 1e-5,
                    "{phase}, epoch {epoch}: {values:?} instead of {loss}"
                );
            }
        }
    }
}
