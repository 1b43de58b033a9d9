//! Softmax, its logarithm, and the cross-entropy of logits.

use candle_core::{DType, Shape};
use fluxbay_plugin::abi::operation::op;
use smallvec::smallvec;

use super::loss::{Reduction, scaled_by_rows};
use super::rows::Rows;
use super::{Call, Produced, for_real};
use crate::context::Context;
use crate::error::Result;
use crate::kernels::reduce::sum_all;
use crate::kernels::simd::{Real, dispatch};
use crate::kernels::softmax::{CrossEntropyRows, Target, softmax, softmax_gradient};
use crate::pool::Parts;
use crate::value::{Value, data, unwritten, value};

pub(super) fn apply(context: &mut Context, call: &Call) -> Result<Produced> {
    call.expect(1..=1, 0..=1, 0..=0)?;
    let dtype = call.real([0])?;
    let dim = call.dim(call.int(0, -1), call.shape(0).len())?;
    let log = call.info.code == op::LOG_SOFTMAX;
    for_real!(dtype, T => {
        let rows = Rows::of(call.inputs[0], &[dim])?;
        let y = rows.restore(softmax(&context.pool, &data::<T>(&rows.value.tensor)?, rows.length, log))?;
        let saved = y.clone();
        Ok(Produced::one(call, y, move |context, mut gradients| {
            let (y, gradient) = (Rows::of(&saved, &[dim])?, Rows::of(&gradients.only()?, &[dim])?);
            let full = softmax_gradient(&context.pool, &data::<T>(&y.value.tensor)?, &data::<T>(&gradient.value.tensor)?, y.length, log);
            Ok(smallvec![Some(y.restore(full)?)])
        }))
    })
}

/// The targets of a cross-entropy.
enum Targets {
    /// One label a row; `u32::MAX` where the row is not counted.
    Labels(Vec<u32>),
    Probabilities(Value),
}

fn targets(call: &Call, classes: usize) -> Result<Targets> {
    let (logits, target) = (call.shape(0), call.inputs[1]);
    if matches!(target.dtype(), DType::U32 | DType::I64) {
        if target.dims() != &logits[..logits.len() - 1] {
            return Err(call.error(format!(
                "labels must have the shape of the logits without the last dimension, got {}",
                call.shapes()
            )));
        }
        let ignored = call.int(1, i64::MIN);
        let label = |label: i64| match label {
            _ if label == ignored && call.ints.len() > 1 => Ok(u32::MAX),
            _ if (0..classes as i64).contains(&label) => Ok(label as u32),
            _ => Err(call.error(format!(
                "label {label} is out of range: the logits {logits:?} have {classes} classes"
            ))),
        };
        return Ok(Targets::Labels(match target.dtype() {
            DType::U32 => data::<u32>(&target.contiguous()?.tensor)?
                .iter()
                .map(|&found| label(i64::from(found)))
                .collect::<Result<_>>()?,
            _ => target.to_vec::<i64>()?.into_iter().map(label).collect::<Result<_>>()?,
        }));
    }
    call.real([0, 1])?;
    if target.dims() != logits {
        return Err(call.error(format!(
            "probabilities must have the shape of the logits, got {}",
            call.shapes()
        )));
    }
    Ok(Targets::Probabilities(target.contiguous()?))
}

pub(super) fn cross_entropy(context: &mut Context, call: &Call) -> Result<Produced> {
    call.expect(2..=2, 0..=2, 0..=1)?;
    let dtype = call.real([0])?;
    let Some(&classes) = call.shape(0).last().filter(|&&classes| classes > 0) else {
        return Err(
            call.error(format!("logits must be [.., classes], got shape {:?}", call.shape(0)))
        );
    };
    let smoothing = call.float(0, 0.0);
    if !(0.0..=1.0).contains(&smoothing) {
        return Err(call.error(format!("label smoothing must be from 0 to 1, it is {smoothing}")));
    }
    let reduction = Reduction::of(call, call.int(0, 0))?;
    let targets = targets(call, classes)?;
    for_real!(dtype, T => cross_entropy_of::<T>(context, call, classes, smoothing, reduction, targets))
}

fn cross_entropy_of<T: Real>(
    context: &mut Context,
    call: &Call,
    classes: usize,
    smoothing: f64,
    reduction: Reduction,
    targets: Targets,
) -> Result<Produced> {
    let x = call.inputs[0].contiguous()?;
    let rows = x.count() / classes;
    let counted = match &targets {
        Targets::Labels(labels) => labels.iter().filter(|&&label| label != u32::MAX).count(),
        Targets::Probabilities(_) => rows,
    };
    let factor = if reduction == Reduction::Mean { 1.0 / counted as f64 } else { 1.0 };
    let elements = data::<T>(&x.tensor)?;
    let probabilities = match &targets {
        Targets::Probabilities(value) => Some(data::<T>(&value.tensor)?),
        Targets::Labels(_) => None,
    };
    let probabilities: Option<&[T]> = probabilities.as_deref();
    let labels: &[u32] = match &targets {
        Targets::Labels(labels) => labels,
        Targets::Probabilities(_) => &[],
    };
    let mut losses = unwritten::<T>(rows);
    let mut full = unwritten::<T>(rows * classes);
    let (loss_parts, parts) = (Parts::new(&mut losses), Parts::new(&mut full));
    context.pool.ranges(rows, (8 * 1024 / classes).max(1), |range| {
        let span = range.start * classes..range.end * classes;
        let target = match probabilities {
            Some(p) => Target::Probabilities(&p[span.clone()]),
            None => Target::Labels(&labels[range.clone()]),
        };
        // SAFETY: the ranges of one call do not overlap.
        let (losses, out) = unsafe { (loss_parts.part(range), parts.part(span.clone())) };
        let (smoothing, factor) = (T::of(smoothing), T::of(factor));
        dispatch(CrossEntropyRows {
            x: &elements[span],
            classes,
            target,
            smoothing,
            factor,
            losses,
            out,
        });
    });
    let out = match reduction {
        Reduction::None => value(losses, Shape::from(&call.shape(0)[..call.shape(0).len() - 1])),
        _ => value(vec![sum_all(&context.pool, &losses) * T::of(factor)], ()),
    };
    let full = value(full, x.tensor.shape().clone());
    let per_row = reduction == Reduction::None;
    Ok(Produced::one(call, out, move |context, mut gradients| {
        let gradient = gradients.only()?.contiguous()?;
        Ok(smallvec![Some(scaled_by_rows::<T>(
            context,
            full,
            &gradient,
            if per_row { classes } else { usize::MAX }
        )?)])
    }))
}
