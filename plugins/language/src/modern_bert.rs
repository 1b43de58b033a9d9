//! Model `modern-bert`: ModernBERT (Warner et al. 2024), under the names that transformers gives its
//! parameters.

use std::{cell::Cell, path::PathBuf};

use fluxbay_plugin::{Attention, Names, Rule, nn::*, prelude::*};

use crate::{
    bert::Head,
    family::{Family, attention_bias, known_tokens, mean_over, set, unit_vectors},
};

config! {
    /// Sizes default to those of `from`, and without it to a small ModernBERT.
    pub struct Config {
        /// Folder with `config.json` and safetensors files, relative to the run file.
        from: Option<PathBuf> = null,
        /// What the model predicts.
        head: Head = "classification",
        /// Number of blocks.
        layers: Option<usize> = null => 1..,
        /// Width of the residual stream.
        width: Option<usize> = null => 1..,
        /// Attention heads; must divide the width.
        heads: Option<usize> = null => 1..,
        /// Width of each feed-forward layer.
        feed_forward: Option<usize> = null => 1..,
        /// Id of the token that fills short sequences; not attended to.
        padding: Option<u32> = null,
        /// Low-rank adapters: train these instead of the weights.
        lora: Option<Lora> = null,
    }
}

const RULES: &[Rule] = &[
    Rule::Rename { from: "embeddings.*", to: "model.embeddings.*" },
    Rule::Rename { from: "layers.*", to: "model.layers.*" },
    Rule::Rename { from: "final_norm.*", to: "model.final_norm.*" },
    Rule::Ignore { names: "decoder.weight" },
];
/// Tensors that belong to some heads only.
const HEADS: [(&str, &[Head]); 3] = [
    ("head.*", &[Head::Classification, Head::Tokens, Head::MaskedLanguage]),
    ("classifier.*", &[Head::Classification, Head::Tokens]),
    ("decoder.bias", &[Head::MaskedLanguage]),
];

/// The model `modern-bert`.
pub struct ModernBert {
    head: Head,
    family: Family,
    outputs: Cell<usize>,
}

struct Block {
    /// The first block has none.
    attention_norm: Option<LayerNorm>,
    attention: [Linear; 2],
    feed_norm: LayerNorm,
    feed: [Linear; 2],
    /// Tokens this far away and farther are not seen.
    window: Option<usize>,
}

pub struct Network {
    tokens: Embedding,
    norm: LayerNorm,
    blocks: Vec<Block>,
    last: LayerNorm,
    /// Layer and norm before the output.
    transform: Option<(Linear, LayerNorm)>,
    output: Option<Linear>,
    /// Of blocks that see all tokens, and of the others.
    rotary: [RotaryEmbedding; 2],
    activation: Activation,
    heads: usize,
    padding: Option<u32>,
}

impl Component for ModernBert {
    type Config = Config;

    fn new(config: Config, setup: &mut Setup) -> Result<Self> {
        let family = Family::open(
            setup,
            (config.from.as_deref(), config.lora),
            serde_json::json!({
                "model_type": "modernbert", "hidden_size": 128, "num_hidden_layers": 4, "num_attention_heads": 4,
                "intermediate_size": 192, "hidden_activation": "gelu", "classifier_activation": "gelu",
                "norm_eps": 1e-5, "local_attention": 128, "global_attn_every_n_layers": 3, "pad_token_id": null,
            }),
            [
                set(&["num_hidden_layers"], config.layers),
                set(&["hidden_size"], config.width),
                set(&["num_attention_heads"], config.heads),
                set(&["intermediate_size"], config.feed_forward),
                set(&["pad_token_id"], config.padding),
            ],
        )?;
        Ok(ModernBert { head: config.head, family, outputs: Cell::new(0) })
    }
}

impl Model for ModernBert {
    type Network = Network;

