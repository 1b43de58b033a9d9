//! Layers over parameters that the host keeps, with candle-nn's names.
//!
//! A layer is made from sizes and a place for its parameters, `linear(784, 128, params.pp("fc1"))`,
//! and run with [`Module::forward`]. First values are PyTorch's unless the layer says otherwise.

mod activation;
mod attention;
mod conv;
mod dropout;
mod embedding;
mod linear;
mod norm;
mod params;
mod sequential;

pub use activation::Activation;
pub use attention::{SelfAttention, self_attention};
pub use conv::{
    Conv1d, Conv2d, ConvConfig, ConvTranspose2d, Pool, Pool2d, conv_transpose2d, conv1d, conv2d,
    pool2d,
};
pub use dropout::{Dropout, dropout};
pub use embedding::{Embedding, embedding};
pub use linear::{Linear, linear, linear_no_bias};
pub use norm::{
    BatchNorm, GroupNorm, LayerNorm, RmsNorm, batch_norm, group_norm, layer_norm, rms_norm,
};
pub use params::{Init, Params};
pub use sequential::{Sequential, seq};

use crate::{Result, Tensor};

/// Something with a forward pass: one tensor in, one out.
pub trait Module {
    /// From input to output.
    fn forward(&self, xs: &Tensor) -> Result<Tensor>;
}

impl<F: Fn(&Tensor) -> Result<Tensor>> Module for F {
    fn forward(&self, xs: &Tensor) -> Result<Tensor> {
        self(xs)
    }
}
