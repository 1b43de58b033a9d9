//! Activation functions, as a layer and as a configuration value.

use super::Module;
use crate::{Result, Tensor, abi::operation::activation};

crate::choice! {
    /// Activation after a layer, as a setting of a run file and as a [`Module`].
    pub enum Activation {
        /// The value itself.
        None,
        /// max(x, 0).
        Relu,
        /// Gaussian error linear unit, tanh form.
        Gelu,
        /// Gaussian error linear unit, exact form.
        GeluErf,
        /// x sigmoid(x).
        Silu,
        /// Logistic function.
        Sigmoid,
        /// Hyperbolic tangent.
        Tanh,
    }
}

impl Activation {
    /// Its code, for operations that fuse it.
    pub fn code(self) -> i64 {
        match self {
            Activation::None => activation::NONE,
            Activation::Relu => activation::RELU,
            Activation::Gelu => activation::GELU,
            Activation::GeluErf => activation::GELU_ERF,
            Activation::Silu => activation::SILU,
            Activation::Sigmoid => activation::SIGMOID,
            Activation::Tanh => activation::TANH,
        }
    }
}

impl Module for Activation {
    fn forward(&self, xs: &Tensor) -> Result<Tensor> {
        match self {
            Activation::None => Ok(xs.clone()),
            Activation::Relu => xs.relu(),
            Activation::Gelu => xs.gelu(),
            Activation::GeluErf => xs.gelu_erf(),
            Activation::Silu => xs.silu(),
            Activation::Sigmoid => xs.sigmoid(),
            Activation::Tanh => xs.tanh(),
        }
    }
}
