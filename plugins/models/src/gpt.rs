//! Model `gpt`: a causal transformer like GPT-2 (Radford et al. 2019), with pre-normalisation and
//! learned positions.

use fluxbay_plugin::{
    nn::{
        Embedding, LayerNorm, Linear, SelfAttention, dropout, embedding, layer_norm, linear,
        linear_no_bias, packing, positions, self_attention,
    },
    prelude::*,
};

config! {
    /// Depth and width.
    pub struct Config {
        /// Number of blocks.
        layers: usize = 4 => 1..,
        /// Width of the residual stream.
        width: usize = 128 => 1..,
        /// Attention heads; must divide `width`.
        heads: usize = 4 => 1..,
        /// Width of each feed-forward layer, as a multiple of `width`.
        expansion: usize = 4 => 1..,
        /// Dropout probability.
        dropout: f64 = 0.0 => 0.0..1.0,
    }
}

/// The model `gpt`.
pub struct Gpt(Config);

struct Block {
    attention_norm: LayerNorm,
    attention: SelfAttention,
    feed_norm: LayerNorm,
    expand: Linear,
    contract: Linear,
}

pub struct Network {
    tokens: Embedding,
    positions: Tensor,
    blocks: Vec<Block>,
    norm: LayerNorm,
    output: Linear,
}

impl Component for Gpt {
    type Config = Config;

    fn new(config: Config, _: &mut Setup) -> Result<Self> {
        if !config.width.is_multiple_of(config.heads) {
            bail!("heads = {} does not divide width = {}", config.heads, config.width);
        }
        Ok(Gpt(config))
    }
}

impl Model for Gpt {
    type Network = Network;

    fn build(&self, data: &DataSpec, params: Params) -> Result<Network> {
        let Config { layers, width, heads, expansion, .. } = self.0;
        let (xs, ys) = (data.xs()?, data.ys()?);
        let (&[time], Some(vocabulary)) = (&xs.shape[..], xs.classes.or(ys.classes)) else {
            bail!(
                "gpt takes token ids [time] with a known vocabulary, the data set has {:?} per sample and no classes",
                xs.shape
            );
        };
        let mut blocks = Vec::new();
        for index in 0..layers {
            let params = params.pp("block").pp(index);
            blocks.push(Block {
                attention_norm: layer_norm(width, 1e-5, params.pp("attention-norm"))?,
                attention: self_attention(width, heads, true, params.pp("attention"))?,
                feed_norm: layer_norm(width, 1e-5, params.pp("feed-norm"))?,
                expand: linear(width, expansion * width, params.pp("expand"))?
                    .with_activation(Activation::Gelu),
                contract: linear(expansion * width, width, params.pp("contract"))?,
            });
        }
        Ok(Network {
            tokens: embedding(vocabulary, width, 0.02, params.pp("tokens"))?,
            positions: params.get(
                (time, width),
                "positions",
                Init::Normal { mean: 0.0, std: 0.02 },
            )?,
            blocks,
            norm: layer_norm(width, 1e-5, params.pp("norm"))?,
            output: linear_no_bias(width, vocabulary, params.pp("output"))?,
        })
    }

    fn forward(&self, network: &Network, xs: &Tensor) -> Result<Tensor> {
        let dropout = dropout(self.0.dropout);
        let rows = packing(xs)?;
        let (places, bias) = match &rows {
            Some(rows) => {
                let dtype = network.positions.dtype()?;
                (rows.rows(&network.positions)?, Some(rows.bias(dtype)?))
            }
            None => (positions(&network.positions, xs.dim(1)?)?, None),
        };
        let mut hidden = dropout.forward(&network.tokens.forward(xs)?.add(&places)?)?;
        for block in &network.blocks {
            let normal = block.attention_norm.forward(&hidden)?;
            let mixed = block.attention.forward_with(&normal, bias.as_ref())?;
            hidden = hidden.add(&dropout.forward(&mixed)?)?;
            let fed = block
                .contract
                .forward(&block.expand.forward(&block.feed_norm.forward(&hidden)?)?)?;
            hidden = hidden.add(&dropout.forward(&fed)?)?;
        }
        network.output.forward(&network.norm.forward(&hidden)?)
    }
}
