//! Sharpness-aware minimisation and stochastic weight averaging against PyTorch: the same first
//! weights, the same batches. `tests/reference/sam_and_swa.py` recorded the numbers.

use fluxbay_tests::repository;

use crate::run::*;

/// The run of `tests/reference/mlp.toml` with other phases and callbacks.
fn run(epochs: u64, phases: &str, callbacks: &str) -> fluxbay::session::Session {
    let reference = repository().join("tests/reference");
    let text = std::fs::read_to_string(reference.join("mlp.toml")).unwrap();
    let data = repository().join("plugins/data/digits");
    let text = text
        .replace("../../plugins/data/digits", &data.display().to_string())
        .replace("epochs = 1\n", &format!("epochs = {epochs}\ndefault-callbacks = false\n"))
        .replace("[[phase]]\ncomponent = \"training\"\n", phases);
    let metrics = "[[callback]]\ncomponent = \"metrics\"\n";
    let session = whole_session(&format!("{text}{metrics}{callbacks}"), Default::default());
    session.fit_epochs(epochs);
    session
}

/// Compares with recorded numbers. Seen: relative differences of 1e-6, from sums in another order.
fn compare(name: &str, found: &[f64]) {
    let path = repository().join("tests/reference/sam_and_swa.json");
    let recorded: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let expected: Vec<f64> =
        recorded[name].as_array().unwrap().iter().map(|loss| loss.as_f64().unwrap()).collect();
    assert_eq!(found.len(), expected.len(), "{name}");
    for (at, (found, expected)) in found.iter().zip(&expected).enumerate() {
        assert!(
            (found - expected).abs() < 1e-4 * expected.abs(),
            "{name}, value {}: {found}, PyTorch has {expected}",
            at + 1
        );
    }
}

#[test]
fn sam_trains_like_its_reference() {
    let losses = |setting: &str| {
        let phase = format!("[[phase]]\ncomponent = \"sam\"\n{setting}\n");
        values(&run(1, &phase, ""), "cbstate.metrics-step.sam.loss")
    };
    compare("sam", &losses("rho = 0.05"));
    compare("sam-adaptive", &losses("rho = 0.5\nadaptive = true"));
}

#[test]
fn swa_validates_with_the_average_of_pytorch() {
    let phases = "[[phase]]\ncomponent = \"training\"\n[[phase]]\ncomponent = \"validation\"\ndata = \"training\"\n";
    let session = run(4, phases, "[[callback]]\ncomponent = \"swa\"\nstart = 2\n");
    let losses = values(&session, "cbstate.metrics-epoch.validation.loss");
    compare("swa", &losses[1..]);
}
