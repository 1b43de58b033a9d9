//! Reductions over dimensions.

use candle_core::{DType, Shape};
use fluxbay_plugin::abi::operation::op;
use smallvec::{SmallVec, smallvec};

use super::binary::for_element;
use super::rows::Rows;
use super::{Call, Produced, for_real};
use crate::context::Context;
use crate::error::Result;
use crate::kernels::elementwise::{map, zip};
use crate::kernels::reduce::{sum, sum_all};
use crate::kernels::simd::{Plain, Real};
use crate::operations::unary::Affine;
use crate::value::{Value, data, value};

/// Sums a gradient down to the shape that was stretched to it.
pub(super) fn sum_to_shape<T: Real>(
    context: &Context,
    gradient: Value,
    shape: &[usize],
) -> Result<Value> {
    if gradient.dims() == shape {
        return Ok(gradient);
    }
    let lead = gradient.dims().len() - shape.len();
    let dims: SmallVec<[usize; 6]> = (0..gradient.dims().len())
        .filter(|&dim| dim < lead || (shape[dim - lead] == 1 && gradient.dims()[dim] != 1))
        .collect();
    let out = sum_dims::<T>(context, &gradient, &dims)?;
    Ok(value(out, Shape::from(shape)))
}

/// Sums over dimensions (ascending), as elements in order.
fn sum_dims<T: Real>(context: &Context, x: &Value, dims: &[usize]) -> Result<Vec<T>> {
    let x = x.contiguous()?;
    let mut shape: SmallVec<[usize; 6]> = x.dims().into();
    let mut current: Option<Vec<T>> = None;
    let mut end = dims.len();
    // Neighbouring dimensions are summed at once, the last group first: so the first pass reads
    // rows.
    while end > 0 {
        let mut start = end - 1;
        while start > 0 && dims[start - 1] + 1 == dims[start] {
            start -= 1;
        }
        let (low, high) = (dims[start], dims[end - 1] + 1);
        let outer = shape[..low].iter().product();
        let length = shape[low..high].iter().product();
        let inner = shape[high..].iter().product();
        let next = match &current {
            None => sum(&context.pool, &data::<T>(&x.tensor)?, outer, length, inner),
            Some(elements) => sum(&context.pool, elements, outer, length, inner),
        };
        current = Some(next);
        shape.drain(low..high);
        end = start;
    }
    Ok(match current {
        Some(elements) => elements,
        None => data::<T>(&x.tensor)?.to_vec(),
    })
}

/// The result's shape: without the reduced dimensions, or with 1 in their place.
fn reduced(shape: &[usize], dims: &[usize], keep: bool) -> SmallVec<[usize; 6]> {
    let size = |(dim, &size): (usize, &usize)| match dims.contains(&dim) {
        false => Some(size),
        true => keep.then_some(1),
    };
    shape.iter().enumerate().filter_map(size).collect()
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
        return for_real!(call.real([0])?, T => norm::<T>(context, call));
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
    let out = Shape::from(&reduced(shape, &dims, keep)[..]);
    let kept = Shape::from(&reduced(shape, &dims, true)[..]);
    let count: usize = dims.iter().map(|&dim| shape[dim]).product();
    if count == 0 && call.info.code != op::SUM {
        return Err(call.error(format!("there is nothing to reduce in shape {shape:?}")));
    }
    match call.info.code {
        op::SUM | op::MEAN => total(context, call, &dims, out, kept, count),
        op::ARGMAX | op::ARGMIN => arg(call, &dims, out),
        op::MAX | op::MIN => extreme(call, &dims, out),
        op::VAR => for_real!(call.real([0])?, T => variance::<T>(call, &dims, out, count)),
        _ => for_real!(call.real([0])?, T => log_sum_exp::<T>(call, &dims, out)),
    }
}

