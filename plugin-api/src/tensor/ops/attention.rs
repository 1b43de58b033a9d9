//! Attention, rotary positions, and operations of images.

use crate::{
    Result,
    abi::operation::op,
    tensor::{DType, Tensor},
};

/// What may be set for [`Tensor::attention`].
#[derive(Clone, Copy, Debug, Default)]
pub struct Attention<'a> {
    /// Added to the scores; broadcasts to `[batch, heads, queries, keys]`. Negative infinity hides a
    /// key; each query must see one.
    pub bias: Option<&'a Tensor>,
    /// How many keys of each sequence are no padding, `u32` or `i64` `[batch]`.
    pub lengths: Option<&'a Tensor>,
    /// Whether a query sees only keys up to its own place. The queries are the last ones of the
    /// places.
    pub causal: bool,
    /// Keys this far away and farther are not seen.
    pub window: Option<usize>,
    /// Factor of the scores; `1 / sqrt(width)` by default.
    pub scale: Option<f64>,
    /// Probability that a weight is dropped in training.
    pub dropout: f64,
}

/// Attention and rotary positions.
impl Tensor {
    /// Attention of these queries `[batch, heads, queries, width]` to `keys` and `values` `[batch,
    /// groups, keys, width]`: `softmax(scale q k^T + bias) v` with the shape of the queries. The heads are
    /// a multiple of the groups, and neighbouring heads share a group.
    ///
    /// # Errors
    /// If shapes do not fit, or a length is larger than the number of keys.
    pub fn attention(
        &self,
        keys: &Tensor,
        values: &Tensor,
        options: &Attention<'_>,
    ) -> Result<Tensor> {
        let ints = [i64::from(options.causal), options.window.unwrap_or(0) as i64];
        let floats = [options.scale.unwrap_or(0.0), options.dropout];
        let mut inputs = vec![self, keys, values];
        inputs.extend(options.bias);
        inputs.extend(options.lengths);
        Tensor::apply(op::SCALED_ATTENTION, &inputs, &ints, &floats)
    }

    /// Rotates pairs of channels of `[.., time, width]` by angles whose cosines and sines are `[time,
    /// width / 2]`, or `[batch, time, width / 2]`. A pair is channels `i` and `i + width / 2`, or two
    /// neighbours if `interleaved`.
    ///
    /// # Errors
    /// If shapes do not fit.
    pub fn rotary(&self, cosines: &Tensor, sines: &Tensor, interleaved: bool) -> Result<Tensor> {
        Tensor::apply(op::ROTARY, &[self, cosines, sines], &[i64::from(interleaved)], &[])
    }

    /// Which elements equal a number, as numbers: 1 or 0 of element type `dtype`.
    ///
    /// # Errors
    /// If the element type does not fit.
    pub fn is_number(&self, number: f64, dtype: DType) -> Result<Tensor> {
        let number = Tensor::full(number, (), self.dtype()?)?;
        Tensor::apply(op::EQ, &[self, &number], &[], &[])?.to_dtype(dtype)
    }
}

/// How [`Tensor::resize2d`] computes elements between others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resize {
    /// Linear along each axis.
    Bilinear,
    /// Cubic along each axis.
    Bicubic,
}

/// Images.
impl Tensor {
    /// Images `[batch, channels, height, width]` of another size, as PyTorch's `interpolate` with
    /// `align_corners=False`; with `antialias` as Pillow does.
    ///
    /// # Errors
    /// If a size is 0, or the shape does not fit.
    pub fn resize2d(
        &self,
        height: usize,
        width: usize,
        method: Resize,
        antialias: bool,
    ) -> Result<Tensor> {
        let method = i64::from(method == Resize::Bicubic);
        let ints = [height as i64, width as i64, method, i64::from(antialias)];
        Tensor::apply(op::RESIZE2D, &[self], &ints, &[])
    }

    /// Means of `height` by `width` equal parts of `[batch, channels, .., ..]`.
    ///
    /// # Errors
    /// If a size is 0, or the shape does not fit.
    pub fn adaptive_avg_pool2d(&self, height: usize, width: usize) -> Result<Tensor> {
        Tensor::apply(op::ADAPTIVE_AVG_POOL2D, &[self], &[height as i64, width as i64], &[])
    }
}
