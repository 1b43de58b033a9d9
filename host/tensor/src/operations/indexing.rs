//! Picking and adding by index. Every index is checked before an element is read or written.

use candle_core::{DType, Shape};
use fluxbay_plugin::abi::operation::op;
use smallvec::smallvec;

use super::{Call, Produced};
use crate::backend::{Function, Pair};
use crate::context::Context;
use crate::dtype::dtype_of;
use crate::error::Result;
use crate::value::Value;

pub(super) fn apply(context: &mut Context, call: &Call) -> Result<Produced> {
    match call.info.code {
        op::INDEX_SELECT => {
            call.expect(2..=2, 1..=1, 0..=0)?;
            let dim = call.dim(call.ints[0], call.shape(0).len())?;
            if call.shape(1).len() != 1 {
                return Err(
                    call.error(format!("indices must have one dimension, got {:?}", call.shape(1)))
                );
            }
            let mut out = call.shape(0).to_vec();
            out[dim] = call.shape(1)[0];
            select(context, call, dim, out)
        }
        op::EMBEDDING => {
            call.expect(2..=2, 0..=0, 0..=0)?;
            let &[_, width] = call.shape(0) else {
                return Err(
                    call.error(format!("weights must be [ids, width], got {:?}", call.shape(0)))
                );
            };
            let out = call.shape(1).iter().copied().chain([width]).collect();
            select(context, call, 0, out)
        }
        op::ONE_HOT => one_hot(context, call),
        op::GATHER => gather(context, call),
        op::SEGMENT_REDUCE => segment_reduce(context, call),
        _ => scatter_add(context, call),
    }
}

/// Slices of dimension `dim` at the indices of input 1.
fn select(context: &mut Context, call: &Call, dim: usize, out: Vec<usize>) -> Result<Produced> {
    let backend = &context.backend;
    let x = backend.contiguous(call.inputs[0])?;
    let index = backend.indices(call.inputs[1], 1, x.dims()[dim])?;
    context.admit(x.dtype(), &out)?;
    let result = backend.index_select(&x, dim, &index, &Shape::from(out))?;
    if !matches!(x.dtype(), DType::F32 | DType::F64) {
        return Ok(Produced::constant(result));
    }
    let shape = x.shape().clone();
    Ok(Produced::one(call, result, move |context, mut gradients| {
        let gradient = context.backend.contiguous(&gradients.only()?)?;
        let full = context.backend.index_select_gradient(&gradient, dim, &index, &shape)?;
        Ok(smallvec![Some(full)])
    }))
}

fn one_hot(context: &mut Context, call: &Call) -> Result<Produced> {
    call.expect(1..=1, 1..=2, 0..=0)?;
    let classes = call.size(0, "classes", 0)?;
    let code = call.int(1, i64::from(fluxbay_plugin::abi::handle::dtype::F32));
    let dtype = u32::try_from(code)
        .ok()
        .and_then(dtype_of)
        .ok_or_else(|| call.error(format!("there is no element type with code {code}")))?;
    context.admit(dtype, &[call.shape(0), &[classes]].concat())?;
    let index = context.backend.indices(call.inputs[0], 0, classes)?;
    Ok(Produced::constant(context.backend.one_hot(&index, classes, dtype)?))
}

/// The dimension and the checked indices of a gather or scatter.
fn checked_indices(context: &Context, call: &Call) -> Result<(usize, Value)> {
    let (dims, index_dims) = (call.shape(0), call.shape(1));
    let dim = call.dim(call.ints[0], dims.len())?;
    let fits = dims.len() == index_dims.len()
        && dims.iter().zip(index_dims).enumerate().all(|(d, (x, i))| d == dim || i <= x);
    if !fits {
        return Err(call.error(format!(
            "indices of shape {index_dims:?} do not fit {dims:?} along dimension {dim}"
        )));
    }
    Ok((dim, context.backend.indices(call.inputs[1], 1, dims[dim])?))
}

