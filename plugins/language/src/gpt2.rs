//! Model `gpt2`: GPT-2 (Radford et al. 2019), under the names that transformers gives its parameters.

use std::path::PathBuf;

use fluxbay_plugin::{Attention, Names, Rule, nn::*, prelude::*};

use crate::family::{Family, set};

config! {
    /// Sizes default to those of `from`, and without it to a small GPT.
    pub struct Config {
        /// Folder with `config.json` and safetensors files, relative to the run file.
        from: Option<PathBuf> = null,
        /// Number of blocks.
        layers: Option<usize> = null => 1..,
        /// Width of the residual stream.
        width: Option<usize> = null => 1..,
        /// Attention heads; must divide the width.
        heads: Option<usize> = null => 1..,
        /// Dropout probability, also of attention weights.
        dropout: Option<f64> = null => 0.0..1.0,
        /// Low-rank adapters: train these instead of the weights.
        lora: Option<Lora> = null,
    }
}

/// Its linear layers are stored as `[inputs, outputs]`.
const RULES: &[Rule] = &[
    Rule::Rename { from: "wte.*", to: "transformer.wte.*" },
    Rule::Rename { from: "wpe.*", to: "transformer.wpe.*" },
    Rule::Rename { from: "h.*", to: "transformer.h.*" },
    Rule::Rename { from: "ln_f.*", to: "transformer.ln_f.*" },
    Rule::Ignore { names: "transformer.h.#.attn.bias" },
    Rule::Ignore { names: "transformer.h.#.attn.masked_bias" },
    Rule::Ignore { names: "lm_head.weight" },
    Rule::Transpose { names: "transformer.h.#.attn.c_attn.weight" },
    Rule::Transpose { names: "transformer.h.#.attn.c_proj.weight" },
    Rule::Transpose { names: "transformer.h.#.mlp.c_fc.weight" },
    Rule::Transpose { names: "transformer.h.#.mlp.c_proj.weight" },
];

/// The model `gpt2`.
pub struct Gpt2(Family);

struct Block {
    norms: [LayerNorm; 2],
    attention: [Linear; 2],
    feed: FeedForward,
}

pub struct Network {
    tokens: Embedding,
    positions: Tensor,
    blocks: Vec<Block>,
    norm: LayerNorm,
    heads: usize,
    /// Of embeddings, weights of attention, and residual branches.
    dropout: [f64; 3],
}

impl Component for Gpt2 {
    type Config = Config;

    fn new(config: Config, setup: &mut Setup) -> Result<Self> {
        let Config { from, layers, width, heads, dropout, lora } = config;
        let family = Family::open(
            setup,
            (from.as_deref(), lora),
            serde_json::json!({
                "model_type": "gpt2", "architectures": ["GPT2LMHeadModel"], "n_embd": 128, "n_layer": 4,
                "n_head": 4, "n_positions": 1024, "activation_function": "gelu_new",
                "layer_norm_epsilon": 1e-5, "embd_pdrop": 0.1, "attn_pdrop": 0.1, "resid_pdrop": 0.1,
            }),
            [
                set(&["n_layer"], layers),
                set(&["n_embd"], width),
                set(&["n_head"], heads),
                set(&["embd_pdrop"], dropout),
                set(&["attn_pdrop"], dropout),
                set(&["resid_pdrop"], dropout),
            ],
        );
        family.map(Gpt2)
    }
}

impl Model for Gpt2 {
    type Network = Network;

    fn build(&self, data: &DataSpec, params: Params) -> Result<Network> {
        let sizes = &self.0.sizes;
        let (time, vocabulary, params) = self.0.begin(data, params)?;
        let (width, heads) = (sizes.size(&["n_embd"])?, sizes.size(&["n_head"])?);
        let places = sizes.size(&["n_positions", "n_ctx"])?;
        if time > places || !width.is_multiple_of(heads) {
            bail!(
                "{time} tokens with {places} places, width {width} with {heads} heads do not fit"
            );
        }
        let epsilon = sizes.number_or(&["layer_norm_epsilon"], 1e-5);
        let wide = sizes.size_or(&["n_inner"], 4 * width);
        let activation = sizes.activation(&["activation_function"])?;
        let params = params.pp("transformer");
        let block = |index: usize| -> Result<Block> {
            let params = params.pp("h").pp(index);
            let norm = |name: &str| layer_norm(width, epsilon, params.pp(name));
            let (attention, feed) = (params.pp("attn"), params.pp("mlp"));
            Ok(Block {
                norms: [norm("ln_1")?, norm("ln_2")?],
                attention: [
                    linear(width, 3 * width, attention.pp("c_attn"))?,
                    linear(width, width, attention.pp("c_proj"))?,
                ],
                feed: feed_forward(
                    [width, wide],
                    activation,
                    ["c_fc", "c_proj"].map(|name| feed.pp(name)),
                )?,
            })
        };
        let network = Network {
            tokens: embedding(vocabulary, width, 0.02, params.pp("wte"))?,
            positions: embedding(places, width, 0.02, params.pp("wpe"))?.weight().clone(),
            blocks: (0..sizes.size(&["n_layer"])?).map(block).collect::<Result<_>>()?,
            norm: layer_norm(width, epsilon, params.pp("ln_f"))?,
            heads,
            dropout: ["embd_pdrop", "attn_pdrop", "resid_pdrop"]
                .map(|key| sizes.number_or(&[key], 0.1)),
        };
        params.check_lora()?;
        Ok(network)
    }

    fn forward(&self, network: &Network, xs: &Tensor) -> Result<Tensor> {
        let [embedding, weights, residual] = network.dropout;
        let residual = dropout(residual);
        let rows = packing(xs)?;
        let places = match &rows {
            Some(rows) => rows.rows(&network.positions)?,
            None => positions(&network.positions, xs.dim(1)?)?,
        };
        let bias = rows.map(|rows| rows.bias(places.dtype()?)).transpose()?;
        let hidden = network.tokens.forward(xs)?.add(&places)?;
        let mut hidden = dropout(embedding).forward(&hidden)?;
        let options = Attention {
            causal: true,
            dropout: weights,
            bias: bias.as_ref(),
            ..Attention::default()
        };
        for Block { norms, attention, feed } in &network.blocks {
            let qkv = attention[0].forward(&norms[0].forward(&hidden)?)?;
            let width = qkv.dim(2)? / 3;
            let part = |index: usize| qkv.narrow(2, index * width, width);
            let mixed = attend([&part(0)?, &part(1)?, &part(2)?], [network.heads; 2], &options)?;
            hidden = hidden.add(&residual.forward(&attention[1].forward(&mixed)?)?)?;
            let fed = feed.forward(&norms[1].forward(&hidden)?)?;
            hidden = hidden.add(&residual.forward(&fed)?)?;
        }
        let output = Linear::new(network.tokens.weight().clone(), None);
        output.forward(&network.norm.forward(&hidden)?)
    }

    fn names(&self) -> Result<Option<Names>> {
        Ok(Some(self.0.names(RULES)))
    }
}
