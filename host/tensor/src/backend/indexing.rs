//! Picking elements by index, and adding to them.
//!
//! Indices are u32 tensors that [`Indexing::indices`] has checked.

use candle_core::{DType, Shape};

use super::Elementwise;
use crate::error::{Result, TensorError};
use crate::value::Value;

/// Picking and adding by index.
pub trait Indexing: Elementwise {
    /// The indices in a u32 or i64 tensor of any layout, as u32.
    ///
    /// # Errors
    /// If one is not below `bound`, naming it and the number `input` of the operation's input; if
    /// the element type is another one.
    fn indices(&self, x: &Value, input: usize, bound: usize) -> Result<Value>;

    /// `out[.., i, ..] = x[.., index[.., i, ..], ..]` along dimension `dim`. The indices have the
    /// rank of `x`, and in other dimensions at most its sizes. Takes every element type.
    ///
    /// # Errors
    /// If the element type is unknown.
    fn gather(&self, x: &Value, dim: usize, index: &Value) -> Result<Value>;

    /// A copy of `target` with `out[.., index[.., i, ..], ..] += source[.., i, ..]`. The source may
    /// have any layout.
    ///
    /// # Errors
    /// If the element type is not floating.
    fn scatter_add(
        &self,
        target: &Value,
        dim: usize,
        index: &Value,
        source: &Value,
    ) -> Result<Value>;

    /// Slices of dimension `dim` at the indices, one after the other, with shape `out`. Takes every
    /// element type.
    ///
    /// # Errors
    /// If the element type is unknown.
    fn index_select(&self, x: &Value, dim: usize, index: &Value, out: &Shape) -> Result<Value> {
        let shape = selected_shape(x.dims(), dim, index.count());
        let index = self.repeated(index, dim, &shape)?;
        self.gather(x, dim, &index)?.reshape(out.clone())
    }

    /// The gradient of an `x` of shape `shape` from that of [`index_select`](Self::index_select).
    ///
    /// # Errors
    /// If the element type is not floating.
    fn index_select_gradient(
        &self,
        gradient: &Value,
        dim: usize,
        index: &Value,
        shape: &Shape,
    ) -> Result<Value> {
        let selected = selected_shape(shape.dims(), dim, index.count());
        let index = self.repeated(index, dim, &selected)?;
        let zeros = self.fill(gradient.dtype(), shape, 0.0)?;
        self.scatter_add(&zeros, dim, &index, &gradient.reshape(selected)?)
    }

    /// A list of indices along `dim`, repeated to `shape`.
    ///
    /// # Errors
    /// See [`copy`](super::Storage::copy).
    fn repeated(&self, index: &Value, dim: usize, shape: &Shape) -> Result<Value> {
        let mut dims = vec![1; shape.dims().len()];
        dims[dim] = index.count();
        self.contiguous(&index.reshape(dims)?.broadcast_as(shape.clone())?)
    }

    /// 1 at each index and 0 elsewhere: `[index.., classes]`.
    ///
    /// # Errors
    /// If the element type is unknown.
    fn one_hot(&self, index: &Value, classes: usize, dtype: DType) -> Result<Value> {
        let rows = (index.count(), 1);
        let zeros = self.fill(DType::F32, &Shape::from((index.count(), classes)), 0.0)?;
        let ones = self.fill(DType::F32, &Shape::from(rows), 1.0)?;
        let hot = match classes {
            0 => zeros,
            _ => self.scatter_add(&zeros, 1, &index.reshape(rows)?, &ones)?,
        };
        let shape: Vec<usize> = index.dims().iter().copied().chain([classes]).collect();
        self.convert(&hot, dtype)?.reshape(shape)
    }

    /// Elements of rows of `length` at `places` `[rows, kept]`, with the shape of the places. Takes
    /// integers too.
    ///
    /// # Errors
    /// If the element type is half precision.
    fn pick(&self, rows: &Value, length: usize, places: &Value) -> Result<Value> {
        if rows.count() == 0 {
            return self.fill(rows.dtype(), places.shape(), 0.0);
        }
        let count = rows.count() / length;
        let matrix = places.reshape((count, places.count() / count))?;
        self.gather(&rows.reshape((count, length))?, 1, &matrix)?.reshape(places.shape().clone())
    }

    /// Rows of `length` zeros, `[rows, length]`, with the elements of `gradient` at different
    /// `places`.
    ///
    /// # Errors
    /// If the element type is not floating.
    fn spread(
        &self,
        gradient: &Value,
        length: usize,
        rows: usize,
        places: &Value,
    ) -> Result<Value> {
        let zeros = self.fill(gradient.dtype(), &Shape::from((rows, length)), 0.0)?;
        if zeros.count() == 0 {
            return Ok(zeros);
        }
        let matrix = (rows, places.count() / rows);
        self.scatter_add(&zeros, 1, &places.reshape(matrix)?, &gradient.reshape(matrix)?)
    }
}

fn selected_shape(dims: &[usize], dim: usize, count: usize) -> Shape {
    let mut dims = dims.to_vec();
    dims[dim] = count;
    Shape::from(dims)
}

/// The error for an index that is out of range.
#[cold]
#[inline(never)]
pub(crate) fn index_error(index: i64, input: usize, bound: usize) -> Box<TensorError> {
    TensorError::request(format!(
        "index {index} of input {input} is out of range: it must be below {bound}"
    ))
}
