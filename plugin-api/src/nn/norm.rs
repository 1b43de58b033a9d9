//! Normalisation layers.

use super::{Init, Module, Params};
use crate::{Result, Tensor, abi::operation::op};

/// Layer normalisation over the last dimension (Ba et al. 2016, arXiv:1607.06450).
#[derive(Debug)]
pub struct LayerNorm {
    weight: Tensor,
    bias: Tensor,
    epsilon: f64,
}

/// Layer normalisation. Parameters `weight` and `bias` `[width]`.
///
/// # Errors
/// Outside [`Model::build`](crate::Model::build), or if the model has a parameter of that path already.
pub fn layer_norm(width: usize, epsilon: f64, params: Params) -> Result<LayerNorm> {
    Ok(LayerNorm {
        weight: params.get(width, "weight", Init::ONES)?,
        bias: params.get(width, "bias", Init::ZEROS)?,
        epsilon,
    })
}

/// Layer normalisation without a bias. Parameter `weight` `[width]`.
///
/// # Errors
/// Outside [`Model::build`](crate::Model::build), or if the model has a parameter of that path already.
pub fn layer_norm_no_bias(width: usize, epsilon: f64, params: Params) -> Result<LayerNorm> {
    let weight = params.get(width, "weight", Init::ONES)?;
    let bias = weight.zeros_like()?;
    Ok(LayerNorm { weight, bias, epsilon })
}

impl Module for LayerNorm {
    fn forward(&self, xs: &Tensor) -> Result<Tensor> {
        Tensor::apply(op::LAYER_NORM, &[xs, &self.weight, &self.bias], &[], &[self.epsilon])
    }
}

/// Root-mean-square normalisation over the last dimension (Zhang and Sennrich 2019,
/// arXiv:1910.07467).
#[derive(Debug)]
pub struct RmsNorm {
    weight: Tensor,
    epsilon: f64,
    offset: f64,
}

/// Root-mean-square normalisation. Parameter `weight` `[width]`.
///
/// # Errors
/// Outside [`Model::build`](crate::Model::build), or if the model has a parameter of that path already.
pub fn rms_norm(width: usize, epsilon: f64, params: Params) -> Result<RmsNorm> {
    rms_norm_offset(width, epsilon, 0.0, params)
}

/// Root-mean-square normalisation that multiplies by `weight + offset`. Parameter `weight`
/// `[width]`, `1 - offset` at first.
///
/// # Errors
/// Outside [`Model::build`](crate::Model::build), or if the model has a parameter of that path already.
pub fn rms_norm_offset(width: usize, epsilon: f64, offset: f64, params: Params) -> Result<RmsNorm> {
    let weight = params.get(width, "weight", Init::Const(1.0 - offset))?;
    Ok(RmsNorm { weight, epsilon, offset })
}

impl Module for RmsNorm {
    fn forward(&self, xs: &Tensor) -> Result<Tensor> {
        if self.offset == 0.0 {
            return Tensor::apply(op::RMS_NORM, &[xs, &self.weight], &[], &[self.epsilon]);
        }
        let weight = self.weight.affine(1.0, self.offset)?;
        Tensor::apply(op::RMS_NORM, &[xs, &weight], &[], &[self.epsilon])
    }
}

/// Batch normalisation over all but the channels of `[batch, channels, ..]` (Ioffe and Szegedy
/// 2015, arXiv:1502.03167).
#[derive(Debug)]
pub struct BatchNorm {
    weight: Tensor,
    bias: Tensor,
    mean: Tensor,
    variance: Tensor,
    epsilon: f64,
    momentum: f64,
}

/// Batch normalisation. Parameters `weight` and `bias`, buffers `running_mean` and `running_var`,
/// all `[channels]`.
///
/// # Errors
/// Outside [`Model::build`](crate::Model::build), or if the model has a parameter of that path already.
pub fn batch_norm(channels: usize, params: Params) -> Result<BatchNorm> {
    Ok(BatchNorm {
        weight: params.get(channels, "weight", Init::ONES)?,
        bias: params.get(channels, "bias", Init::ZEROS)?,
        mean: params.buffer(channels, "running_mean", Init::ZEROS)?,
        variance: params.buffer(channels, "running_var", Init::ONES)?,
        epsilon: 1e-5,
        momentum: 0.1,
    })
}

impl Module for BatchNorm {
    fn forward(&self, xs: &Tensor) -> Result<Tensor> {
        let inputs = [xs, &self.weight, &self.bias, &self.mean, &self.variance];
        Tensor::apply(op::BATCH_NORM, &inputs, &[0], &[self.epsilon, self.momentum])
    }
}

/// Normalisation over groups of channels of `[batch, channels, ..]` (Wu and He 2018,
/// arXiv:1803.08494).
#[derive(Debug)]
pub struct GroupNorm {
    weight: Tensor,
    bias: Tensor,
    groups: usize,
    epsilon: f64,
}

/// Group normalisation. Parameters `weight` and `bias` `[channels]`.
///
/// # Errors
/// Outside [`Model::build`](crate::Model::build), or if the model has a parameter of that path already.
pub fn group_norm(
    groups: usize,
    channels: usize,
    epsilon: f64,
    params: Params,
) -> Result<GroupNorm> {
    let (weight, bias) =
        (params.get(channels, "weight", Init::ONES)?, params.get(channels, "bias", Init::ZEROS)?);
    Ok(GroupNorm { weight, bias, groups, epsilon })
}

impl Module for GroupNorm {
    fn forward(&self, xs: &Tensor) -> Result<Tensor> {
        Tensor::apply(
            op::GROUP_NORM,
            &[xs, &self.weight, &self.bias],
            &[self.groups as i64],
            &[self.epsilon],
        )
    }
}
