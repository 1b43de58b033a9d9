//! Every differentiable operation against central differences in double precision, at random
//! shapes.
//!
//! `case` knows how to make a random call of an operation; an operation without one fails the test
//! that walks the table.

use fluxbay_plugin::abi::handle::Handle;
use fluxbay_plugin::abi::operation::{OPERATIONS, activation, op, reduction};

use super::super::random::{Random, Words, unit_f64};
use super::super::{Behaviour, Engine, Mode, Recording};
use super::{double, f64s, u32s};

/// Random numbers of a test.
pub(super) struct Dice {
    words: Words,
    at: usize,
}

impl Dice {
    pub fn new(name: &str) -> Self {
        Self { words: Random::new(1).named(name), at: 0 }
    }
    pub fn unit(&mut self) -> f64 {
        self.at += 2;
        unit_f64(self.words.word(self.at - 2), self.words.word(self.at - 1))
    }
    pub fn within(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.unit()
    }
    pub fn pick(&mut self, low: usize, high: usize) -> usize {
        low + (self.unit() * (high - low + 1) as f64) as usize
    }
    fn shape(&mut self, rank: usize) -> Vec<usize> {
        (0..rank).map(|_| self.pick(1, 4)).collect()
    }
    fn any_shape(&mut self) -> Vec<usize> {
        let rank = self.pick(1, 4);
        self.shape(rank)
    }
}

#[derive(Clone)]
enum Input {
    /// Its gradient is checked.
    Real(Vec<usize>, Vec<f64>),
    /// Floating, without a gradient.
    Constant(Vec<usize>, Vec<f64>),
    Indices(Vec<usize>, Vec<u32>),
}

struct Case {
    inputs: Vec<Input>,
    ints: Vec<i64>,
    floats: Vec<f64>,
    behaviour: Behaviour,
}

fn of(inputs: Vec<Input>, ints: &[i64], floats: &[f64]) -> Case {
    Case { inputs, ints: ints.to_vec(), floats: floats.to_vec(), behaviour: Behaviour::Training }
}

fn count(shape: &[usize]) -> usize {
    shape.iter().product()
}

/// Random numbers that keep away from the kinks at whole numbers and halves, and from each other.
fn real_in(dice: &mut Dice, shape: &[usize], low: f64, high: f64) -> Input {
    let values = (0..count(shape))
        .map(|_| {
            loop {
                let x = dice.within(low, high);
                if (x * 2.0 - (x * 2.0).round()).abs() > 0.02 {
                    break x;
                }
            }
        })
        .collect();
    Input::Real(shape.to_vec(), values)
}

fn real(dice: &mut Dice, shape: &[usize]) -> Input {
    real_in(dice, shape, -1.8, 1.8)
}

/// Different numbers in random order, 0.05 apart at least: nothing changes its rank under a small
/// step.
fn distinct(dice: &mut Dice, shape: &[usize]) -> Input {
    let mut order: Vec<usize> = (0..count(shape)).collect();
    for last in (1..order.len()).rev() {
        order.swap(last, dice.pick(0, last));
    }
    Input::Real(shape.to_vec(), order.into_iter().map(|place| place as f64 * 0.07 - 1.3).collect())
}

fn indices(dice: &mut Dice, shape: &[usize], bound: usize) -> Input {
    Input::Indices(
        shape.to_vec(),
        (0..count(shape)).map(|_| dice.pick(0, bound - 1) as u32).collect(),
    )
}

/// A shape that stretches to `shape`.
fn stretching(dice: &mut Dice, shape: &[usize]) -> Vec<usize> {
    let drop = dice.pick(0, shape.len());
    shape[drop..].iter().map(|&size| if dice.unit() < 0.3 { 1 } else { size }).collect()
}

fn pair(dice: &mut Dice) -> (Vec<usize>, Vec<usize>) {
    let shape = dice.any_shape();
    let other = stretching(dice, &shape);
    if dice.unit() < 0.5 { (shape, other) } else { (other, shape) }
}

fn reduction_ints(dice: &mut Dice, rank: usize, extra: &[i64]) -> Vec<i64> {
    let mut ints = vec![dice.pick(0, 1) as i64];
    ints.extend(extra);
    ints.extend(
        (0..rank as i64)
            .filter(|_| dice.unit() < 0.5)
            .map(|dim| if dim % 2 == 0 { dim } else { dim - rank as i64 }),
    );
    ints
}

