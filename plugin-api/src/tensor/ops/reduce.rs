//! Operations over dimensions: sums, maxima, sorting, softmax, statistics.

use crate::{
    Error, Result,
    abi::operation::op,
    tensor::{Dims, Tensor},
};

macro_rules! reduce {
    ($($(#[$doc:meta])* $name:ident, $keepdim:ident, $all:ident = $code:ident),+ $(,)?) => { $(
        $(#[$doc])*
        ///
        /// # Errors
        /// If there is no such dimension.
        pub fn $name(&self, dims: impl Dims) -> Result<Tensor> {
            self.reduce(op::$code, false, &dims)
        }

        #[doc = concat!("As [`Tensor::", stringify!($name), "`], keeping the dimensions with size 1.")]
        ///
        /// # Errors
        /// If there is no such dimension.
        pub fn $keepdim(&self, dims: impl Dims) -> Result<Tensor> {
            self.reduce(op::$code, true, &dims)
        }

        #[doc = concat!("As [`Tensor::", stringify!($name), "`] over all dimensions: a scalar.")]
        ///
        /// # Errors
        /// If the element type does not fit.
        pub fn $all(&self) -> Result<Tensor> {
            self.reduce(op::$code, false, &[0_i64; 0])
        }
    )+ };
}

/// Over dimensions.
impl Tensor {
    reduce! {
        /// Sum over dimensions.
        sum, sum_keepdim, sum_all = SUM,
        /// Mean over dimensions.
        mean, mean_keepdim, mean_all = MEAN,
        /// Largest value over dimensions.
        max, max_keepdim, max_all = MAX,
        /// Smallest value over dimensions.
        min, min_keepdim, min_all = MIN,
        /// `ln sum e^x` over dimensions.
        log_sum_exp, log_sum_exp_keepdim, log_sum_exp_all = LOG_SUM_EXP,
    }

    fn reduce(&self, code: u32, keepdim: bool, dims: &impl Dims) -> Result<Tensor> {
        let mut ints = vec![i64::from(keepdim)];
        ints.extend(dims.dims());
        Tensor::apply(code, &[self], &ints, &[])
    }

    /// Variance over dimensions, divided by the count less `correction` (1 for the unbiased one).
    ///
    /// # Errors
    /// If shapes, element types or dimensions do not fit; the error names the operation.
    pub fn var(&self, dims: impl Dims, correction: usize) -> Result<Tensor> {
        let mut ints = vec![0, correction as i64];
        ints.extend(dims.dims());
        Tensor::apply(op::VAR, &[self], &ints, &[])
    }

    /// Index (`u32`) of the first largest value along a dimension.
    ///
    /// # Errors
    /// If shapes, element types or dimensions do not fit; the error names the operation.
    pub fn argmax(&self, dim: i64) -> Result<Tensor> {
        Tensor::apply(op::ARGMAX, &[self], &[0, dim], &[])
    }

    /// Index (`u32`) of the first smallest value along a dimension.
    ///
    /// # Errors
    /// If shapes, element types or dimensions do not fit; the error names the operation.
    pub fn argmin(&self, dim: i64) -> Result<Tensor> {
        Tensor::apply(op::ARGMIN, &[self], &[0, dim], &[])
    }

    /// Running sum along a dimension.
    ///
    /// # Errors
    /// If shapes, element types or dimensions do not fit; the error names the operation.
    pub fn cumsum(&self, dim: i64) -> Result<Tensor> {
        Tensor::apply(op::CUMSUM, &[self], &[dim], &[])
    }

    /// Values and indices (`u32`) in ascending order along a dimension; equal values keep their
    /// order.
    ///
    /// # Errors
    /// If shapes, element types or dimensions do not fit; the error names the operation.
    pub fn sort(&self, dim: i64) -> Result<(Tensor, Tensor)> {
        pair(Tensor::apply_many(op::SORT, &[self], &[dim, 0], &[])?)
    }

    /// Values and indices (`u32`) of the `k` largest along the last dimension, in descending order.
    ///
    /// # Errors
    /// If shapes, element types or dimensions do not fit; the error names the operation.
    pub fn top_k(&self, k: usize) -> Result<(Tensor, Tensor)> {
        pair(Tensor::apply_many(op::TOP_K, &[self], &[k as i64], &[])?)
    }

    /// Softmax along a dimension.
    ///
    /// # Errors
    /// If shapes, element types or dimensions do not fit; the error names the operation.
    pub fn softmax(&self, dim: i64) -> Result<Tensor> {
        Tensor::apply(op::SOFTMAX, &[self], &[dim], &[])
    }

    /// Logarithm of softmax along a dimension.
    ///
    /// # Errors
    /// If shapes, element types or dimensions do not fit; the error names the operation.
    pub fn log_softmax(&self, dim: i64) -> Result<Tensor> {
        Tensor::apply(op::LOG_SOFTMAX, &[self], &[dim], &[])
    }
}

fn pair(outputs: Vec<Tensor>) -> Result<(Tensor, Tensor)> {
    let mut outputs = outputs.into_iter();
    match (outputs.next(), outputs.next()) {
        (Some(first), Some(second)) => Ok((first, second)),
        _ => Err(Error::new("the host gave fewer than two outputs")),
    }
}

/// Statistics that no gradient flows through.
impl Tensor {
    /// Euclidean norm over all elements of all tensors together: a scalar.
    ///
    /// # Errors
    /// If shapes, element types or dimensions do not fit; the error names the operation.
    pub fn global_norm(tensors: &[&Tensor]) -> Result<Tensor> {
        Tensor::apply(op::GLOBAL_NORM, tensors, &[], &[])
    }

    /// Counts (`u32`, `[bins]`) of equal bins between `min` and `max`.
    ///
    /// # Errors
    /// If shapes, element types or dimensions do not fit; the error names the operation.
    pub fn histogram(&self, bins: usize, min: f64, max: f64) -> Result<Tensor> {
        Tensor::apply(op::HISTOGRAM, &[self], &[bins as i64], &[min, max])
    }
}
