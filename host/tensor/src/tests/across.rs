//! Batch normalisation over the samples of several processes, which are threads here.

use std::sync::{Arc, Barrier, Mutex};

use candle_core::Tensor;
use fluxbay_plugin::abi::handle::Handle;
use fluxbay_plugin::abi::operation::op;

use super::super::{Engine, Init, Kind};
use super::{double, f64s};

const CHANNELS: usize = 2;

/// What one engine computes from its rows of a batch: outputs, running variance, gradients of inputs,
/// weights and bias.
struct Computed {
    outputs: Vec<f64>,
    running: Vec<f64>,
    gradients: [Vec<f64>; 3],
}

/// Normalises rows and computes the gradients of the sum of squares of the outputs times a number for each
/// row.
fn compute(engine: &mut Engine, rows: &[f64], factors: &[f64]) -> Computed {
    let count = rows.len() / CHANNELS;
    let x = f64s(engine, &[count, CHANNELS], rows);
    let mut all = |value: f64| f64s(engine, &[CHANNELS], &[value; CHANNELS]);
    let (weights, bias, mean, variance) = (all(1.5), all(0.25), all(0.0), all(1.0));
    [x, weights, bias].into_iter().for_each(|handle| engine.watch(handle).unwrap());
    let inputs = [x, weights, bias, mean, variance];
    let y = engine.apply1(op::BATCH_NORM, &inputs, &[], &[1e-5, 0.1]).unwrap();
    let factors = f64s(engine, &[count, 1], factors);
    let squares = engine.apply1(op::MUL, &[y, y], &[], &[]).unwrap();
    let weighted = engine.apply1(op::MUL, &[squares, factors], &[], &[]).unwrap();
    let loss = engine.apply1(op::SUM, &[weighted], &[0], &[]).unwrap();
    let gradients = engine.gradient_of(loss, &[x, weights, bias]).unwrap();
    let read = |handle| engine.read_f64(handle).unwrap();
    Computed {
        outputs: read(y),
        running: read(variance),
        gradients: [0, 1, 2].map(|index: usize| read(gradients[index])),
    }
}

