//! Dimensions brought together as rows, and what runs along them: cumulative sum, sorting.

use candle_core::{DType, Shape};
use fluxbay_plugin::abi::operation::op;
use smallvec::{SmallVec, smallvec};

use super::binary::for_element;
use super::{Call, Gradient, Produced, for_real};
use crate::context::Context;
use crate::error::Result;
use crate::kernels::simd::Real;
use crate::value::{Element, Value, data, value};

/// A tensor laid out so that the chosen dimensions are the last ones, in row-major order.
pub(super) struct Rows {
    /// Shape: the other dimensions, then the chosen ones.
    pub value: Value,
    /// Elements of a row.
    pub length: usize,
    /// Place in `value` of each original dimension; `None` where the order is the original one.
    inverse: Option<SmallVec<[usize; 6]>>,
}

impl Rows {
    pub fn of(x: &Value, dims: &[usize]) -> Result<Self> {
        let rank = x.dims().len();
        let length = dims.iter().map(|&dim| x.dims()[dim]).product();
        let order: SmallVec<[usize; 6]> =
            (0..rank).filter(|dim| !dims.contains(dim)).chain(dims.iter().copied()).collect();
        if order.iter().copied().eq(0..rank) {
            return Ok(Self { value: x.contiguous()?, length, inverse: None });
        }
        let mut inverse: SmallVec<[usize; 6]> = smallvec![0; rank];
        for (place, &dim) in order.iter().enumerate() {
            inverse[dim] = place;
        }
        Ok(Self {
            value: Value::new(x.tensor.permute(&order[..])?.contiguous()?),
            length,
            inverse: Some(inverse),
        })
    }

    /// Rows as a tensor with the original order of dimensions.
    pub fn restore<T: Element>(&self, rows: Vec<T>) -> Result<Value> {
        self.restore_length(rows, None)
    }

    /// As [`Rows::restore`] where the last of the dimensions got another size.
    pub fn restore_length<T: Element>(&self, rows: Vec<T>, length: Option<usize>) -> Result<Value> {
        let mut shape = self.value.dims().to_vec();
        if let (Some(length), Some(last)) = (length, shape.last_mut()) {
            *last = length;
        }
        let rows = value(rows, Shape::from(shape));
        Ok(match &self.inverse {
            None => rows,
            Some(inverse) => Value::new(rows.tensor.permute(&inverse[..])?.contiguous()?),
        })
    }
}

pub(super) fn apply(_: &mut Context, call: &Call) -> Result<Produced> {
    let rank = call.shape(0).len();
    match call.info.code {
        op::CUMSUM => {
            call.expect(1..=1, 1..=1, 0..=0)?;
            let dim = call.dim(call.ints[0], rank)?;
            for_real!(call.real([0])?, T => cumulative::<T>(call, dim))
        }
        op::SORT => {
            call.expect(1..=1, 1..=2, 0..=0)?;
            let dim = call.dim(call.ints[0], rank)?;
            sorted(call, dim, call.int(1, 0) != 0, None)
        }
        _ => {
            call.expect(1..=1, 1..=1, 0..=0)?;
            let dim = call.dim(-1, rank)?;
            let k = call.size(0, "k", 1)?;
            if k > call.shape(0)[dim] {
                return Err(call.error(format!(
                    "k is {k}, but the last dimension of {:?} is smaller",
                    call.shape(0)
                )));
            }
            sorted(call, dim, true, Some(k))
        }
    }
}

fn cumulative<T: Real>(call: &Call, dim: usize) -> Result<Produced> {
    let rows = Rows::of(call.inputs[0], &[dim])?;
    let mut sums = data::<T>(&rows.value.tensor)?.to_vec();
    if rows.length > 0 {
        for row in sums.chunks_exact_mut(rows.length) {
            for at in 1..row.len() {
                row[at] += row[at - 1];
            }
        }
    }
    let out = rows.restore(sums)?;
    Ok(Produced::one(call, out, move |_, mut gradients| {
        let rows = Rows::of(&gradients.only()?, &[dim])?;
        let mut sums = data::<T>(&rows.value.tensor)?.to_vec();
        if rows.length > 0 {
            for row in sums.chunks_exact_mut(rows.length) {
                for at in (1..row.len()).rev() {
                    row[at - 1] += row[at];
                }
            }
        }
        Ok(smallvec![Some(rows.restore(sums)?)])
    }))
}

/// Stable order of a row; NaN comes last in either direction.
fn order<T: PartialOrd + Copy>(row: &[T], descending: bool) -> Vec<u32> {
    use std::cmp::Ordering;
    let mut places: Vec<u32> = (0..row.len() as u32).collect();
    places.sort_by(|&a, &b| {
        let (a, b) = (row[a as usize], row[b as usize]);
        match a.partial_cmp(&b) {
            Some(order) => {
                if descending {
                    order.reverse()
                } else {
                    order
                }
            }
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

fn sorted(call: &Call, dim: usize, descending: bool, keep: Option<usize>) -> Result<Produced> {
    let x = call.inputs[0];
    let dtype = x.dtype();
    let rows = Rows::of(x, &[dim])?;
    let kept = keep.unwrap_or(rows.length);
    let mut places = Vec::new();
    let values = for_element!(dtype, T => {
        let elements = data::<T>(&rows.value.tensor)?;
        let mut values: Vec<T> = Vec::new();
        for row in elements.chunks_exact(rows.length.max(1)) {
            let order = order(row, descending);
            values.extend(order[..kept].iter().map(|&place| row[place as usize]));
            places.extend_from_slice(&order[..kept]);
        }
        drop(elements);
        rows.restore_length(values, Some(kept))?
    }, other => return Err(call.error(format!("element type {other:?} is not supported"))));
    let indices = rows.restore_length(places.clone(), Some(kept))?;
    let outputs = smallvec![values, indices];
    if !call.records() || !matches!(dtype, DType::F32 | DType::F64) {
        return Ok(Produced { outputs, gradient: Gradient::Constant });
    }
    let backward = move |_: &mut Context, mut gradients: super::Gradients| {
        let gradient = Rows::of(&gradients.only()?, &[dim])?;
        for_real!(dtype, T => {
            let g = data::<T>(&gradient.value.tensor)?;
            let mut full: Vec<T> = vec![0.0; rows.value.count()];
            for (at, (&g, &place)) in g.iter().zip(&places).enumerate() {
                full[at / kept * rows.length + place as usize] = g;
            }
            Ok(smallvec![Some(rows.restore(full)?)])
        })
    };
    Ok(Produced { outputs, gradient: Gradient::Function(Box::new(backward)) })
}
