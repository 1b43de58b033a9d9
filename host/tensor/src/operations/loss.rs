//! Losses: of log-probabilities, of pairs of equal shape, and the cross-entropy of logits.

use candle_core::{DType, Shape};
use fluxbay_plugin::abi::operation::{op, reduction};
use smallvec::smallvec;

use super::{Call, Produced};
use crate::backend::{CrossEntropy, Function, Pair, PairLoss, Targets};
use crate::context::Context;
use crate::error::Result;
use crate::value::Value;

/// How the losses are reduced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reduction {
    Mean,
    Sum,
    None,
}

impl Reduction {
    fn of(call: &Call, code: i64) -> Result<Self> {
        Ok(match code {
            reduction::MEAN => Reduction::Mean,
            reduction::SUM => Reduction::Sum,
            reduction::NONE => Reduction::None,
            _ => return Err(call.error(format!("there is no reduction with code {code}"))),
        })
    }

    /// Factor of each of `count` losses.
    fn factor(self, count: usize) -> f64 {
        if self == Reduction::Mean { 1.0 / count as f64 } else { 1.0 }
    }

    /// The losses themselves, or their sum times `factor`.
    fn apply(self, context: &Context, losses: Value, factor: f64) -> Result<Value> {
        if self == Reduction::None {
            return Ok(losses);
        }
        let sum = context.backend.sum_all(&losses)?;
        if factor == 1.0 { Ok(sum) } else { context.backend.map(Function::Scale(factor), &sum) }
    }
}

pub(super) fn apply(context: &mut Context, call: &Call) -> Result<Produced> {
    let floats = if call.info.code == op::HUBER { 0..=1 } else { 0..=0 };
    call.expect(2..=2, 0..=1, floats)?;
    if call.info.code == op::NLL {
        call.real([0])?;
        return nll(context, call);
    }
    call.real([0, 1])?;
    if call.shape(0) != call.shape(1) {
        return Err(call.error(format!("takes two tensors of one shape, got {}", call.shapes())));
    }
    let loss = match call.info.code {
        op::MSE => PairLoss::SquaredError,
        op::MAE => PairLoss::AbsoluteError,
        op::HUBER => {
            let delta = call.float(0, 1.0);
            if delta.is_nan() || delta <= 0.0 {
                return Err(call.error(format!("delta must be above 0, it is {delta}")));
            }
            PairLoss::Huber(delta)
        }
        _ => PairLoss::LogitEntropy,
    };
    pairs(context, call, loss)
}

fn nll(context: &mut Context, call: &Call) -> Result<Produced> {
    let Some((&classes, lead)) = call.shape(0).split_last() else {
        return Err(call.error("log-probabilities must be [.., classes], got a scalar"));
    };
    if call.shape(1) != lead {
        return Err(
            call.error(format!("labels must have the shape of the log-probabilities without the last dimension, got {}", call.shapes()))
        );
    }
    let reduction = Reduction::of(call, call.int(0, 0))?;
    let labels = context.backend.indices(call.inputs[1], 1, classes)?;
    let x = context.backend.contiguous(call.inputs[0])?;
    let losses = context.backend.nll(&x, &labels, classes)?;
    let factor = reduction.factor(losses.count());
    let out = reduction.apply(context, losses, factor)?;
    let shape = x.shape().clone();
    Ok(Produced::one(call, out, move |context, mut gradients| {
        let gradient = context.backend.contiguous(&gradients.only()?)?;
        let full = context.backend.nll_gradient(&gradient, &labels, classes, factor)?;
        Ok(smallvec![Some(full.reshape(shape)?)])
    }))
}

fn pairs(context: &mut Context, call: &Call, loss: PairLoss) -> Result<Produced> {
    let reduction = Reduction::of(call, call.int(0, 0))?;
    let backend = &context.backend;
    let (x, y) = (backend.contiguous(call.inputs[0])?, backend.contiguous(call.inputs[1])?);
    let losses = backend.zip(Pair::Loss(loss), &x, &y, x.shape())?;
    let factor = reduction.factor(losses.count());
    let out = reduction.apply(context, losses, factor)?;
    Ok(Produced::one(call, out, move |context, mut gradients| {
        let backend = &context.backend;
        let gradient = backend.contiguous(&gradients.only()?)?;
        let part = |slope: Pair| -> Result<Value> {
            let slopes = backend.zip(slope, &x, &y, x.shape())?;
            let full = match factor == 1.0 {
                true => slopes,
                false => backend.map(Function::Scale(factor), &slopes)?,
            };
            backend.scale_rows(full, &gradient, 1)
        };
        let to_first = gradients.wants(0).then(|| part(Pair::PredictionSlope(loss)));
        let to_second = gradients.wants(1).then(|| part(Pair::TargetSlope(loss)));
        Ok(smallvec![to_first.transpose()?, to_second.transpose()?])
    }))
}

