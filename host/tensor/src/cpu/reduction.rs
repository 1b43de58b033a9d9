//! Sums, extremes, statistics and sorting.

use std::cmp::Ordering;

use candle_core::{DType, Shape};
use smallvec::SmallVec;

use super::Cpu;
use super::data::{contiguous, data, for_element, for_real, value};
use super::functions::Scale;
use super::kernels::elementwise::{map, sum_squares, zip};
use super::kernels::isa::Plain;
use super::kernels::number::Real;
use super::kernels::reduce::{sum, sum_all};
use crate::backend::Reduction;
use crate::error::Result;
use crate::value::Value;

impl Reduction for Cpu {
    fn sum(&self, x: &Value, dims: &[usize], divisor: Option<usize>, out: &Shape) -> Result<Value> {
        if !matches!(x.dtype(), DType::F32 | DType::F64) {
            let sums = x.host()?.sum_keepdim(dims)?;
            return Ok(Value::from_host(sums.reshape(out.clone())?));
        }
        for_real!(x.dtype(), T => {
            let mut sums = self.sum_dims::<T>(x, dims)?;
            if let Some(divisor) = divisor {
                let divisor = divisor as T;
                sums.iter_mut().for_each(|sum| *sum /= divisor);
            }
            Ok(value(sums, out.clone()))
        })
    }

    fn first_extreme(
        &self,
        rows: &Value,
        length: usize,
        largest: bool,
        out: &Shape,
    ) -> Result<Value> {
        for_element!(rows.dtype(), T => {
            Ok(value(first_extremes::<T>(&data::<T>(rows)?, length, largest), out.clone()))
        })
    }

    fn cumulative_sum(&self, rows: &Value, length: usize, reverse: bool) -> Result<Value> {
        for_real!(rows.dtype(), T => {
            let mut sums = data::<T>(rows)?.to_vec();
            for row in sums.chunks_exact_mut(length.max(1)) {
                match reverse {
                    false => (1..row.len()).for_each(|at| row[at] += row[at - 1]),
                    true => (1..row.len()).rev().for_each(|at| row[at - 1] += row[at]),
                }
            }
            Ok(value(sums, rows.shape().clone()))
        })
    }

    fn sort(&self, rows: &Value, length: usize, descending: bool, kept: usize) -> Result<Value> {
        for_element!(rows.dtype(), T => {
            let mut places = Vec::new();
            for row in data::<T>(rows)?.chunks_exact(length.max(1)) {
                places.extend_from_slice(&order(row, descending)[..kept]);
            }
            let count = places.len() / kept.max(1);
            Ok(value(places, (count, kept)))
        })
    }

    fn histogram(&self, x: &Value, bins: usize, low: f64, high: f64) -> Result<Value> {
        for_real!(x.dtype(), T => {
            let mut counts = vec![0_u32; bins];
            let factor = bins as f64 / (high - low);
            for x in data::<T>(x)?.iter().map(|x| x.wide()).filter(|x| (low..=high).contains(x)) {
                counts[(((x - low) * factor) as usize).min(bins - 1)] += 1;
            }
            Ok(value(counts, bins))
        })
    }

    fn variance(&self, rows: &Value, length: usize, divisor: f64) -> Result<(Value, Value)> {
        for_real!(rows.dtype(), T => {
            let elements = data::<T>(rows)?;
            let mean = |row: &[T]| T::of(row.iter().map(|x| x.wide()).sum::<f64>() / length as f64);
            let means: Vec<T> = elements.chunks_exact(length).map(mean).collect();
            let variance = |(row, &mean): (&[T], &T)| {
                T::of(row.iter().map(|&x| ((x - mean) * (x - mean)).wide()).sum::<f64>() / divisor)
            };
            let variances: Vec<T> =
                elements.chunks_exact(length).zip(&means).map(variance).collect();
            let count = means.len();
            Ok((value(means, count), value(variances, count)))
        })
    }

    fn variance_gradient(
        &self,
        rows: &Value,
        length: usize,
        divisor: f64,
        mean: &Value,
        gradient: &Value,
    ) -> Result<Value> {
        for_real!(rows.dtype(), T => {
            let (means, gradient) = (data::<T>(mean)?, data::<T>(gradient)?);
            let factor = T::of(2.0 / divisor);
            let elements = data::<T>(rows)?;
            let mut full = Vec::with_capacity(elements.len());
            for (row, (&mean, &g)) in
                elements.chunks_exact(length).zip(means.iter().zip(gradient.iter()))
            {
                full.extend(row.iter().map(|&x| factor * g * (x - mean)));
            }
            Ok(value(full, rows.shape().clone()))
        })
    }

