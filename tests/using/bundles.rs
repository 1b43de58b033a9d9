//! Bundles: every finished run has one, one changed bit is refused, a copy is enough to predict.

use std::fs;

use fluxbay_tests::{run, succeed};
use serde_json::Value;

use crate::{Trained, rows};

#[test]
fn a_run_has_a_bundle_that_predicts_and_evaluates_as_the_run() {
    let trained = Trained::shared();
    let card = trained.read("run/bundle/README.md");
    for part in ["library_name: fluxbay", "## Data", "| ys | u32 | [] | 3 |", "accuracy", "Licence"]
    {
        assert!(card.contains(part), "{part}\n{card}");
    }
    succeed(trained.fluxbay(&["export", "run", "away", "--license", "CC0-1.0"]));
    assert!(trained.read("away/README.md").contains("license: \"CC0-1.0\""));
    let predict =
        |model: &str| succeed(trained.fluxbay(&["predict", model, "penguins.csv"])).stdout;
    let of_run = predict("run");
    assert!(rows(&of_run).len() > 300);
    assert_eq!(predict("run/bundle"), of_run);
    assert_eq!(predict("away"), of_run);
    let evaluate = |model: &str| {
        let json = succeed(trained.fluxbay(&["evaluate", model, "--json"])).stdout;
        serde_json::from_str::<Value>(&json).unwrap()["figures"].clone()
    };
    assert_eq!(evaluate("away"), evaluate("run"));
    let occupied = run(trained.fluxbay(&["export", "run", "away"]));
    assert!(occupied.code == Some(2) && occupied.stderr.contains("is not empty"));
}

#[test]
fn a_bundle_is_described_and_one_changed_bit_is_refused() {
    let trained = Trained::shared();
    succeed(trained.fluxbay(&["export", "run", "whole"]));
    let sheet = succeed(trained.fluxbay(&["inspect", "whole"])).stdout;
    for part in ["a bundle, all files are as they were written", "mlp", "csv:", "fluxbay-data"] {
        assert!(sheet.contains(part), "{part}\n{sheet}");
    }
    let schema = succeed(trained.fluxbay(&["schema", "inspect"])).stdout;
    let json = succeed(trained.fluxbay(&["inspect", "whole", "--json"])).stdout;
    let parsed = |text: &str| serde_json::from_str::<Value>(text).unwrap();
    fluxbay_tests::schema::check(&parsed(&schema), &parsed(&json), "").unwrap();
    for name in [
        "model.safetensors",
        "data-state.bin",
        "resolved.toml",
        "bundle.json",
        "plugins.lock",
        "README.md",
    ] {
        let path = trained.path("whole").join(name);
        let before = fs::read(&path).unwrap();
        let mut changed = before.clone();
        let middle = changed.len() / 2;
        changed[middle] ^= 1;
        fs::write(&path, changed).unwrap();
        for arguments in [&["predict", "whole", "penguins.csv"][..], &["inspect", "whole"]] {
            let refused = run(trained.fluxbay(arguments));
            assert!(
                refused.code == Some(2)
                    && refused
                        .stderr
                        .contains(&format!("`{name}` of the bundle whole was changed")),
                "{name}: {}",
                refused.stderr
            );
        }
        fs::write(&path, before).unwrap();
    }
    fs::remove_file(trained.path("whole/data.json")).unwrap();
    let refused = run(trained.fluxbay(&["predict", "whole", "penguins.csv"]));
    assert!(refused.stderr.contains("`data.json` of the bundle whole cannot be read"));
    succeed(trained.fluxbay(&["inspect", "run/bundle"]));
}