/// A random call of an operation.
fn case(code: u32, dice: &mut Dice) -> Option<Case> {
    Some(match code {
        op::ADD | op::SUB | op::MUL => {
            let (a, b) = pair(dice);
            of(vec![real(dice, &a), real(dice, &b)], &[], &[])
        }
        op::DIV | op::POW => {
            let (a, b) = pair(dice);
            of(vec![real_in(dice, &a, 0.3, 2.0), real_in(dice, &b, 0.3, 2.0)], &[], &[])
        }
        op::MINIMUM | op::MAXIMUM => {
            let (a, b) = pair(dice);
            of(vec![distinct(dice, &a), real(dice, &b)], &[], &[])
        }
        op::AFFINE => of(vec![real(dice, &[2, 3])], &[], &[1.7, -0.3]),
        op::LOG | op::SQRT | op::RECIP => of(vec![real_in(dice, &[3, 4], 0.3, 3.0)], &[], &[]),
        op::POWF => of(vec![real_in(dice, &[3, 4], 0.3, 3.0)], &[], &[dice.within(-2.0, 3.0)]),
        op::CLAMP => of(vec![real(dice, &[3, 4])], &[], &[-0.5, 0.5]),
        op::ELU | op::LEAKY_RELU => of(vec![real(dice, &[3, 4])], &[], &[0.3]),
        op::NEG..op::EQ => {
            let shape = dice.any_shape();
            of(vec![real_in(dice, &shape, -3.0, 3.0)], &[], &[])
        }
        op::WHERE_COND => {
            let (a, b) = pair(dice);
            let c = if dice.unit() < 0.5 { a.clone() } else { vec![1] };
            of(vec![indices(dice, &c, 2), real(dice, &a), real(dice, &b)], &[], &[])
        }
        op::SUM | op::MEAN | op::LOG_SUM_EXP => {
            let shape = dice.any_shape();
            of(vec![real(dice, &shape)], &reduction_ints(dice, shape.len(), &[]), &[])
        }
        op::MAX | op::MIN => {
            let shape = dice.any_shape();
            of(vec![distinct(dice, &shape)], &reduction_ints(dice, shape.len(), &[]), &[])
        }
        op::VAR => {
            let shape: Vec<usize> = dice.any_shape().iter().map(|size| size + 1).collect();
            of(vec![real(dice, &shape)], &reduction_ints(dice, shape.len(), &[1]), &[])
        }
        op::NORM => of(vec![real(dice, &[3, 2])], &[], &[]),
        op::CUMSUM => {
            let shape = dice.any_shape();
            let dim = dice.pick(0, shape.len() - 1) as i64;
            of(vec![real(dice, &shape)], &[dim], &[])
        }
        op::SORT => {
            let shape = dice.any_shape();
            let dim = dice.pick(0, shape.len() - 1) as i64;
            of(vec![distinct(dice, &shape)], &[dim, dice.pick(0, 1) as i64], &[])
        }
        op::TOP_K => of(vec![distinct(dice, &[3, 5])], &[dice.pick(1, 5) as i64], &[]),
        op::MATMUL => {
            let (m, n, k) = (dice.pick(1, 5), dice.pick(1, 5), dice.pick(1, 5));
            let (a, b) = match dice.pick(0, 3) {
                0 => (vec![m, k], vec![k, n]),
                1 => (vec![3, m, k], vec![k, n]),
                2 => (vec![2, 1, m, k], vec![3, k, n]),
                _ => (vec![m, k], vec![2, k, n]),
            };
            of(vec![real(dice, &a), real(dice, &b)], &[], &[])
        }
        op::LINEAR => {
            let (inputs, outputs) = (dice.pick(1, 6), dice.pick(1, 6));
            let mut x = dice.any_shape();
            x.push(inputs);
            let act = dice.pick(activation::NONE as usize, activation::TANH as usize) as i64;
            let mut all = vec![real(dice, &x), real(dice, &[outputs, inputs])];
            if dice.unit() < 0.7 {
                all.push(real(dice, &[outputs]));
            }
            of(all, &[act], &[])
        }
        op::FLAT_LINEAR => {
            let sample = dice.any_shape();
            let (batch, inputs, outputs) =
                (dice.pick(1, 4), sample.iter().product(), dice.pick(1, 6));
            let act = dice.pick(activation::NONE as usize, activation::TANH as usize) as i64;
            let mut all =
                vec![real(dice, &[&[batch], &sample[..]].concat()), real(dice, &[outputs, inputs])];
            if dice.unit() < 0.7 {
                all.push(real(dice, &[outputs]));
            }
            of(all, &[act], &[])
        }
        op::RESHAPE => of(vec![real(dice, &[2, 3, 4])], &[4, -1], &[]),
        op::TRANSPOSE => of(vec![real(dice, &[2, 3, 4])], &[0, -1], &[]),
        op::PERMUTE => of(vec![real(dice, &[2, 3, 4])], &[2, 0, 1], &[]),
        op::NARROW => of(vec![real(dice, &[2, 5, 2])], &[1, dice.pick(0, 2) as i64, 2], &[]),
        op::SQUEEZE => of(vec![real(dice, &[2, 1, 3])], &[1], &[]),
        op::UNSQUEEZE => of(vec![real(dice, &[2, 3])], &[dice.pick(0, 2) as i64], &[]),
        op::BROADCAST_AS => {
            let shape = dice.any_shape();
            let from = stretching(dice, &shape);
            of(
                vec![real(dice, &from)],
                &shape.iter().map(|&size| size as i64).collect::<Vec<_>>(),
                &[],
            )
        }
        op::CAT => {
            of(vec![real(dice, &[2, 3]), real(dice, &[2, 1]), real(dice, &[2, 2])], &[-1], &[])
        }
        op::STACK => {
            of(vec![real(dice, &[2, 3]), real(dice, &[2, 3])], &[dice.pick(0, 2) as i64], &[])
        }
        op::CONTIGUOUS => of(vec![real(dice, &[2, 3])], &[], &[]),
        op::PAD => of(vec![real(dice, &[2, 3])], &[0, 1, 0, 1, 2, 1], &[0.5]),
        op::FLIP => of(vec![real(dice, &[2, 3, 2])], &[0, 2], &[]),
        op::INDEX_SELECT => of(vec![real(dice, &[3, 4, 2]), indices(dice, &[5], 4)], &[1], &[]),
        op::GATHER => of(vec![real(dice, &[3, 4, 2]), indices(dice, &[2, 5, 2], 4)], &[1], &[]),
        op::SCATTER_ADD => of(
            vec![real(dice, &[3, 4, 2]), indices(dice, &[2, 5, 2], 4), real(dice, &[2, 5, 2])],
            &[1],
            &[],
        ),
        op::EMBEDDING => of(vec![real(dice, &[5, 3]), indices(dice, &[2, 4], 5)], &[], &[]),
        op::SEGMENT_REDUCE => {
            let mode = dice.pick(0, 1) as i64;
            of(vec![real(dice, &[5, 2, 3]), indices(dice, &[5], 3)], &[4, mode], &[])
        }
        op::GROUPED_LINEAR => {
            let mut all = vec![real(dice, &[5, 3]), indices(dice, &[5], 3)];
            all.extend((0..3).map(|_| real(dice, &[2, 3])));
            of(all, &[], &[])
        }
        op::CONV1D => {
            let groups = dice.pick(1, 2);
            let mut all = vec![real(dice, &[2, 2 * groups, 9]), real(dice, &[3 * groups, 2, 3])];
            if dice.unit() < 0.5 {
                all.push(real(dice, &[3 * groups]));
            }
            of(
                all,
                &[
                    dice.pick(1, 2) as i64,
                    dice.pick(0, 2) as i64,
                    dice.pick(1, 2) as i64,
                    groups as i64,
                    dice.pick(0, 2) as i64,
                ],
                &[],
            )
        }
        op::CONV2D => {
            let (groups, kernel) = (dice.pick(1, 2), [dice.pick(1, 3), dice.pick(1, 3)]);
            let mut all = vec![
                real(dice, &[2, 2 * groups, 6, 7]),
                real(dice, &[2 * groups, 2, kernel[0], kernel[1]]),
            ];
            if dice.unit() < 0.5 {
                all.push(real(dice, &[2 * groups]));
            }
            let mut ints: Vec<i64> = [(1, 2), (1, 3), (0, 2), (0, 1), (1, 2), (1, 2)]
                .iter()
                .map(|&(a, b)| dice.pick(a, b) as i64)
                .collect();
            ints.extend([groups as i64, dice.pick(0, 2) as i64]);
            of(all, &ints, &[])
        }
        op::CONV_TRANSPOSE2D => {
            let groups = dice.pick(1, 2);
            let mut all =
                vec![real(dice, &[2, 2 * groups, 3, 4]), real(dice, &[2 * groups, 2, 3, 2])];
            if dice.unit() < 0.5 {
                all.push(real(dice, &[2 * groups]));
            }
            let stride = dice.pick(1, 3) as i64;
            let mut ints = vec![
                stride,
                2,
                dice.pick(0, 1) as i64,
                0,
                stride - 1,
                1,
                dice.pick(1, 2) as i64,
                1,
            ];
            ints.push(groups as i64);
            of(all, &ints, &[])
        }
        op::MAX_POOL2D | op::AVG_POOL2D => {
            let x = distinct(dice, &[2, 2, 6, 5]);
            match dice.pick(0, 2) {
                0 => of(vec![x], &[2, 2], &[]),
                1 => of(vec![x], &[3, 2, 1, 2], &[]),
                _ => of(vec![x], &[3, 3, 2, 2, 1, 1], &[]),
            }
        }
        op::UPSAMPLE_NEAREST2D => of(
            vec![real(dice, &[2, 2, 2, 3])],
            &[dice.pick(1, 5) as i64, dice.pick(2, 7) as i64],
            &[],
        ),
        op::SOFTMAX | op::LOG_SOFTMAX => {
            let shape = dice.any_shape();
            let dim = dice.pick(0, shape.len() - 1) as i64;
            of(vec![real(dice, &shape)], &[dim], &[])
        }
        op::CROSS_ENTROPY => {
            let (mut lead, classes) = (dice.any_shape(), dice.pick(2, 6));
            let smoothing = if dice.unit() < 0.5 { 0.0 } else { 0.2 };
            let reduction = dice.pick(0, 2) as i64;
            let labels = indices(dice, &lead, classes);
            lead.push(classes);
            let x = real(dice, &lead);
            match dice.pick(0, 2) {
                0 => of(vec![x, labels], &[reduction], &[smoothing]),
                1 => {
                    let Input::Indices(shape, mut values) = labels else { unreachable!() };
                    values[0] = 1;
                    if let Some(last) = values.last_mut() {
                        *last = 0;
                    }
                    let ignored = if values.len() > 1 { 1 } else { 77 };
                    of(vec![x, Input::Indices(shape, values)], &[reduction, ignored], &[smoothing])
                }
                _ => {
                    let p = (0..count(&lead)).map(|_| dice.unit() / classes as f64).collect();
                    of(vec![x, Input::Constant(lead, p)], &[reduction], &[smoothing])
                }
            }
        }
        op::WEIGHTED_CROSS_ENTROPY => {
            let (mut lead, classes) = (dice.any_shape(), dice.pick(2, 6));
            let smoothing = if dice.unit() < 0.5 { 0.0 } else { 0.2 };
            let ints = [dice.pick(0, 2) as i64, 1];
            let labels = indices(dice, &lead, classes);
            lead.push(classes);
            let x = real(dice, &lead);
            let weights = (0..classes).map(|_| dice.within(0.2, 2.0)).collect();
            let weights = Input::Constant(vec![classes], weights);
            let Input::Indices(shape, mut values) = labels else { unreachable!() };
            // A row at least is not ignored.
            values[0] = 0;
            match dice.pick(0, 2) {
                0 => of(vec![x, Input::Indices(shape, values), weights], &ints[..1], &[smoothing]),
                1 => of(vec![x, Input::Indices(shape, values), weights], &ints, &[smoothing]),
                _ => {
                    let p = (0..count(&lead)).map(|_| dice.unit() / classes as f64).collect();
                    of(vec![x, Input::Constant(lead, p), weights], &ints[..1], &[smoothing])
                }
            }
        }
        op::WEIGHTED_BCE_WITH_LOGITS => {
            let weights = if dice.unit() < 0.5 { vec![4] } else { vec![3, 1] };
            let values = (0..count(&weights)).map(|_| dice.within(0.2, 3.0)).collect();
            of(
                vec![
                    real(dice, &[3, 4]),
                    real_in(dice, &[3, 4], 0.1, 0.9),
                    Input::Constant(weights, values),
                ],
                &[dice.pick(0, 2) as i64],
                &[],
            )
        }
        op::NLL => {
            of(vec![real(dice, &[3, 4]), indices(dice, &[3], 4)], &[dice.pick(0, 2) as i64], &[])
        }
        op::MSE | op::MAE | op::BCE_WITH_LOGITS => of(
            vec![real(dice, &[3, 4]), real_in(dice, &[3, 4], 0.1, 0.9)],
            &[dice.pick(0, 2) as i64],
            &[],
        ),
        op::HUBER => of(vec![real(dice, &[3, 4]), real(dice, &[3, 4])], &[reduction::MEAN], &[0.7]),
        op::LAYER_NORM | op::RMS_NORM => {
            let mut shape = dice.any_shape();
            let width = dice.pick(2, 7);
            shape.push(width);
            let mut all = vec![real(dice, &shape)];
            for _ in 0..dice.pick(0, if code == op::LAYER_NORM { 2 } else { 1 }) {
                all.push(real(dice, &[width]));
            }
            of(all, &[], &[1e-3])
        }
        op::BATCH_NORM => {
            let shape = [3, 2, 3, 2];
            let rank = dice.pick(2, 4);
            let mut inputs = vec![real(dice, &shape[..rank]), real(dice, &[2]), real(dice, &[2])];
            inputs.push(Input::Constant(vec![2], vec![0.1, -0.2]));
            inputs.push(Input::Constant(vec![2], vec![0.8, 1.3]));
            let behaviour =
                if dice.unit() < 0.5 { Behaviour::Training } else { Behaviour::Evaluation };
            Case { behaviour, ..of(inputs, &[], &[1e-3, 0.1]) }
        }
        op::GROUP_NORM => {
            let mut all = vec![real(dice, &[2, 4, 3])];
            for _ in 0..dice.pick(0, 2) {
                all.push(real(dice, &[4]));
            }
            of(all, &[[1, 2, 4][dice.pick(0, 2)]], &[1e-3])
        }
        op::DROPOUT => {
            let behaviour =
                if dice.unit() < 0.7 { Behaviour::Training } else { Behaviour::Evaluation };
            Case { behaviour, ..of(vec![real(dice, &[3, 5])], &[], &[0.4]) }
        }
        op::ATTENTION => {
            let (heads, width) = (dice.pick(1, 3), dice.pick(1, 4));
            let shape = [dice.pick(1, 2), [1, 3, 5, 67][dice.pick(0, 3)], 3 * heads * width];
            of(vec![real(dice, &shape)], &[heads as i64, dice.pick(0, 1) as i64], &[])
        }
        op::SCALED_ATTENTION => {
            let (batch, groups, shared) = (dice.pick(1, 2), dice.pick(1, 2), dice.pick(1, 2));
            let (width, heads) = (dice.pick(1, 3), groups * shared);
            let keys = [2, 5, 70][dice.pick(0, 2)];
            let queries = [1, keys, keys.min(66)][dice.pick(0, 2)];
            let shape = [batch, groups, keys, width];
            let mut all = vec![real(dice, &[batch, heads, queries, width])];
            all.extend([real(dice, &shape), real(dice, &shape)]);
            if dice.unit() < 0.5 {
                let bias = stretching(dice, &[batch, heads, queries, keys]);
                all.push(real(dice, &bias));
            }
            if dice.unit() < 0.5 {
                all.push(indices(dice, &[batch], keys + 1));
            }
            let causal = dice.pick(0, 1) as i64;
            let window = [0, 2, 40][dice.pick(0, 2)];
            let dropout = if dice.unit() < 0.7 { 0.0 } else { 0.3 };
            of(all, &[causal, window], &[dice.within(0.2, 1.2), dropout])
        }
        op::ROTARY => {
            let (batch, time, half) = (dice.pick(1, 2), dice.pick(1, 4), dice.pick(1, 3));
            let own = dice.unit() < 0.5;
            let table = if own { vec![batch, time, half] } else { vec![time, half] };
            let angles: Vec<f64> = (0..count(&table)).map(|_| dice.within(-3.0, 3.0)).collect();
            let of_angles = |f: fn(f64) -> f64| {
                Input::Constant(table.clone(), angles.iter().map(|&angle| f(angle)).collect())
            };
            let (cosines, sines) = (of_angles(f64::cos), of_angles(f64::sin));
            let x = real(dice, &[batch, 2, time, 2 * half]);
            of(vec![x, cosines, sines], &[dice.pick(0, 1) as i64], &[])
        }
        op::RESIZE2D => {
            let antialias = dice.pick(0, 1) as i64;
            let corners = if antialias == 1 { 0 } else { dice.pick(0, 1) as i64 };
            let (height, width) = (dice.pick(1, 7) as i64, dice.pick(1, 7) as i64);
            let method = dice.pick(0, 1) as i64;
            let x = real(dice, &[1, 2, 4, 5]);
            of(vec![x], &[height, width, method, antialias, corners], &[])
        }
        op::ADAPTIVE_AVG_POOL2D => {
            let (height, width) = (dice.pick(1, 6) as i64, dice.pick(1, 6) as i64);
            of(vec![real(dice, &[2, 1, 4, 5])], &[height, width], &[])
        }
        op::TO_DTYPE => of(
            vec![real(dice, &[2, 3])],
            &[i64::from(fluxbay_plugin::abi::handle::dtype::F64)],
            &[],
        ),
        _ => return None,
    })
}

