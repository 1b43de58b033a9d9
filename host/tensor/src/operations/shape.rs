//! Operations that move elements and compute nothing; most give views of the same elements.

use candle_core::{DType, Shape};
use fluxbay_plugin::abi::operation::op;
use smallvec::{SmallVec, smallvec};

use super::{Call, Produced};
use crate::context::Context;
use crate::error::Result;
use crate::tape::{Gradients, InputGradients};
use crate::value::{Value, host_tensor};

pub(super) fn apply(context: &mut Context, call: &Call) -> Result<Produced> {
    match call.info.code {
        op::CAT | op::STACK => return join(context, call),
        op::PAD => return pad(context, call),
        _ => {}
    }
    call.expect(1..=1, 0..=usize::MAX, 0..=0)?;
    match call.info.code {
        op::RESHAPE => reshape(context, call),
        op::TRANSPOSE => transpose(call),
        op::PERMUTE => permute(call),
        op::NARROW => narrow(call),
        op::SQUEEZE => squeeze(call),
        op::UNSQUEEZE => unsqueeze(call),
        op::BROADCAST_AS => broadcast_as(context, call),
        op::CONTIGUOUS => {
            call.expect(1..=1, 0..=0, 0..=0)?;
            // Contiguous elements are shared: a copy would not be noticed.
            let out = context.backend.contiguous(call.inputs[0])?;
            Ok(Produced::one(call, out, |_, mut gradients| Ok(smallvec![Some(gradients.only()?)])))
        }
        _ => flip(context, call),
    }
}

/// A view, whose gradient is another view of the gradient.
fn view(
    call: &Call,
    out: Value,
    back: impl FnOnce(&Value) -> Result<Value> + 'static,
) -> Result<Produced> {
    Ok(Produced::one(call, out, move |_, mut gradients| {
        Ok(smallvec![Some(back(&gradients.only()?)?)])
    }))
}

/// The shape wanted, with at most one -1 filled in.
fn wanted_shape(call: &Call, count: usize) -> Result<SmallVec<[usize; 6]>> {
    let refuse = || {
        call.error(format!(
            "shape {:?} of {count} elements cannot become {:?}",
            call.shape(0),
            call.ints
        ))
    };
    let (mut shape, mut known, mut hole) = (SmallVec::new(), 1_usize, None);
    for (place, &size) in call.ints.iter().enumerate() {
        let size = match size {
            -1 if hole.is_none() => {
                hole = Some(place);
                1
            }
            size => usize::try_from(size).map_err(|_| refuse())?,
        };
        known = known.checked_mul(size).ok_or_else(refuse)?;
        shape.push(size);
    }
    match hole {
        None if known == count => {}
        Some(place) if known > 0 && count.is_multiple_of(known) => shape[place] = count / known,
        _ => return Err(refuse()),
    }
    Ok(shape)
}

fn reshape(context: &Context, call: &Call) -> Result<Produced> {
    let x = call.inputs[0];
    let shape = wanted_shape(call, x.count())?;
    let out = context.backend.reshaped(x, &Shape::from(&shape[..]))?;
    if !call.records() {
        return Ok(Produced::constant(out));
    }
    let before = x.shape().clone();
    Ok(Produced::one(call, out, move |context, mut gradients| {
        Ok(smallvec![Some(context.backend.reshaped(&gradients.only()?, &before)?)])
    }))
}

fn transpose(call: &Call) -> Result<Produced> {
    call.expect(1..=1, 2..=2, 0..=0)?;
    let rank = call.shape(0).len();
    let (a, b) = (call.dim(call.ints[0], rank)?, call.dim(call.ints[1], rank)?);
    view(call, call.inputs[0].transpose(a, b)?, move |gradient| gradient.transpose(a, b))
}

fn permute(call: &Call) -> Result<Produced> {
    let rank = call.shape(0).len();
    let order = call.ints.iter().map(|&dim| call.dim(dim, rank)).collect::<Result<Vec<_>>>()?;
    let mut inverse = vec![usize::MAX; rank];
    for (place, &dim) in order.iter().enumerate() {
        inverse[dim] = place;
    }
    if order.len() != rank || inverse.contains(&usize::MAX) {
        return Err(call.error(format!(
            "{:?} is not an order of the dimensions of {:?}",
            call.ints,
            call.shape(0)
        )));
    }
    view(call, call.inputs[0].permute(&order)?, move |gradient| gradient.permute(&inverse))
}