/// Calls a task with an engine for each of some processes, and returns what each returns.
fn on_processes<T: Send>(
    processes: usize,
    task: impl Fn(usize, &mut Engine) -> T + Sync,
) -> Vec<T> {
    let sent = Arc::new(Mutex::new(vec![Vec::new(); processes]));
    let barrier = Arc::new(Barrier::new(processes));
    let task = &task;
    std::thread::scope(|scope| {
        let start = |rank: usize| {
            let (sent, barrier) = (Arc::clone(&sent), Arc::clone(&barrier));
            scope.spawn(move || {
                let mut engine = double(0);
                engine.normalize_across(Box::new(move |numbers| {
                    sent.lock().unwrap()[rank] = numbers.to_vec();
                    barrier.wait();
                    let all = sent.lock().unwrap().clone();
                    barrier.wait();
                    Ok(all)
                }));
                task(rank, &mut engine)
            })
        };
        let threads: Vec<_> = (0..processes).map(start).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

#[test]
fn two_processes_normalise_as_one_does_with_all_samples() {
    let rows: Vec<f64> = (0..10 * CHANNELS).map(|i| (i as f64 * 0.7).sin() + 3.0).collect();
    let factors: Vec<f64> = (0..10).map(|i| 0.5 + f64::from(i)).collect();
    let whole = compute(&mut double(0), &rows, &factors);
    // Other numbers of samples on each.
    let ranges = [0..3, 3..10];
    let parts: Vec<Computed> = on_processes(2, |rank, engine| {
        let range = ranges[rank].clone();
        let own = &rows[range.start * CHANNELS..range.end * CHANNELS];
        compute(engine, own, &factors[range])
    });
    let close = |a: &[f64], b: &[f64], what: &str| {
        assert_eq!(a.len(), b.len(), "{what}");
        assert!(a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-9), "{what}: {a:?} {b:?}");
    };
    let both =
        |of: fn(&Computed) -> &Vec<f64>| [of(&parts[0]).clone(), of(&parts[1]).clone()].concat();
    close(&both(|one| &one.outputs), &whole.outputs, "outputs");
    close(&both(|one| &one.gradients[0]), &whole.gradients[0], "gradients of the inputs");
    for (index, what) in [(1, "weights"), (2, "bias")] {
        let [a, b] = [0, 1].map(|rank: usize| &parts[rank].gradients[index]);
        let sum: Vec<f64> = a.iter().zip(b).map(|(a, b)| a + b).collect();
        close(&sum, &whole.gradients[index], what);
    }
    for part in &parts {
        close(&part.running, &whole.running, "running variance");
    }
    // The combined statistics have the same bits everywhere.
    assert_eq!(parts[0].running, parts[1].running);
}

#[test]
fn an_exchange_that_fails_is_an_error_of_the_operation() {
    let mut engine = double(0);
    engine.normalize_across(Box::new(|_| Err("rank 1 has gone".to_owned())));
    let x = f64s(&mut engine, &[4, 1], &[1.0, 2.0, 3.0, 6.0]);
    let one = |engine: &mut Engine| f64s(engine, &[1], &[1.0]);
    let others = [one(&mut engine), one(&mut engine), one(&mut engine), one(&mut engine)];
    let inputs = [x, others[0], others[1], others[2], others[3]];
    let error = engine.apply1(op::BATCH_NORM, &inputs, &[1], &[]).unwrap_err();
    assert!(error.to_string().contains("rank 1 has gone"), "{error}");
}

/// Samples of a block, and blocks of a batch.
const SAMPLES: usize = 3;
const BLOCKS: usize = 4;

/// Bits of outputs, running statistics and sums of gradients.
type Bits = Vec<u64>;

fn bits(numbers: Vec<f64>) -> Bits {
    numbers.into_iter().map(f64::to_bits).collect()
}

/// Runs `blocks` blocks of a batch from number `first` on: factors, batch normalisation, dropout. Returns
/// outputs and running statistics, and the sums of the gradients of factors, weights and bias over the blocks.
fn run_blocks(engine: &mut Engine, first: usize, blocks: usize) -> (Bits, Bits, Vec<Vec<f64>>) {
    let model = engine.model("model");
    let mut parameter = |name: &str, value: f64, kind: Kind| {
        engine.parameter(model, name, &[CHANNELS], Init::Constant(value), kind).unwrap()
    };
    let factors = parameter("factors", 0.7, Kind::Trainable);
    let affine = [("weights", 1.5), ("bias", 0.25)];
    let [weights, bias] = affine.map(|(name, value)| parameter(name, value, Kind::Trainable));
    let running = [("mean", 0.0), ("variance", 1.0)];
    let [mean, variance] = running.map(|(name, value)| parameter(name, value, Kind::Buffer));
    let elements = first * SAMPLES * CHANNELS..(first + blocks) * SAMPLES * CHANNELS;
    let rows: Vec<f64> = elements.map(|i| (i as f64 * 0.7).sin() + 3.0).collect();
    let count = blocks * SAMPLES;
    let batch = f64s(engine, &[count, CHANNELS], &rows);
    if blocks > 1 {
        engine.begin_joint_blocks(first as u32 + 1, blocks, 7).unwrap();
    } else {
        engine.set_block(first as u32 + 1);
        engine.begin_random_block(7, first as u32);
    }
    let x = engine.rows(batch, 0..SAMPLES).unwrap();
    let x = engine.apply1(op::MUL, &[x, factors], &[], &[]).unwrap();
    let inputs = [x, weights, bias, mean, variance];
    let y = engine.apply1(op::BATCH_NORM, &inputs, &[], &[1e-5, 0.1]).unwrap();
    let y = engine.apply1(op::DROPOUT, &[y], &[], &[0.3]).unwrap();
    assert_eq!(engine.shape(y).unwrap(), [SAMPLES, CHANNELS]);
    let pieces: Vec<Handle> = if blocks > 1 {
        let text = engine.read_f64(y).unwrap_err().to_string();
        assert!(text.contains("cannot be read"), "{text}");
        let overwritten = engine.apply1(op::SCALE_, &[mean], &[], &[0.5]).unwrap_err().to_string();
        assert!(overwritten.contains("overwrite"), "{overwritten}");
        let pieces = engine.tensors_of_blocks(y).unwrap();
        engine.end_joint_blocks();
        pieces
    } else {
        engine.set_block(0);
        vec![y]
    };
    let values: Vec<Tensor> = pieces.iter().map(|&piece| engine.value(piece).unwrap()).collect();
    let whole = engine.assemble(Tensor::cat(&values, 0).unwrap(), 0, &pieces).unwrap();
    let samples: Vec<f64> = (0..count).map(|i| 0.5 + (first * SAMPLES + i) as f64).collect();
    let samples = f64s(engine, &[count, 1], &samples);
    let squares = engine.apply1(op::MUL, &[whole, whole], &[], &[]).unwrap();
    let weighted = engine.apply1(op::MUL, &[squares, samples], &[], &[]).unwrap();
    let loss = engine.apply1(op::SUM, &[weighted], &[0], &[]).unwrap();
    let range = first as u32 + 1..(first + blocks) as u32 + 1;
    let gradients = engine.backward_in_blocks(loss, None, range).unwrap();
    let sums = engine.block_sums(&gradients).unwrap();
    let sums = sums[..3].iter().map(|sum| sum.as_ref().unwrap().to_vec1().unwrap()).collect();
    let after = [mean, variance].map(|handle| engine.read_f64(handle).unwrap()).concat();
    (bits(engine.read_f64(whole).unwrap()), bits(after), sums)
}

/// The sum of the sums of each process, in a binary tree.
fn tree(sums: &[Vec<Vec<f64>>]) -> Vec<Vec<f64>> {
    if let [only] = sums {
        return only.clone();
    }
    let (first, second) = sums.split_at(sums.len() / 2);
    let add = |(a, b): (Vec<f64>, Vec<f64>)| a.iter().zip(b).map(|(a, b)| a + b).collect();
    tree(first).into_iter().zip(tree(second)).map(add).collect()
}

#[test]
fn blocks_have_the_same_bits_on_every_number_of_processes() {
    let on = |processes: usize| {
        let each = BLOCKS / processes;
        let all = on_processes(processes, |rank, engine| run_blocks(engine, rank * each, each));
        let running = all[0].1.clone();
        assert!(all.iter().all(|one| one.1 == running), "running statistics on {processes}");
        let outputs = all.iter().flat_map(|one| one.0.clone()).collect::<Bits>();
        let sums: Vec<_> = all.into_iter().map(|one| one.2).collect();
        (outputs, running, tree(&sums).into_iter().map(bits).collect::<Vec<_>>())
    };
    let alone = on(1);
    for processes in [2, 4] {
        assert_eq!(on(processes), alone, "{processes} processes");
    }
    let gradients = alone.2.concat();
    assert!(gradients.iter().all(|&bits| f64::from_bits(bits).abs() > 1e-9), "{gradients:?}");
}
