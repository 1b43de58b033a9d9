//! Conversion, constants and random tensors.

use candle_core::{DType, Shape};
use fluxbay_plugin::abi::operation::op;
use smallvec::smallvec;

use super::{Call, Produced};
use crate::backend::Distribution;
use crate::context::Context;
use crate::dtype::{dtype_of, is_floating};
use crate::error::Result;
use crate::random::Words;
use crate::value::host_tensor;

pub(super) fn apply(context: &mut Context, call: &Call) -> Result<Produced> {
    match call.info.code {
        op::TO_DTYPE => convert(context, call),
        op::DETACH => {
            call.expect(1..=1, 0..=0, 0..=0)?;
            Ok(Produced::constant(call.inputs[0].clone()))
        }
        op::UNIFORM | op::NORMAL | op::BERNOULLI => random(context, call),
        op::PERMUTATION => permutation(context, call),
        op::ARANGE => arange(context, call),
        _ => filled(context, call),
    }
}

fn dtype(call: &Call, index: usize) -> Result<DType> {
    let code = call.ints.get(index).copied().unwrap_or(-1);
    u32::try_from(code)
        .ok()
        .and_then(dtype_of)
        .ok_or_else(|| call.error(format!("there is no element type with code {code}")))
}

fn shape(call: &Call, from: usize) -> Result<Shape> {
    let shape = (from..call.ints.len())
        .map(|at| call.size(at, "a dimension", 0))
        .collect::<Result<Vec<_>>>()?;
    Ok(Shape::from(shape))
}

fn convert(context: &Context, call: &Call) -> Result<Produced> {
    call.expect(1..=1, 1..=1, 0..=0)?;
    let to = dtype(call, 0)?;
    let x = call.inputs[0];
    let from = x.dtype();
    if from == to {
        return Ok(Produced::one(call, x.clone(), |_, mut gradients| {
            Ok(smallvec![Some(gradients.only()?)])
        }));
    }
    context.admit(to, x.dims())?;
    let out = context.backend.convert(x, to)?;
    if !is_floating(from) || !is_floating(to) {
        return Ok(Produced::constant(out));
    }
    Ok(Produced::one(call, out, move |context, mut gradients| {
        Ok(smallvec![Some(context.backend.convert(&gradients.only()?, from)?)])
    }))
}

fn filled(context: &Context, call: &Call) -> Result<Produced> {
    let floats = usize::from(call.info.code == op::FULL);
    call.expect(0..=0, 1..=usize::MAX, floats..=floats)?;
    let (dtype, shape) = (dtype(call, 0)?, shape(call, 1)?);
    let number = match call.info.code {
        op::ZEROS => 0.0,
        op::ONES => 1.0,
        _ => call.floats[0],
    };
    context.admit(dtype, shape.dims())?;
    Ok(Produced::constant(context.backend.fill(dtype, &shape, number)?))
}

fn arange(context: &Context, call: &Call) -> Result<Produced> {
    call.expect(0..=0, 1..=1, 2..=3)?;
    let (dtype, start, end, step) =
        (dtype(call, 0)?, call.floats[0], call.floats[1], call.float(2, 1.0));
    let count = ((end - start) / step).ceil();
    if step == 0.0 || !count.is_finite() || count > 1e12 {
        return Err(call
            .error(format!("there are no finitely many numbers from {start} to {end} by {step}")));
    }
    let count = count.max(0.0) as usize;
    context.admit(DType::F64, &[count])?;
    let numbers: Vec<f64> = (0..count).map(|at| start + step * at as f64).collect();
    let tensor = host_tensor(numbers, count)?.to_dtype(dtype)?;
    Ok(Produced::constant(context.backend.upload(tensor)?))
}

/// Reserves words of the stream that an attribute names (-1: the current one).
pub(super) fn take(context: &mut Context, call: &Call, stream: i64, count: usize) -> Result<Words> {
    let number = match stream {
        -1 => None,
        other => Some(usize::try_from(other).unwrap_or(usize::MAX)),
    };
    context
        .random
        .take(number, count)
        .ok_or_else(|| call.error(format!("there is no random stream number {stream}")))
}

fn random(context: &mut Context, call: &Call) -> Result<Produced> {
    let floats = if call.info.code == op::BERNOULLI { 1..=1 } else { 0..=2 };
    call.expect(0..=0, 2..=usize::MAX, floats)?;
    let (dtype, shape) = (dtype(call, 1)?, shape(call, 2)?);
    let (a, b) = (call.float(0, 0.0), call.float(1, 1.0));
    let distribution = match call.info.code {
        op::UNIFORM if b.is_nan() || a.is_nan() || a > b => {
            return Err(call.error(format!("low {a} is above high {b}")));
        }
        op::NORMAL if b.is_nan() || b < 0.0 => {
            return Err(call.error(format!("the standard deviation is {b}")));
        }
        op::BERNOULLI if !(0.0..=1.0).contains(&a) => {
            return Err(call.error(format!("the probability is {a}")));
        }
        op::UNIFORM => Distribution::Uniform(a, b),
        op::NORMAL => Distribution::Normal(a, b),
        _ => Distribution::Bernoulli(a),
    };
    context.admit(dtype, shape.dims())?;
    let blocks = shape.elem_count().div_ceil(distribution.per_block(dtype));
    let words = take(context, call, call.ints[0], blocks * 4)?;
    Ok(Produced::constant(context.backend.random(distribution, words, dtype, &shape)?))
}

fn permutation(context: &mut Context, call: &Call) -> Result<Produced> {
    call.expect(0..=0, 2..=2, 0..=0)?;
    let count = call.size(1, "n", 0)?;
    if u32::try_from(count).is_err() {
        return Err(call.error(format!("{count} indices do not fit u32")));
    }
    context.admit(DType::U32, &[count])?;
    let words = take(context, call, call.ints[0], count)?;
    let mut order: Vec<u32> = (0..count as u32).collect();
    // Fisher and Yates, each place with its own word.
    for last in (1..count).rev() {
        let pick = (u64::from(words.word(last)) * (last as u64 + 1)) >> 32;
        order.swap(last, pick as usize);
    }
    let order = host_tensor(order, count)?;
    Ok(Produced::constant(context.backend.upload(order)?))
}
