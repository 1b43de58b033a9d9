//! Shape and position: reshaping, slicing, joining, picking by index.

use crate::{
    Result,
    abi::{operation::op, tensor::MAX_RANK},
    tensor::{Dims, Shape, Tensor},
};

/// Shape and position.
impl Tensor {
    /// The same elements in another shape.
    ///
    /// # Errors
    /// If shapes, element types or dimensions do not fit; the error names the operation.
    pub fn reshape(&self, shape: impl Shape) -> Result<Tensor> {
        Tensor::apply(op::RESHAPE, &[self], &shape.sizes(), &[])
    }

    /// All dimensions from `dim` on become one: `flatten_from(1)` makes `[batch, features]`.
    ///
    /// # Errors
    /// If shapes, element types or dimensions do not fit; the error names the operation.
    pub fn flatten_from(&self, dim: usize) -> Result<Tensor> {
        let info = self.info()?;
        let (kept, merged) = info.dims().split_at(dim.min(info.dims().len()));
        let mut shape = [0; MAX_RANK + 1];
        for (to, &size) in shape.iter_mut().zip(kept) {
            *to = size as i64;
        }
        shape[kept.len()] = merged.iter().product::<u64>() as i64;
        Tensor::apply(op::RESHAPE, &[self], &shape[..=kept.len()], &[])
    }

    /// Two dimensions swapped.
    ///
    /// # Errors
    /// If shapes, element types or dimensions do not fit; the error names the operation.
    pub fn transpose(&self, a: i64, b: i64) -> Result<Tensor> {
        Tensor::apply(op::TRANSPOSE, &[self], &[a, b], &[])
    }

    /// The last two dimensions swapped.
    ///
    /// # Errors
    /// If shapes, element types or dimensions do not fit; the error names the operation.
    pub fn t(&self) -> Result<Tensor> {
        self.transpose(-2, -1)
    }

    /// Dimensions in another order.
    ///
    /// # Errors
    /// If shapes, element types or dimensions do not fit; the error names the operation.
    pub fn permute(&self, dims: impl Dims) -> Result<Tensor> {
        Tensor::apply(op::PERMUTE, &[self], &dims.dims(), &[])
    }

    /// `length` entries of a dimension from `start` on.
    ///
    /// # Errors
    /// If shapes, element types or dimensions do not fit; the error names the operation.
    pub fn narrow(&self, dim: i64, start: usize, length: usize) -> Result<Tensor> {
        Tensor::apply(op::NARROW, &[self], &[dim, start as i64, length as i64], &[])
    }

    /// Without a dimension of size 1.
    ///
    /// # Errors
    /// If shapes, element types or dimensions do not fit; the error names the operation.
    pub fn squeeze(&self, dim: i64) -> Result<Tensor> {
        Tensor::apply(op::SQUEEZE, &[self], &[dim], &[])
    }

    /// With a new dimension of size 1.
    ///
    /// # Errors
    /// If shapes, element types or dimensions do not fit; the error names the operation.
    pub fn unsqueeze(&self, dim: i64) -> Result<Tensor> {
        Tensor::apply(op::UNSQUEEZE, &[self], &[dim], &[])
    }

    /// Stretched to a shape by repeating dimensions of size 1.
    ///
    /// # Errors
    /// If shapes, element types or dimensions do not fit; the error names the operation.
    pub fn broadcast_as(&self, shape: impl Shape) -> Result<Tensor> {
        Tensor::apply(op::BROADCAST_AS, &[self], &shape.sizes(), &[])
    }

    /// Tensors joined along a dimension.
    ///
    /// # Errors
    /// If shapes, element types or dimensions do not fit; the error names the operation.
    pub fn cat(tensors: &[&Tensor], dim: i64) -> Result<Tensor> {
        Tensor::apply(op::CAT, tensors, &[dim], &[])
    }

    /// Tensors of one shape joined along a new dimension.
    ///
    /// # Errors
    /// If shapes, element types or dimensions do not fit; the error names the operation.
    pub fn stack(tensors: &[&Tensor], dim: i64) -> Result<Tensor> {
        Tensor::apply(op::STACK, tensors, &[dim], &[])
    }

