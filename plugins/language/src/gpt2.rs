//! Model `gpt2`: GPT-2 (Radford et al. 2019), under the names that transformers gives its parameters.

use std::path::PathBuf;

use fluxbay_plugin::{Family, Names, Rule, nn::*, prelude::*};

use crate::decoder::Decoder;

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
    Rule::rename("wte.*", "transformer.wte.*"),
    Rule::rename("wpe.*", "transformer.wpe.*"),
    Rule::rename("h.*", "transformer.h.*"),
    Rule::rename("ln_f.*", "transformer.ln_f.*"),
    Rule::ignore("transformer.h.#.attn.bias"),
    Rule::ignore("transformer.h.#.attn.masked_bias"),
    Rule::ignore("lm_head.weight"),
    Rule::transpose("transformer.h.#.attn.c_attn.weight"),
    Rule::transpose("transformer.h.#.attn.c_proj.weight"),
    Rule::transpose("transformer.h.#.mlp.c_fc.weight"),
    Rule::transpose("transformer.h.#.mlp.c_proj.weight"),
];

/// The model `gpt2`.
pub struct Gpt2(Family);

impl Component for Gpt2 {
    type Config = Config;

    fn new(config: Config, setup: &mut Setup) -> Result<Self> {
        let Config { from, layers, width, heads, dropout, lora } = config;
        let defaults = serde_json::json!({
            "model_type": "gpt2", "architectures": ["GPT2LMHeadModel"], "n_embd": 128, "n_layer": 4,
            "n_head": 4, "n_positions": 1024, "activation_function": "gelu_new",
            "layer_norm_epsilon": 1e-5, "embd_pdrop": 0.1, "attn_pdrop": 0.1, "resid_pdrop": 0.1,
        });
        let family = Family::open(setup, from.as_deref(), lora, defaults)?
            .with(&["n_layer"], layers)
            .with(&["n_embd"], width)
            .with(&["n_head"], heads)
            .with(&["embd_pdrop"], dropout)
            .with(&["attn_pdrop"], dropout)
            .with(&["resid_pdrop"], dropout);
        Ok(Gpt2(family))
    }
}

impl Model for Gpt2 {
    type Network = Decoder;

    fn build(&self, data: &DataSpec, params: Params) -> Result<Decoder> {
        let (sizes, [time, vocabulary]) = (&self.0.sizes, self.0.text(data)?);
        let params = self.0.adapted(params);
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
        let all = params.pp("transformer");
        let block = |index: usize| -> Result<TransformerBlock> {
            let params = all.pp("h").pp(index);
            let norm = |name: &str| layer_norm(width, epsilon, params.pp(name));
            let norms = [norm("ln_1")?, norm("ln_2")?];
            let attention = ["attn.c_attn", "attn.c_proj"].map(|name| params.pp(name));
            let attention = fused_attention(width, heads, attention)?;
            let feed = ["mlp.c_fc", "mlp.c_proj"].map(|name| params.pp(name));
            let feed = feed_forward([width, wide], activation, feed)?;
            Ok(TransformerBlock::pre_norm(norms, attention, feed))
        };
        let decoder = Decoder {
            tokens: embedding(vocabulary, width, 0.02, all.pp("wte"))?,
            scale: 1.0,
            positions: Some(embedding(places, width, 0.02, all.pp("wpe"))?.weight().clone()),
            blocks: (0..sizes.size(&["n_layer"])?).map(block).collect::<Result<_>>()?,
            norm: Box::new(layer_norm(width, epsilon, all.pp("ln_f"))?),
            output: None,
            dropout: ["embd_pdrop", "attn_pdrop", "resid_pdrop"]
                .map(|key| sizes.number_or(&[key], 0.1)),
        };
        params.check_lora()?;
        Ok(decoder)
    }

    fn forward(&self, decoder: &Decoder, xs: &Tensor) -> Result<Tensor> {
        decoder.forward(xs, None)
    }

    fn names(&self) -> Result<Option<Names>> {
        Ok(Some(self.0.names(RULES)))
    }
}
