//! Matrix products.

use candle_core::Shape;
use smallvec::SmallVec;

use super::{Activation, Kept, Reduction};
use crate::error::Result;
use crate::value::Value;

/// An affine map of `rows` vectors of `inputs` numbers to `outputs` numbers, with an activation.
#[derive(Clone, Copy, Debug)]
pub struct Affine {
    /// Number of vectors.
    pub rows: usize,
    /// Numbers of each argument.
    pub inputs: usize,
    /// Numbers of each result.
    pub outputs: usize,
    /// Applied to the results.
    pub activation: Activation,
    /// Whether all operands, also the gradient in the backward pass, are
    /// [rounded](super::Storage::rounded) to bf16, so that instructions for bf16 may multiply them.
    pub rounded: bool,
}

/// Matrix products.
pub trait Product: Reduction {
    /// `a [.., m, k]` times `b [.., k, n]`, with shape `[batch.., m, n]`: tensors of any layout,
    /// whose leading dimensions broadcast to `batch`.
    ///
    /// # Errors
    /// If the element type is not floating.
    fn matmul(&self, a: &Value, b: &Value, batch: &[usize]) -> Result<Value>;

    /// As [`matmul`](Self::matmul), of operands that are [rounded](super::Storage::rounded) to bf16, so
    /// that instructions for bf16 may multiply them. Sums are those of f32.
    ///
    /// # Errors
    /// If the elements are not f32.
    fn matmul_rounded(&self, a: &Value, b: &Value, batch: &[usize]) -> Result<Value> {
        self.matmul(a, b, batch)
    }

    /// `activation(x w^T + bias)` with `x` of `rows inputs` elements of any shape, `w` `[outputs,
    /// inputs]` and the shape `out`. Returns the values, and what the backward pass needs.
    ///
    /// # Errors
    /// If the element type is not floating.
    fn affine(
        &self,
        affine: &Affine,
        x: &Value,
        w: &Value,
        bias: Option<&Value>,
        records: bool,
        out: Shape,
    ) -> Result<(Value, Kept)> {
        let x = x.reshape((affine.rows, affine.inputs))?;
        let mut z = self.matmul(&x, &w.transpose(0, 1)?, &[])?;
        if let Some(bias) = bias {
            z = self.zip(super::Pair::Add, &z, bias, z.shape())?;
        }
        self.activate(affine.activation, z.reshape(out)?, records)
    }

    /// The gradients of `x`, `w` and the bias, as far as they are wanted. `gradient` may have any
    /// layout and may be overwritten.
    ///
    /// # Errors
    /// If the element type is not floating.
    fn affine_gradient(
        &self,
        affine: &Affine,
        x: &Value,
        w: &Value,
        kept: &Kept,
        gradient: Value,
        wants: [bool; 3],
    ) -> Result<[Option<Value>; 3]> {
        let gradient = self.deactivate(affine.activation.function(), kept, gradient)?;
        let g = gradient.reshape((affine.rows, affine.outputs))?;
        let to_x = || self.matmul(&g, w, &[])?.reshape(x.shape().clone());
        let to_w = || {
            let x = x.reshape((affine.rows, affine.inputs))?;
            self.matmul(&g.transpose(0, 1)?, &x, &[])
        };
        let to_bias = || self.sum(&g, &[0], None, &Shape::from(affine.outputs));
        Ok([
            wants[0].then(to_x).transpose()?,
            wants[1].then(to_w).transpose()?,
            wants[2].then(to_bias).transpose()?,
        ])
    }
}

/// `(m, n, k)` of a product, and the shape of its result.
pub(crate) fn product_sizes(
    a: &Value,
    b: &Value,
    batch: &[usize],
) -> ((usize, usize, usize), SmallVec<[usize; 6]>) {
    let (rows, columns) = (a.dims().len() - 2, b.dims().len() - 2);
    let (m, k, n) = (a.dims()[rows], a.dims()[rows + 1], b.dims()[columns + 1]);
    ((m, n, k), batch.iter().copied().chain([m, n]).collect())
}
