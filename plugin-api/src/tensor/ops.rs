//! The operations by name, as candle names them. Each is an operation of the contract, whose
//! constant in [`op`] documents shapes, formula and gradient.

use super::{DType, Dims, Shape, Tensor};
use crate::{
    Error, Result,
    abi::{
        operation::{op, reduction},
        tensor::MAX_RANK,
    },
    trampoline::calls,
};

macro_rules! unary {
    ($($(#[$doc:meta])* $name:ident = $code:ident),+ $(,)?) => { $(
        $(#[$doc])*
        ///
        /// # Errors
        /// If shapes or element types do not fit; the error names the operation.
        pub fn $name(&self) -> Result<Tensor> {
            Tensor::apply(op::$code, &[self], &[], &[])
        }
    )+ };
}

macro_rules! binary {
    ($($(#[$doc:meta])* $name:ident = $code:ident),+ $(,)?) => { $(
        $(#[$doc])*
        ///
        /// # Errors
        /// If shapes or element types do not fit; the error names the operation.
        pub fn $name(&self, other: &Tensor) -> Result<Tensor> {
            Tensor::apply(op::$code, &[self, other], &[], &[])
        }
    )+ };
}

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

/// Element by element.
impl Tensor {
    binary! {
        /// `self + other`, broadcasting.
        add = ADD,
        /// `self - other`, broadcasting.
        sub = SUB,
        /// `self * other`, broadcasting.
        mul = MUL,
        /// `self / other`, broadcasting.
        div = DIV,
        /// The smaller of both, broadcasting.
        minimum = MINIMUM,
        /// The larger of both, broadcasting.
        maximum = MAXIMUM,
        /// `self ^ other`, broadcasting.
        pow = POW,
        /// 1 where equal, else 0 (`u8`), broadcasting.
        eq = EQ,
        /// 1 where not equal (`u8`), broadcasting.
        ne = NE,
        /// 1 where less (`u8`), broadcasting.
        lt = LT,
        /// 1 where less or equal (`u8`), broadcasting.
        le = LE,
        /// 1 where greater (`u8`), broadcasting.
        gt = GT,
        /// 1 where greater or equal (`u8`), broadcasting.
        ge = GE,
        /// Matrix product: `[.., m, k]` by `[.., k, n]` is `[.., m, n]`.
        matmul = MATMUL,
    }

    unary! {
        /// `-x`.
        neg = NEG,
        /// `|x|`.
        abs = ABS,
        /// `e^x`.
        exp = EXP,
        /// Natural logarithm.
        log = LOG,
        /// Square root.
        sqrt = SQRT,
        /// `x^2`.
        sqr = SQR,
        /// `1 / x`.
        recip = RECIP,
        /// Sine.
        sin = SIN,
        /// Cosine.
        cos = COS,
        /// Hyperbolic tangent.
        tanh = TANH,
        /// `max(x, 0)`.
        relu = RELU,
        /// Gaussian error linear unit, tanh form.
        gelu = GELU,
        /// Gaussian error linear unit, exact form.
        gelu_erf = GELU_ERF,
        /// `x sigmoid(x)`.
        silu = SILU,
        /// `1 / (1 + e^-x)`.
        sigmoid = SIGMOID,
        /// `ln(1 + e^x)`.
        softplus = SOFTPLUS,
        /// -1, 0 or 1.
        sign = SIGN,
        /// Rounded down.
        floor = FLOOR,
        /// Rounded up.
        ceil = CEIL,
        /// Rounded to the nearest, halves to even.
        round = ROUND,
        /// Error function.
        erf = ERF,
        /// The same values in row-major order.
        contiguous = CONTIGUOUS,
        /// The same values as a constant: no gradient flows back.
        detach = DETACH,
        /// Euclidean norm over all elements: a scalar.
        norm = NORM,
    }

    /// `self * mul + add`.
    ///
    /// # Errors
    /// If shapes, element types or dimensions do not fit; the error names the operation.
    pub fn affine(&self, mul: f64, add: f64) -> Result<Tensor> {
        Tensor::apply(op::AFFINE, &[self], &[], &[mul, add])
    }

    /// `self ^ exponent`.
    ///
    /// # Errors
    /// If shapes, element types or dimensions do not fit; the error names the operation.
    pub fn powf(&self, exponent: f64) -> Result<Tensor> {
        Tensor::apply(op::POWF, &[self], &[], &[exponent])
    }

    /// Kept within `[min, max]`.
    ///
    /// # Errors
    /// If shapes, element types or dimensions do not fit; the error names the operation.
    pub fn clamp(&self, min: f64, max: f64) -> Result<Tensor> {
        Tensor::apply(op::CLAMP, &[self], &[], &[min, max])
    }

    /// `x` where positive, else `alpha (e^x - 1)`.
    ///
    /// # Errors
    /// If shapes, element types or dimensions do not fit; the error names the operation.
    pub fn elu(&self, alpha: f64) -> Result<Tensor> {
        Tensor::apply(op::ELU, &[self], &[], &[alpha])
    }

    /// `x` where positive, else `slope x`.
    ///
    /// # Errors
    /// If shapes, element types or dimensions do not fit; the error names the operation.
    pub fn leaky_relu(&self, slope: f64) -> Result<Tensor> {
        Tensor::apply(op::LEAKY_RELU, &[self], &[], &[slope])
    }

    /// `yes` where this is not 0, else `no`; broadcasting. This tensor holds `u8`, `u32` or `i64`.
    ///
    /// # Errors
    /// If shapes, element types or dimensions do not fit; the error names the operation.
    pub fn where_cond(&self, yes: &Tensor, no: &Tensor) -> Result<Tensor> {
        Tensor::apply(op::WHERE_COND, &[self, yes, no], &[], &[])
    }

    /// Converted to another element type.
    ///
    /// # Errors
    /// If shapes, element types or dimensions do not fit; the error names the operation.
    pub fn to_dtype(&self, dtype: DType) -> Result<Tensor> {
        Tensor::apply(op::TO_DTYPE, &[self], &[i64::from(dtype.number())], &[])
    }
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
}

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

/// Losses; each the mean over the samples.
impl Tensor {
    /// Softmax cross-entropy of logits `[.., c]` against labels (`u32`) `[..]` or probabilities
    /// `[.., c]`.
    ///
    /// # Errors
    /// If shapes, element types or dimensions do not fit; the error names the operation.
    pub fn cross_entropy(&self, target: &Tensor, label_smoothing: f64) -> Result<Tensor> {
        Tensor::apply(op::CROSS_ENTROPY, &[self, target], &[reduction::MEAN], &[label_smoothing])
    }

    /// As [`Tensor::cross_entropy`], one value per sample.
    ///
    /// # Errors
    /// If shapes, element types or dimensions do not fit; the error names the operation.
    pub fn cross_entropy_per_sample(
        &self,
        target: &Tensor,
        label_smoothing: f64,
    ) -> Result<Tensor> {
        Tensor::apply(op::CROSS_ENTROPY, &[self, target], &[reduction::NONE], &[label_smoothing])
    }

    /// Softmax cross-entropy of logits `[.., c]` against labels (`u32` or `i64`) `[..]` or
    /// probabilities `[.., c]`, with what may be set.
    ///
    /// # Errors
    /// If shapes do not fit, or a label is neither ignored nor below `c`.
    pub fn cross_entropy_with(&self, target: &Tensor, options: &CrossEntropy) -> Result<Tensor> {
        let ints: &[i64] = match options.ignored {
            Some(label) => &[options.reduction, label],
            None => &[options.reduction],
        };
        match options.class_weights {
            None => {
                Tensor::apply(op::CROSS_ENTROPY, &[self, target], ints, &[options.label_smoothing])
            }
            Some(weights) => Tensor::apply(
                op::WEIGHTED_CROSS_ENTROPY,
                &[self, target, weights],
                ints,
                &[options.label_smoothing],
            ),
        }
    }

    /// Mean squared error; both of one shape.
    ///
    /// # Errors
    /// If shapes, element types or dimensions do not fit; the error names the operation.
    pub fn mse(&self, target: &Tensor) -> Result<Tensor> {
        Tensor::apply(op::MSE, &[self, target], &[], &[])
    }

    /// Mean absolute error; both of one shape.
    ///
    /// # Errors
    /// If shapes, element types or dimensions do not fit; the error names the operation.
    pub fn mae(&self, target: &Tensor) -> Result<Tensor> {
        Tensor::apply(op::MAE, &[self, target], &[], &[])
    }

    /// Mean Huber loss; both of one shape.
    ///
    /// # Errors
    /// If shapes, element types or dimensions do not fit; the error names the operation.
    pub fn huber(&self, target: &Tensor, delta: f64) -> Result<Tensor> {
        Tensor::apply(op::HUBER, &[self, target], &[], &[delta])
    }

    /// Mean binary cross-entropy of logits against probabilities of one shape.
    ///
    /// # Errors
    /// If shapes, element types or dimensions do not fit; the error names the operation.
    pub fn bce_with_logits(&self, target: &Tensor) -> Result<Tensor> {
        Tensor::apply(op::BCE_WITH_LOGITS, &[self, target], &[], &[])
    }

    /// As [`Tensor::bce_with_logits`], with the part of positive targets multiplied by `weights`,
    /// which broadcast to the shape of the logits. `reduction` is a code of
    /// [`reduction`](crate::abi::operation::reduction).
    ///
    /// # Errors
    /// If shapes do not fit.
    pub fn weighted_bce_with_logits(
        &self,
        target: &Tensor,
        weights: &Tensor,
        reduction: i64,
    ) -> Result<Tensor> {
        Tensor::apply(op::WEIGHTED_BCE_WITH_LOGITS, &[self, target, weights], &[reduction], &[])
    }
}

/// What may be set for [`Tensor::cross_entropy_with`].
#[derive(Clone, Copy, Debug)]
pub struct CrossEntropy<'a> {
    /// How losses are reduced: a code of [`reduction`](crate::abi::operation::reduction).
    pub reduction: i64,
    /// Label of rows that do not count.
    pub ignored: Option<i64>,
    /// Share of the target that is spread over all classes.
    pub label_smoothing: f64,
    /// A weight for each class, `[c]`; a mean is then divided by the sum of the labels' weights.
    pub class_weights: Option<&'a Tensor>,
}

impl Default for CrossEntropy<'_> {
    fn default() -> Self {
        CrossEntropy {
            reduction: reduction::MEAN,
            ignored: None,
            label_smoothing: 0.0,
            class_weights: None,
        }
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

/// In place, on parameters, buffers and other tensors that no gradient needs.
impl Tensor {
    /// Overwritten by `source`.
    ///
    /// # Errors
    /// If shapes, element types or dimensions do not fit; the error names the operation.
    pub fn assign(&self, source: &Tensor) -> Result<()> {
        in_place(op::ASSIGN, &[self, source], &[], &[])
    }

    /// Moved towards `source`: `self += weight (source - self)`.
    ///
    /// # Errors
    /// If shapes, element types or dimensions do not fit; the error names the operation.
    pub fn lerp_(&self, source: &Tensor, weight: f64) -> Result<()> {
        in_place(op::LERP_, &[self, source], &[], &[weight])
    }

    /// Multiplied by `factor`.
    ///
    /// # Errors
    /// If shapes, element types or dimensions do not fit; the error names the operation.
    pub fn scale_(&self, factor: f64) -> Result<()> {
        in_place(op::SCALE_, &[self], &[], &[factor])
    }

    /// `self += factor source`.
    ///
    /// # Errors
    /// If shapes, element types or dimensions do not fit; the error names the operation.
    pub fn add_scaled_(&self, source: &Tensor, factor: f64) -> Result<()> {
        in_place(op::ADD_SCALED_, &[self, source], &[], &[factor])
    }

    /// Applies an in-place operation of the contract by its number, such as an optimizer's update.
    ///
    /// # Errors
    /// If shapes, element types or dimensions do not fit; the error names the operation.
    pub fn apply_in_place(
        operation: u32,
        inputs: &[&Tensor],
        ints: &[i64],
        floats: &[f64],
    ) -> Result<()> {
        in_place(operation, inputs, ints, floats)
    }
}

fn in_place(operation: u32, inputs: &[&Tensor], ints: &[i64], floats: &[f64]) -> Result<()> {
    calls::apply_to(operation, inputs, ints, floats, &mut []).map(drop)
}

macro_rules! operators {
    ($($trait:ident, $method:ident => $tensor:ident, |$number:ident| ($mul:expr, $add:expr));+ $(;)?) => { $(
        impl std::ops::$trait<&Tensor> for &Tensor {
            type Output = Result<Tensor>;

            fn $method(self, other: &Tensor) -> Result<Tensor> {
                self.$tensor(other)
            }
        }

        impl std::ops::$trait<f64> for &Tensor {
            type Output = Result<Tensor>;

            fn $method(self, $number: f64) -> Result<Tensor> {
                self.affine($mul, $add)
            }
        }

        impl std::ops::$trait<&Tensor> for Tensor {
            type Output = Result<Tensor>;

            fn $method(self, other: &Tensor) -> Result<Tensor> {
                std::ops::$trait::$method(&self, other)
            }
        }

        impl std::ops::$trait<f64> for Tensor {
            type Output = Result<Tensor>;

            fn $method(self, number: f64) -> Result<Tensor> {
                std::ops::$trait::$method(&self, number)
            }
        }
    )+ };
}

operators! {
    Add, add => add, |number| (1.0, number);
    Sub, sub => sub, |number| (1.0, -number);
    Mul, mul => mul, |number| (number, 0.0);
    Div, div => div, |number| (1.0 / number, 0.0);
}