fn narrow(call: &Call) -> Result<Produced> {
    call.expect(1..=1, 3..=3, 0..=0)?;
    let shape = call.shape(0);
    let dim = call.dim(call.ints[0], shape.len())?;
    let (start, length) = (call.size(1, "start", 0)?, call.size(2, "length", 0)?);
    if start + length > shape[dim] {
        return Err(call.error(format!(
            "{start}..{} is not within dimension {dim} of {shape:?}",
            start + length
        )));
    }
    let after = shape[dim] - start - length;
    let out = call.inputs[0].narrow(dim, start, length)?;
    Ok(Produced::one(call, out, move |context, mut gradients| {
        let full = bordered(context, &gradients.only()?, dim, start, after, 0.0)?;
        Ok(smallvec![Some(full)])
    }))
}

/// A border of one number before and after, along a dimension.
fn bordered(
    context: &Context,
    x: &Value,
    dim: usize,
    before: usize,
    after: usize,
    number: f64,
) -> Result<Value> {
    let border = |size: usize| -> Result<Value> {
        let mut shape = x.dims().to_vec();
        shape[dim] = size;
        context.backend.fill(x.dtype(), &Shape::from(shape), number)
    };
    let borders =
        [before, after].map(|size| if size > 0 { border(size).map(Some) } else { Ok(None) });
    let [first, last] = borders;
    let (first, last) = (first?, last?);
    let parts: SmallVec<[&Value; 3]> = first.iter().chain([x]).chain(last.iter()).collect();
    context.backend.concatenate(&parts, dim)
}

fn squeeze(call: &Call) -> Result<Produced> {
    call.expect(1..=1, 1..=1, 0..=0)?;
    let shape = call.shape(0);
    let dim = call.dim(call.ints[0], shape.len())?;
    if shape[dim] != 1 {
        return Err(call.error(format!("dimension {dim} of {shape:?} is not 1")));
    }
    view(call, call.inputs[0].squeeze(dim)?, move |gradient| gradient.unsqueeze(dim))
}

fn unsqueeze(call: &Call) -> Result<Produced> {
    call.expect(1..=1, 1..=1, 0..=0)?;
    let dim = call.dim(call.ints[0], call.shape(0).len() + 1)?;
    view(call, call.inputs[0].unsqueeze(dim)?, move |gradient| gradient.squeeze(dim))
}

fn broadcast_as(context: &Context, call: &Call) -> Result<Produced> {
    let x = call.inputs[0];
    let shape = (0..call.ints.len())
        .map(|at| call.size(at, "a dimension", 0))
        .collect::<Result<Vec<_>>>()?;
    let lead = shape.len().checked_sub(x.dims().len());
    let fits = lead.is_some_and(|lead| {
        x.dims().iter().zip(&shape[lead..]).all(|(&from, &to)| from == to || from == 1)
    });
    if !fits {
        return Err(call.error(format!("shape {:?} does not stretch to {shape:?}", x.dims())));
    }
    // A view takes no memory, but its elements must be countable.
    context.addressable(x.dtype(), &shape)?;
    let before = x.shape().clone();
    let out = x.broadcast_as(shape)?;
    Ok(Produced::one(call, out, move |context, mut gradients| {
        let backend = &context.backend;
        let gradient = gradients.only()?;
        let dtype = gradient.dtype();
        // Half precision is added as f32.
        let sum = match dtype {
            DType::BF16 | DType::F16 => {
                let wide = backend.convert(&gradient, DType::F32)?;
                backend.convert(&backend.sum_to_shape(wide, &before)?, dtype)?
            }
            _ => backend.sum_to_shape(gradient, &before)?,
        };
        Ok(smallvec![Some(sum)])
    }))
}

