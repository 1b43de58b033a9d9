//! Sums, extremes, statistics and sorting.
//!
//! Kernels "of rows" take a tensor whose reduced dimensions are the last ones: `length` consecutive
//! elements are one row.

use candle_core::{DType, Shape};

use super::{Elementwise, Function, Indexing, Pair};
use crate::error::Result;
use crate::value::{Value, host_tensor};

/// Reductions.
pub trait Reduction: Indexing {
    /// Sums of a tensor of any layout over dimensions (ascending; none gives the elements
    /// themselves), each divided by `divisor` if there is one, with shape `out`. Integers are
    /// summed too, without a divisor.
    ///
    /// # Errors
    /// If the element type is unknown.
    fn sum(&self, x: &Value, dims: &[usize], divisor: Option<usize>, out: &Shape) -> Result<Value>;

    /// The place within its row of each row's first largest or smallest element as u32, with shape
    /// `out`. NaN counts as the extreme. Takes integers too.
    ///
    /// # Errors
    /// If the element type is half precision.
    fn first_extreme(
        &self,
        rows: &Value,
        length: usize,
        largest: bool,
        out: &Shape,
    ) -> Result<Value>;

    /// Sums of each element of a row and those before it, or after it if `reverse`.
    ///
    /// # Errors
    /// If the element type is not floating.
    fn cumulative_sum(&self, rows: &Value, length: usize, reverse: bool) -> Result<Value>;

    /// Places within its row of the first `kept` elements of each row in stable order, as u32
    /// `[rows, kept]`; NaN comes last. Takes integers too.
    ///
    /// # Errors
    /// If the element type is half precision.
    fn sort(&self, rows: &Value, length: usize, descending: bool, kept: usize) -> Result<Value>;

    /// How many elements lie in each of `bins` equal parts of `low..=high`, as u32. By default
    /// counted on the host.
    ///
    /// # Errors
    /// If the transfer fails.
    fn histogram(&self, x: &Value, bins: usize, low: f64, high: f64) -> Result<Value> {
        let elements = self.download(x)?.flatten_all()?.to_dtype(DType::F64)?.to_vec1::<f64>()?;
        let mut counts = vec![0_u32; bins];
        let factor = bins as f64 / (high - low);
        for x in elements.into_iter().filter(|x| (low..=high).contains(x)) {
            counts[(((x - low) * factor) as usize).min(bins - 1)] += 1;
        }
        self.upload(host_tensor(counts, bins)?)
    }

    /// Sums of a tensor of any layout over the dimensions in which `shape` was broadcast to it.
    ///
    /// # Errors
    /// See [`sum`](Self::sum).
    fn sum_to_shape(&self, x: Value, shape: &Shape) -> Result<Value> {
        if x.dims() == shape.dims() {
            return Ok(x);
        }
        let lead = x.dims().len() - shape.dims().len();
        let dims: smallvec::SmallVec<[usize; 6]> = (0..x.dims().len())
            .filter(|&dim| dim < lead || (shape.dims()[dim - lead] == 1 && x.dims()[dim] != 1))
            .collect();
        self.sum(&x, &dims, None, shape)
    }

    /// Sums over all elements.
    ///
    /// # Errors
    /// See [`sum`](Self::sum).
    fn sum_all(&self, x: &Value) -> Result<Value> {
        let all: smallvec::SmallVec<[usize; 6]> = (0..x.dims().len()).collect();
        self.sum(x, &all, None, &Shape::from(()))
    }

    /// Mean and variance of each row, both `[rows]`; the squared distances from the mean are divided
    /// by `divisor`.
    ///
    /// # Errors
    /// If the element type is not floating.
    fn variance(&self, rows: &Value, length: usize, divisor: f64) -> Result<(Value, Value)> {
        let count = rows.count() / length;
        let x = rows.reshape((count, length))?;
        let column = Shape::from((count, 1));
        let mean = self.sum(&x, &[1], Some(length), &column)?;
        let centred = self.zip(Pair::Sub, &x, &mean, x.shape())?;
        let squares = self.map(Function::Sqr, &centred)?;
        let sums = self.sum(&squares, &[1], None, &Shape::from(count))?;
        Ok((mean.reshape(count)?, self.map(Function::Scale(1.0 / divisor), &sums)?))
    }

    /// The gradient of the rows from that of their [`variance`](Self::variance).
    ///
    /// # Errors
    /// If the element type is not floating.
    fn variance_gradient(
        &self,
        rows: &Value,
        length: usize,
        divisor: f64,
        mean: &Value,
        gradient: &Value,
    ) -> Result<Value> {
        let count = rows.count() / length;
        let x = rows.reshape((count, length))?;
        let centred = self.zip(Pair::Sub, &x, &mean.reshape((count, 1))?, x.shape())?;
        let factor = self.map(Function::Scale(2.0 / divisor), &gradient.reshape((count, 1))?)?;
        self.zip(Pair::Mul, &centred, &factor, x.shape())?.reshape(rows.shape().clone())
    }

