//! Parts of transformer blocks whose layers have names of the model's choice.

use super::{Activation, Linear, Module, Params, attend, linear, linear_no_bias};
use crate::{Attention, Result, Tensor};

/// Attention with its projections: query, key, value and output.
#[derive(Debug)]
pub struct ProjectedAttention {
    query: Linear,
    key: Linear,
    value: Linear,
    output: Linear,
    heads: usize,
}

/// Attention of `heads` heads over `[batch, time, width]`, with linear layers `[width, width]` at the
/// four paths: query, key, value and output, each with a bias.
///
/// # Errors
/// Outside [`Model::build`](crate::Model::build), or if the model has a parameter of such a path
/// already. Also if the heads do not divide the width.
pub fn projected_attention(
    width: usize,
    heads: usize,
    [query, key, value, output]: [Params; 4],
) -> Result<ProjectedAttention> {
    let square = |params| linear(width, width, params);
    ProjectedAttention::new(
        [square(query)?, square(key)?, square(value)?, square(output)?],
        [width, heads],
    )
}

impl ProjectedAttention {
    /// Of layers that are there: query, key, value and output. `width` is that of the queries.
    ///
    /// # Errors
    /// If the heads do not divide the width.
    pub fn new(
        [query, key, value, output]: [Linear; 4],
        [width, heads]: [usize; 2],
    ) -> Result<ProjectedAttention> {
        if heads == 0 || !width.is_multiple_of(heads) {
            crate::bail!("{heads} heads do not divide a width of {width}");
        }
        Ok(ProjectedAttention { query, key, value, output, heads })
    }

    /// Attention of `[batch, queries, width]` to itself.
    ///
    /// # Errors
    /// If the sizes do not fit.
    pub fn forward(&self, xs: &Tensor, options: &Attention<'_>) -> Result<Tensor> {
        self.cross(xs, xs, options)
    }

    /// Attention of `[batch, queries, width]` to `memory` `[batch, keys, width]`.
    ///
    /// # Errors
    /// If the sizes do not fit.
    pub fn cross(&self, xs: &Tensor, memory: &Tensor, options: &Attention<'_>) -> Result<Tensor> {
        let (q, k, v) =
            (self.query.forward(xs)?, self.key.forward(memory)?, self.value.forward(memory)?);
        self.output.forward(&attend([&q, &k, &v], [self.heads; 2], options)?)
    }
}

/// A linear layer to a larger width with an activation, and one back.
#[derive(Debug)]
pub struct FeedForward(Linear, Linear);

/// Linear layers `[wide, width]` and `[width, wide]` with biases at the two paths, and an activation
/// between them.
///
/// # Errors
/// Outside [`Model::build`](crate::Model::build), or if the model has a parameter of such a path
/// already.
pub fn feed_forward(
    [width, wide]: [usize; 2],
    activation: Activation,
    [expand, contract]: [Params; 2],
) -> Result<FeedForward> {
    let expand = linear(width, wide, expand)?.with_activation(activation);
    Ok(FeedForward(expand, linear(wide, width, contract)?))
}

impl Module for FeedForward {
    fn forward(&self, xs: &Tensor) -> Result<Tensor> {
        self.1.forward(&self.0.forward(xs)?)
    }
}

/// A gated feed-forward layer: `down(act(gate(x)) up(x))` (Shazeer 2020, arXiv:2002.05202). With SiLU it
/// is SwiGLU, with GELU GeGLU.
#[derive(Debug)]
pub struct GatedFeedForward([Linear; 3]);

/// Linear layers without biases at the three paths: gate and up `[wide, width]`, down `[width, wide]`.
///
/// # Errors
/// Outside [`Model::build`](crate::Model::build), or if the model has a parameter of such a path
/// already.
pub fn gated_feed_forward(
    [width, wide]: [usize; 2],
    activation: Activation,
    [gate, up, down]: [Params; 3],
) -> Result<GatedFeedForward> {
    Ok(GatedFeedForward([
        linear_no_bias(width, wide, gate)?.with_activation(activation),
        linear_no_bias(width, wide, up)?,
        linear_no_bias(wide, width, down)?,
    ]))
}

impl Module for GatedFeedForward {
    fn forward(&self, xs: &Tensor) -> Result<Tensor> {
        let [gate, up, down] = &self.0;
        down.forward(&gate.forward(xs)?.mul(&up.forward(xs)?)?)
    }
}
