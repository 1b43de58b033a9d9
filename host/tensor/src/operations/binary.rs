//! Functions of two tensors with broadcasting: arithmetic, comparison, choice.

use candle_core::{DType, Shape};
use fluxbay_plugin::abi::operation::op;
use smallvec::{SmallVec, smallvec};

use super::saved::Saved;
use super::{Call, Produced};
use crate::backend::{Function, Pair};
use crate::context::Context;
use crate::error::Result;
use crate::value::Value;

/// The shape that both broadcast to.
pub(super) fn broadcast_shape(
    call: &Call,
    a: &[usize],
    b: &[usize],
) -> Result<SmallVec<[usize; 6]>> {
    let rank = a.len().max(b.len());
    let size =
        |dims: &[usize], at: usize| (at + dims.len()).checked_sub(rank).map_or(1, |at| dims[at]);
    (0..rank)
        .map(|at| match (size(a, at), size(b, at)) {
            (a, b) if a == b => Ok(a),
            (1, b) => Ok(b),
            (a, 1) => Ok(a),
            _ => Err(call.error(format!("shapes {a:?} and {b:?} do not broadcast"))),
        })
        .collect()
}

/// The one element type of all inputs named.
fn one_dtype(call: &Call, inputs: &[usize]) -> Result<DType> {
    let dtype = call.inputs[inputs[0]].dtype();
    match inputs.iter().all(|&index| call.inputs[index].dtype() == dtype) {
        true => Ok(dtype),
        false => Err(call.error(format!("inputs have different element types: {}", call.dtypes()))),
    }
}

pub(super) fn arithmetic(context: &mut Context, call: &Call) -> Result<Produced> {
    call.expect(2..=2, 0..=0, 0..=0)?;
    let dtype = one_dtype(call, &[0, 1])?;
    let (a, b) = (call.inputs[0], call.inputs[1]);
    let shape = Shape::from(&broadcast_shape(call, a.dims(), b.dims())?[..]);
    let pair = match call.info.code {
        op::ADD => Pair::Add,
        op::SUB => Pair::Sub,
        op::MUL => Pair::Mul,
        op::DIV => Pair::Div,
        op::MINIMUM => Pair::Minimum,
        op::MAXIMUM => Pair::Maximum,
        _ => Pair::Pow,
    };
    context.admit(dtype, shape.dims())?;
    let out = context.backend.zip(pair, a, b, &shape)?;
    if !matches!(dtype, DType::F32 | DType::F64) {
        return Ok(Produced::constant(out));
    }
    // Sums need no elements, and products only those of the other side.
    let wants = |input: usize| call.wants[input];
    let (of_a, of_b) = match pair {
        Pair::Add | Pair::Sub => (false, false),
        Pair::Mul => (wants(1), wants(0)),
        Pair::Div => (wants(1), true),
        _ => (true, true),
    };
    let (a, b) = (
        Saved::if_needed(context, a, of_a && call.records())?,
        Saved::if_needed(context, b, of_b && call.records())?,
    );
    Ok(Produced::one(call, out, move |context, mut gradients| {
        let gradient = gradients.only()?;
        let (a, b) = (a.value(context)?, b.value(context)?);
        let backend = &context.backend;
        let times = |other: &Value| backend.zip(Pair::Mul, &gradient, other, &shape);
        // The gradient times a derivative that is computed from both inputs.
        let through = |slope: Pair| times(&backend.zip(slope, &a, &b, &shape)?);
        let mut results = smallvec![None, None];
        if gradients.wants(0) {
            let full = match pair {
                Pair::Mul => times(&b)?,
                Pair::Div => backend.zip(Pair::Div, &gradient, &b, &shape)?,
                Pair::Minimum => through(Pair::IsNotBelow)?,
                Pair::Maximum => through(Pair::IsNotAbove)?,
                Pair::Pow => through(Pair::PowBaseSlope)?,
                _ => gradient.clone(),
            };
            results[0] = Some(backend.sum_to_shape(full, a.shape())?);
        }
        if gradients.wants(1) {
            let full = match pair {
                Pair::Sub => backend.map(Function::Neg, &backend.contiguous(&gradient)?)?,
                Pair::Mul => times(&a)?,
                Pair::Div => through(Pair::DivSlope)?,
                Pair::Minimum => through(Pair::IsBelow)?,
                Pair::Maximum => through(Pair::IsAbove)?,
                Pair::Pow => through(Pair::PowExponentSlope)?,
                _ => gradient.clone(),
            };
            results[1] = Some(backend.sum_to_shape(full, b.shape())?);
        }
        Ok(results)
    }))
}

pub(super) fn comparison(context: &mut Context, call: &Call) -> Result<Produced> {
    call.expect(2..=2, 0..=0, 0..=0)?;
    one_dtype(call, &[0, 1])?;
    let (a, b) = (call.inputs[0], call.inputs[1]);
    let shape = Shape::from(&broadcast_shape(call, a.dims(), b.dims())?[..]);
    let pair = match call.info.code {
        op::EQ => Pair::Eq,
        op::NE => Pair::Ne,
        op::LT => Pair::Lt,
        op::LE => Pair::Le,
        op::GT => Pair::Gt,
        _ => Pair::Ge,
    };
    context.admit(DType::U8, shape.dims())?;
    Ok(Produced::constant(context.backend.zip(pair, a, b, &shape)?))
}

pub(super) fn where_cond(context: &mut Context, call: &Call) -> Result<Produced> {
    call.expect(3..=3, 0..=0, 0..=0)?;
    let dtype = one_dtype(call, &[1, 2])?;
    let backend = &context.backend;
    let condition = match call.inputs[0].dtype() {
        DType::U8 => call.inputs[0].clone(),
        dtype @ (DType::U32 | DType::I64) => {
            let zero = backend.fill(dtype, &Shape::from(()), 0.0)?;
            backend.zip(Pair::Ne, call.inputs[0], &zero, call.inputs[0].shape())?
        }
        other => {
            return Err(
                call.error(format!("the condition must be u8, u32 or i64, it is {other:?}"))
            );
        }
    };
    let shape = broadcast_shape(call, call.shape(1), call.shape(2))?;
    let shape = Shape::from(&broadcast_shape(call, &shape, call.shape(0))?[..]);
    context.admit(dtype, shape.dims())?;
    let out = backend.select(&condition, call.inputs[1], call.inputs[2], &shape)?;
    if !matches!(dtype, DType::F32 | DType::F64) {
        return Ok(Produced::constant(out));
    }
    let (first, second) = (call.inputs[1].shape().clone(), call.inputs[2].shape().clone());
    Ok(Produced::one(call, out, move |context, mut gradients| {
        let gradient = gradients.only()?;
        let backend = &context.backend;
        let zero = backend.fill(dtype, &Shape::from(()), 0.0)?;
        let to_first = || {
            let part = backend.select(&condition, &gradient, &zero, &shape)?;
            backend.sum_to_shape(part, &first)
        };
        let to_second = || {
            let part = backend.select(&condition, &zero, &gradient, &shape)?;
            backend.sum_to_shape(part, &second)
        };
        let to_first = gradients.wants(1).then(to_first).transpose()?;
        let to_second = gradients.wants(2).then(to_second).transpose()?;
        Ok(smallvec![None, to_first, to_second])
    }))
}
