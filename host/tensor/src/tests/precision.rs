//! Half precision, and the same bits again.

use fluxbay_plugin::abi::handle::{Handle, dtype};
use fluxbay_plugin::abi::operation::{activation, op};

use super::super::{Engine, EngineOptions, Init, Kind};
use super::gradients::Dice;
use super::{f32s, single, u32s};

fn bfloat16_is_computed_through_single_precision_and_keeps_its_type() {
    let mut engine = single(0);
    let half = i64::from(dtype::BF16);
    let x = f32s(&mut engine, &[2, 3], &[0.5, -1.25, 2.0, 3.0, 0.125, -0.75]);
    let w = f32s(&mut engine, &[2, 3], &[1.0, 0.5, -0.5, 2.0, 1.5, 0.25]);
    for handle in [x, w] {
        engine.watch(handle).unwrap();
    }
    let small: Vec<Handle> = [x, w]
        .iter()
        .map(|&handle| engine.apply1(op::TO_DTYPE, &[handle], &[half], &[]).unwrap())
        .collect();
    let y = engine.apply1(op::LINEAR, &small, &[activation::TANH], &[]).unwrap();
    assert_eq!(engine.dtype(y).unwrap(), dtype::BF16);
    let total = engine.apply1(op::SUM, &[y], &[0], &[]).unwrap();
    let gradients = engine.gradient_of(total, &[x, w]).unwrap();

    let y = engine.apply1(op::LINEAR, &[x, w], &[activation::TANH], &[]).unwrap();
    let total = engine.apply1(op::SUM, &[y], &[0], &[]).unwrap();
    let exact = engine.gradient_of(total, &[x, w]).unwrap();
    for (rough, exact) in gradients.into_iter().zip(exact) {
        assert_eq!(
            engine.dtype(rough).unwrap(),
            dtype::F32,
            "the gradient of the conversion is converted back"
        );
        for (a, b) in engine.read_f32(rough).unwrap().iter().zip(engine.read_f32(exact).unwrap()) {
            assert!((a - b).abs() < 0.02, "{a} instead of {b}");
        }
    }
}

fn in_place_changes_of_half_precision_reach_the_tensor() {
    let mut engine = single(0);
    let x = f32s(&mut engine, &[2], &[1.0, 2.0]);
    let x = engine.apply1(op::TO_DTYPE, &[x], &[i64::from(dtype::BF16)], &[]).unwrap();
    engine.apply(op::SCALE_, &[x], &[], &[3.0], &mut Vec::new()).unwrap();
    assert_eq!(engine.dtype(x).unwrap(), dtype::BF16);
    assert_eq!(engine.read_f32(x).unwrap(), [3.0, 6.0]);
}

fn mixed_types_are_refused() {
    let mut engine = single(0);
    let x = f32s(&mut engine, &[2], &[1.0, 2.0]);
    for code in [dtype::BF16, dtype::F64] {
        let other = engine.apply1(op::TO_DTYPE, &[x], &[i64::from(code)], &[]).unwrap();
        assert!(
            engine
                .apply1(op::ADD, &[x, other], &[], &[])
                .unwrap_err()
                .to_string()
                .contains("different element types")
        );
    }
}

/// Trains a small convolutional model for some steps and gives all of its parameters' bits.
fn trained(threads: usize) -> Vec<u32> {
    let mut engine =
        Engine::new(EngineOptions { seed: 5, threads, ..EngineOptions::default() }).unwrap();
    let model = engine.model("net");
    let init = Init::Uniform { low: -0.2, high: 0.2 };
    let w1 = engine.parameter(model, "conv.w", &[8, 1, 3, 3], init, Kind::Trainable).unwrap();
    let w2 = engine.parameter(model, "head.w", &[10, 8 * 13 * 13], init, Kind::Trainable).unwrap();
    let b2 = engine.parameter(model, "head.b", &[10], init, Kind::Trainable).unwrap();
    let mut dice = Dice::new("images");
    let pixels: Vec<f32> = (0..32 * 28 * 28).map(|_| dice.within(0.0, 1.0) as f32).collect();
    let labels: Vec<u32> = (0..32).map(|_| dice.pick(0, 9) as u32).collect();
    let (x, labels) =
        (f32s(&mut engine, &[32, 1, 28, 28], &pixels), u32s(&mut engine, &[32], &labels));
    for _ in 0..3 {
        let h = engine
            .apply1(op::CONV2D, &[x, w1], &[1, 1, 0, 0, 1, 1, 1, activation::RELU], &[])
            .unwrap();
        let h = engine.apply1(op::MAX_POOL2D, &[h], &[2, 2], &[]).unwrap();
        let h = engine.apply1(op::RESHAPE, &[h], &[32, -1], &[]).unwrap();
        let h = engine.apply1(op::DROPOUT, &[h], &[], &[0.2]).unwrap();
        let logits = engine.apply1(op::LINEAR, &[h, w2, b2], &[], &[]).unwrap();
        let loss = engine.apply1(op::CROSS_ENTROPY, &[logits, labels], &[], &[]).unwrap();
        engine.clear_gradients(None);
        engine.backward(loss, None).unwrap();
        for (index, parameter) in [w1, w2, b2].into_iter().enumerate() {
            let gradient = engine.gradient(index).unwrap().unwrap();
            engine
                .apply(op::SGD_UPDATE, &[parameter, gradient], &[1], &[0.1], &mut Vec::new())
                .unwrap();
            engine.release(gradient).unwrap();
        }
        engine.clear_tape();
    }
    [w1, w2, b2].iter().flat_map(|&w| engine.read_f32(w).unwrap()).map(f32::to_bits).collect()
}

#[test]
fn the_same_run_gives_the_same_bits() {
    let first = trained(2);
    assert!(first.iter().all(|&bits| f32::from_bits(bits).is_finite()));
    assert_eq!(first, trained(2));
    // Neither does the number of threads change them.
    assert_eq!(first, trained(1));
    assert_eq!(first, trained(3));
}

on_each_backend!(
    bfloat16_is_computed_through_single_precision_and_keeps_its_type,
    in_place_changes_of_half_precision_reach_the_tensor,
    mixed_types_are_refused,
);