/// The targets of a cross-entropy, and how many rows count.
fn targets(context: &Context, call: &Call, classes: usize) -> Result<(Targets, usize)> {
    let (logits, target) = (call.shape(0), call.inputs[1]);
    if matches!(target.dtype(), DType::U32 | DType::I64) {
        if target.dims() != &logits[..logits.len() - 1] {
            return Err(call.error(format!(
                "labels must have the shape of the logits without the last dimension, got {}",
                call.shapes()
            )));
        }
        let ignored = call.ints.get(1).copied();
        let (labels, counted) = context.backend.labels(target, classes, ignored)?;
        return Ok((Targets::Labels(labels), counted));
    }
    call.real([0, 1])?;
    if target.dims() != logits {
        return Err(call.error(format!(
            "probabilities must have the shape of the logits, got {}",
            call.shapes()
        )));
    }
    let rows = target.count() / classes;
    Ok((Targets::Probabilities(context.backend.contiguous(target)?), rows))
}

/// What the two cross-entropies have in common.
struct Logits<'a> {
    /// The logits, contiguous.
    x: Value,
    classes: usize,
    /// Their shape without the classes.
    lead: &'a [usize],
    smoothing: f64,
    reduction: Reduction,
    targets: Targets,
    /// How many rows are not ignored.
    counted: usize,
}

fn logits<'a>(context: &Context, call: &Call<'a>) -> Result<Logits<'a>> {
    call.real([0])?;
    let Some((&classes, lead)) = call.shape(0).split_last().filter(|(classes, _)| **classes > 0)
    else {
        return Err(
            call.error(format!("logits must be [.., classes], got shape {:?}", call.shape(0)))
        );
    };
    let smoothing = call.float(0, 0.0);
    if !(0.0..=1.0).contains(&smoothing) {
        return Err(call.error(format!("label smoothing must be from 0 to 1, it is {smoothing}")));
    }
    let reduction = Reduction::of(call, call.int(0, 0))?;
    let (targets, counted) = targets(context, call, classes)?;
    let x = context.backend.contiguous(call.inputs[0])?;
    Ok(Logits { x, classes, lead, smoothing, reduction, targets, counted })
}

pub(super) fn cross_entropy(context: &mut Context, call: &Call) -> Result<Produced> {
    call.expect(2..=2, 0..=2, 0..=1)?;
    let Logits { x, classes, lead, smoothing, reduction, targets, counted } =
        logits(context, call)?;
    let factor = reduction.factor(counted);
    let settings = CrossEntropy { classes, smoothing, factor };
    let (losses, full) = context.backend.cross_entropy(&settings, &x, &targets)?;
    let out = match reduction {
        Reduction::None => losses.reshape(Shape::from(lead))?,
        _ => reduction.apply(context, losses, factor)?,
    };
    let width = if reduction == Reduction::None { classes } else { usize::MAX };
    Ok(Produced::one(call, out, move |context, mut gradients| {
        let gradient = context.backend.contiguous(&gradients.only()?)?;
        Ok(smallvec![Some(context.backend.scale_rows(full, &gradient, width)?)])
    }))
}