fn insert(engine: &mut Engine, input: &Input) -> Handle {
    match input {
        Input::Real(shape, values) | Input::Constant(shape, values) => f64s(engine, shape, values),
        Input::Indices(shape, values) => u32s(engine, shape, values),
    }
}

/// The weighted sum of all floating outputs.
fn loss(
    engine: &mut Engine,
    code: u32,
    case: &Case,
    inputs: &[Handle],
    weights: &mut Dice,
) -> Handle {
    let mut outputs = Vec::new();
    engine.apply(code, inputs, &case.ints, &case.floats, &mut outputs).unwrap();
    let mut total = None;
    for output in outputs {
        if engine.dtype(output).unwrap() != fluxbay_plugin::abi::handle::dtype::F64 {
            continue;
        }
        let shape = engine.shape(output).unwrap().to_vec();
        let values: Vec<f64> = (0..count(&shape)).map(|_| weights.within(-1.0, 1.0)).collect();
        let weight = f64s(engine, &shape, &values);
        let product = engine.apply1(op::MUL, &[output, weight], &[], &[]).unwrap();
        let sum = engine.apply1(op::SUM, &[product], &[0], &[]).unwrap();
        total = Some(match total {
            None => sum,
            Some(before) => engine.apply1(op::ADD, &[before, sum], &[], &[]).unwrap(),
        });
    }
    total.unwrap()
}

