//! Sizes beyond the memory, and numbers near the ends of their range.

use fluxbay_plugin::abi::handle::{Handle, dtype};
use fluxbay_plugin::abi::operation::op;

use super::super::{Engine, Init, Kind};
use super::{double, f32s, f64s, single, u32s};

/// Name, operation, inputs, integers and numbers of a call.
type Case<'a> = (&'a str, u32, &'a [Handle], &'a [i64], &'a [f64]);

/// The error of a call that asks for too much.
fn refusal(
    engine: &mut Engine,
    code: u32,
    inputs: &[Handle],
    ints: &[i64],
    floats: &[f64],
) -> String {
    engine.apply(code, inputs, ints, floats, &mut Vec::new()).unwrap_err().to_string()
}

/// Elements of 4 bytes that no machine has the memory for, but that can be addressed.
const MANY: i64 = 1 << 39;

fn results_that_no_memory_holds_are_errors_of_the_operation() {
    let mut engine = single(0);
    let (float, stream) = (i64::from(dtype::F32), -1);
    let image = f32s(&mut engine, &[1, 1, 2, 2], &[1.0; 4]);
    let row = f32s(&mut engine, &[1, 2], &[1.0; 2]);
    let column = f32s(&mut engine, &[2, 1], &[1.0; 2]);
    let id = u32s(&mut engine, &[1], &[0]);
    let wide = engine.apply1(op::BROADCAST_AS, &[column], &[2, MANY], &[]).unwrap();
    let long = engine.apply1(op::BROADCAST_AS, &[row], &[MANY, 2], &[]).unwrap();
    let ids = engine.apply1(op::BROADCAST_AS, &[id], &[MANY], &[]).unwrap();
    let cases: [Case<'_>; 18] = [
        ("upsample-nearest2d", op::UPSAMPLE_NEAREST2D, &[image], &[1 << 31, 1 << 31], &[]),
        ("upsample-nearest2d", op::UPSAMPLE_NEAREST2D, &[image], &[1 << 19, 1 << 20], &[]),
        ("conv-transpose2d", op::CONV_TRANSPOSE2D, &[image, image], &[MANY, MANY], &[]),
        ("pad", op::PAD, &[row], &[0, MANY, 0], &[]),
        ("cat", op::CAT, &[wide, wide], &[0], &[]),
        ("stack", op::STACK, &[wide, wide], &[0], &[]),
        ("contiguous", op::CONTIGUOUS, &[wide], &[], &[]),
        ("flip", op::FLIP, &[wide], &[1], &[]),
        ("to-dtype", op::TO_DTYPE, &[wide], &[i64::from(dtype::F64)], &[]),
        ("add", op::ADD, &[wide, row], &[], &[]),
        ("matmul", op::MATMUL, &[long, wide], &[], &[]),
        ("embedding", op::EMBEDDING, &[row, ids], &[], &[]),
        ("one-hot", op::ONE_HOT, &[id], &[MANY], &[]),
        ("exp", op::EXP, &[wide], &[], &[]),
        ("zeros", op::ZEROS, &[], &[float, MANY, 2], &[]),
        ("full", op::FULL, &[], &[float, MANY, MANY], &[1.0]),
        ("normal", op::NORMAL, &[], &[stream, float, MANY], &[]),
        ("arange", op::ARANGE, &[], &[float], &[0.0, 1e12]),
    ];
    for (name, code, inputs, ints, floats) in cases {
        let text = refusal(&mut engine, code, inputs, ints, floats);
        assert!(text.starts_with(&format!("{name}: ")), "{name}: {text}");
        assert!(text.contains("bytes") && text.contains('['), "{name}: {text}");
    }
    let text = refusal(&mut engine, op::BROADCAST_AS, &[row], &[MANY, MANY, 2], &[]);
    assert!(text.starts_with("broadcast-as: ") && text.contains("addressed"), "{text}");
    // Views need no memory.
    let part = engine.apply1(op::NARROW, &[wide], &[1, 5, 2], &[]).unwrap();
    assert_eq!(engine.read_f32(part).unwrap(), [1.0; 4]);
    // Nothing is lost by the refusals.
    let sum = engine.apply1(op::SUM, &[image], &[0], &[]).unwrap();
    assert_eq!(engine.scalar(sum).unwrap(), 4.0);
}

