//! Picking elements by index, and adding to them.

use candle_core::{DType, Shape};

use super::Cpu;
use super::data::{contiguous, data, for_any, for_element, for_real, value};
use crate::backend::{Indexing, Storage, index_error};
use crate::error::{Result, TensorError};
use crate::value::Value;

impl Indexing for Cpu {
    fn indices(&self, x: &Value, input: usize, bound: usize) -> Result<Value> {
        let x = contiguous(x)?;
        match x.dtype() {
            DType::U32 => {
                let indices = data::<u32>(&x)?;
                match indices.iter().find(|&&index| index as usize >= bound) {
                    Some(&index) => Err(index_error(i64::from(index), input, bound)),
                    None => {
                        drop(indices);
                        Ok(x)
                    }
                }
            }
            DType::I64 => {
                let check = |&index: &i64| {
                    u32::try_from(index)
                        .ok()
                        .filter(|&small| (small as usize) < bound)
                        .ok_or_else(|| index_error(index, input, bound))
                };
                let indices = data::<i64>(&x)?.iter().map(check).collect::<Result<Vec<u32>>>()?;
                Ok(value(indices, x.shape().clone()))
            }
            other => Err(TensorError::request(format!(
                "indices must be u32 or i64, input {input} is {other:?}"
            ))),
        }
    }

    fn gather(&self, x: &Value, dim: usize, index: &Value) -> Result<Value> {
        let places = places(&data::<u32>(index)?, index.dims(), x.dims(), dim);
        for_any!(x.dtype(), T => {
            let elements = data::<T>(x)?;
            let picked: Vec<T> = places.iter().map(|&place| elements[place]).collect();
            Ok(value(picked, index.shape().clone()))
        })
    }

    fn scatter_add(
        &self,
        target: &Value,
        dim: usize,
        index: &Value,
        source: &Value,
    ) -> Result<Value> {
        let places = places(&data::<u32>(index)?, index.dims(), target.dims(), dim);
        let source = contiguous(source)?;
        for_real!(target.dtype(), T => {
            let mut out = data::<T>(target)?.to_vec();
            for (&place, &x) in places.iter().zip(data::<T>(&source)?.iter()) {
                out[place] += x;
            }
            Ok(value(out, target.shape().clone()))
        })
    }

    fn index_select(&self, x: &Value, dim: usize, index: &Value, out: &Shape) -> Result<Value> {
        let (outer, size, inner) = around(x.dims(), dim);
        let picks = data::<u32>(index)?;
        for_any!(x.dtype(), T => {
            let elements = data::<T>(x)?;
            let mut result: Vec<T> = Vec::with_capacity(outer * picks.len() * inner);
            for block in 0..outer {
                for &pick in picks.iter() {
                    let start = (block * size + pick as usize) * inner;
                    result.extend_from_slice(&elements[start..start + inner]);
                }
            }
            Ok(value(result, out.clone()))
        })
    }

    fn index_select_gradient(
        &self,
        gradient: &Value,
        dim: usize,
        index: &Value,
        shape: &Shape,
    ) -> Result<Value> {
        let (outer, size, inner) = around(shape.dims(), dim);
        let picks = data::<u32>(index)?;
        for_real!(gradient.dtype(), T => {
            let gradient = data::<T>(gradient)?;
            let mut full: Vec<T> = vec![0.0; outer * size * inner];
            for (row, slice) in gradient.chunks_exact(inner.max(1)).enumerate() {
                let (block, pick) = (row / picks.len(), picks[row % picks.len()] as usize);
                let start = (block * size + pick) * inner;
                for (sum, &g) in full[start..start + inner].iter_mut().zip(slice) {
                    *sum += g;
                }
            }
            Ok(value(full, shape.clone()))
        })
    }

    fn one_hot(&self, index: &Value, classes: usize, dtype: DType) -> Result<Value> {
        let indices = data::<u32>(index)?;
        let mut hot = vec![0_u8; indices.len() * classes];
        for (row, &id) in indices.iter().enumerate() {
            hot[row * classes + id as usize] = 1;
        }
        let shape: Vec<usize> = index.dims().iter().copied().chain([classes]).collect();
        self.convert(&value(hot, shape), dtype)
    }

    fn pick(&self, rows: &Value, length: usize, places: &Value) -> Result<Value> {
        for_element!(rows.dtype(), T => {
            let (elements, picks) = (data::<T>(rows)?, data::<u32>(places)?);
            let kept = (picks.len() * length / elements.len().max(1)).max(1);
            let pick = |(at, &place): (usize, &u32)| elements[at / kept * length + place as usize];
            let picked: Vec<T> = picks.iter().enumerate().map(pick).collect();
            Ok(value(picked, places.shape().clone()))
        })
    }

    fn spread(
        &self,
        gradient: &Value,
        length: usize,
        rows: usize,
        places: &Value,
    ) -> Result<Value> {
        for_real!(gradient.dtype(), T => {
            let (g, picks) = (data::<T>(gradient)?, data::<u32>(places)?);
            let kept = (picks.len() / rows.max(1)).max(1);
            let mut full: Vec<T> = vec![0.0; rows * length];
            for (at, (&g, &place)) in g.iter().zip(picks.iter()).enumerate() {
                full[at / kept * length + place as usize] = g;
            }
            Ok(value(full, (rows, length)))
        })
    }
}

/// Elements before, along and after a dimension.
fn around(dims: &[usize], dim: usize) -> (usize, usize, usize) {
    (dims[..dim].iter().product(), dims[dim], dims[dim + 1..].iter().product())
}

/// For every element of an index tensor, the place in a tensor of shape `dims` that it names along
/// `dim`.
fn places(picks: &[u32], index_dims: &[usize], dims: &[usize], dim: usize) -> Vec<usize> {
    let rank = dims.len();
    let mut strides = vec![1; rank];
    for at in (0..rank.saturating_sub(1)).rev() {
        strides[at] = strides[at + 1] * dims[at + 1];
    }
    let mut at = vec![0; rank];
    let mut base = 0;
    picks
        .iter()
        .map(|&pick| {
            let place = base + pick as usize * strides[dim];
            for d in (0..rank).rev() {
                at[d] += 1;
                base += if d == dim { 0 } else { strides[d] };
                if at[d] < index_dims[d] {
                    break;
                }
                base -= if d == dim { 0 } else { strides[d] * at[d] };
                at[d] = 0;
            }
            place
        })
        .collect()
}
