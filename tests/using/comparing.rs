//! `fluxbay compare-models`: agreement, McNemar's test, the samples that differ most.

use fluxbay_tests::{run, succeed, write};
use serde_json::Value;

use crate::Trained;

#[test]
fn two_models_are_compared_on_the_same_samples() {
    let trained = Trained::shared();
    let other = trained.read("penguins.toml").replace("hidden = [32]", "hidden = []");
    write(trained.dir.path(), "plain.toml", &other);
    succeed(trained.fluxbay(&["train", "plain.toml", "--run-dir", "plain", "-q"]));
    let arguments = ["compare-models", "run", "plain", "--json"];
    let json: Value = serde_json::from_str(&succeed(trained.fluxbay(&arguments)).stdout).unwrap();
    let schema = succeed(trained.fluxbay(&["schema", "compare-models"])).stdout;
    let schema: Value = serde_json::from_str(&schema).unwrap();
    fluxbay_tests::schema::check(&schema, &json, "").unwrap();
    let count = |name: &str| json["classes"][name].as_u64().unwrap();
    let samples = json["samples"].as_u64().unwrap();
    let all = ["both-right", "only-one-right", "only-other-right", "neither-right"];
    assert_eq!(all.map(count).iter().sum::<u64>(), samples);
    assert!(samples > 50 && json["classes"]["mcnemar-p"].as_f64().unwrap() <= 1.0);
    assert_eq!(json["differ-most"].as_array().unwrap().len(), 10);
    let same = succeed(trained.fluxbay(&["compare-models", "run", "run/bundle"])).stdout;
    assert!(same.contains("(100.00 %)") && same.contains("p = 1.0000"), "{same}");
    assert!(!same.contains("differ most"), "{same}");
    let refused =
        run(trained.fluxbay(&["compare-models", "run", "plain", "--set", "loader.validation=0"]));
    assert_ne!(refused.code, Some(0));
}
