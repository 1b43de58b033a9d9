//! Convolutions.

use candle_core::Shape;

use super::{Activation, Kept, Pair, Product};
use crate::error::Result;
use crate::value::Value;

/// Sizes of a convolution from `[images, inputs, h, w]` to `[images, outputs, oh, ow]`; pairs are
/// (height, width).
#[derive(Clone, Copy, Debug)]
pub struct Geometry {
    /// Number of images.
    pub images: usize,
    /// Channels of the input.
    pub inputs: usize,
    /// Channels of the result.
    pub outputs: usize,
    /// Groups of channels that are convolved apart.
    pub groups: usize,
    /// Size of the input.
    pub input: [usize; 2],
    /// Size of the result.
    pub output: [usize; 2],
    /// Size of the kernel.
    pub kernel: [usize; 2],
    /// Step from one window to the next.
    pub stride: [usize; 2],
    /// Zeros around the input.
    pub padding: [usize; 2],
    /// Distance of the kernel's elements in the input.
    pub dilation: [usize; 2],
    /// Whether products are of operands [rounded](super::Storage::rounded) to bf16, also of the gradient
    /// in the backward pass. [`convolve_fused`](Convolution::convolve_fused) and its gradient round
    /// them, other kernels get rounded ones. The bias, the activation and their gradients are not
    /// rounded.
    pub rounded: bool,
}

/// Convolutions. The transposed convolution is the gradient of the input.
pub trait Convolution: Product {
    /// `x` convolved with `w` `[outputs, inputs / groups, kh, kw]`.
    ///
    /// # Errors
    /// If the element type is not floating.
    fn convolve(&self, geometry: &Geometry, x: &Value, w: &Value) -> Result<Value>;

    /// The gradient of the input, `[images, inputs, h, w]`.
    ///
    /// # Errors
    /// If the element type is not floating.
    fn convolve_input(&self, geometry: &Geometry, gradient: &Value, w: &Value) -> Result<Value>;

    /// The gradient of the weights.
    ///
    /// # Errors
    /// If the element type is not floating.
    fn convolve_weights(&self, geometry: &Geometry, x: &Value, gradient: &Value) -> Result<Value>;

    /// `planes` `[images, channels, h, w]` plus a number for each channel.
    ///
    /// # Errors
    /// If the element type is not floating.
    fn add_bias(&self, planes: Value, bias: &Value) -> Result<Value> {
        let bias = bias.reshape((1, bias.count(), 1, 1))?;
        self.zip(Pair::Add, &planes, &bias, planes.shape())
    }

    /// A convolution with bias and activation, of shape `out`. Returns the values, and what the
    /// backward pass needs.
    ///
    /// # Errors
    /// If the element type is not floating.
    #[expect(clippy::too_many_arguments, reason = "what one fused kernel takes")]
    fn convolve_fused(
        &self,
        geometry: &Geometry,
        x: &Value,
        w: &Value,
        bias: Option<&Value>,
        activation: Activation,
        records: bool,
        out: Shape,
    ) -> Result<(Value, Kept)> {
        let operand = |x: &Value| self.operand(x.clone(), geometry.rounded);
        let mut z = self.convolve(geometry, &operand(x)?, &operand(w)?)?;
        if let Some(bias) = bias {
            z = self.add_bias(z, bias)?;
        }
        self.activate(activation, z.reshape(out)?, records)
    }

    /// The gradients of `x`, `w` and the bias of [`convolve_fused`](Self::convolve_fused), as far as
    /// they are wanted. `gradient` may have any layout and may be overwritten.
    ///
    /// # Errors
    /// If the element type is not floating.
    #[expect(clippy::too_many_arguments, reason = "what one fused kernel takes")]
    fn convolve_fused_gradient(
        &self,
        geometry: &Geometry,
        x: &Value,
        w: &Value,
        activation: Activation,
        kept: &Kept,
        gradient: Value,
        wants: [bool; 3],
    ) -> Result<[Option<Value>; 3]> {
        let gradient = self.deactivate(activation.function(), kept, gradient)?;
        let [height, width] = geometry.output;
        let g = gradient.reshape((geometry.images, geometry.outputs, height, width))?;
        let to_bias = || self.sum(&g, &[0, 2, 3], None, &Shape::from(geometry.outputs));
        let to_bias = wants[2].then(to_bias).transpose()?;
        let operand = |x: &Value| self.operand(x.clone(), geometry.rounded);
        let g = self.operand(g, geometry.rounded)?;
        let to_x = || self.convolve_input(geometry, &g, &operand(w)?)?.reshape(x.shape().clone());
        let to_w = || self.convolve_weights(geometry, &operand(x)?, &g)?.reshape(w.shape().clone());
        Ok([wants[0].then(to_x).transpose()?, wants[1].then(to_w).transpose()?, to_bias])
    }
}