/// The result is small, but the windows of the images are not. Only the processor unfolds images.
#[test]
fn windows_that_no_memory_holds_are_errors_of_the_convolution() {
    let mut engine = single(0);
    // 2^22 windows of 2^16 elements each.
    let image = engine.apply1(op::ZEROS, &[], &[i64::from(dtype::F32), 1, 1, 1, 1], &[]).unwrap();
    let kernel =
        engine.apply1(op::ZEROS, &[], &[i64::from(dtype::F32), 1, 1, 256, 256], &[]).unwrap();
    let padding = 1 << 10;
    let text = refusal(
        &mut engine,
        op::CONV2D,
        &[image, kernel],
        &[1, 1, padding + 128, padding + 128],
        &[],
    );
    assert!(text.starts_with("conv2d: ") && text.contains("bytes"), "{text}");
}

fn parameters_that_no_memory_holds_are_errors_with_their_name() {
    let mut engine = single(0);
    let model = engine.model("net");
    let text = engine
        .parameter(model, "w", &[1 << 20, 1 << 20], Init::Constant(0.0), Kind::Trainable)
        .unwrap_err()
        .to_string();
    assert!(text.contains("net") && text.contains("4398046511104 bytes"), "{text}");
}

fn norms_of_large_and_small_numbers_are_finite() {
    // (elements, their number, norm)
    let cases =
        [(1e20, 4, 2e20), (3e38, 1, 3e38), (1e-30, 100, 1e-29), (2.0, 4, 4.0), (0.0, 3, 0.0)];
    for (element, count, expected) in cases {
        let mut engine = single(0);
        let x = f32s(&mut engine, &[count], &vec![element; count]);
        engine.watch(x).unwrap();
        let norm = engine.apply1(op::NORM, &[x], &[], &[]).unwrap();
        let global = engine.apply1(op::GLOBAL_NORM, &[x], &[], &[]).unwrap();
        for ours in [norm, global] {
            let ours = engine.scalar(ours).unwrap();
            assert!((ours - expected).abs() <= 1e-6 * expected, "{element}: {ours}");
        }
        let gradient = engine.gradient_of(norm, &[x]).unwrap()[0];
        let slope = if expected == 0.0 { 0.0 } else { 1.0 / (count as f64).sqrt() };
        for ours in engine.read_f64(gradient).unwrap() {
            assert!((ours - slope).abs() <= 1e-6, "{element}: {ours} instead of {slope}");
        }
    }
    let mut engine = double(0);
    let x = f64s(&mut engine, &[2], &[3e200, -4e200]);
    let norm = engine.apply1(op::NORM, &[x], &[], &[]).unwrap();
    assert!((engine.scalar(norm).unwrap() / 5e200 - 1.0).abs() < 1e-12);
    let y = f64s(&mut engine, &[1], &[12e200]);
    let norm = engine.apply1(op::GLOBAL_NORM, &[x, y], &[], &[]).unwrap();
    assert!((engine.scalar(norm).unwrap() / 13e200 - 1.0).abs() < 1e-12);
}

fn norms_of_what_is_not_finite_are_not_finite() {
    let mut engine = single(0);
    for (values, is_nan) in [([1.0, f32::INFINITY], false), ([f32::NAN, 1e30], true)] {
        let x = f32s(&mut engine, &[2], &values);
        for code in [op::NORM, op::GLOBAL_NORM] {
            let norm = engine.apply1(code, &[x], &[], &[]).unwrap();
            let norm = engine.scalar(norm).unwrap();
            assert!(if is_nan { norm.is_nan() } else { norm == f64::INFINITY }, "{norm}");
        }
    }
}

on_each_backend!(
    results_that_no_memory_holds_are_errors_of_the_operation,
    parameters_that_no_memory_holds_are_errors_with_their_name,
    norms_of_large_and_small_numbers_are_finite,
    norms_of_what_is_not_finite_are_not_finite,
);
