//! Convolutions and pooling over `[batch, channels, ...]`.

use super::{Activation, Init, Module, Params};
use crate::{Error, Result, Tensor, abi::operation::op};

/// Geometry of a convolution, the same in both directions. The default has stride 1, no padding and a
/// bias.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConvConfig {
    /// Steps between windows.
    pub stride: usize,
    /// Zeros at each border.
    pub padding: usize,
    /// Steps between the elements of a window.
    pub dilation: usize,
    /// Number of groups of channels that are convolved apart.
    pub groups: usize,
    /// Whether a bias is added.
    pub bias: bool,
    /// Activation after it, in the same pass.
    pub activation: Activation,
}

impl Default for ConvConfig {
    fn default() -> Self {
        ConvConfig {
            stride: 1,
            padding: 0,
            dilation: 1,
            groups: 1,
            bias: true,
            activation: Activation::None,
        }
    }
}

macro_rules! convolutions {
    ($($(#[$doc:meta])* $layer:ident);+ $(;)?) => { $(
        $(#[$doc])*
        #[derive(Debug)]
        pub struct $layer {
            weight: Tensor,
            bias: Option<Tensor>,
            config: ConvConfig,
        }

        impl $layer {
            /// The weight.
            pub fn weight(&self) -> &Tensor {
                &self.weight
            }

            /// The bias, one per output channel.
            pub fn bias(&self) -> Option<&Tensor> {
                self.bias.as_ref()
            }

            fn run(
                &self,
                code: u32,
                xs: &Tensor,
                weight: &Tensor,
                ints: &[i64],
            ) -> Result<Tensor> {
                match &self.bias {
                    Some(bias) => Tensor::apply(code, &[xs, weight, bias], ints, &[]),
                    None => Tensor::apply(code, &[xs, weight], ints, &[]),
                }
            }
        }
    )+ };
}

convolutions! {
    /// Convolution over one axis: `[batch, in, length]` becomes `[batch, out, length']`.
    Conv1d;
    /// Convolution over two axes: `[batch, in, height, width]` becomes
    /// `[batch, out, height', width']`.
    Conv2d;
    /// Transposed convolution over one axis: `[batch, in, length]` becomes `[batch, out, length']`,
    /// enlarged by the stride.
    ConvTranspose1d;
    /// Transposed convolution over two axes: `[batch, in, height, width]` becomes
    /// `[batch, out, height', width']`, enlarged by the stride.
    ConvTranspose2d;
}

fn check_groups(inputs: usize, outputs: usize, config: &ConvConfig) -> Result<()> {
    if config.groups == 0
        || !inputs.is_multiple_of(config.groups)
        || !outputs.is_multiple_of(config.groups)
    {
        return Err(Error::new(format!(
            "{inputs} input and {outputs} output channels cannot be divided into {} groups",
            config.groups
        )));
    }
    Ok(())
}

fn bias_of(
    outputs: usize,
    fan_in: usize,
    config: &ConvConfig,
    params: &Params,
) -> Result<Option<Tensor>> {
    let first = Init::symmetric(1.0 / (fan_in.max(1) as f64).sqrt());
    if config.bias { params.get(outputs, "bias", first).map(Some) } else { Ok(None) }
}

/// A convolution over one axis. Parameters `weight` `[out, in / groups, kernel]` and `bias`
/// `[out]`.
///
/// # Errors
/// Outside [`Model::build`](crate::Model::build), or if the model has a parameter of that path already. Also if the sizes do not fit together.
pub fn conv1d(
    inputs: usize,
    outputs: usize,
    kernel: usize,
    config: ConvConfig,
    params: Params,
) -> Result<Conv1d> {
    check_groups(inputs, outputs, &config)?;
    let fan_in = inputs / config.groups * kernel;
    let first = Init::symmetric(1.0 / (fan_in.max(1) as f64).sqrt());
    let weight = params.get((outputs, inputs / config.groups, kernel), "weight", first)?;
    Ok(Conv1d { weight, bias: bias_of(outputs, fan_in, &config, &params)?, config })
}

/// A convolution over two axes. Parameters `weight` `[out, in / groups, kernel, kernel]` and `bias`
/// `[out]`, both uniform within `1 / sqrt(in / groups * kernel^2)` at first.
///
/// # Errors
/// Outside [`Model::build`](crate::Model::build), or if the model has a parameter of that path already. Also if the sizes do not fit together.
pub fn conv2d(
    inputs: usize,
    outputs: usize,
    kernel: usize,
    config: ConvConfig,
    params: Params,
) -> Result<Conv2d> {
    check_groups(inputs, outputs, &config)?;
    let fan_in = inputs / config.groups * kernel * kernel;
    let first = Init::symmetric(1.0 / (fan_in.max(1) as f64).sqrt());
    let weight = params.get((outputs, inputs / config.groups, kernel, kernel), "weight", first)?;
    Ok(Conv2d { weight, bias: bias_of(outputs, fan_in, &config, &params)?, config })
}

/// A transposed convolution over one axis. Parameters `weight` `[in, out / groups, kernel]` and `bias`
/// `[out]`.
///
/// # Errors
/// Outside [`Model::build`](crate::Model::build), or if the model has a parameter of that path already. Also if the sizes do not fit together.
pub fn conv_transpose1d(
    inputs: usize,
    outputs: usize,
    kernel: usize,
    config: ConvConfig,
    params: Params,
) -> Result<ConvTranspose1d> {
    check_groups(inputs, outputs, &config)?;
    let fan_in = outputs / config.groups * kernel;
    let first = Init::symmetric(1.0 / (fan_in.max(1) as f64).sqrt());
    let weight = params.get((inputs, outputs / config.groups, kernel), "weight", first)?;
    Ok(ConvTranspose1d { weight, bias: bias_of(outputs, fan_in, &config, &params)?, config })
}

/// A transposed convolution over two axes. Parameters `weight` `[in, out / groups, kernel, kernel]`
/// and `bias` `[out]`.
///
/// # Errors
/// Outside [`Model::build`](crate::Model::build), or if the model has a parameter of that path already. Also if the sizes do not fit together.
pub fn conv_transpose2d(
    inputs: usize,
    outputs: usize,
    kernel: usize,
    config: ConvConfig,
    params: Params,
) -> Result<ConvTranspose2d> {
    check_groups(inputs, outputs, &config)?;
    let fan_in = outputs / config.groups * kernel * kernel;
    let first = Init::symmetric(1.0 / (fan_in.max(1) as f64).sqrt());
    let weight = params.get((inputs, outputs / config.groups, kernel, kernel), "weight", first)?;
    Ok(ConvTranspose2d { weight, bias: bias_of(outputs, fan_in, &config, &params)?, config })
}

impl Module for Conv1d {
    fn forward(&self, xs: &Tensor) -> Result<Tensor> {
        let ConvConfig { stride, padding, dilation, groups, activation, .. } = self.config;
        self.run(
            op::CONV1D,
            xs,
            &self.weight,
            &[stride as i64, padding as i64, dilation as i64, groups as i64, activation.code()],
        )
    }
}

impl Module for Conv2d {
    fn forward(&self, xs: &Tensor) -> Result<Tensor> {
        let ConvConfig { stride, padding, dilation, groups, activation, .. } = self.config;
        let [s, p, d] = [stride as i64, padding as i64, dilation as i64];
        self.run(
            op::CONV2D,
            xs,
            &self.weight,
            &[s, s, p, p, d, d, groups as i64, activation.code()],
        )
    }
}

impl Module for ConvTranspose1d {
    fn forward(&self, xs: &Tensor) -> Result<Tensor> {
        let ConvConfig { stride, padding, dilation, groups, activation, .. } = self.config;
        let [s, p, d] = [stride as i64, padding as i64, dilation as i64];
        // One row of an image.
        let (xs, weight) = (xs.unsqueeze(2)?, self.weight.unsqueeze(2)?);
        let ints = [1, s, 0, p, 0, 0, 1, d, groups as i64];
        activation.forward(&self.run(op::CONV_TRANSPOSE2D, &xs, &weight, &ints)?.squeeze(2)?)
    }
}

impl Module for ConvTranspose2d {
    fn forward(&self, xs: &Tensor) -> Result<Tensor> {
        let ConvConfig { stride, padding, dilation, groups, activation, .. } = self.config;
        let [s, p, d] = [stride as i64, padding as i64, dilation as i64];
        activation.forward(&self.run(
            op::CONV_TRANSPOSE2D,
            xs,
            &self.weight,
            &[s, s, p, p, 0, 0, d, d, groups as i64],
        )?)
    }
}

/// What pooling keeps of a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pool {
    /// The largest value.
    Max,
    /// The mean.
    Avg,
}

/// Pooling over two axes: `[batch, channels, height, width]`, each window becomes one value.
#[derive(Clone, Copy, Debug)]
pub struct Pool2d {
    pool: Pool,
    kernel: usize,
    stride: usize,
    padding: usize,
}

/// Pooling with square windows of `kernel` elements a side, `stride` elements apart, over inputs with
/// `padding` elements on each border: `[batch, channels, height, width]` in and out.
pub fn pool2d(pool: Pool, kernel: usize, stride: usize, padding: usize) -> Pool2d {
    Pool2d { pool, kernel, stride, padding }
}

impl Module for Pool2d {
    fn forward(&self, xs: &Tensor) -> Result<Tensor> {
        let [k, s, p] = [self.kernel as i64, self.stride as i64, self.padding as i64];
        let code = match self.pool {
            Pool::Max => op::MAX_POOL2D,
            Pool::Avg => op::AVG_POOL2D,
        };
        Tensor::apply(code, &[xs], &[k, k, s, s, p, p], &[])
    }
}

impl Tensor {
    /// Largest value of each square window of `[batch, channels, height, width]`; windows do not
    /// overlap.
    ///
    /// # Errors
    /// Outside [`Model::build`](crate::Model::build), or if the model has a parameter of that path already. Also if the sizes do not fit together.
    pub fn max_pool2d(&self, kernel: usize) -> Result<Tensor> {
        pool2d(Pool::Max, kernel, kernel, 0).forward(self)
    }

    /// Mean of each square window of `[batch, channels, height, width]`; windows do not overlap.
    ///
    /// # Errors
    /// Outside [`Model::build`](crate::Model::build), or if the model has a parameter of that path already. Also if the sizes do not fit together.
    pub fn avg_pool2d(&self, kernel: usize) -> Result<Tensor> {
        pool2d(Pool::Avg, kernel, kernel, 0).forward(self)
    }

    /// Nearest-neighbour enlargement of `[batch, channels, height, width]`.
    ///
    /// # Errors
    /// Outside [`Model::build`](crate::Model::build), or if the model has a parameter of that path already. Also if the sizes do not fit together.
    pub fn upsample_nearest2d(&self, height: usize, width: usize) -> Result<Tensor> {
        Tensor::apply(op::UPSAMPLE_NEAREST2D, &[self], &[height as i64, width as i64], &[])
    }
}
