//! Functions of two tensors with broadcasting: arithmetic, comparison, choice.

use candle_core::{DType, Shape};
use fluxbay_plugin::abi::operation::op;
use smallvec::{SmallVec, smallvec};

use super::reduction::sum_to_shape;
use super::{Call, Produced, for_real};
use crate::context::Context;
use crate::error::Result;
use crate::kernels::elementwise::{zip, zip_rows};
use crate::kernels::simd::Real;
use crate::value::{Element, Value, data, value};

/// The shape that both stretch to.
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

/// How two tensors lie to each other.
enum Fit {
    Same,
    /// One of the two is a single number.
    Number,
    /// The second is one row, repeated.
    Rows,
    Other,
}

fn fit(a: &Value, b: &Value, out: &[usize]) -> Fit {
    if a.dims() == out && b.dims() == out {
        Fit::Same
    } else if (b.count() == 1 && a.dims() == out) || (a.count() == 1 && b.dims() == out) {
        Fit::Number
    } else if a.dims() == out
        && out.iter().rev().zip(b.dims().iter().rev()).all(|(x, y)| x == y)
        && b.count() > 0
    {
        Fit::Rows
    } else {
        Fit::Other
    }
}

/// `f(a, b)` with broadcasting.
fn combine<T: Element + Sync + Send, R: Element + Send>(
    context: &Context,
    call: &Call,
    a: &Value,
    b: &Value,
    f: impl Fn(T, T) -> R + Copy + Sync,
) -> Result<Value> {
    let shape = broadcast_shape(call, a.dims(), b.dims())?;
    let fit = fit(a, b, &shape);
    let (a, b) = match fit {
        Fit::Other => (stretched(a, &shape)?, stretched(b, &shape)?),
        _ => (a.contiguous()?, b.contiguous()?),
    };
    let (x, y) = (data::<T>(&a.tensor)?, data::<T>(&b.tensor)?);
    let result = match fit {
        Fit::Rows => zip_rows(&context.pool, &x, &y, f),
        _ => zip(&context.pool, &x, &y, f),
    };
    Ok(value(result, Shape::from(&shape[..])))
}

fn stretched(x: &Value, shape: &[usize]) -> Result<Value> {
    if x.dims() == shape {
        x.contiguous()
    } else {
        Ok(Value::new(x.tensor.broadcast_as(shape)?.contiguous()?))
    }
}

/// One dtype for all of the inputs named.
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
    match dtype {
        DType::F32 | DType::F64 => for_real!(dtype, T => real::<T>(context, call)),
        _ => integers(context, call),
    }
}

