//! Forward passes in blocks of samples, and gradients that are added up by block.

use candle_core::{Device, Tensor};
use fluxbay_plugin::abi::handle::{Handle, dtype};
use fluxbay_plugin::abi::operation::op;

use super::super::{Engine, Init, Kind};
use super::{f32s, single};

/// `x w` and its mean of squares over blocks of rows; returns the gradients of `w`, once all at once and
/// once by block.
fn both(rows: usize, blocks: usize) -> (Vec<f32>, Vec<f32>) {
    let mut engine = single(3);
    let model = engine.model("model");
    let w = engine.parameter(model, "w", &[2, 2], Init::Constant(0.5), Kind::Trainable).unwrap();
    let values: Vec<f32> = (0..rows * 2).map(|i| (i as f32 * 0.7).sin()).collect();
    let x = f32s(&mut engine, &[rows, 2], &values);
    let loss = |engine: &mut Engine, y: Handle| {
        let squares = engine.apply1(op::MUL, &[y, y], &[], &[]).unwrap();
        engine.apply1(op::SUM, &[squares], &[0], &[]).unwrap()
    };
    let gradient = |engine: &mut Engine| {
        let handle = engine.lent_gradient(0).unwrap();
        engine.read_f32(handle).unwrap()
    };
    let y = engine.apply1(op::MATMUL, &[x, w], &[], &[]).unwrap();
    let whole = loss(&mut engine, y);
    engine.backward(whole, None).unwrap();
    let at_once = gradient(&mut engine);
    engine.clear_gradients(None);

    let mut pieces = Vec::new();
    for block in 0..blocks {
        let range = rows * block / blocks..rows * (block + 1) / blocks;
        engine.set_block(block as u32 + 1);
        let part = engine.rows(x, range).unwrap();
        pieces.push(engine.apply1(op::MATMUL, &[part, w], &[], &[]).unwrap());
    }
    engine.set_block(0);
    let values: Vec<Tensor> = pieces.iter().map(|&piece| engine.value(piece).unwrap()).collect();
    let whole = engine.assemble(Tensor::cat(&values, 0).unwrap(), 0, &pieces).unwrap();
    let whole = loss(&mut engine, whole);
    let gradients = engine.backward_in_blocks(whole, None, 1..blocks as u32 + 1).unwrap();
    engine.put_gradients(gradients, None).unwrap();
    (at_once, gradient(&mut engine))
}

fn gradients_of_blocks_add_up_to_the_gradient_of_all() {
    for blocks in [1, 2, 4] {
        let (at_once, by_block) = both(7, blocks);
        for (a, b) in at_once.iter().zip(&by_block) {
            assert!((a - b).abs() < 1e-5, "{at_once:?} {by_block:?}");
        }
    }
}

#[test]
fn gradients_outside_of_blocks_are_added_once() {
    let mut engine = single(3);
    let model = engine.model("model");
    let w = engine.parameter(model, "w", &[1], Init::Constant(3.0), Kind::Trainable).unwrap();
    let x = f32s(&mut engine, &[2, 1], &[1.0, 2.0]);
    let mut pieces = Vec::new();
    for block in 0..2 {
        engine.set_block(block as u32 + 1);
        let part = engine.rows(x, block..block + 1).unwrap();
        pieces.push(engine.apply1(op::MUL, &[part, w], &[], &[]).unwrap());
    }
    engine.set_block(0);
    let whole = Tensor::from_vec(vec![3.0_f32, 6.0], (2, 1), &Device::Cpu).unwrap();
    let whole = engine.assemble(whole, 0, &pieces).unwrap();
    let sum = engine.apply1(op::SUM, &[whole], &[0], &[]).unwrap();
    // A penalty on the parameter itself.
    let penalty = engine.apply1(op::SUM, &[w], &[0], &[]).unwrap();
    let loss = engine.apply1(op::ADD, &[sum, penalty], &[], &[]).unwrap();
    let gradients = engine.backward_in_blocks(loss, None, 1..3).unwrap();
    let sums = engine.block_sums(&gradients).unwrap();
    assert_eq!(sums[0].as_ref().unwrap().to_vec1::<f32>().unwrap(), [3.0]);
    let of_all = Tensor::from_vec(vec![10.0_f32], 1, &Device::Cpu).unwrap();
    engine.put_gradients(gradients, Some(vec![Some(of_all)])).unwrap();
    let gradient = engine.lent_gradient(0).unwrap();
    assert_eq!(engine.read_f32(gradient).unwrap(), [11.0]);
}

#[test]
fn inputs_with_a_gradient_are_refused() {
    let mut engine = single(3);
    let model = engine.model("model");
    let w = engine.parameter(model, "w", &[4], Init::Constant(1.0), Kind::Trainable).unwrap();
    let y = engine.apply1(op::NEG, &[w], &[], &[]).unwrap();
    let text = engine.rows(y, 0..2).unwrap_err().to_string();
    assert!(text.contains("divided into blocks of samples"), "{text}");
}

#[test]
fn draws_of_a_block_depend_on_its_number_alone_and_leave_the_run_s_stream() {
    let draws = |before: usize, block: u32| {
        let mut engine = single(3);
        let number = engine.draw_number();
        let state = engine.random_state();
        let draw = |engine: &mut Engine| {
            let ints = [-1, i64::from(dtype::F32), 5];
            let drawn = engine.apply1(op::UNIFORM, &[], &ints, &[]);
            let drawn = drawn.unwrap();
            engine.read_f32(drawn).unwrap()
        };
        for other in 0..before as u32 {
            engine.begin_random_block(number, other + 7);
            draw(&mut engine);
        }
        engine.begin_random_block(number, block);
        let of_block = draw(&mut engine);
        engine.set_random_state(&state);
        (of_block, draw(&mut engine))
    };
    assert_eq!(draws(0, 1), draws(3, 1));
    assert_ne!(draws(0, 1).0, draws(0, 2).0);
    assert_eq!(draws(0, 1).1, draws(0, 2).1);
}

on_each_backend!(gradients_of_blocks_add_up_to_the_gradient_of_all);
