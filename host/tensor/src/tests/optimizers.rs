//! Optimizer updates against what PyTorch made of the same numbers in 100 steps;
//! `tests/reference/training.py` recorded it.

use candle_core::{DType, Device, Tensor};
use fluxbay_plugin::abi::handle::Handle;
use fluxbay_plugin::abi::operation::op;

use super::super::Engine;
use super::{double, f32s, single};

const START: [f64; 5] = [1.5, -0.4, 0.3, 2.0, -1.1];
/// The five numbers several times over, so that whole vectors and what is left over are both
/// computed.
const COPIES: usize = 9;

fn recorded(case: &str) -> Vec<(usize, Vec<f64>)> {
    let text =
        include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/reference/pytorch.json"));
    let numbers: serde_json::Value = serde_json::from_str(text).unwrap();
    let steps = numbers["optimizers"][case].as_object().unwrap();
    steps
        .iter()
        .map(|(step, values)| {
            (step.parse().unwrap(), serde_json::from_value(values.clone()).unwrap())
        })
        .collect()
}

/// An update as PyTorch's numbers were made with it.
struct Case {
    name: &'static str,
    code: u32,
    floats: &'static [f64],
    ints: fn(usize) -> Vec<i64>,
    states: usize,
}

/// Runs an update on the recorded gradients in one precision, and compares the parameters where
/// PyTorch's were kept.
fn follows(mut engine: Engine, dtype: DType, tolerance: f64, case: &Case) {
    let Case { name, code, floats, ints, states } = *case;
    let tiled: Vec<f64> = START.repeat(COPIES);
    let tensor =
        |values: &[f64]| Tensor::new(values, &Device::Cpu).unwrap().to_dtype(dtype).unwrap();
    let p = engine.insert(tensor(&tiled)).unwrap();
    let states: Vec<Handle> =
        (0..states).map(|_| engine.insert(tensor(&vec![0.0; tiled.len()])).unwrap()).collect();
    let recorded = recorded(name);
    assert_eq!(recorded.last().map(|(step, _)| *step), Some(100));
    for step in 1..=100 {
        let now = engine.read_f64(p).unwrap();
        let gradient: Vec<f64> = now
            .iter()
            .enumerate()
            .map(|(at, p)| p - 0.3 + 0.5 * (step as f64 * ((at % START.len()) as f64 + 1.0)).sin())
            .collect();
        let g = engine.insert(tensor(&gradient)).unwrap();
        let inputs: Vec<Handle> = [p, g].into_iter().chain(states.iter().copied()).collect();
        engine.apply(code, &inputs, &ints(step), floats, &mut Vec::new()).unwrap();
        engine.release(g).unwrap();
        let Some((_, expected)) = recorded.iter().find(|(kept, _)| *kept == step) else { continue };
        for (at, ours) in engine.read_f64(p).unwrap().into_iter().enumerate() {
            let theirs = expected[at % START.len()];
            assert!(
                (ours - theirs).abs() < tolerance,
                "{name} in {dtype:?}, step {step}, element {at}: {ours}, PyTorch has {theirs}"
            );
        }
    }
}

fn optimizers_follow_pytorch_over_100_steps() {
    let case = |name, code, floats, states| Case {
        name,
        code,
        floats,
        ints: |step| vec![step as i64],
        states,
    };
    let rmsprop: fn(usize) -> Vec<i64> = |_| vec![0];
    let cases = [
        case("sgd", op::SGD_UPDATE, &[0.05], 0),
        case("sgd-momentum", op::SGD_UPDATE, &[0.05, 0.9, 0.2, 0.01, 0.0], 1),
        case("sgd-nesterov", op::SGD_UPDATE, &[0.05, 0.8, 0.0, 0.02, 1.0], 1),
        case("adam", op::ADAM_UPDATE, &[0.02, 0.9, 0.99, 1e-6, 0.1], 2),
        case("adamw", op::ADAMW_UPDATE, &[0.02, 0.9, 0.99, 1e-6, 0.1], 2),
        Case {
            ints: rmsprop,
            ..case("rmsprop", op::RMSPROP_UPDATE, &[0.01, 0.95, 1e-6, 0.01, 0.0], 1)
        },
        Case {
            ints: rmsprop,
            ..case("rmsprop-momentum", op::RMSPROP_UPDATE, &[0.01, 0.95, 1e-6, 0.0, 0.7], 2)
        },
        Case {
            ints: |_| vec![1],
            ..case("rmsprop-centered", op::RMSPROP_UPDATE, &[0.01, 0.95, 1e-6, 0.0, 0.7], 3)
        },
        Case { ints: |_| vec![], ..case("lion", op::LION_UPDATE, &[0.01, 0.9, 0.99, 0.1], 1) },
    ];
    for case in &cases {
        follows(double(0), DType::F64, 1e-12, case);
        follows(single(0), DType::F32, 2e-5, case);
    }
}

fn other_changes_in_place_do_what_they_say() {
    let mut engine = single(0);
    let apply = |engine: &mut Engine, code: u32, inputs: &[Handle], floats: &[f64]| {
        engine.apply(code, inputs, &[], floats, &mut Vec::new()).unwrap();
    };
    let (x, y) = (f32s(&mut engine, &[2], &[1.0, 2.0]), f32s(&mut engine, &[2], &[5.0, 10.0]));
    apply(&mut engine, op::LERP_, &[x, y], &[0.25]);
    assert_eq!(engine.read_f32(x).unwrap(), [2.0, 4.0]);
    apply(&mut engine, op::ADD_SCALED_, &[x, y], &[-0.5]);
    assert_eq!(engine.read_f32(x).unwrap(), [-0.5, -1.0]);
    apply(&mut engine, op::SCALE_, &[x], &[4.0]);
    assert_eq!(engine.read_f32(x).unwrap(), [-2.0, -4.0]);
    apply(&mut engine, op::ASSIGN, &[x, y], &[]);
    assert_eq!(engine.read_f32(x).unwrap(), [5.0, 10.0]);
    let narrow = f32s(&mut engine, &[1], &[1.0]);
    let text =
        engine.apply(op::ASSIGN, &[x, narrow], &[], &[], &mut Vec::new()).unwrap_err().to_string();
    assert!(text.contains("[2]") && text.contains("[1]"), "{text}");
}

on_each_backend!(optimizers_follow_pytorch_over_100_steps, other_changes_in_place_do_what_they_say,);