fn real<T: Real>(context: &mut Context, call: &Call) -> Result<Produced> {
    let code = call.info.code;
    let (a, b) = (call.inputs[0], call.inputs[1]);
    let out = match code {
        op::ADD => combine(context, call, a, b, |x: T, y: T| x + y)?,
        op::SUB => combine(context, call, a, b, |x: T, y: T| x - y)?,
        op::MUL => combine(context, call, a, b, |x: T, y: T| x * y)?,
        op::DIV => combine(context, call, a, b, |x: T, y: T| x / y)?,
        op::MINIMUM => {
            combine(context, call, a, b, |x: T, y: T| if y < x || y.is_nan() { y } else { x })?
        }
        op::MAXIMUM => {
            combine(context, call, a, b, |x: T, y: T| if y > x || y.is_nan() { y } else { x })?
        }
        _ => combine(context, call, a, b, |x: T, y: T| x.powf(y))?,
    };
    let info = call.info;
    let (a, b) = (a.clone(), b.clone());
    Ok(Produced::one(call, out, move |context, mut gradients| {
        let gradient = gradients.only()?;
        let inner = [&gradient, &a, &b];
        let call = Call { info, inputs: &inner, wants: &[], ints: &[], floats: &[] };
        let [gradient, a, b] = inner;
        let zero = T::ZERO;
        let mut results = smallvec![None, None];
        if gradients.wants(0) {
            let full = match code {
                op::ADD | op::SUB => gradient.clone(),
                op::MUL => combine(context, &call, gradient, b, |g: T, y: T| g * y)?,
                op::DIV => combine(context, &call, gradient, b, |g: T, y: T| g / y)?,
                op::MINIMUM => {
                    chosen(
                        context,
                        &call,
                        gradient,
                        a,
                        b,
                        |x: T, y: T| if y < x { zero } else { T::ONE },
                    )?
                }
                op::MAXIMUM => {
                    chosen(
                        context,
                        &call,
                        gradient,
                        a,
                        b,
                        |x: T, y: T| if y > x { zero } else { T::ONE },
                    )?
                }
                _ => chosen(context, &call, gradient, a, b, |x: T, y: T| {
                    if y == zero { zero } else { y * x.powf(y - T::ONE) }
                })?,
            };
            results[0] = Some(sum_to_shape::<T>(context, full, a.dims())?);
        }
        if gradients.wants(1) {
            let full = match code {
                op::ADD => gradient.clone(),
                op::SUB => combine(context, &call, gradient, gradient, |g: T, _: T| -g)?,
                op::MUL => combine(context, &call, gradient, a, |g: T, x: T| g * x)?,
                op::DIV => chosen(context, &call, gradient, a, b, |x: T, y: T| -x / (y * y))?,
                op::MINIMUM => {
                    chosen(
                        context,
                        &call,
                        gradient,
                        a,
                        b,
                        |x: T, y: T| if y < x { T::ONE } else { zero },
                    )?
                }
                op::MAXIMUM => {
                    chosen(
                        context,
                        &call,
                        gradient,
                        a,
                        b,
                        |x: T, y: T| if y > x { T::ONE } else { zero },
                    )?
                }
                _ => chosen(context, &call, gradient, a, b, |x: T, y: T| {
                    if x == zero { zero } else { x.powf(y) * x.ln() }
                })?,
            };
            results[1] = Some(sum_to_shape::<T>(context, full, b.dims())?);
        }
        Ok(results)
    }))
}

/// `gradient f(a, b)`.
fn chosen<T: Real>(
    context: &Context,
    call: &Call,
    gradient: &Value,
    a: &Value,
    b: &Value,
    f: impl Fn(T, T) -> T + Copy + Sync,
) -> Result<Value> {
    let factor = combine(context, call, a, b, f)?;
    combine(context, call, gradient, &factor, |g: T, f: T| g * f)
}

fn integers(context: &Context, call: &Call) -> Result<Produced> {
    macro_rules! integer {
        ($type:ty) => {{
            let (a, b) = (call.inputs[0], call.inputs[1]);
            match call.info.code {
                op::ADD => combine(context, call, a, b, <$type>::wrapping_add)?,
                op::SUB => combine(context, call, a, b, <$type>::wrapping_sub)?,
                op::MUL => combine(context, call, a, b, <$type>::wrapping_mul)?,
                op::MINIMUM => combine(context, call, a, b, <$type>::min)?,
                op::MAXIMUM => combine(context, call, a, b, <$type>::max)?,
                op::DIV => {
                    if data::<$type>(&b.contiguous()?.tensor)?.contains(&0) {
                        return Err(call.error("division of integers by zero"));
                    }
                    combine(context, call, a, b, <$type>::wrapping_div)?
                }
                _ => {
                    return Err(call.error(format!("takes floating inputs, got {}", call.dtypes())));
                }
            }
        }};
    }
    let out = match call.inputs[0].dtype() {
        DType::U8 => integer!(u8),
        DType::U32 => integer!(u32),
        DType::I64 => integer!(i64),
        other => return Err(call.error(format!("element type {other:?} is not supported"))),
    };
    Ok(Produced::constant(out))
}

