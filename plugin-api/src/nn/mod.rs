//! Layers over parameters that the host keeps, with candle-nn's names.
//!
//! A layer is created from sizes and a path for its parameters, and run with [`Module::forward`].
//! Initial values are PyTorch's unless the layer says otherwise.
//!
//! ```
//! use fluxbay_plugin::{
//!     nn::{Sequential, linear, seq},
//!     prelude::*,
//! };
//!
//! /// `[batch, 784]` to `[batch, 10]`, with parameters `fc1.weight`, `fc1.bias`, `fc2.weight`, ...
//! fn classifier(params: Params) -> Result<Sequential> {
//!     Ok(seq()
//!         .add(linear(784, 128, params.pp("fc1"))?)
//!         .add(|xs: &Tensor| xs.relu())
//!         .add(linear(128, 10, params.pp("fc2"))?))
//! }
//! ```

mod activation;
mod attention;
mod block;
mod conv;
mod dropout;
mod embedding;
mod experts;
mod linear;
mod lora;
mod norm;
mod packing;
mod params;
mod position;
mod projected;
mod recurrent;
mod rotary;
mod sequential;

pub use activation::Activation;
pub use attention::{SelfAttention, attend, merge_heads, self_attention, split_heads};
pub use block::{
    FeedForward, GatedFeedForward, TransformerBlock, feed_forward, gated_feed_forward,
};
pub use conv::{
    Conv1d, Conv2d, ConvConfig, ConvTranspose1d, ConvTranspose2d, Pool, Pool2d, conv_transpose1d,
    conv_transpose2d, conv1d, conv2d, pool2d,
};
pub use dropout::{Dropout, dropout};
pub use embedding::{Embedding, EmbeddingBag, embedding, embedding_bag};
pub use experts::{MixtureConfig, MixtureOfExperts, mixture_of_experts, top_k_routing};
pub use linear::{Linear, linear, linear_b, linear_no_bias};
pub use lora::Lora;
pub use norm::{
    BatchNorm, GroupNorm, LayerNorm, RmsNorm, batch_norm, group_norm, layer_norm,
    layer_norm_no_bias, rms_norm, rms_norm_offset,
};
pub use packing::{Packing, packing};
pub use params::{Init, Params};
pub use position::{first_position, positions, sinusoids};
pub use projected::{ProjectedAttention, fused_attention, projected_attention};
pub use recurrent::{Gru, Lstm, gru, lstm};
pub use rotary::{RotaryEmbedding, RotaryScaling, rotary};
pub use sequential::{Sequential, seq};

use crate::{Result, Tensor};

/// A layer or a function with a forward pass: one tensor in, one out. Closures
/// `|xs: &Tensor| xs.relu()` are modules too.
pub trait Module {
    /// Computes the output from the input.
    ///
    /// # Errors
    /// If shape or element type do not fit; the error names both.
    fn forward(&self, xs: &Tensor) -> Result<Tensor>;
}

impl<F: Fn(&Tensor) -> Result<Tensor>> Module for F {
    fn forward(&self, xs: &Tensor) -> Result<Tensor> {
        self(xs)
    }
}
