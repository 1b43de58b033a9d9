//! Rows that hold several samples.

use crate::{DType, Result, Tensor, abi::operation::op, trampoline::calls};

/// Which elements of the rows of a batch belong to one sample, and where they are in it.
#[derive(Debug)]
pub struct Packing {
    segments: Tensor,
    positions: Tensor,
}

/// How several samples share the rows of the inputs `[batch, time, ..]`; nothing if each row is one
/// sample. A model whose positions look at each other asks for it in `forward`, so that a sample gives
/// the same predictions alone and in a row with others. Rows are packed by the loader
/// (`ragged = "pack"`), or by a data set with the fields `segments` and `positions`.
///
/// ```
/// # use fluxbay_plugin::{nn::*, prelude::*};
/// /// Attention within samples: `qkv` and the inputs of the model.
/// fn mixed(attention: &SelfAttention, hidden: &Tensor, xs: &Tensor) -> Result<Tensor> {
///     let bias = packing(xs)?.map(|rows| rows.bias(hidden.dtype()?)).transpose()?;
///     attention.forward_with(hidden, bias.as_ref())
/// }
/// ```
///
/// # Errors
/// Outside of a call of the host.
pub fn packing(xs: &Tensor) -> Result<Option<Packing>> {
    let found = calls::packing_of(xs.handle())?;
    Ok(found.map(|[segments, positions]| Packing {
        segments: Tensor::from_handle(segments),
        positions: Tensor::from_handle(positions),
    }))
}

impl Packing {
    /// The number of the sample that each element belongs to, `u32` `[batch, time]`: from 1 on, 0 behind
    /// the last sample.
    pub fn segments(&self) -> &Tensor {
        &self.segments
    }

    /// The place of each element in its sample, `u32` `[batch, time]`.
    pub fn positions(&self) -> &Tensor {
        &self.positions
    }

    /// What is added to the scores of attention so that no element sees another sample: `[batch, 1,
    /// time, time]`, 0 or a large negative number.
    ///
    /// # Errors
    /// If the element type is no floating-point one.
    pub fn bias(&self, dtype: DType) -> Result<Tensor> {
        let (queries, keys) = (self.segments.unsqueeze(2)?, self.segments.unsqueeze(1)?);
        let other = Tensor::apply(op::NE, &[&queries, &keys], &[], &[])?.to_dtype(dtype)?;
        other.affine(-1e30, 0.0)?.unsqueeze(1)
    }

    /// The rows of a table of learnt positions `[places, width]` for each element: `[batch, time, width]`.
    ///
    /// # Errors
    /// If the table has fewer places than a sample has elements.
    pub fn rows(&self, table: &Tensor) -> Result<Tensor> {
        table.embedding(&self.positions)
    }
}