    /// A border of `value` on a dimension.
    ///
    /// # Errors
    /// If shapes, element types or dimensions do not fit; the error names the operation.
    pub fn pad(&self, dim: i64, before: usize, after: usize, value: f64) -> Result<Tensor> {
        Tensor::apply(op::PAD, &[self], &[dim, before as i64, after as i64], &[value])
    }

    /// Dimensions reversed.
    ///
    /// # Errors
    /// If shapes, element types or dimensions do not fit; the error names the operation.
    pub fn flip(&self, dims: impl Dims) -> Result<Tensor> {
        Tensor::apply(op::FLIP, &[self], &dims.dims(), &[])
    }

    /// The slices of a dimension that `indices` `[n]` name.
    ///
    /// # Errors
    /// If shapes, element types or dimensions do not fit; the error names the operation.
    pub fn index_select(&self, indices: &Tensor, dim: i64) -> Result<Tensor> {
        Tensor::apply(op::INDEX_SELECT, &[self, indices], &[dim], &[])
    }

    /// The elements that `indices` name along a dimension.
    ///
    /// # Errors
    /// If shapes, element types or dimensions do not fit; the error names the operation.
    pub fn gather(&self, indices: &Tensor, dim: i64) -> Result<Tensor> {
        Tensor::apply(op::GATHER, &[self, indices], &[dim], &[])
    }

    /// `source` added at the places that `indices` name along a dimension.
    ///
    /// # Errors
    /// If shapes, element types or dimensions do not fit; the error names the operation.
    pub fn scatter_add(&self, indices: &Tensor, source: &Tensor, dim: i64) -> Result<Tensor> {
        Tensor::apply(op::SCATTER_ADD, &[self, indices, source], &[dim], &[])
    }

    /// Rows of this table `[n, c]` by `ids` `[..]`: `[.., c]`.
    ///
    /// # Errors
    /// If shapes, element types or dimensions do not fit; the error names the operation.
    pub fn embedding(&self, ids: &Tensor) -> Result<Tensor> {
        Tensor::apply(op::EMBEDDING, &[self, ids], &[], &[])
    }

    /// 1 at each index, 0 elsewhere: `[..]` becomes `[.., classes]`, `f32`.
    ///
    /// # Errors
    /// If shapes, element types or dimensions do not fit; the error names the operation.
    pub fn one_hot(&self, classes: usize) -> Result<Tensor> {
        Tensor::apply(op::ONE_HOT, &[self], &[classes as i64], &[])
    }

    /// The sum of the rows of each segment: `[n, ..]` with `segments` `[n]` below `count` becomes
    /// `[count, ..]`; 0 where there are none.
    ///
    /// # Errors
    /// If shapes, element types or dimensions do not fit; the error names the operation.
    pub fn segment_sum(&self, segments: &Tensor, count: usize) -> Result<Tensor> {
        Tensor::apply(op::SEGMENT_REDUCE, &[self, segments], &[count as i64, 0], &[])
    }

    /// The mean of the rows of each segment, as [`Tensor::segment_sum`].
    ///
    /// # Errors
    /// If shapes, element types or dimensions do not fit; the error names the operation.
    pub fn segment_mean(&self, segments: &Tensor, count: usize) -> Result<Tensor> {
        Tensor::apply(op::SEGMENT_REDUCE, &[self, segments], &[count as i64, 1], &[])
    }

    /// Each row of `[n, in]` times the matrix `[out, in]` of its group, `groups` `[n]`: `[n, out]`.
    ///
    /// # Errors
    /// If shapes, element types or dimensions do not fit; the error names the operation.
    pub fn grouped_linear(&self, groups: &Tensor, weights: &[&Tensor]) -> Result<Tensor> {
        let inputs: Vec<&Tensor> =
            [self, groups].into_iter().chain(weights.iter().copied()).collect();
        Tensor::apply(op::GROUPED_LINEAR, &inputs, &[], &[])
    }
}
