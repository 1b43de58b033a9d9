//! Normalisation: of rows (layer, root mean square, group) and of channels (batch).

use candle_core::Shape;

use super::{Function, Pair, Product};
use crate::error::Result;
use crate::value::Value;

/// What is subtracted from a row.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Centre {
    /// Its mean.
    Mean,
    /// Nothing: root mean square.
    Zero,
}

/// Sizes of a tensor `[images, channels, area]`.
#[derive(Clone, Copy, Debug)]
pub struct Channels {
    /// First dimension.
    pub images: usize,
    /// Channels.
    pub channels: usize,
    /// Elements of a channel of one image.
    pub area: usize,
}

impl Channels {
    fn shape(self) -> Shape {
        Shape::from((self.images, self.channels, self.area))
    }
}

/// Normalisation. "Moments" are `[rows, 2]`: mean and `1 / sqrt(variance + epsilon)` of each row.
pub trait Normalization: Product {
    /// `(x - mean) / sqrt(variance + epsilon)` of each row of `width` elements, times weights and
    /// plus bias `[width]` where there are any; and the moments.
    ///
    /// # Errors
    /// If the element type is not floating.
    fn normalize_rows(
        &self,
        x: &Value,
        width: usize,
        centre: Centre,
        epsilon: f64,
        weights: Option<&Value>,
        bias: Option<&Value>,
    ) -> Result<(Value, Value)> {
        let rows = x.count() / width;
        let (matrix, column) = (Shape::from((rows, width)), Shape::from((rows, 1)));
        let x_rows = x.reshape(matrix.clone())?;
        let mean = match centre {
            Centre::Mean => self.sum(&x_rows, &[1], Some(width), &column)?,
            Centre::Zero => self.fill(x.dtype(), &column, 0.0)?,
        };
        let centred = self.zip(Pair::Sub, &x_rows, &mean, &matrix)?;
        let squares = self.map(Function::Sqr, &centred)?;
        let variance = self.sum(&squares, &[1], Some(width), &column)?;
        let scale = inverse_deviation(self, &variance, epsilon)?;
        let mut out = self.zip(Pair::Mul, &centred, &scale, &matrix)?;
        if let Some(weights) = weights {
            out = self.zip(Pair::Mul, &out, weights, &matrix)?;
        }
        if let Some(bias) = bias {
            out = self.zip(Pair::Add, &out, bias, &matrix)?;
        }
        let moments = self.concatenate(&[&mean, &scale], 1)?;
        Ok((out.reshape(x.shape().clone())?, moments))
    }

    /// The gradient of `x` in [`normalize_rows`](Self::normalize_rows).
    ///
    /// # Errors
    /// If the element type is not floating.
    fn normalize_rows_gradient(
        &self,
        x: &Value,
        gradient: &Value,
        width: usize,
        centre: Centre,
        weights: Option<&Value>,
        moments: &Value,
    ) -> Result<Value> {
        let (normal, scale) = normal_rows(self, x, width, moments)?;
        let (matrix, column) = (normal.shape().clone(), scale.shape().clone());
        let mut g = gradient.reshape(matrix.clone())?;
        if let Some(weights) = weights {
            g = self.zip(Pair::Mul, &g, weights, &matrix)?;
        }
        // scale (g - mean(g) - normal mean(g normal))
        let along = self.zip(Pair::Mul, &g, &normal, &matrix)?;
        let along = self.sum(&along, &[1], Some(width), &column)?;
        let mut inner =
            self.zip(Pair::Sub, &g, &self.zip(Pair::Mul, &normal, &along, &matrix)?, &matrix)?;
        if centre == Centre::Mean {
            let average = self.sum(&g, &[1], Some(width), &column)?;
            inner = self.zip(Pair::Sub, &inner, &average, &matrix)?;
        }
        self.zip(Pair::Mul, &inner, &scale, &matrix)?.reshape(x.shape().clone())
    }

    /// The gradients of weights and bias in [`normalize_rows`](Self::normalize_rows).
    ///
    /// # Errors
    /// If the element type is not floating.
    fn normalize_affine_gradient(
        &self,
        x: &Value,
        gradient: &Value,
        width: usize,
        moments: &Value,
    ) -> Result<(Value, Value)> {
        let (normal, _) = normal_rows(self, x, width, moments)?;
        let g = gradient.reshape(normal.shape().clone())?;
        let products = self.zip(Pair::Mul, &g, &normal, normal.shape())?;
        let out = Shape::from(width);
        Ok((self.sum(&products, &[0], None, &out)?, self.sum(&g, &[0], None, &out)?))
    }

    /// `x factors + shifts` with a number for each channel (no shift without `shifts`).
    ///
    /// # Errors
    /// If the element type is not floating.
    fn scale_channels(
        &self,
        sizes: Channels,
        x: &Value,
        factors: &Value,
        shifts: Option<&Value>,
    ) -> Result<Value> {
        let shape = sizes.shape();
        let column = (1, sizes.channels, 1);
        let mut out =
            self.zip(Pair::Mul, &x.reshape(shape.clone())?, &factors.reshape(column)?, &shape)?;
        if let Some(shifts) = shifts {
            out = self.zip(Pair::Add, &out, &shifts.reshape(column)?, &shape)?;
        }
        out.reshape(x.shape().clone())
    }

