//! The recorded models as ONNX: exported, and computed by tract as by the host.

#[path = "../exporting/tract.rs"]
mod tract;

use fluxbay::export::onnx::{Description, InputForm, input, traced};
use fluxbay::session::{DType, Tensor};
use fluxbay_tests::scratch;

use crate::{BATCH, folder, open, recorded, run_file, sizes};

/// Models that compute places from the values of their input: not exported.
const UNABLE: [&str; 3] = ["clip-text", "clip-text-deep", "clip-text-wide"];

/// Models that compute numbers of their own from the number of samples: exported for one.
const FOR_ONE_NUMBER: &str = "layers";

/// Largest difference between tract and the host: sums in another order, through several layers.
const TOLERANCE: f64 = 1e-5;

#[test]
fn recorded_models_agree_with_tract() {
    let mut wrong = Vec::new();
    for (name, case) in &recorded().1 {
        let found = difference(case, (name == FOR_ONE_NUMBER).then_some(BATCH), 0);
        let agrees = match &found {
            Ok(difference) => *difference <= TOLERANCE && !UNABLE.contains(&name.as_str()),
            Err(message) => UNABLE.contains(&name.as_str()) && message.contains("`index-select`"),
        };
        if !agrees {
            wrong.push(format!("{name}: {found:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn texts_of_any_length_are_taken() {
    for name in ["llama", "gpt2", "bert"] {
        let found = difference(&recorded().1[name], None, 2).unwrap();
        assert!(found <= TOLERANCE, "{name}: {found}");
    }
}

/// The largest difference of a case that is exported for `batch` samples, or any number of them, on sequences that are
/// shorter by some elements; or what cannot be exported or run.
fn difference(
    case: &serde_json::Value,
    batch: Option<usize>,
    shorter: usize,
) -> Result<f64, String> {
    let dir = scratch();
    folder(&dir.path().join("weights"), case);
    let (session, _) = open(dir.path(), &run_file(case, "from = \"weights\"\n"))?;
    let vocabulary = case["vocabulary"].as_u64();
    let form = InputForm {
        name: "xs".to_owned(),
        dtype: if vocabulary.is_some() { DType::U32 } else { DType::F32 },
        shape: sizes(&case["inputs"]),
        classes: vocabulary.unwrap_or(0),
    };
    let run = |inputs: &[Tensor]| {
        session.runtime().trace_model(0, inputs).map_err(|stop| stop.to_string())
    };
    let model = traced(&form, &Description { batch, ..Description::default() }, run)
        .map_err(|error| error.to_string())?;
    let mut shape = form.shape.clone();
    shape[0] -= shorter;
    let input = input(&form, BATCH, &shape, 9).unwrap();
    let outputs = run(std::slice::from_ref(&input))?.outputs;
    let outputs: Vec<Tensor> = outputs.into_iter().map(|(_, tensor)| tensor).collect();
    tract::difference(&model, &[input], &outputs)
}