fn gather(context: &mut Context, call: &Call) -> Result<Produced> {
    call.expect(2..=2, 1..=1, 0..=0)?;
    let x = context.backend.contiguous(call.inputs[0])?;
    let (dim, index) = checked_indices(context, call)?;
    context.admit(x.dtype(), index.dims())?;
    let result = context.backend.gather(&x, dim, &index)?;
    if !matches!(x.dtype(), DType::F32 | DType::F64) {
        return Ok(Produced::constant(result));
    }
    let (dtype, shape) = (x.dtype(), x.shape().clone());
    Ok(Produced::one(call, result, move |context, mut gradients| {
        let zeros = context.backend.fill(dtype, &shape, 0.0)?;
        let full = context.backend.scatter_add(&zeros, dim, &index, &gradients.only()?)?;
        Ok(smallvec![Some(full)])
    }))
}

fn scatter_add(context: &mut Context, call: &Call) -> Result<Produced> {
    call.expect(3..=3, 1..=1, 0..=0)?;
    call.real([0, 2])?;
    if call.shape(1) != call.shape(2) {
        return Err(call.error(format!(
            "indices of shape {:?} and source of shape {:?} differ",
            call.shape(1),
            call.shape(2)
        )));
    }
    let (dim, index) = checked_indices(context, call)?;
    let x = context.backend.contiguous(call.inputs[0])?;
    let out = context.backend.scatter_add(&x, dim, &index, call.inputs[2])?;
    Ok(Produced::one(call, out, move |context, mut gradients| {
        let gradient = context.backend.contiguous(&gradients.only()?)?;
        let to_source = || context.backend.gather(&gradient, dim, &index);
        let source = gradients.wants(2).then(to_source).transpose()?;
        Ok(smallvec![Some(gradient), None, source])
    }))
}

fn segment_reduce(context: &mut Context, call: &Call) -> Result<Produced> {
    call.expect(2..=2, 1..=2, 0..=0)?;
    let dtype = call.real([0])?;
    let (count, mode) = (call.size(0, "count", 0)?, call.int(1, 0));
    if !(0..=1).contains(&mode) {
        return Err(call.error(format!("mode {mode} is neither 0 (sum) nor 1 (mean)")));
    }
    let (&[rows, ref rest @ ..], &[given]) = (call.shape(0), call.shape(1)) else {
        return Err(call
            .error(format!("takes rows [n, ..] and segments [n], got shapes {}", call.shapes())));
    };
    if rows != given {
        return Err(call.error(format!("{given} segments do not fit {rows} rows")));
    }
    let out = Shape::from([&[count], rest].concat());
    context.admit(dtype, out.dims())?;
    let backend = &context.backend;
    let x = backend.contiguous(call.inputs[0])?;
    let index = backend.indices(call.inputs[1], 1, count)?;
    let sum = backend.index_select_gradient(&x, 0, &index, &out)?;
    // One divided by the number of rows of each segment.
    let shares = if mode == 1 {
        let ones = backend.fill(dtype, &Shape::from(rows), 1.0)?;
        let sizes = backend.index_select_gradient(&ones, 0, &index, &Shape::from(count))?;
        let shares =
            backend.map(Function::Recip, &backend.map(Function::Clamp(1.0, f64::MAX), &sizes)?)?;
        Some(shares.reshape([&[count][..], &vec![1; rest.len()]].concat())?)
    } else {
        None
    };
    let result = match &shares {
        Some(shares) => backend.zip(Pair::Mul, &sum, shares, &out)?,
        None => sum,
    };
    let shape = x.shape().clone();
    Ok(Produced::one(call, result, move |context, mut gradients| {
        let backend = &context.backend;
        let gradient = gradients.only()?;
        let gradient = match &shares {
            Some(shares) => backend.zip(Pair::Mul, &gradient, shares, &out)?,
            None => backend.contiguous(&gradient)?,
        };
        Ok(smallvec![Some(backend.index_select(&gradient, 0, &index, &shape)?)])
    }))
}
