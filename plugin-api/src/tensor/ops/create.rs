//! New tensors.

use crate::{
    Result,
    abi::operation::op,
    tensor::{DType, Shape, Tensor},
};

/// New tensors.
impl Tensor {
    /// All 0.
    ///
    /// # Errors
    /// If shapes, element types or dimensions do not fit; the error names the operation.
    pub fn zeros(shape: impl Shape, dtype: DType) -> Result<Tensor> {
        Tensor::full(0.0, shape, dtype)
    }

    /// All 1.
    ///
    /// # Errors
    /// If shapes, element types or dimensions do not fit; the error names the operation.
    pub fn ones(shape: impl Shape, dtype: DType) -> Result<Tensor> {
        Tensor::full(1.0, shape, dtype)
    }

    /// All one value.
    ///
    /// # Errors
    /// If shapes, element types or dimensions do not fit; the error names the operation.
    pub fn full(value: f64, shape: impl Shape, dtype: DType) -> Result<Tensor> {
        Tensor::apply(op::FULL, &[], &of_shape(&[i64::from(dtype.number())], &shape), &[value])
    }

    /// All 0, with the shape and type of this one.
    ///
    /// # Errors
    /// If shapes, element types or dimensions do not fit; the error names the operation.
    pub fn zeros_like(&self) -> Result<Tensor> {
        Tensor::zeros(self.dims()?, self.dtype()?)
    }

    /// All 1, with the shape and type of this one.
    ///
    /// # Errors
    /// If shapes, element types or dimensions do not fit; the error names the operation.
    pub fn ones_like(&self) -> Result<Tensor> {
        Tensor::ones(self.dims()?, self.dtype()?)
    }

    /// `start, start + step, ..` below `end`.
    ///
    /// # Errors
    /// If shapes, element types or dimensions do not fit; the error names the operation.
    pub fn arange(start: f64, end: f64, step: f64, dtype: DType) -> Result<Tensor> {
        Tensor::apply(op::ARANGE, &[], &[i64::from(dtype.number())], &[start, end, step])
    }

    /// Uniform random numbers in `[low, high)`, from the run's seeded generator.
    ///
    /// # Errors
    /// If shapes, element types or dimensions do not fit; the error names the operation.
    pub fn rand(low: f64, high: f64, shape: impl Shape, dtype: DType) -> Result<Tensor> {
        Tensor::apply(
            op::UNIFORM,
            &[],
            &of_shape(&[-1, i64::from(dtype.number())], &shape),
            &[low, high],
        )
    }

    /// Normal random numbers, from the run's seeded generator.
    ///
    /// # Errors
    /// If shapes, element types or dimensions do not fit; the error names the operation.
    pub fn randn(mean: f64, std: f64, shape: impl Shape, dtype: DType) -> Result<Tensor> {
        Tensor::apply(
            op::NORMAL,
            &[],
            &of_shape(&[-1, i64::from(dtype.number())], &shape),
            &[mean, std],
        )
    }

    /// Random zeros and ones, from the run's seeded generator; 1 with this probability.
    ///
    /// # Errors
    /// If shapes, element types or dimensions do not fit; the error names the operation.
    pub fn bernoulli(probability: f64, shape: impl Shape, dtype: DType) -> Result<Tensor> {
        Tensor::apply(
            op::BERNOULLI,
            &[],
            &of_shape(&[-1, i64::from(dtype.number())], &shape),
            &[probability],
        )
    }

    /// A random order of `0..n`, `u32` `[n]`, from the run's seeded generator.
    ///
    /// # Errors
    /// If shapes, element types or dimensions do not fit; the error names the operation.
    pub fn permutation(n: usize) -> Result<Tensor> {
        Tensor::apply(op::PERMUTATION, &[], &[-1, n as i64], &[])
    }
}

fn of_shape(first: &[i64], shape: &impl Shape) -> Vec<i64> {
    let mut ints = first.to_vec();
    ints.extend(shape.sizes());
    ints
}
