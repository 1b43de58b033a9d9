//! Blocks of transformers, and their feed-forward layers.

use super::{
    Activation, Dropout, Linear, Module, Params, ProjectedAttention, linear, linear_no_bias,
};
use crate::{Attention, Result, Tensor};

/// A block of a transformer over `[batch, time, width]`: attention, then a feed-forward layer, each with
/// a normalisation and with its input added to its result.
///
/// ```
/// # use fluxbay_plugin::{Attention, nn::*, prelude::*};
/// /// A causal block, such as those of GPT-2.
/// fn block(width: usize, heads: usize, params: &Params) -> Result<TransformerBlock> {
///     let norm = |name: &str| layer_norm(width, 1e-5, params.pp(name));
///     let norms = [norm("ln_1")?, norm("ln_2")?];
///     let attention = ["attn.c_attn", "attn.c_proj"].map(|name| params.pp(name));
///     let attention = fused_attention(width, heads, attention)?;
///     let feed = ["mlp.c_fc", "mlp.c_proj"].map(|name| params.pp(name));
///     let feed = feed_forward([width, 4 * width], Activation::Gelu, feed)?;
///     Ok(TransformerBlock::pre_norm(norms, attention, feed))
/// }
///
/// fn run(blocks: &[TransformerBlock], hidden: Tensor) -> Result<Tensor> {
///     let options = Attention { causal: true, ..Attention::default() };
///     blocks.iter().try_fold(hidden, |xs, block| block.forward(&xs, &options, dropout(0.1)))
/// }
/// ```
pub struct TransformerBlock {
    norms: [Box<dyn Module>; 2],
    attention: ProjectedAttention,
    memory: Option<(Box<dyn Module>, ProjectedAttention)>,
    feed: Box<dyn Module>,
    norm_first: bool,
}

impl TransformerBlock {
    /// With normalisations of the inputs of both layers: `x + attention(norm(x))`, then
    /// `x + feed(norm(x))`.
    pub fn pre_norm(
        [first, second]: [impl Module + 'static; 2],
        attention: ProjectedAttention,
        feed: impl Module + 'static,
    ) -> TransformerBlock {
        let norms: [Box<dyn Module>; 2] = [Box::new(first), Box::new(second)];
        let feed = Box::new(feed);
        TransformerBlock { norms, attention, memory: None, feed, norm_first: true }
    }

    /// With normalisations of the sums: `norm(x + attention(x))`, then `norm(x + feed(x))`.
    pub fn post_norm(
        norms: [impl Module + 'static; 2],
        attention: ProjectedAttention,
        feed: impl Module + 'static,
    ) -> TransformerBlock {
        TransformerBlock { norm_first: false, ..TransformerBlock::pre_norm(norms, attention, feed) }
    }

    /// With attention to a memory, and its normalisation, between the two layers: the block of a
    /// decoder. Run it with [`decode`](TransformerBlock::decode).
    pub fn with_memory(
        self,
        norm: impl Module + 'static,
        attention: ProjectedAttention,
    ) -> TransformerBlock {
        TransformerBlock { memory: Some((Box::new(norm), attention)), ..self }
    }

    /// Runs the block on `[batch, time, width]`. `options` are those of the attention; `dropout` is of
    /// what each layer adds.
    ///
    /// # Errors
    /// If the sizes do not fit, or the block attends to a memory.
    pub fn forward(
        &self,
        xs: &Tensor,
        options: &Attention<'_>,
        dropout: Dropout,
    ) -> Result<Tensor> {
        match self.memory {
            None => self.run(xs, None, options, dropout),
            Some(_) => crate::bail!("a block that attends to a memory is run with `decode`"),
        }
    }

    /// As [`forward`](TransformerBlock::forward), with the memory `[batch, places, width]`: all of it
    /// is attended to, with the dropout of `options`.
    ///
    /// # Errors
    /// If the sizes do not fit.
    pub fn decode(
        &self,
        xs: &Tensor,
        memory: &Tensor,
        options: &Attention<'_>,
        dropout: Dropout,
    ) -> Result<Tensor> {
        self.run(xs, Some(memory), options, dropout)
    }

    fn run(
        &self,
        xs: &Tensor,
        memory: Option<&Tensor>,
        options: &Attention<'_>,
        dropout: Dropout,
    ) -> Result<Tensor> {
        let add = |xs: &Tensor, norm: &dyn Module, layer: &dyn Fn(&Tensor) -> Result<Tensor>| {
            if self.norm_first {
                xs.add(&dropout.forward(&layer(&norm.forward(xs)?)?)?)
            } else {
                norm.forward(&xs.add(&dropout.forward(&layer(xs)?)?)?)
            }
        };
        let [first, second] = &self.norms;
        let mut hidden = add(xs, &**first, &|xs| self.attention.forward(xs, options))?;
        if let (Some((norm, attention)), Some(memory)) = (&self.memory, memory) {
            let options = Attention { dropout: options.dropout, ..Attention::default() };
            hidden = add(&hidden, &**norm, &|xs| attention.cross(xs, memory, &options))?;
        }
        add(&hidden, &**second, &|xs| self.feed.forward(xs))
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
pub struct GatedFeedForward(Gate, Linear);

/// The layers of gate and value.
#[derive(Debug)]
enum Gate {
    Separate([Linear; 2]),
    Fused(Linear, Activation),
}

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
    let gate = linear_no_bias(width, wide, gate)?.with_activation(activation);
    let gate = Gate::Separate([gate, linear_no_bias(width, wide, up)?]);
    Ok(GatedFeedForward(gate, linear_no_bias(wide, width, down)?))
}

impl GatedFeedForward {
    /// Of layers that are there: one `[2 wide, width]` of gate and up, and down `[width, wide]`.
    pub fn fused([both, down]: [Linear; 2], activation: Activation) -> GatedFeedForward {
        GatedFeedForward(Gate::Fused(both, activation), down)
    }
}

impl Module for GatedFeedForward {
    fn forward(&self, xs: &Tensor) -> Result<Tensor> {
        let GatedFeedForward(gate, down) = self;
        let gated = match gate {
            Gate::Separate([gate, up]) => gate.forward(xs)?.mul(&up.forward(xs)?)?,
            Gate::Fused(both, activation) => {
                let both = both.forward(xs)?;
                let half = both.dim(-1)? / 2;
                let gate = activation.forward(&both.narrow(-1, 0, half)?)?;
                gate.mul(&both.narrow(-1, half, half)?)?
            }
        };
        down.forward(&gated)
    }
}