fn check(code: u32, name: &str, round: usize) {
    let mut dice = Dice::new(&format!("{name}/{round}"));
    let case = case(code, &mut dice).unwrap();
    let mut engine = double(round as u64);
    let random = engine.random_state();
    let seed = format!("{name}/{round}/weights");
    let describe = || {
        let shapes: Vec<_> = case
            .inputs
            .iter()
            .map(|input| match input {
                Input::Real(shape, _) | Input::Constant(shape, _) | Input::Indices(shape, _) => {
                    shape
                }
            })
            .collect();
        format!("{name} of {shapes:?}, ints {:?}, floats {:?}", case.ints, case.floats)
    };

    engine.set_mode(Mode { recording: Recording::On, behaviour: case.behaviour });
    let handles: Vec<Handle> = case.inputs.iter().map(|input| insert(&mut engine, input)).collect();
    let watched: Vec<usize> =
        (0..handles.len()).filter(|&at| matches!(case.inputs[at], Input::Real(..))).collect();
    for &at in &watched {
        engine.watch(handles[at]).unwrap();
    }
    let total = loss(&mut engine, code, &case, &handles, &mut Dice::new(&seed));
    let asked: Vec<Handle> = watched.iter().map(|&at| handles[at]).collect();
    let gradients =
        engine.gradient_of(total, &asked).unwrap_or_else(|error| panic!("{}: {error}", describe()));
    assert_eq!(engine.tape_length(), 0, "{}: the tape is used up", describe());

    engine.set_mode(Mode { recording: Recording::Off, behaviour: case.behaviour });
    let step = 1e-5;
    for (&at, &gradient) in watched.iter().zip(&gradients) {
        let Input::Real(shape, values) = &case.inputs[at] else { unreachable!() };
        assert_eq!(engine.shape(gradient).unwrap(), &shape[..], "{}", describe());
        let computed = engine.read_f64(gradient).unwrap();
        // A few elements of large inputs, all of small ones.
        for element in (0..values.len()).step_by(values.len().div_ceil(40)) {
            let mut at_offset = |offset: f64| {
                let mut inputs = case.inputs.clone();
                let Input::Real(_, values) = &mut inputs[at] else { unreachable!() };
                values[element] += offset;
                let handles: Vec<Handle> =
                    inputs.iter().map(|input| insert(&mut engine, input)).collect();
                engine.set_random_state(&random);
                let total = loss(&mut engine, code, &case, &handles, &mut Dice::new(&seed));
                engine.scalar(total).unwrap()
            };
            let expected = (at_offset(step) - at_offset(-step)) / (2.0 * step);
            let error = (computed[element] - expected).abs() / (1.0 + expected.abs());
            assert!(
                error < 2e-7,
                "{}: input {at}, element {element}: {} instead of {expected}",
                describe(),
                computed[element]
            );
        }
    }
}