/// Class weights multiply the shares of the classes in the targets: then it is a cross-entropy of
/// probabilities, whose sum need not be 1.
pub(super) fn weighted_cross_entropy(context: &mut Context, call: &Call) -> Result<Produced> {
    call.expect(3..=3, 0..=2, 0..=1)?;
    let dtype = call.real([0, 2])?;
    let Logits { x, classes, lead, smoothing, reduction, targets, counted } =
        logits(context, call)?;
    if call.shape(2) != [classes] {
        return Err(
            call.error(format!("class weights must be [{classes}], got shape {:?}", call.shape(2)))
        );
    }
    let backend = &context.backend;
    let (scalar, rows) = (Shape::from(()), x.count() / classes);
    let weights = backend.contiguous(call.inputs[2])?;
    let zero = backend.fill(dtype, &scalar, 0.0)?;
    let (shares, is_counted) = backend.soft_targets(&targets, classes, smoothing, dtype)?;
    let mut shares = backend.zip(Pair::Mul, &shares, &weights, shares.shape())?;
    let mut divisor = backend.fill(dtype, &scalar, counted as f64)?;
    if let (Some(is_counted), Targets::Labels(labels)) = (is_counted, &targets) {
        shares = backend.select(&is_counted, &shares, &zero, shares.shape())?;
        let rows = Shape::from(rows);
        let is_counted = is_counted.reshape(rows.clone())?;
        let first = backend.fill(DType::U32, &scalar, 0.0)?;
        let labels = backend.select(&is_counted, &labels.reshape(rows.clone())?, &first, &rows)?;
        let chosen = backend.index_select(&weights, 0, &labels, &rows)?;
        divisor = backend.sum_all(&backend.select(&is_counted, &chosen, &zero, &rows)?)?;
    }
    let settings = CrossEntropy { classes, smoothing: 0.0, factor: 1.0 };
    let (losses, full) = backend.cross_entropy(&settings, &x, &Targets::Probabilities(shares))?;
    let out = match reduction {
        Reduction::None => losses.reshape(Shape::from(lead))?,
        Reduction::Sum => backend.sum_all(&losses)?,
        Reduction::Mean => backend.zip(Pair::Div, &backend.sum_all(&losses)?, &divisor, &scalar)?,
    };
    let width = if reduction == Reduction::None { classes } else { usize::MAX };
    Ok(Produced::one(call, out, move |context, mut gradients| {
        let backend = &context.backend;
        let mut gradient = backend.contiguous(&gradients.only()?)?;
        if reduction == Reduction::Mean {
            gradient = backend.zip(Pair::Div, &gradient, &divisor, &Shape::from(()))?;
        }
        Ok(smallvec![Some(backend.scale_rows(full, &gradient, width)?)])
    }))
}

/// `(1 - y) softplus(x) + p y softplus(-x)`: no difference of large numbers.
pub(super) fn weighted_logit_entropy(context: &mut Context, call: &Call) -> Result<Produced> {
    call.expect(3..=3, 0..=1, 0..=0)?;
    call.real([0, 1, 2])?;
    let fits = super::binary::broadcast_shape(call, call.shape(0), call.shape(2))
        .is_ok_and(|shape| &shape[..] == call.shape(0));
    if call.shape(0) != call.shape(1) || !fits {
        return Err(call.error(format!(
            "takes logits and targets of one shape and weights that broadcast to it, got {}",
            call.shapes()
        )));
    }
    let reduction = Reduction::of(call, call.int(0, 0))?;
    let backend = &context.backend;
    let x = backend.contiguous(call.inputs[0])?;
    let y = backend.contiguous(call.inputs[1])?;
    let shape = x.shape().clone();
    let weights = call.inputs[2].clone();
    // The two sides of the sum, each of a function of x and of -x.
    let negative = backend.map(Function::Affine(-1.0, 1.0), &y)?;
    let positive = backend.zip(Pair::Mul, &y, &weights, &shape)?;
    let flipped = backend.map(Function::Neg, &x)?;
    let up = backend.map(Function::Softplus, &x)?;
    let down = backend.map(Function::Softplus, &flipped)?;
    let losses = backend.zip(
        Pair::Add,
        &backend.zip(Pair::Mul, &negative, &up, &shape)?,
        &backend.zip(Pair::Mul, &positive, &down, &shape)?,
        &shape,
    )?;
    let factor = reduction.factor(losses.count());
    let out = reduction.apply(context, losses, factor)?;
    Ok(Produced::one(call, out, move |context, mut gradients| {
        let backend = &context.backend;
        let gradient = backend.contiguous(&gradients.only()?)?;
        let scaled = |slopes: Value| -> Result<Value> {
            let full = match factor == 1.0 {
                true => slopes,
                false => backend.map(Function::Scale(factor), &slopes)?,
            };
            backend.scale_rows(full, &gradient, 1)
        };
        let to_logits = || {
            let rise = backend.map(Function::Sigmoid, &x)?;
            let fall = backend.map(Function::Sigmoid, &flipped)?;
            let rise = backend.zip(Pair::Mul, &negative, &rise, &shape)?;
            let fall = backend.zip(Pair::Mul, &positive, &fall, &shape)?;
            scaled(backend.zip(Pair::Sub, &rise, &fall, &shape)?)
        };
        let to_targets = || {
            let gain = backend.zip(Pair::Mul, &down, &weights, &shape)?;
            scaled(backend.zip(Pair::Sub, &gain, &up, &shape)?)
        };
        let to_logits = gradients.wants(0).then(to_logits).transpose()?;
        let to_targets = gradients.wants(1).then(to_targets).transpose()?;
        Ok(smallvec![to_logits, to_targets, None])
    }))
}