/// Runs the same code for each element type of the contract that is compared or moved on the CPU.
macro_rules! for_element {
    ($dtype:expr, $T:ident => $body:expr, $other:ident => $else:expr) => {
        match $dtype {
            candle_core::DType::U8 => {
                type $T = u8;
                $body
            }
            candle_core::DType::U32 => {
                type $T = u32;
                $body
            }
            candle_core::DType::I64 => {
                type $T = i64;
                $body
            }
            candle_core::DType::F32 => {
                type $T = f32;
                $body
            }
            candle_core::DType::F64 => {
                type $T = f64;
                $body
            }
            $other => $else,
        }
    };
}
pub(super) use for_element;

pub(super) fn comparison(context: &mut Context, call: &Call) -> Result<Produced> {
    call.expect(2..=2, 0..=0, 0..=0)?;
    let dtype = one_dtype(call, &[0, 1])?;
    let (a, b) = (call.inputs[0], call.inputs[1]);
    let out = for_element!(dtype, T => match call.info.code {
        op::EQ => combine(context, call, a, b, |x: T, y: T| u8::from(x == y))?,
        op::NE => combine(context, call, a, b, |x: T, y: T| u8::from(x != y))?,
        op::LT => combine(context, call, a, b, |x: T, y: T| u8::from(x < y))?,
        op::LE => combine(context, call, a, b, |x: T, y: T| u8::from(x <= y))?,
        op::GT => combine(context, call, a, b, |x: T, y: T| u8::from(x > y))?,
        _ => combine(context, call, a, b, |x: T, y: T| u8::from(x >= y))?,
    }, other => return Err(call.error(format!("element type {other:?} is not supported"))));
    Ok(Produced::constant(out))
}

pub(super) fn where_cond(context: &mut Context, call: &Call) -> Result<Produced> {
    call.expect(3..=3, 0..=0, 0..=0)?;
    let dtype = one_dtype(call, &[1, 2])?;
    let condition = match call.inputs[0].dtype() {
        DType::U8 => call.inputs[0].clone(),
        DType::U32 | DType::I64 => Value::new(call.inputs[0].tensor.ne(0.0)?),
        other => {
            return Err(
                call.error(format!("the condition must be u8, u32 or i64, it is {other:?}"))
            );
        }
    };
    let shape = broadcast_shape(call, call.shape(1), call.shape(2))?;
    let shape = broadcast_shape(call, &shape, call.shape(0))?;
    let condition = stretched(&condition, &shape)?;
    let (a, b) = (stretched(call.inputs[1], &shape)?, stretched(call.inputs[2], &shape)?);
    let out = for_element!(dtype, T => {
        let (chosen, x, y) = (data::<u8>(&condition.tensor)?, data::<T>(&a.tensor)?, data::<T>(&b.tensor)?);
        let out: Vec<T> = chosen.iter().zip(x.iter().zip(y.iter())).map(|(&chosen, (&x, &y))| if chosen != 0 { x } else { y }).collect();
        value(out, Shape::from(&shape[..]))
    }, other => return Err(call.error(format!("element type {other:?} is not supported"))));
    if !matches!(dtype, DType::F32 | DType::F64) {
        return Ok(Produced::constant(out));
    }
    let (first, second) =
        (call.inputs[1].tensor.shape().clone(), call.inputs[2].tensor.shape().clone());
    let _ = context;
    Ok(Produced::one(call, out, move |context, mut gradients| {
        let gradient = gradients.only()?.contiguous()?;
        for_real!(dtype, T => {
            let (chosen, g) = (data::<u8>(&condition.tensor)?, data::<T>(&gradient.tensor)?);
            let part = |kept: bool| -> Value {
                let part: Vec<T> = chosen.iter().zip(g.iter()).map(|(&chosen, &g)| if (chosen != 0) == kept { g } else { 0.0 }).collect();
                value(part, gradient.tensor.shape().clone())
            };
            let a = gradients.wants(1).then(|| sum_to_shape::<T>(context, part(true), first.dims())).transpose()?;
            let b = gradients.wants(2).then(|| sum_to_shape::<T>(context, part(false), second.dims())).transpose()?;
            Ok(smallvec![None, a, b])
        })
    }))
}