fn every_differentiable_operation_agrees_with_central_differences() {
    for info in OPERATIONS.iter().filter(|info| info.differentiable) {
        assert!(
            case(info.code, &mut Dice::new("presence")).is_some(),
            "{} has no gradient check: add a case",
            info.name
        );
        for round in 0..12 {
            check(info.code, info.name, round);
        }
    }
}

#[test]
fn no_operation_has_a_case_but_claims_no_gradient() {
    for info in OPERATIONS.iter().filter(|info| !info.differentiable) {
        assert!(
            case(info.code, &mut Dice::new("presence")).is_none(),
            "{} has a gradient check: mark it differentiable",
            info.name
        );
    }
}

/// The three that candle 0.11.1 gets wrong or leaves out.
fn max_pool_sends_the_gradient_to_the_largest_only() {
    let mut engine = double(0);
    let x = f64s(&mut engine, &[1, 1, 2, 2], &[1.0, 2.0, 3.0, 4.0]);
    engine.watch(x).unwrap();
    let y = engine.apply1(op::MAX_POOL2D, &[x], &[2, 2], &[]).unwrap();
    let total = engine.apply1(op::SUM, &[y], &[0], &[]).unwrap();
    let gradient = engine.gradient_of(total, &[x]).unwrap()[0];
    assert_eq!(engine.read_f64(gradient).unwrap(), [0.0, 0.0, 0.0, 1.0]);

    let ties = f64s(&mut engine, &[1, 1, 2, 2], &[5.0; 4]);
    engine.watch(ties).unwrap();
    let y = engine.apply1(op::MAX_POOL2D, &[ties], &[2, 2], &[]).unwrap();
    let total = engine.apply1(op::SUM, &[y], &[0], &[]).unwrap();
    let gradient = engine.gradient_of(total, &[ties]).unwrap()[0];
    assert_eq!(engine.read_f64(gradient).unwrap(), [1.0, 0.0, 0.0, 0.0]);
}

fn layer_norm_and_softmax_pass_a_gradient_to_their_input() {
    for (code, ints, floats) in
        [(op::LAYER_NORM, &[][..], &[1e-5][..]), (op::SOFTMAX, &[-1][..], &[][..])]
    {
        let mut engine = double(0);
        let x = f64s(&mut engine, &[2, 3], &[0.1, 0.5, -0.3, 2.0, 1.0, 0.0]);
        engine.watch(x).unwrap();
        let y = engine.apply1(code, &[x], ints, floats).unwrap();
        let squares = engine.apply1(op::POWF, &[y], &[], &[3.0]).unwrap();
        let total = engine.apply1(op::SUM, &[squares], &[0], &[]).unwrap();
        let gradient = engine.gradient_of(total, &[x]).unwrap()[0];
        assert!(engine.read_f64(gradient).unwrap().iter().any(|g| g.abs() > 0.01));
    }
}

on_each_backend!(
    every_differentiable_operation_agrees_with_central_differences,
    max_pool_sends_the_gradient_to_the_largest_only,
    layer_norm_and_softmax_pass_a_gradient_to_their_input,
);