fn total(
    context: &mut Context,
    call: &Call,
    dims: &[usize],
    out: Shape,
    kept: Shape,
    count: usize,
) -> Result<Produced> {
    let x = call.inputs[0];
    if !matches!(x.dtype(), DType::F32 | DType::F64) {
        if call.info.code == op::MEAN {
            return Err(call.error(format!("takes a floating input, got {:?}", x.dtype())));
        }
        return Ok(Produced::constant(Value::new(x.tensor.sum_keepdim(dims)?.reshape(out)?)));
    }
    let shape = x.tensor.shape().clone();
    let factor = if call.info.code == op::MEAN { 1.0 / count as f64 } else { 1.0 };
    for_real!(x.dtype(), T => {
        let mut sums = sum_dims::<T>(context, x, dims)?;
        if factor != 1.0 {
            let count = count as T;
            sums.iter_mut().for_each(|sum| *sum /= count);
        }
        Ok(Produced::one(call, value(sums, out), move |context, mut gradients| {
            let gradient = gradients.only()?.reshaped(kept)?;
            let scaled = match factor != 1.0 {
                true => {
                    let gradient = gradient.contiguous()?;
                    value(map::<T, _>(&context.pool, Affine(factor), &data::<T>(&gradient.tensor)?), gradient.tensor.shape().clone())
                }
                false => gradient,
            };
            Ok(smallvec![Some(scaled.view(scaled.tensor.broadcast_as(shape)?))])
        }))
    })
}

fn arg(call: &Call, dims: &[usize], out: Shape) -> Result<Produced> {
    let x = call.inputs[0];
    let largest = call.info.code == op::ARGMAX;
    let rows = Rows::of(x, dims)?;
    let places = for_element!(x.dtype(), T => first_extremes::<T>(&data::<T>(&rows.value.tensor)?, rows.length, largest),
        other => return Err(call.error(format!("element type {other:?} is not supported"))));
    Ok(Produced::constant(value(places, out)))
}

/// Place of the first largest (or smallest) of each row; NaN counts as the extreme.
fn first_extremes<T: PartialOrd + Copy>(x: &[T], length: usize, largest: bool) -> Vec<u32> {
    #[allow(clippy::eq_op)]
    let is_nan = |x: T| x != x;
    let place = |row: &[T]| {
        let mut best = 0;
        for (at, &x) in row.iter().enumerate().skip(1) {
            let better = if largest { x > row[best] } else { x < row[best] };
            if better || (is_nan(x) && !is_nan(row[best])) {
                best = at;
            }
        }
        best as u32
    };
    x.chunks_exact(length).map(place).collect()
}

fn extreme(call: &Call, dims: &[usize], out: Shape) -> Result<Produced> {
    let x = call.inputs[0];
    let largest = call.info.code == op::MAX;
    let rows = Rows::of(x, dims)?;
    let dtype = x.dtype();
    let (result, places) = for_element!(dtype, T => {
        let elements = data::<T>(&rows.value.tensor)?;
        let places = first_extremes::<T>(&elements, rows.length, largest);
        let best: Vec<T> = places.iter().enumerate().map(|(row, &place)| elements[row * rows.length + place as usize]).collect();
        (value(best, out), places)
    }, other => return Err(call.error(format!("element type {other:?} is not supported"))));
    if !matches!(dtype, DType::F32 | DType::F64) {
        return Ok(Produced::constant(result));
    }
    Ok(Produced::one(call, result, move |_, mut gradients| {
        let gradient = gradients.only()?.contiguous()?;
        for_real!(dtype, T => {
            let gradient = data::<T>(&gradient.tensor)?;
            let mut full = vec![0.0; rows.value.count()];
            for (row, (&place, &g)) in places.iter().zip(gradient.iter()).enumerate() {
                full[row * rows.length + place as usize] = g;
            }
            Ok(smallvec![Some(rows.restore::<T>(full)?)])
        })
    }))
}

