//! Operations that move elements and compute nothing; most give views of the same elements.

use candle_core::{DType, Shape, Tensor};
use fluxbay_plugin::abi::operation::op;
use smallvec::{SmallVec, smallvec};

use super::{Call, Produced};
use crate::context::Context;
use crate::error::Result;
use crate::tape::{Gradients, InputGradients};
use crate::value::Value;

pub(super) fn apply(_: &mut Context, call: &Call) -> Result<Produced> {
    match call.info.code {
        op::CAT | op::STACK => return join(call),
        op::PAD => return pad(call),
        _ => {}
    }
    call.expect(1..=1, 0..=usize::MAX, 0..=0)?;
    match call.info.code {
        op::RESHAPE => reshape(call),
        op::TRANSPOSE => transpose(call),
        op::PERMUTE => permute(call),
        op::NARROW => narrow(call),
        op::SQUEEZE => squeeze(call),
        op::UNSQUEEZE => unsqueeze(call),
        op::BROADCAST_AS => broadcast_as(call),
        op::CONTIGUOUS => {
            call.expect(1..=1, 0..=0, 0..=0)?;
            // A copy of its own where it shares elements would change nothing that can be seen.
            Ok(Produced::one(call, call.inputs[0].contiguous()?, |_, mut gradients| {
                Ok(smallvec![Some(gradients.only()?)])
            }))
        }
        _ => flip(call),
    }
}

