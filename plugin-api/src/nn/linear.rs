//! Fully connected layers.

use super::{Activation, Init, Module, Params, lora::Adapter};
use crate::{Result, Tensor, abi::operation::op};

/// `act(x w^T + b)`: `[.., in]` becomes `[.., out]`.
#[derive(Debug)]
pub struct Linear {
    weight: Tensor,
    bias: Option<Tensor>,
    activation: Activation,
    /// Added before the activation.
    adapter: Option<Adapter>,
}

/// A fully connected layer. Parameters `weight` `[out, in]` and `bias` `[out]`, both uniform within
/// `1 / sqrt(in)` at first.
///
/// # Errors
/// Outside [`Model::build`](crate::Model::build), or if the model has a parameter of that path already.
pub fn linear(inputs: usize, outputs: usize, params: Params) -> Result<Linear> {
    let first = Init::symmetric(1.0 / (inputs.max(1) as f64).sqrt());
    let bias = params.get(outputs, "bias", first)?;
    Ok(Linear { bias: Some(bias), ..linear_no_bias(inputs, outputs, params)? })
}

/// A fully connected layer without a bias.
///
/// # Errors
/// Outside [`Model::build`](crate::Model::build), or if the model has a parameter of that path already.
pub fn linear_no_bias(inputs: usize, outputs: usize, params: Params) -> Result<Linear> {
    let first = Init::symmetric(1.0 / (inputs.max(1) as f64).sqrt());
    Ok(Linear {
        weight: params.get((outputs, inputs), "weight", first)?,
        bias: None,
        activation: Activation::None,
        adapter: params.adapter([inputs, outputs])?,
    })
}

/// A fully connected layer, [`linear`] or [`linear_no_bias`].
///
/// # Errors
/// Outside [`Model::build`](crate::Model::build), or if the model has a parameter of that path already.
pub fn linear_b(inputs: usize, outputs: usize, bias: bool, params: Params) -> Result<Linear> {
    if bias { linear(inputs, outputs, params) } else { linear_no_bias(inputs, outputs, params) }
}

impl Linear {
    /// A layer over existing tensors: `weight` `[out, in]`, `bias` `[out]`.
    pub fn new(weight: Tensor, bias: Option<Tensor>) -> Linear {
        Linear { weight, bias, activation: Activation::None, adapter: None }
    }

    /// With an activation in the same pass.
    pub fn with_activation(self, activation: Activation) -> Linear {
        Linear { activation, ..self }
    }

    /// The weight `[out, in]`.
    pub fn weight(&self) -> &Tensor {
        &self.weight
    }

    /// The bias `[out]`.
    pub fn bias(&self) -> Option<&Tensor> {
        self.bias.as_ref()
    }

    /// As [`Module::forward`], of samples of any shape: `[batch, ..]` becomes `[batch, out]`. All
    /// dimensions but the first are taken as one, which saves flattening them.
    ///
    /// # Errors
    /// If the sizes do not fit.
    pub fn forward_flat(&self, xs: &Tensor) -> Result<Tensor> {
        match &self.adapter {
            Some(_) => self.forward(&xs.flatten_from(1)?),
            None => self.run(op::FLAT_LINEAR, xs, self.activation),
        }
    }

    fn run(&self, operation: u32, xs: &Tensor, activation: Activation) -> Result<Tensor> {
        let ints = [activation.code()];
        match &self.bias {
            Some(bias) => Tensor::apply(operation, &[xs, &self.weight, bias], &ints, &[]),
            None => Tensor::apply(operation, &[xs, &self.weight], &ints, &[]),
        }
    }
}

impl Module for Linear {
    fn forward(&self, xs: &Tensor) -> Result<Tensor> {
        match &self.adapter {
            None => self.run(op::LINEAR, xs, self.activation),
            Some(adapter) => {
                let plain = self.run(op::LINEAR, xs, Activation::None)?;
                let more = adapter.forward(xs, &self.weight, (&plain, self.bias.as_ref()))?;
                self.activation.forward(&plain.add(&more)?)
            }
        }
    }
}