fn variance<T: Real>(call: &Call, dims: &[usize], out: Shape, count: usize) -> Result<Produced> {
    let correction = call.ints[1];
    let divisor = count as f64 - correction as f64;
    if correction < 0 || divisor <= 0.0 {
        return Err(
            call.error(format!("a correction of {correction} does not fit {count} elements"))
        );
    }
    let rows = Rows::of(call.inputs[0], dims)?;
    let elements = data::<T>(&rows.value.tensor)?;
    let mean = |row: &[T]| T::of(row.iter().map(|x| x.wide()).sum::<f64>() / count as f64);
    let means: Vec<T> = elements.chunks_exact(rows.length).map(mean).collect();
    let variances: Vec<T> = elements
        .chunks_exact(rows.length)
        .zip(&means)
        .map(|(row, &mean)| {
            T::of(row.iter().map(|&x| ((x - mean) * (x - mean)).wide()).sum::<f64>() / divisor)
        })
        .collect();
    drop(elements);
    Ok(Produced::one(call, value(variances, out), move |_, mut gradients| {
        let gradient = gradients.only()?.contiguous()?;
        let gradient = data::<T>(&gradient.tensor)?;
        let factor = T::of(2.0 / divisor);
        let elements = data::<T>(&rows.value.tensor)?;
        let mut full = Vec::with_capacity(elements.len());
        for (row, (&mean, &g)) in
            elements.chunks_exact(rows.length).zip(means.iter().zip(gradient.iter()))
        {
            full.extend(row.iter().map(|&x| factor * g * (x - mean)));
        }
        drop(elements);
        Ok(smallvec![Some(rows.restore::<T>(full)?)])
    }))
}

fn log_sum_exp<T: Real>(call: &Call, dims: &[usize], out: Shape) -> Result<Produced> {
    let rows = Rows::of(call.inputs[0], dims)?;
    let elements = data::<T>(&rows.value.tensor)?;
    let one = |row: &[T]| {
        let largest = row.iter().fold(T::LOWEST, |a, &b| if b > a || b.is_nan() { b } else { a });
        if largest == T::LOWEST || largest == -T::LOWEST {
            return largest;
        }
        largest + row.iter().fold(T::ZERO, |sum, &x| sum + (x - largest).exp(Plain)).ln()
    };
    let results: Vec<T> = elements.chunks_exact(rows.length).map(one).collect();
    drop(elements);
    let result = value(results, out);
    let saved = result.clone();
    Ok(Produced::one(call, result, move |_, mut gradients| {
        let gradient = gradients.only()?.contiguous()?;
        let (gradient, results) = (data::<T>(&gradient.tensor)?, data::<T>(&saved.tensor)?);
        let elements = data::<T>(&rows.value.tensor)?;
        let mut full = Vec::with_capacity(elements.len());
        for (row, (&result, &g)) in
            elements.chunks_exact(rows.length).zip(results.iter().zip(gradient.iter()))
        {
            full.extend(row.iter().map(|&x| g * (x - result).exp(Plain)));
        }
        drop(elements);
        Ok(smallvec![Some(rows.restore::<T>(full)?)])
    }))
}

fn norm<T: Real>(context: &mut Context, call: &Call) -> Result<Produced> {
    let x = call.inputs[0].contiguous()?;
    let elements = data::<T>(&x.tensor)?;
    let squares = zip(&context.pool, &elements, &elements, |x: T, y: T| x * y);
    let norm = sum_all(&context.pool, &squares).sqrt();
    drop(elements);
    Ok(Produced::one(call, value(vec![norm], ()), move |context, mut gradients| {
        let gradient = gradients.only()?.contiguous()?;
        let factor = match norm == T::ZERO {
            true => T::ZERO,
            false => data::<T>(&gradient.tensor)?[0] / norm,
        };
        let full = map(&context.pool, Affine(factor.wide()), &data::<T>(&x.tensor)?);
        Ok(smallvec![Some(value(full, x.tensor.shape().clone()))])
    }))
}
