//! Optimizer updates and other changes in place. Formulas are PyTorch's (torch.optim), so that
//! results agree with it.

use candle_core::Tensor;
use fluxbay_plugin::abi::operation::op;

use super::{Call, Produced, for_real, take_over};
use crate::context::Context;
use crate::error::Result;
use crate::kernels::elementwise::update;
use crate::kernels::optimize::step;
use crate::kernels::simd::Real;
use crate::value::{Element, data, overwrite};

pub(super) fn apply(context: &mut Context, call: &Call) -> Result<Produced> {
    match call.info.code {
        op::SGD_UPDATE => call.expect(2..=3, 1..=1, 1..=5)?,
        op::ADAM_UPDATE | op::ADAMW_UPDATE => call.expect(4..=4, 1..=1, 1..=5)?,
        op::RMSPROP_UPDATE => call.expect(3..=5, 0..=1, 1..=5)?,
        op::LION_UPDATE => call.expect(3..=3, 0..=0, 1..=4)?,
        op::ASSIGN => call.expect(2..=2, 0..=0, 0..=0)?,
        op::SCALE_ => call.expect(1..=1, 0..=0, 1..=1)?,
        _ => call.expect(2..=2, 0..=0, 1..=1)?,
    }
    if let Some(other) = call
        .inputs
        .iter()
        .find(|value| value.dims() != call.shape(0) || value.dtype() != call.inputs[0].dtype())
    {
        return Err(call.error(format!(
            "all inputs must have the target's shape {:?} and element type {:?}, got {:?} of {:?}",
            call.shape(0),
            call.inputs[0].dtype(),
            other.dims(),
            other.dtype()
        )));
    }
    if call.info.code == op::ASSIGN {
        take_over(call.inputs[0], call.inputs[1])?;
        return Ok(Produced::nothing());
    }
    let dtype = call.real(0..call.inputs.len())?;
    for_real!(dtype, T => match call.info.code {
        op::SGD_UPDATE => sgd::<T>(context, call),
        op::ADAM_UPDATE => adam::<T>(context, call, false),
        op::ADAMW_UPDATE => adam::<T>(context, call, true),
        op::RMSPROP_UPDATE => rmsprop::<T>(context, call),
        op::LION_UPDATE => lion::<T>(context, call),
        _ => simple::<T>(context, call),
    })?;
    Ok(Produced::nothing())
}

/// Gives `action` the elements of two different tensors for writing.
fn overwrite2<T: Element>(
    a: &Tensor,
    b: &Tensor,
    action: impl FnOnce([&mut [T]; 2]),
) -> Result<()> {
    overwrite(a, |a: &mut [T]| overwrite(b, |b: &mut [T]| action([a, b])))?
}

/// As [`overwrite2`] for three.
fn overwrite3<T: Element>(
    a: &Tensor,
    b: &Tensor,
    c: &Tensor,
    action: impl FnOnce([&mut [T]; 3]),
) -> Result<()> {
    overwrite(a, |a: &mut [T]| overwrite2(b, c, |[b, c]: [&mut [T]; 2]| action([a, b, c])))?
}

/// As [`overwrite2`] for four.
fn overwrite4<T: Element>(tensors: [&Tensor; 4], action: impl FnOnce([&mut [T]; 4])) -> Result<()> {
    let [a, b, c, d] = tensors;
    overwrite(a, |a: &mut [T]| {
        overwrite3(b, c, d, |[b, c, d]: [&mut [T]; 3]| action([a, b, c, d]))
    })?
}

fn sgd<T: Real>(context: &Context, call: &Call) -> Result<()> {
    let number = |index| T::of(call.float(index, 0.0));
    let (rate, momentum, dampening, decay) = (number(0), number(1), number(2), number(3));
    let nesterov = call.float(4, 0.0) != 0.0;
    let first = call.ints[0] <= 1;
    let gradient = call.inputs[1].contiguous()?;
    let g = data::<T>(&gradient.tensor)?;
    let pool = &context.pool;
    if momentum == T::ZERO {
        return overwrite(&call.inputs[0].tensor, |target: &mut [T]| {
            step(pool, [target], &g, |[p], g| [p - rate * (g + decay * p)]);
        });
    }
    if call.inputs.len() < 3 {
        return Err(call.error("momentum needs a momentum buffer as third input"));
    }
    overwrite2(&call.inputs[0].tensor, &call.inputs[2].tensor, |states| {
        step(pool, states, &g, move |[p, buffer], g| {
            let d = g + decay * p;
            let buffer = if first { d } else { momentum * buffer + (T::ONE - dampening) * d };
            let d = if nesterov { d + momentum * buffer } else { buffer };
            [p - rate * d, buffer]
        });
    })
}

