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
    /// Whether products are of operands [rounded](super::Storage::rounded) to bf16, also of the gradient
    /// in the backward pass. The kernel rounds them. The bias, the activation and their gradients are
    /// not rounded.
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
        let mut z = multiplied(self, affine.rounded, &x, &w.transpose(0, 1)?, &[])?;
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
        let rounded = affine.rounded;
        let to_x = || multiplied(self, rounded, &g, w, &[])?.reshape(x.shape().clone());
        let to_w = || {
            let x = x.reshape((affine.rows, affine.inputs))?;
            multiplied(self, rounded, &g.transpose(0, 1)?, &x, &[])
        };
        let to_bias = || self.sum(&g, &[0], None, &Shape::from(affine.outputs));
        Ok([
            wants[0].then(to_x).transpose()?,
            wants[1].then(to_w).transpose()?,
            wants[2].then(to_bias).transpose()?,
        ])
    }
}

/// `a b`; with `rounded`, of operands rounded to bf16.
pub(super) fn multiplied<B: Product + ?Sized>(
    backend: &B,
    rounded: bool,
    a: &Value,
    b: &Value,
    batch: &[usize],
) -> Result<Value> {
    if !rounded {
        return backend.matmul(a, b, batch);
    }
    let (a, b) = (backend.rounded(a.clone())?, backend.rounded(b.clone())?);
    backend.matmul_rounded(&a, &b, batch)
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
