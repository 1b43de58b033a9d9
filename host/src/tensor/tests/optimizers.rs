//! Optimizer updates against the formulas of PyTorch's documentation (torch.optim, version 2), written out in scalars, over 100 steps.

use fluxbay_plugin::abi::handle::Handle;
use fluxbay_plugin::abi::operation::op;

use super::super::Engine;
use super::gradients::Dice;
use super::{double, f32s, f64s, single};

const STEPS: usize = 100;

/// Runs an update on the gradient `p - target + noise` for 100 steps beside a reference, and compares the parameters.
fn follow(code: u32, floats: &[f64], ints: impl Fn(usize) -> Vec<i64>, states: usize, mut reference: impl FnMut(usize, &mut f64, f64)) {
    let mut engine = double(0);
    let mut expected = 1.5_f64;
    let p = f64s(&mut engine, &[1], &[expected]);
    let states: Vec<Handle> = (0..states).map(|_| f64s(&mut engine, &[1], &[0.0])).collect();
    let mut dice = Dice::new("optimizer");
    for step in 1..=STEPS {
        let gradient = expected - 0.3 + dice.within(-0.5, 0.5);
        let g = f64s(&mut engine, &[1], &[gradient]);
        let inputs: Vec<Handle> = [p, g].into_iter().chain(states.iter().copied()).collect();
        engine.apply(code, &inputs, &ints(step), floats, &mut Vec::new()).unwrap();
        reference(step, &mut expected, gradient);
        let ours = engine.scalar(p).unwrap();
        assert!((ours - expected).abs() < 1e-12, "step {step}: {ours} instead of {expected}");
        expected = ours;
    }
}

#[test]
fn sgd_follows_pytorch_with_momentum_dampening_decay_and_nesterov() {
    for (momentum, dampening, decay, nesterov) in
        [(0.0, 0.0, 0.01, false), (0.9, 0.0, 0.0, false), (0.9, 0.2, 0.01, false), (0.8, 0.0, 0.02, true)]
    {
        let mut buffer = 0.0;
        let floats = [0.05, momentum, dampening, decay, f64::from(u8::from(nesterov))];
        follow(
            op::SGD_UPDATE,
            &floats,
            |step| vec![step as i64],
            usize::from(momentum != 0.0),
            |step, p, g| {
                let g = g + decay * *p;
                let direction = if momentum != 0.0 {
                    buffer = if step == 1 { g } else { momentum * buffer + (1.0 - dampening) * g };
                    if nesterov { g + momentum * buffer } else { buffer }
                } else {
                    g
                };
                *p -= 0.05 * direction;
            },
        );
    }
}

#[test]
fn adam_and_adamw_follow_pytorch() {
    for decoupled in [false, true] {
        let (rate, b1, b2, epsilon, decay) = (0.02, 0.9, 0.99, 1e-6, 0.1);
        let (mut m, mut v) = (0.0, 0.0);
        let code = if decoupled { op::ADAMW_UPDATE } else { op::ADAM_UPDATE };
        follow(
            code,
            &[rate, b1, b2, epsilon, decay],
            |step| vec![step as i64],
            2,
            |step, p, g| {
                let mut g = g;
                if decoupled {
                    *p *= 1.0 - rate * decay;
                } else {
                    g += decay * *p;
                }
                m = b1 * m + (1.0 - b1) * g;
                v = b2 * v + (1.0 - b2) * g * g;
                let (m_hat, v_hat) = (m / (1.0 - b1.powi(step as i32)), v / (1.0 - b2.powi(step as i32)));
                *p -= rate * m_hat / (v_hat.sqrt() + epsilon);
            },
        );
    }
}

#[test]
fn rmsprop_follows_pytorch_plain_with_momentum_and_centred() {
    let (rate, alpha, epsilon, decay) = (0.01, 0.95, 1e-6, 0.01);
    for (momentum, centred, states) in [(0.0, false, 1), (0.9, false, 2), (0.9, true, 3)] {
        let (mut square, mut buffer, mut mean) = (0.0, 0.0, 0.0);
        let floats = [rate, alpha, epsilon, decay, momentum];
        follow(
            op::RMSPROP_UPDATE,
            &floats,
            |_| vec![i64::from(centred)],
            states,
            |_, p, g| {
                let g = g + decay * *p;
                square = alpha * square + (1.0 - alpha) * g * g;
                let mut average = square;
                if centred {
                    mean += (1.0 - alpha) * (g - mean);
                    average -= mean * mean;
                }
                let size = g / (average.sqrt() + epsilon);
                buffer = momentum * buffer + size;
                *p -= rate * if momentum > 0.0 { buffer } else { size };
            },
        );
    }
}

#[test]
fn lion_follows_its_paper() {
    let (rate, b1, b2, decay) = (0.01, 0.9, 0.99, 0.1);
    let mut m = 0.0;
    follow(
        op::LION_UPDATE,
        &[rate, b1, b2, decay],
        |_| vec![],
        1,
        |_, p, g| {
            let direction: f64 = b1 * m + (1.0 - b1) * g;
            *p -= rate * (direction.signum() + decay * *p);
            m = b2 * m + (1.0 - b2) * g;
        },
    );
}

#[test]
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
    let text = engine.apply(op::ASSIGN, &[x, narrow], &[], &[], &mut Vec::new()).unwrap_err().to_string();
    assert!(text.contains("[2]") && text.contains("[1]"), "{text}");
}