    /// `ln sum e^x` of each row, with shape `out`.
    ///
    /// # Errors
    /// If the element type is not floating.
    fn log_sum_exp(&self, rows: &Value, length: usize, out: &Shape) -> Result<Value> {
        let count = rows.count() / length;
        let x = rows.reshape((count, length))?;
        let (exponentials, shift) = shifted_exponentials(self, &x)?;
        let sums = self.sum(&exponentials, &[1], None, shift.shape())?;
        let logs = self.map(Function::Log, &sums)?;
        self.zip(Pair::Add, &logs, &shift, shift.shape())?.reshape(out.clone())
    }

    /// The gradient of the rows from that of `result`, their [`log_sum_exp`](Self::log_sum_exp).
    ///
    /// # Errors
    /// If the element type is not floating.
    fn log_sum_exp_gradient(
        &self,
        rows: &Value,
        length: usize,
        result: &Value,
        gradient: &Value,
    ) -> Result<Value> {
        let count = rows.count() / length;
        let x = rows.reshape((count, length))?;
        let distance = self.zip(Pair::Sub, &x, &result.reshape((count, 1))?, x.shape())?;
        let shares = self.map(Function::Exp, &distance)?;
        let gradient = gradient.reshape((count, 1))?;
        self.zip(Pair::Mul, &shares, &gradient, x.shape())?.reshape(rows.shape().clone())
    }

    /// The root of the sum of all squares, as a scalar; overflows only if the root does.
    ///
    /// # Errors
    /// If the element type is not floating.
    fn norm(&self, x: &Value) -> Result<Value> {
        self.global_norm(std::slice::from_ref(x))
    }

    /// The gradient of `x` from that of its [`norm`](Self::norm); 0 where the norm is 0.
    ///
    /// # Errors
    /// If the element type is not floating.
    fn norm_gradient(&self, x: &Value, norm: &Value, gradient: &Value) -> Result<Value> {
        let scalar = Shape::from(());
        let zero = self.fill(x.dtype(), &scalar, 0.0)?;
        let factor = self.zip(Pair::Div, gradient, norm, &scalar)?;
        let is_positive = self.zip(Pair::Ne, norm, &zero, &scalar)?;
        let factor = self.select(&is_positive, &factor, &zero, &scalar)?;
        self.zip(Pair::Mul, x, &factor, x.shape())
    }

    /// The root of the sum of all squares of several tensors, as a scalar; overflows only if the root
    /// does.
    ///
    /// # Errors
    /// If the element type is not floating.
    fn global_norm(&self, inputs: &[Value]) -> Result<Value> {
        let (dtype, scalar) = (inputs[0].dtype(), Shape::from(()));
        let number = |number: f64| self.fill(dtype, &scalar, number);
        // Squares are taken relative to the largest element, so that they stay within range.
        let mut largest = number(0.0)?;
        for input in inputs.iter().filter(|input| input.count() > 0) {
            let magnitudes = self.map(Function::Abs, &input.reshape((1, input.count()))?)?;
            let place =
                self.first_extreme(&magnitudes, input.count(), true, &Shape::from((1, 1)))?;
            let found = self.gather(&magnitudes, 1, &place)?.reshape(())?;
            largest = self.zip(Pair::Maximum, &largest, &found, &scalar)?;
        }
        let (zero, infinity) = (number(0.0)?, number(f64::INFINITY)?);
        let mut unit = largest;
        for exception in [&zero, &infinity] {
            let differs = self.zip(Pair::Ne, &unit, exception, &scalar)?;
            unit = self.select(&differs, &unit, &number(1.0)?, &scalar)?;
        }
        let mut total = zero;
        for input in inputs {
            let relative = self.zip(Pair::Div, input, &unit, input.shape())?;
            let squares = self.map(Function::Sqr, &relative)?;
            total = self.zip(Pair::Add, &total, &self.sum_all(&squares)?, &scalar)?;
        }
        self.zip(Pair::Mul, &self.map(Function::Sqrt, &total)?, &unit, &scalar)
    }
}

/// `e^(x - largest of the row)` of a matrix, and the largest of each row as a column; 0 instead of
/// an infinite one.
pub(super) fn shifted_exponentials<B: Reduction + ?Sized>(
    backend: &B,
    x: &Value,
) -> Result<(Value, Value)> {
    let (count, length) = (x.dims()[0], x.dims()[1]);
    let column = Shape::from((count, 1));
    let places = backend.first_extreme(x, length, true, &column)?;
    let largest = backend.gather(x, 1, &places)?;
    let infinite = backend.fill(x.dtype(), &Shape::from(()), f64::INFINITY)?;
    let zero = backend.fill(x.dtype(), &Shape::from(()), 0.0)?;
    let magnitude = backend.map(Function::Abs, &largest)?;
    let is_finite = backend.zip(Pair::Ne, &magnitude, &infinite, &column)?;
    let shift = backend.select(&is_finite, &largest, &zero, &column)?;
    let distance = Elementwise::zip(backend, Pair::Sub, x, &shift, x.shape())?;
    Ok((backend.map(Function::Exp, &distance)?, shift))
}
