//! Sums, extremes and sorting.

use std::cmp::Ordering;

use candle_core::{DType, Shape};

use super::Reference;
use super::arrays::{made, numbers, offsets};
use crate::backend::{Reduction, unsupported};
use crate::error::Result;
use crate::value::Value;

impl Reduction for Reference {
    fn sum(&self, x: &Value, dims: &[usize], divisor: Option<usize>, out: &Shape) -> Result<Value> {
        // Each element is added where a tensor of the reduced shape, broadcast, has it.
        let mut kept = x.dims().to_vec();
        dims.iter().for_each(|&dim| kept[dim] = 1);
        let kept = candle_core::Layout::contiguous(Shape::from(kept));
        let places = offsets(&kept.broadcast_as(x.shape().clone())?);
        let mut sums = vec![0.0; out.elem_count()];
        places.into_iter().zip(numbers(x)?).for_each(|(place, x)| sums[place] += x);
        let divisor = divisor.map_or(1.0, |divisor| divisor as f64);
        Ok(made(x.dtype(), out, sums.into_iter().map(|sum| sum / divisor).collect()))
    }

    fn first_extreme(
        &self,
        rows: &Value,
        length: usize,
        largest: bool,
        out: &Shape,
    ) -> Result<Value> {
        let place = |row: &[f64]| {
            let mut best = 0;
            for (at, &x) in row.iter().enumerate() {
                let is_better = if largest { x > row[best] } else { x < row[best] };
                if is_better || (x.is_nan() && !row[best].is_nan()) {
                    best = at;
                }
            }
            best as f64
        };
        let places = numeric(rows)?.chunks_exact(length).map(place).collect();
        Ok(made(DType::U32, out, places))
    }

    fn cumulative_sum(&self, rows: &Value, length: usize, reverse: bool) -> Result<Value> {
        let mut sums = numbers(rows)?;
        for row in sums.chunks_mut(length.max(1)) {
            for at in 0..row.len() {
                let terms = if reverse { &row[at..] } else { &row[at..at + 1] };
                row[at] = match (reverse, at) {
                    (true, _) => terms.iter().sum(),
                    (false, 0) => row[0],
                    (false, _) => row[at - 1] + row[at],
                };
            }
        }
        Ok(made(rows.dtype(), rows.shape(), sums))
    }

    fn sort(&self, rows: &Value, length: usize, descending: bool, kept: usize) -> Result<Value> {
        let mut places = Vec::new();
        for row in numeric(rows)?.chunks(length.max(1)) {
            let mut order: Vec<usize> = (0..row.len()).collect();
            order.sort_by(|&a, &b| match (row[a].is_nan(), row[b].is_nan()) {
                (false, false) if descending => row[b].partial_cmp(&row[a]).unwrap(),
                (false, false) => row[a].partial_cmp(&row[b]).unwrap(),
                (true, true) => Ordering::Equal,
                (a, b) => a.cmp(&b),
            });
            places.extend(order[..kept].iter().map(|&place| place as f64));
        }
        let count = places.len() / kept.max(1);
        Ok(made(DType::U32, &Shape::from((count, kept)), places))
    }
}

/// The elements of a type that can be compared.
fn numeric(x: &Value) -> Result<Vec<f64>> {
    match x.dtype() {
        dtype @ (DType::BF16 | DType::F16) => Err(unsupported(dtype)),
        _ => numbers(x),
    }
}
