//! Reductions over dimensions.

use candle_core::{DType, Shape};
use fluxbay_plugin::abi::operation::op;
use smallvec::{SmallVec, smallvec};

use super::rows::Rows;
use super::{Call, Produced};
use crate::backend::Function;
use crate::context::Context;
use crate::error::Result;

/// The result's shape: without the reduced dimensions, or with 1 in their place.
fn reduced(shape: &[usize], dims: &[usize], keep: bool) -> Shape {
    let size = |(dim, &size): (usize, &usize)| match dims.contains(&dim) {
        false => Some(size),
        true => keep.then_some(1),
    };
    let reduced: SmallVec<[usize; 6]> = shape.iter().enumerate().filter_map(size).collect();
    Shape::from(&reduced[..])
}

fn keep_flag(call: &Call) -> Result<bool> {
    match call.ints.first() {
        Some(0) => Ok(false),
        Some(1) => Ok(true),
        other => Err(call.error(format!("keepdim must be 0 or 1, got {other:?}"))),
    }
}

pub(super) fn apply(context: &mut Context, call: &Call) -> Result<Produced> {
    if call.info.code == op::NORM {
        call.expect(1..=1, 0..=0, 0..=0)?;
        call.real([0])?;
        return norm(context, call);
    }
    let fixed = if call.info.code == op::VAR { 2 } else { 1 };
    call.expect(1..=1, fixed..=usize::MAX, 0..=0)?;
    let keep = keep_flag(call)?;
    let shape = call.shape(0);
    let dims = match call.info.code {
        op::ARGMAX | op::ARGMIN => {
            call.expect(1..=1, 2..=2, 0..=0)?;
            smallvec![call.dim(call.ints[1], shape.len())?]
        }
        _ => call.dim_list(&call.ints[fixed..], shape.len())?,
    };
    let out = reduced(shape, &dims, keep);
    let count: usize = dims.iter().map(|&dim| shape[dim]).product();
    if count == 0 && call.info.code != op::SUM {
        return Err(call.error(format!("there is nothing to reduce in shape {shape:?}")));
    }
    match call.info.code {
        op::SUM | op::MEAN => total(context, call, &dims, out, count),
        op::ARGMAX | op::ARGMIN => arg(context, call, &dims, out),
        op::MAX | op::MIN => extreme(context, call, &dims, out),
        op::VAR => variance(context, call, &dims, out, count),
        _ => log_sum_exp(context, call, &dims, out),
    }
}

fn total(
    context: &mut Context,
    call: &Call,
    dims: &[usize],
    out: Shape,
    count: usize,
) -> Result<Produced> {
    let x = call.inputs[0];
    let is_mean = call.info.code == op::MEAN;
    if !matches!(x.dtype(), DType::F32 | DType::F64) {
        if is_mean {
            return Err(call.error(format!("takes a floating input, got {:?}", x.dtype())));
        }
        return Ok(Produced::constant(context.backend.sum(x, dims, None, &out)?));
    }
    let shape = x.shape().clone();
    let kept = reduced(shape.dims(), dims, true);
    let divisor = (is_mean && count != 1).then_some(count);
    let sums = context.backend.sum(x, dims, divisor, &out)?;
    Ok(Produced::one(call, sums, move |context, mut gradients| {
        let backend = &context.backend;
        let mut gradient = backend.reshaped(&gradients.only()?, &kept)?;
        if let Some(count) = divisor {
            gradient = backend.map(Function::Scale(1.0 / count as f64), &gradient)?;
        }
        Ok(smallvec![Some(gradient.broadcast_as(shape)?)])
    }))
}

fn arg(context: &mut Context, call: &Call, dims: &[usize], out: Shape) -> Result<Produced> {
    let backend = &*context.backend;
    let rows = Rows::of(backend, call.inputs[0], dims)?;
    let largest = call.info.code == op::ARGMAX;
    Ok(Produced::constant(backend.first_extreme(&rows.value, rows.length, largest, &out)?))
}

fn extreme(context: &mut Context, call: &Call, dims: &[usize], out: Shape) -> Result<Produced> {
    let x = call.inputs[0];
    let backend = &*context.backend;
    let rows = Rows::of(backend, x, dims)?;
    let largest = call.info.code == op::MAX;
    let places = backend.first_extreme(&rows.value, rows.length, largest, &out)?;
    let result = backend.pick(&rows.value, rows.length, &places)?;
    if !matches!(x.dtype(), DType::F32 | DType::F64) {
        return Ok(Produced::constant(result));
    }
    Ok(Produced::one(call, result, move |context, mut gradients| {
        let backend = &*context.backend;
        let gradient = backend.contiguous(&gradients.only()?)?;
        let full = backend.spread(&gradient, rows.length, rows.count(), &places)?;
        Ok(smallvec![Some(rows.restore(backend, &full)?)])
    }))
}

fn variance(
    context: &mut Context,
    call: &Call,
    dims: &[usize],
    out: Shape,
    count: usize,
) -> Result<Produced> {
    call.real([0])?;
    let correction = call.ints[1];
    let divisor = count as f64 - correction as f64;
    if correction < 0 || divisor <= 0.0 {
        return Err(
            call.error(format!("a correction of {correction} does not fit {count} elements"))
        );
    }
    let backend = &*context.backend;
    let rows = Rows::of(backend, call.inputs[0], dims)?;
    let (mean, variance) = backend.variance(&rows.value, rows.length, divisor)?;
    Ok(Produced::one(call, variance.reshape(out)?, move |context, mut gradients| {
        let backend = &*context.backend;
        let gradient = backend.contiguous(&gradients.only()?)?;
        let full =
            backend.variance_gradient(&rows.value, rows.length, divisor, &mean, &gradient)?;
        Ok(smallvec![Some(rows.restore(backend, &full)?)])
    }))
}

fn log_sum_exp(context: &mut Context, call: &Call, dims: &[usize], out: Shape) -> Result<Produced> {
    call.real([0])?;
    let backend = &*context.backend;
    let rows = Rows::of(backend, call.inputs[0], dims)?;
    let result = backend.log_sum_exp(&rows.value, rows.length, &out)?;
    let saved = result.clone();
    Ok(Produced::one(call, result, move |context, mut gradients| {
        let backend = &*context.backend;
        let gradient = backend.contiguous(&gradients.only()?)?;
        let full = backend.log_sum_exp_gradient(&rows.value, rows.length, &saved, &gradient)?;
        Ok(smallvec![Some(rows.restore(backend, &full)?)])
    }))
}

fn norm(context: &mut Context, call: &Call) -> Result<Produced> {
    let x = context.backend.contiguous(call.inputs[0])?;
    let norm = context.backend.norm(&x)?;
    let saved = norm.clone();
    Ok(Produced::one(call, norm, move |context, mut gradients| {
        let gradient = context.backend.contiguous(&gradients.only()?)?;
        Ok(smallvec![Some(context.backend.norm_gradient(&x, &saved, &gradient)?)])
    }))
}
