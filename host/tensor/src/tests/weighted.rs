//! Weighted losses against PyTorch's numbers; `tests/reference/weighted_losses.py` recorded them.

use candle_core::{Device, Tensor};
use fluxbay_plugin::abi::handle::Handle;
use fluxbay_plugin::abi::operation::op;
use serde_json::Value;

use super::super::Engine;
use super::{double, f64s};

fn recorded() -> Value {
    let text = include_str!(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../tests/reference/weighted_losses.json"
    ));
    serde_json::from_str(text).unwrap()
}

/// A recorded input, a list or a list of lists.
fn input(engine: &mut Engine, recorded: &Value, name: &str) -> Handle {
    let rows = recorded["inputs"][name].as_array().unwrap();
    let (mut shape, mut values) = (vec![rows.len()], Vec::new());
    for row in rows {
        match row.as_array() {
            None => values.push(row.as_f64().unwrap()),
            Some(row) => values.extend(row.iter().map(|x| x.as_f64().unwrap())),
        }
    }
    if values.len() > rows.len() {
        shape.push(values.len() / rows.len());
    }
    f64s(engine, &shape, &values)
}

fn labels(engine: &mut Engine, recorded: &Value) -> Handle {
    let labels: Vec<i64> = serde_json::from_value(recorded["inputs"]["labels"].clone()).unwrap();
    engine.insert(Tensor::new(&labels[..], &Device::Cpu).unwrap()).unwrap()
}

fn close(ours: &[f64], recorded: &Value, what: &str) {
    let theirs: Vec<f64> = serde_json::from_value(recorded.clone()).unwrap();
    assert_eq!(ours.len(), theirs.len(), "{what}");
    for (at, (a, b)) in ours.iter().zip(&theirs).enumerate() {
        let error = (a - b).abs();
        assert!(error <= 1e-12 * (1.0 + b.abs()), "{what}, element {at}: {a}, PyTorch has {b}");
    }
}

/// Compares value and gradient of the first input with a recorded case.
fn agrees(
    engine: &mut Engine,
    case: &Value,
    what: &str,
    code: u32,
    inputs: &[Handle],
    ints: &[i64],
    floats: &[f64],
) {
    engine.watch(inputs[0]).unwrap();
    let loss = engine.apply1(code, inputs, ints, floats).unwrap();
    close(&engine.read_f64(loss).unwrap(), &case["value"], what);
    let total = engine.apply1(op::SUM, &[loss], &[0], &[]).unwrap();
    let gradient = engine.gradient_of(total, &inputs[..1]).unwrap()[0];
    close(&engine.read_f64(gradient).unwrap(), &case["gradient"], what);
}

fn weighted_losses_agree_with_pytorch() {
    let recorded = recorded();
    let mut compared = 0;
    for (reduction, code) in [("mean", 0), ("sum", 1), ("none", 2)] {
        let mut engine = double(0);
        for (targets, smoothing) in
            [("labels", 0.0), ("labels", 0.3), ("probabilities", 0.0), ("probabilities", 0.3)]
        {
            let name = format!("cross-entropy/{targets}/{reduction}/{smoothing:?}");
            let x = input(&mut engine, &recorded, "logits");
            let target = match targets {
                "labels" => labels(&mut engine, &recorded),
                _ => input(&mut engine, &recorded, targets),
            };
            let weights = input(&mut engine, &recorded, "weights");
            let (case, inputs) = (&recorded["cases"][&name], [x, target, weights]);
            let ints = [code, -100];
            let operation = op::WEIGHTED_CROSS_ENTROPY;
            agrees(&mut engine, case, &name, operation, &inputs, &ints, &[smoothing]);
            compared += 1;
        }
        let name = format!("bce-with-logits/{reduction}");
        let inputs =
            ["binary", "targets", "positive"].map(|name| input(&mut engine, &recorded, name));
        let operation = op::WEIGHTED_BCE_WITH_LOGITS;
        agrees(&mut engine, &recorded["cases"][&name], &name, operation, &inputs, &[code], &[]);
        compared += 1;
    }
    assert_eq!(compared, recorded["cases"].as_object().unwrap().len());
}

fn equal_weights_change_nothing() {
    let mut engine = double(0);
    let recorded = recorded();
    let x = input(&mut engine, &recorded, "logits");
    let labels = labels(&mut engine, &recorded);
    let plain = engine.apply1(op::CROSS_ENTROPY, &[x, labels], &[0, -100], &[0.1]).unwrap();
    for weight in [1.0, 7.0] {
        let weights = f64s(&mut engine, &[3], &[weight; 3]);
        let weighted = engine
            .apply1(op::WEIGHTED_CROSS_ENTROPY, &[x, labels, weights], &[0, -100], &[0.1])
            .unwrap();
        let (plain, weighted) = (engine.scalar(plain).unwrap(), engine.scalar(weighted).unwrap());
        assert!((plain - weighted).abs() < 1e-13, "{plain} {weighted}");
    }
}

fn weights_of_another_shape_are_refused() {
    let mut engine = double(0);
    let recorded = recorded();
    let x = input(&mut engine, &recorded, "logits");
    let labels = labels(&mut engine, &recorded);
    let weights = f64s(&mut engine, &[2], &[1.0, 2.0]);
    let text = engine
        .apply1(op::WEIGHTED_CROSS_ENTROPY, &[x, labels, weights], &[0, -100], &[])
        .unwrap_err()
        .to_string();
    assert!(text.starts_with("weighted-cross-entropy: ") && text.contains("[3]"), "{text}");
    let text = engine
        .apply1(op::WEIGHTED_BCE_WITH_LOGITS, &[x, x, weights], &[], &[])
        .unwrap_err()
        .to_string();
    assert!(text.starts_with("weighted-bce-with-logits: ") && text.contains("[2]"), "{text}");
}

on_each_backend!(
    weighted_losses_agree_with_pytorch,
    equal_weights_change_nothing,
    weights_of_another_shape_are_refused,
);