    fn build(&self, data: &DataSpec, params: Params) -> Result<Network> {
        let (_, vocabulary, params) = self.family.begin(data, params)?;
        let sizes = &self.family.sizes;
        let (width, heads) = (sizes.size(&["hidden_size"])?, sizes.size(&["num_attention_heads"])?);
        if !width.is_multiple_of(heads.max(1)) {
            bail!("{heads} heads do not divide a width of {width}");
        }
        let epsilon = sizes.number_or(&["norm_eps"], 1e-5);
        let norm = |params: Params| match sizes.flag_or(&["norm_bias"], false) {
            true => layer_norm(width, epsilon, params),
            false => layer_norm_no_bias(width, epsilon, params),
        };
        let dense = |inputs: usize, outputs: usize, key: &str, params: Params| match sizes
            .flag_or(&[key], false)
        {
            true => linear(inputs, outputs, params),
            false => linear_no_bias(inputs, outputs, params),
        };
        let wide = sizes.size(&["intermediate_size"])?;
        let every = sizes.size_or(&["global_attn_every_n_layers"], 3).max(1);
        let types = sizes.value(&["layer_types"]).and_then(|types| types.as_array());
        let window = sizes.size_or(&["local_attention"], 128) / 2 + 1;
        let block = |index: usize| -> Result<Block> {
            let params = params.pp("model").pp("layers").pp(index);
            let (own, feed) = (params.pp("attn"), params.pp("mlp"));
            let local = match types.and_then(|types| types.get(index)) {
                Some(kind) => kind == "sliding_attention",
                None => !index.is_multiple_of(every),
            };
            Ok(Block {
                attention_norm: if index == 0 { None } else { Some(norm(params.pp("attn_norm"))?) },
                attention: [
                    dense(width, 3 * width, "attention_bias", own.pp("Wqkv"))?,
                    dense(width, width, "attention_bias", own.pp("Wo"))?,
                ],
                feed_norm: norm(params.pp("mlp_norm"))?,
                feed: [
                    dense(width, 2 * wide, "mlp_bias", feed.pp("Wi"))?,
                    dense(wide, width, "mlp_bias", feed.pp("Wo"))?,
                ],
                window: local.then_some(window),
            })
        };
        let at = params.pp("model").pp("embeddings");
        let tokens = embedding(vocabulary, width, 0.02, at.pp("tok_embeddings"))?;
        let outputs = match self.head {
            Head::Tokens => data.ys()?.classes.unwrap_or(1),
            _ => data.outputs()?,
        };
        self.outputs.set(outputs);
        let transform = match self.head {
            Head::Embedding => None,
            _ => {
                let (params, act) = (params.pp("head"), &["classifier_activation"]);
                let layer = dense(width, width, "classifier_bias", params.pp("dense"))?;
                Some((layer.with_activation(sizes.activation(act)?), norm(params.pp("norm"))?))
            }
        };
        let output = match self.head {
            Head::Embedding => None,
            Head::MaskedLanguage => {
                let bias = params.pp("decoder").get(vocabulary, "bias", Init::ZEROS)?;
                Some(Linear::new(tokens.weight().clone(), Some(bias)))
            }
            Head::Classification | Head::Tokens => {
                Some(linear(width, outputs, params.pp("classifier"))?)
            }
        };
        let theta = |kind: &str, old: &str, default: f64| {
            let key = format!("rope_parameters.{kind}.rope_theta");
            let base = sizes.number_or(&[&key, old], default);
            rotary(width / heads, base, RotaryScaling::None, false)
        };
        let network = Network {
            tokens,
            norm: norm(at.pp("norm"))?,
            blocks: (0..sizes.size(&["num_hidden_layers"])?).map(block).collect::<Result<_>>()?,
            last: norm(params.pp("model").pp("final_norm"))?,
            transform,
            output,
            rotary: [
                theta("full_attention", "global_rope_theta", 160_000.0)?,
                theta("sliding_attention", "local_rope_theta", 10_000.0)?,
            ],
            activation: sizes.activation(&["hidden_activation"])?,
            heads,
            padding: sizes.size(&["pad_token_id"]).ok().map(|id| id as u32),
        };
        params.check_lora()?;
        Ok(network)
    }

    fn forward(&self, network: &Network, xs: &Tensor) -> Result<Tensor> {
        let dtype = network.tokens.weight().dtype()?;
        let rows = packing(xs)?;
        let bias = attention_bias(xs, network.padding, rows.as_ref(), dtype)?;
        let mut hidden = network.norm.forward(&network.tokens.forward(xs)?)?;
        let width = hidden.dim(2)?;
        for block in &network.blocks {
            let normal = match &block.attention_norm {
                Some(norm) => norm.forward(&hidden)?,
                None => hidden.clone(),
            };
            let qkv = block.attention[0].forward(&normal)?;
            let part =
                |index: usize| split_heads(&qkv.narrow(2, index * width, width)?, network.heads);
            let rotary = &network.rotary[usize::from(block.window.is_some())];
            let (q, k) = (rotary.forward(&part(0)?)?, rotary.forward(&part(1)?)?);
            let options =
                Attention { bias: bias.as_ref(), window: block.window, ..Attention::default() };
            let mixed = merge_heads(&q.attention(&k, &part(2)?, &options)?)?;
            hidden = hidden.add(&block.attention[1].forward(&mixed)?)?;
            let both = block.feed[0].forward(&block.feed_norm.forward(&hidden)?)?;
            let half = both.dim(2)? / 2;
            let gated = network.activation.forward(&both.narrow(2, 0, half)?)?;
            let fed = block.feed[1].forward(&gated.mul(&both.narrow(2, half, half)?)?)?;
            hidden = hidden.add(&fed)?;
        }
        let hidden = network.last.forward(&hidden)?;
        let mean = || mean_over(&hidden, &known_tokens(xs, network.padding, dtype)?);
        let (Some((dense, norm)), Some(output)) = (&network.transform, &network.output) else {
            return unit_vectors(&mean()?);
        };
        let pooled = match self.head {
            Head::Classification if self.family.sizes.text(&["classifier_pooling"]) == "mean" => {
                mean()?
            }
            Head::Classification => hidden.narrow(1, 0, 1)?.squeeze(1)?,
            _ => hidden,
        };
        output.forward(&norm.forward(&dense.forward(&pooled)?)?)
    }

    fn names(&self) -> Result<Option<Names>> {
        let mut names = self.family.names(RULES);
        names.rules.extend(HEADS.map(|(names, heads)| match heads.contains(&self.head) {
            true => Rule::Fresh { names },
            false => Rule::Ignore { names },
        }));
        Ok(Some(match self.head {
            Head::Classification | Head::Tokens => names.with_labels(self.outputs.get()),
            Head::MaskedLanguage | Head::Embedding => names,
        }))
    }
}
