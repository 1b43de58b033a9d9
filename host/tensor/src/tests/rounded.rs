//! Products of operands that are rounded to bf16: values and gradients are those of rounded operands,
//! everything else is f32.

use fluxbay_plugin::abi::handle::{Handle, dtype};
use fluxbay_plugin::abi::operation::{activation, op};

use super::super::{Engine, EngineOptions, Precision};
use super::gradients::Dice;
use super::{engine, f32s, f64s};

fn with(precision: Precision) -> Engine {
    engine(EngineOptions { seed: 1, threads: 2, precision, ..EngineOptions::default() })
}

fn numbers(count: usize, name: &str) -> Vec<f32> {
    let mut dice = Dice::new(name);
    (0..count).map(|_| dice.within(-1.0, 1.0) as f32).collect()
}

fn nearest(numbers: &[f32]) -> Vec<f32> {
    numbers.iter().map(|&x| half::bf16::from_f32(x).to_f32()).collect()
}

/// An operation on two operands, with attributes.
struct Case {
    code: u32,
    ints: &'static [i64],
    shapes: [&'static [usize]; 2],
    result: &'static [usize],
}

const CASES: [Case; 9] = [
    Case { code: op::MATMUL, ints: &[], shapes: [&[2, 5, 40], &[40, 33]], result: &[2, 5, 33] },
    Case { code: op::MATMUL, ints: &[], shapes: [&[3, 4, 7], &[3, 7, 2]], result: &[3, 4, 2] },
    Case { code: op::LINEAR, ints: &[0], shapes: [&[6, 50], &[9, 50]], result: &[6, 9] },
    // Large enough for instructions of bf16.
    Case { code: op::LINEAR, ints: &[0], shapes: [&[70, 81], &[50, 81]], result: &[70, 50] },
    Case {
        code: op::CONV2D,
        ints: &[1, 1, 0, 0],
        shapes: [&[3, 40, 9, 9], &[34, 40, 1, 1]],
        result: &[3, 34, 9, 9],
    },
    Case {
        code: op::CONV2D,
        ints: &[2, 2, 1, 1],
        shapes: [&[9, 16, 12, 12], &[24, 16, 3, 3]],
        result: &[9, 24, 6, 6],
    },
    Case {
        code: op::CONV2D,
        ints: &[2, 2, 1, 1],
        shapes: [&[2, 3, 7, 7], &[4, 3, 3, 3]],
        result: &[2, 4, 4, 4],
    },
    Case {
        code: op::CONV2D,
        ints: &[1, 1, 1, 1],
        shapes: [&[4, 32, 8, 8], &[32, 32, 3, 3]],
        result: &[4, 32, 8, 8],
    },
    Case {
        code: op::CONV_TRANSPOSE2D,
        ints: &[2, 2, 1, 1],
        shapes: [&[2, 3, 4, 4], &[3, 2, 3, 3]],
        result: &[2, 2, 7, 7],
    },
];

/// The result, and the gradients of both operands when that of the result is `seed`.
fn values(engine: &mut Engine, case: &Case, operands: [&[f32]; 2], seed: &[f32]) -> [Vec<f32>; 3] {
    let inputs = [0, 1].map(|at| f32s(engine, case.shapes[at], operands[at]));
    for input in inputs {
        engine.watch(input).unwrap();
    }
    let out = engine.apply1(case.code, &inputs, case.ints, &[]).unwrap();
    assert_eq!(engine.dtype(out).unwrap(), dtype::F32);
    let seed = f32s(engine, case.result, seed);
    let weighted = engine.apply1(op::MUL, &[out, seed], &[], &[]).unwrap();
    let total = engine.apply1(op::SUM, &[weighted], &[0], &[]).unwrap();
    let gradients = engine.gradient_of(total, &inputs).unwrap();
    [out, gradients[0], gradients[1]].map(|handle| engine.read_f32(handle).unwrap())
}

fn products_are_those_of_rounded_operands() {
    for case in &CASES {
        let size = |shape: &[usize]| shape.iter().product::<usize>();
        let (a, b) = (numbers(size(case.shapes[0]), "a"), numbers(size(case.shapes[1]), "b"));
        let seed = numbers(size(case.result), "seed");
        let found = values(&mut with(Precision::Bf16), case, [&a, &b], &seed);
        let rounded = [&nearest(&a)[..], &nearest(&b)[..]];
        let expected = values(&mut with(Precision::F32), case, rounded, &nearest(&seed));
        let exact = values(&mut with(Precision::F32), case, [&a, &b], &seed);
        for ((found, expected), exact) in found.iter().zip(&expected).zip(&exact) {
            let all = found.iter().zip(expected);
            // Instructions for bf16 sum in another order.
            assert!(all.clone().all(|(a, b)| (a - b).abs() < 1e-4), "{}", case.code);
            assert!(found.iter().zip(exact).any(|(a, b)| (a - b).abs() > 1e-4), "{}", case.code);
        }
    }
}

fn activations_and_gradients_of_a_bias_are_not_rounded() {
    let (x, w, b) = (numbers(6 * 8, "x"), numbers(3 * 8, "w"), numbers(3, "bias"));
    let (kernels, wide) = (numbers(2 * 27, "kernels"), numbers(2 * 3 * 25, "images"));
    let seed = numbers(2 * 2 * 25, "seed");
    for again_from in [0, u64::MAX] {
        for activation in [activation::NONE, activation::RELU, activation::GELU] {
            let run = |precision: Precision| {
                let mut engine = with(precision);
                engine.set_again_from(again_from);
                let rounded = |numbers: &[f32]| match precision {
                    Precision::F32 => nearest(numbers),
                    Precision::Bf16 => numbers.to_vec(),
                };
                let x = f32s(&mut engine, &[6, 8], &rounded(&x));
                let w = f32s(&mut engine, &[3, 8], &rounded(&w));
                let b1 = f32s(&mut engine, &[3], &b);
                let images = f32s(&mut engine, &[2, 3, 5, 5], &rounded(&wide));
                let kernels = f32s(&mut engine, &[2, 3, 3, 3], &rounded(&kernels));
                let b2 = f32s(&mut engine, &[2], &b[..2]);
                let mut all = Vec::new();
                for (code, inputs, ints, shape) in [
                    (op::LINEAR, [x, w, b1], vec![activation], vec![6, 3]),
                    (
                        op::CONV2D,
                        [images, kernels, b2],
                        vec![1, 1, 1, 1, 1, 1, 1, activation],
                        vec![2, 2, 5, 5],
                    ),
                ] {
                    engine.watch(inputs[2]).unwrap();
                    let out = engine.apply1(code, &inputs, &ints, &[]).unwrap();
                    let count = shape.iter().product();
                    let seed = f32s(&mut engine, &shape, &seed[..count]);
                    let weighted = engine.apply1(op::MUL, &[out, seed], &[], &[]).unwrap();
                    let total = engine.apply1(op::SUM, &[weighted], &[0], &[]).unwrap();
                    let gradient = engine.gradient_of(total, &inputs[2..]).unwrap()[0];
                    all.extend(engine.read_f32(out).unwrap());
                    all.extend(engine.read_f32(gradient).unwrap());
                }
                all
            };
            let (found, expected) = (run(Precision::Bf16), run(Precision::F32));
            assert!(found.iter().zip(&expected).all(|(a, b)| (a - b).abs() < 1e-5));
        }
    }
}

/// The result and the gradients of an attention.
fn attention(precision: Precision, packed: bool, ints: &[i64], floats: &[f64]) -> Vec<f32> {
    let mut engine = with(precision);
    let inputs: Vec<Handle> = match packed {
        true => vec![f32s(&mut engine, &[2, 9, 24], &numbers(2 * 9 * 24, "packed"))],
        false => ["q", "k", "v"]
            .iter()
            .map(|name| f32s(&mut engine, &[2, 2, 9, 4], &numbers(2 * 2 * 9 * 4, name)))
            .collect(),
    };
    for &input in &inputs {
        engine.watch(input).unwrap();
    }
    let code = if packed { op::ATTENTION } else { op::SCALED_ATTENTION };
    let out = engine.apply1(code, &inputs, ints, floats).unwrap();
    let seed = numbers(2 * 9 * 8, "seed");
    let shape = engine.shape(out).unwrap().to_vec();
    let seed = f32s(&mut engine, &shape, &seed);
    let weighted = engine.apply1(op::MUL, &[out, seed], &[], &[]).unwrap();
    let total = engine.apply1(op::SUM, &[weighted], &[0], &[]).unwrap();
    let mut all = engine.read_f32(out).unwrap();
    for gradient in engine.gradient_of(total, &inputs).unwrap() {
        all.extend(engine.read_f32(gradient).unwrap());
    }
    all
}

fn attention_rounds_its_operands() {
    // The last one drops weights, which is computed by products over all keys.
    let cases: [(bool, &[i64], &[f64]); 3] =
        [(true, &[2, 1], &[]), (false, &[1, 0], &[]), (false, &[0, 0], &[0.0, 0.25])];
    for (packed, ints, floats) in cases {
        let found = attention(Precision::Bf16, packed, ints, floats);
        let exact = attention(Precision::F32, packed, ints, floats);
        let differences = found.iter().zip(&exact).map(|(a, b)| (a - b).abs());
        let largest = differences.fold(0.0_f32, f32::max);
        assert!((1e-4..0.02).contains(&largest), "{largest}");
        assert_eq!(found, attention(Precision::Bf16, packed, ints, floats));
    }
}

fn double_precision_and_other_operations_are_not_rounded() {
    let mut engine = with(Precision::Bf16);
    let third = [1.0 / 3.0; 4];
    let x = f64s(&mut engine, &[2, 2], &third);
    let square = engine.apply1(op::MATMUL, &[x, x], &[], &[]).unwrap();
    assert_eq!(engine.read_f64(square).unwrap(), [2.0 / 9.0; 4]);
    let x = engine.apply1(op::TO_DTYPE, &[x], &[i64::from(dtype::F32)], &[]).unwrap();
    let square = engine.apply1(op::MUL, &[x, x], &[], &[]).unwrap();
    let third = 1.0_f32 / 3.0;
    assert!((engine.read_f32(square).unwrap()[0] - third * third).abs() < 1e-7);
    let product = engine.apply1(op::MATMUL, &[x, x], &[], &[]).unwrap();
    assert!((engine.read_f32(product).unwrap()[0] - 2.0 * third * third).abs() > 1e-4);
}

on_each_backend!(
    products_are_those_of_rounded_operands,
    activations_and_gradients_of_a_bias_are_not_rounded,
    attention_rounds_its_operands,
    double_precision_and_other_operations_are_not_rounded,
);
