//! Picking and adding by index.

use candle_core::{DType, Layout, Shape};

use super::Reference;
use super::arrays::{made, numbers, offsets};
use crate::backend::{Indexing, index_error};
use crate::error::{Result, TensorError};
use crate::value::Value;

impl Indexing for Reference {
    fn indices(&self, x: &Value, input: usize, bound: usize) -> Result<Value> {
        if !matches!(x.dtype(), DType::U32 | DType::I64) {
            return Err(TensorError::request(format!(
                "indices must be u32 or i64, input {input} is {:?}",
                x.dtype()
            )));
        }
        let indices = numbers(x)?;
        match indices.iter().find(|&&index| index < 0.0 || index >= bound as f64) {
            Some(&index) => Err(index_error(index as i64, input, bound)),
            None => Ok(made(DType::U32, x.shape(), indices)),
        }
    }

    fn gather(&self, x: &Value, dim: usize, index: &Value) -> Result<Value> {
        let elements = numbers(x)?;
        let picked = places(x, dim, index)?.into_iter().map(|place| elements[place]).collect();
        Ok(made(x.dtype(), index.shape(), picked))
    }

    fn scatter_add(
        &self,
        target: &Value,
        dim: usize,
        index: &Value,
        source: &Value,
    ) -> Result<Value> {
        let mut out = numbers(target)?;
        let source = numbers(source)?;
        places(target, dim, index)?.into_iter().zip(source).for_each(|(at, x)| out[at] += x);
        Ok(made(target.dtype(), target.shape(), out))
    }
}

/// For each index its place in a contiguous tensor of the shape of `x`.
fn places(x: &Value, dim: usize, index: &Value) -> Result<Vec<usize>> {
    let whole = Layout::contiguous(x.shape().clone());
    let mut strides = whole.stride().to_vec();
    let along = std::mem::replace(&mut strides[dim], 0);
    // The place of each index without its own dimension, then the step along it.
    let base = Layout::new(Shape::from(index.dims()), strides, 0);
    let steps = numbers(index)?;
    Ok(offsets(&base).into_iter().zip(steps).map(|(at, step)| at + step as usize * along).collect())
}