    /// Sums `[channels]` over images and area.
    ///
    /// # Errors
    /// If the element type is not floating.
    fn channel_sums(&self, sizes: Channels, x: &Value) -> Result<Value> {
        self.sum(&x.reshape(sizes.shape())?, &[0, 2], None, &Shape::from(sizes.channels))
    }

    /// Mean and (biased) variance of each channel.
    ///
    /// # Errors
    /// If the element type is not floating.
    fn channel_moments(&self, sizes: Channels, x: &Value) -> Result<(Value, Value)> {
        let shape = sizes.shape();
        let count = sizes.images * sizes.area;
        let (column, out) = (Shape::from((1, sizes.channels, 1)), Shape::from(sizes.channels));
        let x = x.reshape(shape.clone())?;
        let mean = self.sum(&x, &[0, 2], Some(count), &column)?;
        let centred = self.zip(Pair::Sub, &x, &mean, &shape)?;
        let squares = self.map(Function::Sqr, &centred)?;
        let variance = self.sum(&squares, &[0, 2], Some(count), &out)?;
        Ok((mean.reshape(out)?, variance))
    }

    /// `(x - mean) / sqrt(variance + epsilon) weights + bias` with numbers for each channel; and
    /// `1 / sqrt(variance + epsilon)`.
    ///
    /// # Errors
    /// If the element type is not floating.
    fn normalize_channels(
        &self,
        sizes: Channels,
        x: &Value,
        [mean, variance]: [&Value; 2],
        epsilon: f64,
        [weights, bias]: [&Value; 2],
    ) -> Result<(Value, Value)> {
        let scale = inverse_deviation(self, variance, epsilon)?;
        let normal = normal_channels(self, sizes, x, mean, &scale)?;
        Ok((
            self.scale_channels(sizes, &normal, weights, Some(bias))?.reshape(x.shape().clone())?,
            scale,
        ))
    }

    /// The gradients of `x` (if wanted), weights and bias in
    /// [`normalize_channels`](Self::normalize_channels); `training` if mean and variance are those
    /// of `x`.
    ///
    /// # Errors
    /// If the element type is not floating.
    #[expect(clippy::too_many_arguments, reason = "what one fused kernel takes")]
    fn normalize_channels_gradient(
        &self,
        sizes: Channels,
        x: &Value,
        gradient: &Value,
        [mean, scale]: [&Value; 2],
        weights: &Value,
        training: bool,
        wants_x: bool,
    ) -> Result<[Option<Value>; 3]> {
        let shape = sizes.shape();
        let column = (1, sizes.channels, 1);
        let normal = normal_channels(self, sizes, x, mean, scale)?;
        let g = gradient.reshape(shape.clone())?;
        let to_bias = self.channel_sums(sizes, &g)?;
        let to_weights = self.channel_sums(sizes, &self.zip(Pair::Mul, &g, &normal, &shape)?)?;
        let to_x = || {
            let mut inner = g.clone();
            if training {
                // g - (sum(g) + normal sum(g normal)) / count
                let along = self.zip(Pair::Mul, &normal, &to_weights.reshape(column)?, &shape)?;
                let sums = self.zip(Pair::Add, &along, &to_bias.reshape(column)?, &shape)?;
                let count = (sizes.images * sizes.area) as f64;
                let average = self.map(Function::Scale(1.0 / count), &sums)?;
                inner = self.zip(Pair::Sub, &inner, &average, &shape)?;
            }
            let inner = self.scale_channels(sizes, &inner, weights, None)?;
            self.scale_channels(sizes, &inner, scale, None)?.reshape(x.shape().clone())
        };
        let to_x = wants_x.then(to_x).transpose()?;
        Ok([to_x, Some(to_weights), Some(to_bias)])
    }
}

/// `1 / sqrt(variance + epsilon)`.
fn inverse_deviation<B: Normalization + ?Sized>(
    backend: &B,
    variance: &Value,
    epsilon: f64,
) -> Result<Value> {
    let shifted = backend.map(Function::Affine(1.0, epsilon), variance)?;
    backend.map(Function::Recip, &backend.map(Function::Sqrt, &shifted)?)
}

/// Rows normalised with known moments, and the second moments as a column.
fn normal_rows<B: Normalization + ?Sized>(
    backend: &B,
    x: &Value,
    width: usize,
    moments: &Value,
) -> Result<(Value, Value)> {
    let x = x.reshape((x.count() / width, width))?;
    let mean = backend.contiguous(&moments.narrow(1, 0, 1)?)?;
    let scale = backend.contiguous(&moments.narrow(1, 1, 1)?)?;
    let centred = backend.zip(Pair::Sub, &x, &mean, x.shape())?;
    Ok((backend.zip(Pair::Mul, &centred, &scale, x.shape())?, scale))
}

/// `(x - mean) scale` as `[images, channels, area]`.
fn normal_channels<B: Normalization + ?Sized>(
    backend: &B,
    sizes: Channels,
    x: &Value,
    mean: &Value,
    scale: &Value,
) -> Result<Value> {
    let (shape, column) = (sizes.shape(), (1, sizes.channels, 1));
    let x = x.reshape(shape.clone())?;
    let centred = backend.zip(Pair::Sub, &x, &mean.reshape(column)?, &shape)?;
    backend.zip(Pair::Mul, &centred, &scale.reshape(column)?, &shape)
}
