//! Losses: of log-probabilities, and of pairs of equal shape.

use candle_core::Shape;
use fluxbay_plugin::abi::operation::{op, reduction};
use smallvec::smallvec;

use super::indexing::indices;
use super::{Call, Produced, for_real};
use crate::context::Context;
use crate::error::Result;
use crate::kernels::elementwise::{map, zip};
use crate::kernels::reduce::sum_all;
use crate::kernels::simd::{Plain, Real};
use crate::operations::unary::Affine;
use crate::value::{Value, data, overwrite, value};

/// What becomes of the single losses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reduction {
    Mean,
    Sum,
    None,
}

impl Reduction {
    pub fn of(call: &Call, code: i64) -> Result<Self> {
        Ok(match code {
            reduction::MEAN => Reduction::Mean,
            reduction::SUM => Reduction::Sum,
            reduction::NONE => Reduction::None,
            _ => return Err(call.error(format!("there is no reduction with code {code}"))),
        })
    }
}

/// `full` times the gradient of its row's loss: one for each `width` elements, or a single one for
/// all.
pub(super) fn scaled_by_rows<T: Real>(
    context: &Context,
    full: Value,
    gradient: &Value,
    width: usize,
) -> Result<Value> {
    let gradient = data::<T>(&gradient.tensor)?;
    if let [factor] = gradient[..] {
        return scaled(context, full, factor);
    }
    let full = if full.is_unique() { full } else { full.copied()? };
    overwrite(&full.tensor, |full: &mut [T]| {
        for (row, &g) in full.chunks_exact_mut(width.max(1)).zip(gradient.iter()) {
            row.iter_mut().for_each(|x| *x *= g);
        }
    })?;
    Ok(full)
}

fn scaled<T: Real>(context: &Context, full: Value, factor: T) -> Result<Value> {
    if factor == T::ONE {
        return Ok(full);
    }
    let shape = full.tensor.shape().clone();
    Ok(value(map(&context.pool, Affine(factor.wide()), &data::<T>(&full.tensor)?), shape))
}

pub(super) fn apply(context: &mut Context, call: &Call) -> Result<Produced> {
    if call.info.code == op::NLL {
        call.expect(2..=2, 0..=1, 0..=0)?;
        return for_real!(call.real([0])?, T => nll::<T>(context, call));
    }
    let floats = if call.info.code == op::HUBER { 0..=1 } else { 0..=0 };
    call.expect(2..=2, 0..=1, floats)?;
    let dtype = call.real([0, 1])?;
    if call.shape(0) != call.shape(1) {
        return Err(call.error(format!("takes two tensors of one shape, got {}", call.shapes())));
    }
    let reduction = Reduction::of(call, call.int(0, 0))?;
    for_real!(dtype, T => pairs::<T>(context, call, reduction))
}

fn nll<T: Real>(context: &mut Context, call: &Call) -> Result<Produced> {
    let Some((&classes, lead)) = call.shape(0).split_last() else {
        return Err(call.error("log-probabilities must be [.., classes], got a scalar"));
    };
    if call.shape(1) != lead {
        return Err(
            call.error(format!("labels must have the shape of the log-probabilities without the last dimension, got {}", call.shapes()))
        );
    }
    let reduction = Reduction::of(call, call.int(0, 0))?;
    let labels = indices(call, 1, classes)?;
    let x = call.inputs[0].contiguous()?;
    let elements = data::<T>(&x.tensor)?;
    let losses: Vec<T> = labels
        .iter()
        .enumerate()
        .map(|(row, &label)| -elements[row * classes + label as usize])
        .collect();
    let factor = if reduction == Reduction::Mean { 1.0 / labels.len() as f64 } else { 1.0 };
    let out = match reduction {
        Reduction::None => value(losses, Shape::from(lead)),
        _ => value(vec![sum_all(&context.pool, &losses) * T::of(factor)], ()),
    };
    let shape = x.tensor.shape().clone();
    Ok(Produced::one(call, out, move |_, mut gradients| {
        let gradient = gradients.only()?.contiguous()?;
        let gradient = data::<T>(&gradient.tensor)?;
        let mut full = vec![T::ZERO; shape.elem_count()];
        for (row, &label) in labels.iter().enumerate() {
            full[row * classes + label as usize] =
                -gradient[if gradient.len() == 1 { 0 } else { row }] * T::of(factor);
        }
        Ok(smallvec![Some(value(full, shape))])
    }))
}

