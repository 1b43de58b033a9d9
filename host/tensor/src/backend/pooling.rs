//! Pooling over windows of images, and enlargement.

use candle_core::Shape;

use super::Indexing;
use crate::error::Result;
use crate::value::Value;

/// Sizes of a pooling of `planes` = images times channels; pairs are (height, width).
#[derive(Clone, Copy, Debug)]
pub struct Windows {
    /// Images times channels.
    pub planes: usize,
    /// Size of the input.
    pub input: [usize; 2],
    /// Size of the result.
    pub output: [usize; 2],
    /// Size of a window.
    pub kernel: [usize; 2],
    /// Step from one window to the next.
    pub stride: [usize; 2],
    /// Border around the input: lowest numbers for the maximum, zeros for the mean.
    pub padding: [usize; 2],
}

/// Pooling. Results have the shape `out`.
pub trait Pooling: Indexing {
    /// The largest of each window, and its place (u32) as
    /// [`max_pool_gradient`](Self::max_pool_gradient) of the same backend reads it; NaN counts as
    /// largest, the first of equal ones is taken. With the default gradient: the place within the
    /// plane.
    ///
    /// # Errors
    /// If the element type is not floating.
    fn max_pool(&self, windows: &Windows, x: &Value, out: &Shape) -> Result<(Value, Value)>;

    /// Each gradient at the place of its window's largest.
    ///
    /// # Errors
    /// If the element type is not floating.
    fn max_pool_gradient(
        &self,
        windows: &Windows,
        gradient: &Value,
        places: &Value,
        out: &Shape,
    ) -> Result<Value> {
        let (area, windows_area) =
            (windows.input.iter().product(), windows.output.iter().product());
        let zeros = self.fill(gradient.dtype(), &Shape::from((windows.planes, area)), 0.0)?;
        let matrix: (usize, usize) = (windows.planes, windows_area);
        let (places, gradient) = (places.reshape(matrix)?, gradient.reshape(matrix)?);
        self.scatter_add(&zeros, 1, &places, &gradient)?.reshape(out.clone())
    }

    /// The mean of each window; the border counts as zeros.
    ///
    /// # Errors
    /// If the element type is not floating.
    fn average_pool(&self, windows: &Windows, x: &Value, out: &Shape) -> Result<Value>;

    /// Each gradient in equal parts to its window.
    ///
    /// # Errors
    /// If the element type is not floating.
    fn average_pool_gradient(
        &self,
        windows: &Windows,
        gradient: &Value,
        out: &Shape,
    ) -> Result<Value>;

    /// Nearest neighbour: `out[y][x] = in[y h / oh][x w / ow]`.
    ///
    /// # Errors
    /// If the element type is not floating.
    fn enlarge(&self, windows: &Windows, x: &Value, out: &Shape) -> Result<Value>;

    /// The sum of the gradients of each element's copies.
    ///
    /// # Errors
    /// If the element type is not floating.
    fn enlarge_gradient(&self, windows: &Windows, gradient: &Value, out: &Shape) -> Result<Value>;
}
