//! Exported models are those that onnxruntime has run.
//!
//! `tests/reference/onnx_models.py` runs these tests with `FLUXBAY_ONNX_CASES` set to a folder: they then write each
//! model there, with inputs and outputs of the host. The script runs the models with onnxruntime, compares the
//! outputs, and records the hashes of the models that agree in `tests/reference/onnx.json`.

use std::path::PathBuf;

use candle_core::{DType, Tensor};
use fluxbay::library::Sha256;
use fluxbay_plugin::abi::operation::OPERATIONS;
use fluxbay_tests::repository;
use serde_json::Value;

use crate::cases::{RANDOM, Sizes, VARIANTS, of};

fn folder() -> Option<PathBuf> {
    std::env::var_os("FLUXBAY_ONNX_CASES").map(PathBuf::from)
}

fn recorded(file: &str) -> Value {
    std::fs::read_to_string(repository().join("tests/reference").join(file))
        .map_or(Value::Null, |text| serde_json::from_str(&text).unwrap())
}

/// Compares a model with what was recorded, and returns a message if it is another one. For the script it is written instead,
/// with inputs and outputs of the host.
pub fn unlike(
    name: &str,
    model: &[u8],
    example: impl FnOnce() -> (Vec<Tensor>, Vec<Tensor>),
) -> Option<String> {
    let hash = Sha256::of(model).hex();
    let Some(folder) = folder() else {
        let is_like = recorded("onnx.json")["models"][name] == hash.as_str();
        return (!is_like).then(|| {
            format!(
                "{name} is not as onnxruntime has checked it (tests/reference/onnx_models.py records it)"
            )
        });
    };
    std::fs::write(folder.join(format!("{name}.onnx")), model).unwrap();
    let json = |tensor: &Tensor| {
        let values: Vec<f64> =
            tensor.to_dtype(DType::F64).unwrap().flatten_all().unwrap().to_vec1().unwrap();
        serde_json::json!({ "shape": tensor.dims(), "values": values })
    };
    let (inputs, outputs) = example();
    let [inputs, outputs] = [inputs, outputs].map(|all| all.iter().map(json).collect::<Vec<_>>());
    let text = serde_json::json!({ "inputs": inputs, "outputs": outputs }).to_string();
    std::fs::write(folder.join(format!("{name}.json")), text).unwrap();
    None
}

#[test]
fn every_operation_is_exported_as_onnxruntime_has_checked_it() {
    let mut wrong = Vec::new();
    for info in OPERATIONS {
        for variant in 0..VARIANTS {
            // An operation without a case is refused when a model uses it.
            let Some(case) = of(info.code, variant, Sizes::of(variant)) else { continue };
            let name = format!("{}-{variant}", info.name);
            let model = case.export(None).unwrap_or_else(|error| panic!("{name}: {error}"));
            wrong.extend(unlike(&name, &model, || case.example()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_differentiable_operation_was_checked_in_fifty_random_sizes() {
    let recorded = recorded("onnx_random.json");
    for info in OPERATIONS.iter().filter(|info| info.differentiable) {
        let case = |number: usize| of(info.code, number, Sizes::random(info.code, number));
        let Some(first) = case(0) else { continue };
        if folder().is_none() {
            let found = &recorded["operations"][info.name];
            assert_eq!(found["sizes"], RANDOM, "{}", info.name);
            assert_eq!(found["first"], Sha256::of(&first.export(None).unwrap()).hex());
            continue;
        }
        for number in 0..RANDOM {
            let case = case(number).unwrap();
            let name = format!("{}-random-{number}", info.name);
            let model = case.export(None).unwrap_or_else(|error| panic!("{name}: {error}"));
            assert_eq!(unlike(&name, &model, || case.example()), None);
        }
    }
}