fn flip(context: &mut Context, call: &Call) -> Result<Produced> {
    let x = call.inputs[0];
    let dims = call.dim_list(call.ints, x.dims().len())?;
    context.admit(x.dtype(), x.dims())?;
    let reversed = move |context: &Context, x: &Value| -> Result<Value> {
        let backend = &context.backend;
        let mut out = backend.contiguous(x)?;
        for &dim in &dims {
            let size = x.dims()[dim];
            let index: Vec<u32> = (0..size as u32).rev().collect();
            let index = backend.upload(host_tensor(index, size)?)?;
            out = backend.index_select(&out, dim, &index, x.shape())?;
        }
        if dims.is_empty() { backend.copy(&out) } else { Ok(out) }
    };
    let out = reversed(context, x)?;
    Ok(Produced::one(call, out, move |context, mut gradients| {
        Ok(smallvec![Some(reversed(context, &gradients.only()?)?)])
    }))
}

fn join(context: &Context, call: &Call) -> Result<Produced> {
    call.expect(1..=usize::MAX, 1..=1, 0..=0)?;
    let stack = call.info.code == op::STACK;
    let first = call.inputs[0];
    let dim = call.dim(call.ints[0], first.dims().len() + usize::from(stack))?;
    for other in call.inputs {
        let other_dims = other.dims();
        let same = other_dims.len() == first.dims().len()
            && (0..other_dims.len())
                .all(|at| other_dims[at] == first.dims()[at] || (!stack && at == dim));
        if !same || other.dtype() != first.dtype() {
            return Err(call.error(format!(
                "shapes {} of {} cannot be joined along dimension {dim}",
                call.shapes(),
                call.dtypes()
            )));
        }
    }
    let mut shape = first.dims().to_vec();
    match stack {
        true => shape.insert(dim, call.inputs.len()),
        false => shape[dim] = call.inputs.iter().map(|value| value.dims()[dim]).sum(),
    }
    context.admit(first.dtype(), &shape)?;
    let out = match stack {
        true => {
            let parts = call
                .inputs
                .iter()
                .map(|value| value.unsqueeze(dim))
                .collect::<Result<SmallVec<[Value; 6]>>>()?;
            context.backend.concatenate(&parts.iter().collect::<SmallVec<[&Value; 6]>>(), dim)?
        }
        false => context.backend.concatenate(call.inputs, dim)?,
    };
    let sizes: Vec<usize> =
        call.inputs.iter().map(|value| if stack { 1 } else { value.dims()[dim] }).collect();
    Ok(Produced::one(call, out, move |_, mut gradients: Gradients| {
        let gradient = gradients.only()?;
        let mut start = 0;
        let mut results = InputGradients::new();
        for (index, &size) in sizes.iter().enumerate() {
            let part = gradient.narrow(dim, start, size)?;
            let part = if stack { part.squeeze(dim)? } else { part };
            results.push(gradients.wants(index).then_some(part));
            start += size;
        }
        Ok(results)
    }))
}

fn pad(context: &Context, call: &Call) -> Result<Produced> {
    call.expect(1..=1, 3..=usize::MAX, 0..=1)?;
    let x = call.inputs[0];
    if !call.ints.len().is_multiple_of(3) {
        return Err(call.error(format!("takes triples (dim, before, after), got {:?}", call.ints)));
    }
    let mut borders = Vec::new();
    let mut out = x.clone();
    context.admit(x.dtype(), x.dims())?;
    for at in (0..call.ints.len()).step_by(3) {
        let dim = call.dim(call.ints[at], x.dims().len())?;
        let (before, after) = (call.size(at + 1, "before", 0)?, call.size(at + 2, "after", 0)?);
        let mut shape = out.dims().to_vec();
        shape[dim] += before + after;
        context.admit(x.dtype(), &shape)?;
        out = bordered(context, &out, dim, before, after, call.float(0, 0.0))?;
        borders.push((dim, before, out.dims()[dim] - before - after));
    }
    // With an empty list of borders nothing was copied.
    let out = if borders.is_empty() { context.backend.copy(&out)? } else { out };
    Ok(Produced::one(call, out, move |_, mut gradients| {
        let inner =
            borders.iter().rev().try_fold(gradients.only()?, |inner, &(dim, before, size)| {
                inner.narrow(dim, before, size)
            })?;
        Ok(smallvec![Some(inner)])
    }))
}