    fn log_sum_exp(&self, rows: &Value, length: usize, out: &Shape) -> Result<Value> {
        for_real!(rows.dtype(), T => {
            let one = |row: &[T]| {
                let largest =
                    row.iter().fold(T::LOWEST, |a, &b| if b > a || b.is_nan() { b } else { a });
                if largest == T::LOWEST || largest == -T::LOWEST {
                    return largest;
                }
                let sum = row.iter().fold(T::ZERO, |sum, &x| sum + Real::exp(x - largest, Plain));
                largest + sum.ln()
            };
            let results: Vec<T> = data::<T>(rows)?.chunks_exact(length).map(one).collect();
            Ok(value(results, out.clone()))
        })
    }

    fn log_sum_exp_gradient(
        &self,
        rows: &Value,
        length: usize,
        result: &Value,
        gradient: &Value,
    ) -> Result<Value> {
        for_real!(rows.dtype(), T => {
            let (gradient, results) = (data::<T>(gradient)?, data::<T>(result)?);
            let elements = data::<T>(rows)?;
            let mut full = Vec::with_capacity(elements.len());
            for (row, (&result, &g)) in
                elements.chunks_exact(length).zip(results.iter().zip(gradient.iter()))
            {
                full.extend(row.iter().map(|&x| g * Real::exp(x - result, Plain)));
            }
            Ok(value(full, rows.shape().clone()))
        })
    }

    fn norm(&self, x: &Value) -> Result<Value> {
        for_real!(x.dtype(), T => {
            let elements = data::<T>(x)?;
            let squares = zip(&self.pool, &elements, &elements, |x: T, y: T| x * y);
            let sum = sum_all(&self.pool, &squares);
            let norm = match is_ordinary::<T>(sum.wide()) {
                true => sum.sqrt(),
                false => T::of(scaled_norm(&[&elements])),
            };
            Ok(value(vec![norm], ()))
        })
    }

    fn norm_gradient(&self, x: &Value, norm: &Value, gradient: &Value) -> Result<Value> {
        for_real!(x.dtype(), T => {
            let norm = data::<T>(norm)?[0];
            let factor = if norm == 0.0 { 0.0 } else { data::<T>(gradient)?[0] / norm };
            let full = map(&self.pool, Scale(factor.wide()), &data::<T>(x)?);
            Ok(value(full, x.shape().clone()))
        })
    }

    fn global_norm(&self, inputs: &[Value]) -> Result<Value> {
        for_real!(inputs[0].dtype(), T => {
            let inputs = inputs.iter().map(data::<T>).collect::<Result<Vec<_>>>()?;
            let total: f64 = inputs.iter().map(|input| sum_squares(&self.pool, input)).sum();
            let norm = match is_ordinary::<T>(total) {
                true => total.sqrt(),
                false => scaled_norm(&inputs.iter().map(|input| &input[..]).collect::<Vec<_>>()),
            };
            Ok(value(vec![T::of(norm)], ()))
        })
    }
}

impl Cpu {
    /// Sums over dimensions (ascending), as elements in row-major order.
    fn sum_dims<T: Real>(&self, x: &Value, dims: &[usize]) -> Result<Vec<T>> {
        let x = contiguous(x)?;
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
                None => sum(&self.pool, &data::<T>(&x)?, outer, length, inner),
                Some(elements) => sum(&self.pool, elements, outer, length, inner),
            };
            current = Some(next);
            shape.drain(low..high);
            end = start;
        }
        Ok(match current {
            Some(elements) => elements,
            None => data::<T>(&x)?.to_vec(),
        })
    }
}

/// Whether a sum of squares lost nothing to the range of its type: no square overflowed, and those
/// that are too small for it do not matter.
fn is_ordinary<T: Real>(sum: f64) -> bool {
    let smallest = if T::DTYPE == DType::F64 { 1e-280 } else { 1e-30 };
    sum >= smallest && sum.is_finite()
}

/// The root of the sum of squares of numbers whose squares leave the range of their type: relative
/// to the largest number, in double precision.
#[cold]
#[inline(never)]
fn scaled_norm<T: Real>(inputs: &[&[T]]) -> f64 {
    let numbers = || inputs.iter().flat_map(|input| input.iter()).map(|x| x.wide());
    let largest = numbers().map(f64::abs).fold(0.0, f64::max);
    if numbers().any(f64::is_nan) {
        return f64::NAN;
    }
    if largest == 0.0 || largest.is_infinite() {
        return largest;
    }
    largest * numbers().map(|x| (x / largest) * (x / largest)).sum::<f64>().sqrt()
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

/// Stable order of a row; NaN comes last in either direction.
fn order<T: PartialOrd + Copy>(row: &[T], descending: bool) -> Vec<u32> {
    let mut places: Vec<u32> = (0..row.len() as u32).collect();
    places.sort_by(|&a, &b| {
        let (a, b) = (row[a as usize], row[b as usize]);
        match a.partial_cmp(&b) {
            Some(order) if descending => order.reverse(),
            Some(order) => order,
            #[allow(clippy::eq_op)]
            None => match (a != a, b != b) {
                (true, false) => Ordering::Greater,
                (false, true) => Ordering::Less,
                _ => Ordering::Equal,
            },
        }
    });
    places
}