/// One pair's loss, and its derivatives with respect to the first and the second.
#[expect(clippy::type_complexity, reason = "three closures, which have no names")]
fn pair<T: Real>(
    code: u32,
    delta: T,
) -> (
    impl Fn(T, T) -> T + Copy + Sync,
    impl Fn(T, T) -> T + Copy + Sync,
    impl Fn(T, T) -> T + Copy + Sync,
) {
    let half = T::of(0.5);
    let step = |x: T| {
        if x > T::ZERO {
            T::ONE
        } else if x < T::ZERO {
            -T::ONE
        } else {
            x
        }
    };
    let value = move |x: T, y: T| {
        let d = x - y;
        match code {
            op::MSE => d * d,
            op::MAE => d.abs(),
            op::HUBER => {
                if d.abs() <= delta {
                    half * d * d
                } else {
                    delta * (d.abs() - half * delta)
                }
            }
            _ => x.larger(T::ZERO) - x * y + (-x.abs()).exp(Plain).log1p(),
        }
    };
    let first = move |x: T, y: T| {
        let d = x - y;
        match code {
            op::MSE => d + d,
            op::MAE => step(d),
            op::HUBER => {
                if d.abs() <= delta {
                    d
                } else {
                    delta * step(d)
                }
            }
            _ => x.sigmoid(Plain) - y,
        }
    };
    let second = move |x: T, y: T| if code == op::BCE_WITH_LOGITS { -x } else { -first(x, y) };
    (value, first, second)
}

fn pairs<T: Real>(context: &mut Context, call: &Call, reduction: Reduction) -> Result<Produced> {
    let code = call.info.code;
    let delta = call.float(0, 1.0);
    if delta.is_nan() || delta <= 0.0 {
        return Err(call.error(format!("delta must be above 0, it is {delta}")));
    }
    let (x, y) = (call.inputs[0].contiguous()?, call.inputs[1].contiguous()?);
    let (loss, first, second) = pair::<T>(code, T::of(delta));
    let losses = zip(&context.pool, &data::<T>(&x.tensor)?, &data::<T>(&y.tensor)?, loss);
    let factor = if reduction == Reduction::Mean { 1.0 / losses.len() as f64 } else { 1.0 };
    let out = match reduction {
        Reduction::None => value(losses, x.tensor.shape().clone()),
        _ => value(vec![sum_all(&context.pool, &losses) * T::of(factor)], ()),
    };
    Ok(Produced::one(call, out, move |context, mut gradients| {
        let gradient = gradients.only()?.contiguous()?;
        let shape = x.tensor.shape().clone();
        let (a, b) = (data::<T>(&x.tensor)?, data::<T>(&y.tensor)?);
        let part = |slopes: Vec<T>| -> Result<Value> {
            let full = match factor == 1.0 {
                true => value(slopes, shape.clone()),
                false => value(map(&context.pool, Affine(factor), &slopes), shape.clone()),
            };
            scaled_by_rows::<T>(context, full, &gradient, 1)
        };
        let to_first =
            gradients.wants(0).then(|| part(zip(&context.pool, &a, &b, first))).transpose()?;
        let to_second =
            gradients.wants(1).then(|| part(zip(&context.pool, &a, &b, second))).transpose()?;
        Ok(smallvec![to_first, to_second])
    }))
}
