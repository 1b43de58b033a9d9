//! Batch normalisation over the samples of several processes, which are threads here.

use std::sync::{Arc, Barrier, Mutex};

use fluxbay_plugin::abi::operation::op;

use super::super::Engine;
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

#[test]
fn two_processes_normalise_as_one_does_with_all_samples() {
    let rows: Vec<f64> = (0..10 * CHANNELS).map(|i| (i as f64 * 0.7).sin() + 3.0).collect();
    let factors: Vec<f64> = (0..10).map(|i| 0.5 + f64::from(i)).collect();
    let whole = compute(&mut double(0), &rows, &factors);
    let sent = Arc::new(Mutex::new(vec![Vec::new(); 2]));
    let barrier = Arc::new(Barrier::new(2));
    // Other numbers of samples on each.
    let parts: Vec<Computed> = std::thread::scope(|scope| {
        let start = |rank: usize| {
            let (sent, barrier) = (Arc::clone(&sent), Arc::clone(&barrier));
            let range = if rank == 0 { 0..3 } else { 3..10 };
            let own = &rows[range.start * CHANNELS..range.end * CHANNELS];
            let factors = &factors[range];
            scope.spawn(move || {
                let mut engine = double(0);
                engine.normalize_across(Box::new(move |numbers| {
                    sent.lock().unwrap()[rank] = numbers.to_vec();
                    barrier.wait();
                    let all = sent.lock().unwrap().clone();
                    barrier.wait();
                    Ok(all)
                }));
                compute(&mut engine, own, factors)
            })
        };
        let threads = [0, 1].map(start);
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
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