/// A view, whose gradient is another view of the gradient.
fn view(
    call: &Call,
    tensor: Tensor,
    back: impl FnOnce(&Tensor) -> candle_core::Result<Tensor> + 'static,
) -> Result<Produced> {
    let out = call.inputs[0].view(tensor);
    Ok(Produced::one(call, out, move |_, mut gradients| {
        let gradient = gradients.only()?;
        let tensor = back(&gradient.tensor)?;
        Ok(smallvec![Some(gradient.view(tensor))])
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

fn reshape(call: &Call) -> Result<Produced> {
    let x = call.inputs[0];
    let shape = wanted_shape(call, x.count())?;
    let out = x.reshaped(&shape[..])?;
    if !call.records() {
        return Ok(Produced::constant(out));
    }
    let before = x.tensor.shape().clone();
    Ok(Produced::one(call, out, move |_, mut gradients| {
        Ok(smallvec![Some(gradients.only()?.reshaped(before)?)])
    }))
}

fn transpose(call: &Call) -> Result<Produced> {
    call.expect(1..=1, 2..=2, 0..=0)?;
    let rank = call.shape(0).len();
    let (a, b) = (call.dim(call.ints[0], rank)?, call.dim(call.ints[1], rank)?);
    view(call, call.inputs[0].tensor.transpose(a, b)?, move |gradient| gradient.transpose(a, b))
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
    view(call, call.inputs[0].tensor.permute(order)?, move |gradient| gradient.permute(inverse))
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
    let out = call.inputs[0].view(call.inputs[0].tensor.narrow(dim, start, length)?);
    Ok(Produced::one(call, out, move |_, mut gradients| {
        Ok(smallvec![Some(Value::new(bordered(
            &gradients.only()?.tensor,
            dim,
            start,
            after,
            0.0
        )?))])
    }))
}

/// A border of one value before and after, along a dimension.
fn bordered(x: &Tensor, dim: usize, before: usize, after: usize, fill: f64) -> Result<Tensor> {
    let border = |size: usize| -> Result<Tensor> {
        let mut shape = x.dims().to_vec();
        shape[dim] = size;
        Ok(Tensor::full(fill, shape, x.device())?.to_dtype(x.dtype())?)
    };
    let mut parts: SmallVec<[Tensor; 3]> = SmallVec::new();
    if before > 0 {
        parts.push(border(before)?);
    }
    parts.push(x.clone());
    if after > 0 {
        parts.push(border(after)?);
    }
    Ok(Tensor::cat(&parts, dim)?)
}

fn squeeze(call: &Call) -> Result<Produced> {
    call.expect(1..=1, 1..=1, 0..=0)?;
    let shape = call.shape(0);
    let dim = call.dim(call.ints[0], shape.len())?;
    if shape[dim] != 1 {
        return Err(call.error(format!("dimension {dim} of {shape:?} is not 1")));
    }
    view(call, call.inputs[0].tensor.squeeze(dim)?, move |gradient| gradient.unsqueeze(dim))
}

fn unsqueeze(call: &Call) -> Result<Produced> {
    call.expect(1..=1, 1..=1, 0..=0)?;
    let dim = call.dim(call.ints[0], call.shape(0).len() + 1)?;
    view(call, call.inputs[0].tensor.unsqueeze(dim)?, move |gradient| gradient.squeeze(dim))
}

fn broadcast_as(call: &Call) -> Result<Produced> {
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
    let before = x.tensor.shape().clone();
    let dtype = x.dtype();
    let out = x.view(x.tensor.broadcast_as(shape)?);
    Ok(Produced::one(call, out, move |context, mut gradients| {
        let gradient = gradients.only()?;
        let sum = match dtype {
            DType::F32 if gradient.tensor.device().is_cpu() => {
                super::reduction::sum_to_shape::<f32>(context, gradient, before.dims())?
            }
            DType::F64 if gradient.tensor.device().is_cpu() => {
                super::reduction::sum_to_shape::<f64>(context, gradient, before.dims())?
            }
            _ => Value::new(sum_to(&gradient.tensor, &before)?),
        };
        Ok(smallvec![Some(sum)])
    }))
}

/// Sums a stretched gradient with candle's operations: for half precision and other devices. Half
/// precision is added as f32.
fn sum_to(gradient: &Tensor, shape: &Shape) -> Result<Tensor> {
    let lead = gradient.rank() - shape.rank();
    let dims: Vec<usize> = (0..gradient.rank())
        .filter(|&dim| dim < lead || shape.dims()[dim - lead] != gradient.dims()[dim])
        .collect();
    Ok(gradient
        .to_dtype(DType::F32)?
        .sum_keepdim(dims)?
        .reshape(shape)?
        .to_dtype(gradient.dtype())?)
}

fn flip(call: &Call) -> Result<Produced> {
    let x = call.inputs[0];
    let dims = call.dim_list(call.ints, x.dims().len())?;
    let reversed = move |x: &Tensor| -> candle_core::Result<Tensor> {
        dims.iter().try_fold(x.clone(), |x, &dim| {
            let size = x.dims()[dim] as u32;
            x.contiguous()?.index_select(&Tensor::from_iter((0..size).rev(), x.device())?, dim)
        })
    };
    let out = Value::new(reversed(&x.tensor)?.force_contiguous()?);
    Ok(Produced::one(call, out, move |_, mut gradients| {
        Ok(smallvec![Some(Value::new(reversed(&gradients.only()?.tensor)?.force_contiguous()?))])
    }))
}

fn join(call: &Call) -> Result<Produced> {
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
    let tensors: Vec<&Tensor> = call.inputs.iter().map(|value| &value.tensor).collect();
    let out = if stack { Tensor::stack(&tensors, dim)? } else { Tensor::cat(&tensors, dim)? };
    // A single tensor is not copied by candle.
    let out =
        Value::new(if tensors.len() == 1 { out.force_contiguous()? } else { out.contiguous()? });
    let sizes: Vec<usize> =
        call.inputs.iter().map(|value| if stack { 1 } else { value.dims()[dim] }).collect();
    Ok(Produced::one(call, out, move |_, mut gradients: Gradients| {
        let gradient = gradients.only()?;
        let mut start = 0;
        let mut results = InputGradients::new();
        for (index, &size) in sizes.iter().enumerate() {
            let part = gradient.tensor.narrow(dim, start, size)?;
            let part = if stack { part.squeeze(dim)? } else { part };
            results.push(gradients.wants(index).then(|| gradient.view(part)));
            start += size;
        }
        Ok(results)
    }))
}

fn pad(call: &Call) -> Result<Produced> {
    call.expect(1..=1, 3..=usize::MAX, 0..=1)?;
    let x = call.inputs[0];
    if !call.ints.len().is_multiple_of(3) {
        return Err(call.error(format!("takes triples (dim, before, after), got {:?}", call.ints)));
    }
    let mut borders = Vec::new();
    let mut out = x.tensor.clone();
    for at in (0..call.ints.len()).step_by(3) {
        let dim = call.dim(call.ints[at], x.dims().len())?;
        let (before, after) = (call.size(at + 1, "before", 0)?, call.size(at + 2, "after", 0)?);
        out = bordered(&out, dim, before, after, call.float(0, 0.0))?;
        borders.push((dim, before, out.dims()[dim] - before - after));
    }
    let out = Value::new(out.force_contiguous()?);
    Ok(Produced::one(call, out, move |_, mut gradients| {
        let gradient = gradients.only()?;
        let inner = borders
            .iter()
            .rev()
            .try_fold(gradient.tensor.clone(), |inner, &(dim, before, size)| {
                inner.narrow(dim, before, size)
            })?;
        Ok(smallvec![Some(gradient.view(inner))])
    }))
}