fn adam<T: Real>(context: &Context, call: &Call, decoupled: bool) -> Result<()> {
    let (rate, beta1, beta2) = (call.floats[0], call.float(1, 0.9), call.float(2, 0.999));
    let (epsilon, decay) = (call.float(3, 1e-8), call.float(4, if decoupled { 0.01 } else { 0.0 }));
    let count = call.ints[0];
    if count < 1 {
        return Err(call.error(format!("steps are counted from 1, got {count}")));
    }
    let count = i32::try_from(count).unwrap_or(i32::MAX);
    let size = T::of(rate / (1.0 - beta1.powi(count)));
    let correction = T::of((1.0 - beta2.powi(count)).sqrt());
    let (b1, b2, epsilon) = (T::of(beta1), T::of(beta2), T::of(epsilon));
    let (rest1, rest2) = (T::of(1.0 - beta1), T::of(1.0 - beta2));
    let shrink = if decoupled { T::of(1.0 - rate * decay) } else { T::ONE };
    let added = if decoupled { T::ZERO } else { T::of(decay) };
    let gradient = call.inputs[1].contiguous()?;
    let g = data::<T>(&gradient.tensor)?;
    overwrite3(&call.inputs[0].tensor, &call.inputs[2].tensor, &call.inputs[3].tensor, |states| {
        step(&context.pool, states, &g, move |[p, m, v], g| {
            let g = g + added * p;
            let m = b1 * m + rest1 * g;
            let v = b2 * v + rest2 * g * g;
            [p * shrink - size * m / (v.sqrt() / correction + epsilon), m, v]
        });
    })
}

fn rmsprop<T: Real>(context: &Context, call: &Call) -> Result<()> {
    let number = |index, default| T::of(call.float(index, default));
    let (rate, alpha, epsilon) = (number(0, 0.0), number(1, 0.99), number(2, 1e-8));
    let (decay, momentum) = (number(3, 0.0), number(4, 0.0));
    let centred = call.int(0, 0) != 0;
    let gradient = call.inputs[1].contiguous()?;
    let g = data::<T>(&gradient.tensor)?;
    let rest = T::ONE - alpha;
    let pool = &context.pool;
    let tensor = |index: usize| &call.inputs[index].tensor;
    match (centred, call.inputs.len()) {
        (false, 3) if momentum == T::ZERO => overwrite2(tensor(0), tensor(2), |states| {
            step(pool, states, &g, move |[p, square], g| {
                let g = g + decay * p;
                let square = alpha * square + rest * g * g;
                [p - rate * g / (square.sqrt() + epsilon), square]
            });
        }),
        (false, 4) => overwrite3(tensor(0), tensor(2), tensor(3), |states| {
            step(pool, states, &g, move |[p, square, buffer], g| {
                let g = g + decay * p;
                let square = alpha * square + rest * g * g;
                let buffer = momentum * buffer + g / (square.sqrt() + epsilon);
                [p - rate * buffer, square, buffer]
            });
        }),
        (true, 5) => overwrite4([tensor(0), tensor(2), tensor(3), tensor(4)], |states| {
            step(pool, states, &g, move |[p, square, buffer, mean], g| {
                let g = g + decay * p;
                let square = alpha * square + rest * g * g;
                let mean = mean + rest * (g - mean);
                let buffer = momentum * buffer + g / ((square - mean * mean).sqrt() + epsilon);
                [p - rate * buffer, square, buffer, mean]
            });
        }),
        (_, count) => Err(call.error(format!(
            "takes a momentum buffer with momentum, and a momentum buffer and a gradient average when centred; got {count} inputs"
        ))),
    }
}

fn lion<T: Real>(context: &Context, call: &Call) -> Result<()> {
    let number = |index, default| T::of(call.float(index, default));
    let (rate, beta1, beta2, decay) =
        (number(0, 0.0), number(1, 0.9), number(2, 0.99), number(3, 0.0));
    let gradient = call.inputs[1].contiguous()?;
    let g = data::<T>(&gradient.tensor)?;
    overwrite2(&call.inputs[0].tensor, &call.inputs[2].tensor, |states| {
        step(&context.pool, states, &g, move |[p, m], g| {
            let direction = beta1 * m + (T::ONE - beta1) * g;
            let sign = if direction > T::ZERO {
                T::ONE
            } else if direction < T::ZERO {
                -T::ONE
            } else {
                direction
            };
            [p * (T::ONE - rate * decay) - rate * sign, beta2 * m + (T::ONE - beta2) * g]
        });
    })
}

fn simple<T: Real>(context: &Context, call: &Call) -> Result<()> {
    let factor = T::of(call.floats[0]);
    let pool = &context.pool;
    if call.info.code == op::SCALE_ {
        return overwrite(&call.inputs[0].tensor, |target: &mut [T]| {
            crate::kernels::elementwise::scale(pool, target, factor);
        });
    }
    let source = call.inputs[1].contiguous()?;
    let source = data::<T>(&source.tensor)?;
    overwrite(&call.inputs[0].tensor, |target: &mut [T]| match call.info.code {
        op::LERP_ => update(pool, target, &source, move |target, source| {
            *target += factor * (source - *target)
        }),
        _ => update(pool, target, &source, move |target, source| *target += factor * source),
    })
}
