//! Model `vit`: the vision transformer (Dosovitskiy et al. 2020), under the names that timm gives its
//! parameters. Files of transformers are read, too.

use std::path::PathBuf;

use fluxbay_plugin::{Attention, Family, Names, Rule, nn::*, prelude::*};

use crate::{
    architectures, classes, image,
    patches::{Patches, places},
};

config! {
    /// Sizes default to those of `from`, and without it to a small one for small images.
    pub struct Config {
        /// Folder with `config.json` and safetensors files, relative to the run file.
        from: Option<PathBuf> = null,
        /// Side of the patches that an image is divided into.
        patch: Option<usize> = null => 1..,
        /// Number of blocks.
        layers: Option<usize> = null => 1..,
        /// Width of the residual stream.
        width: Option<usize> = null => 1..,
        /// Attention heads; must divide the width.
        heads: Option<usize> = null => 1..,
        /// Dropout probability after each block's layers.
        dropout: Option<f64> = null => 0.0..1.0,
        /// Low-rank adapters: train these instead of the weights.
        lora: Option<Lora> = null,
    }
}

/// From the names of transformers.
const RULES: &[Rule] = &[
    Rule::rename("vit.*", "*"),
    Rule::ignore("pooler.*"),
    Rule::ignore("embeddings.mask_token"),
    Rule::rename("embeddings.cls_token", "cls_token"),
    Rule::rename("embeddings.position_embeddings", "pos_embed"),
    Rule::rename("embeddings.patch_embeddings.projection.*", "patch_embed.proj.*"),
    Rule::rename("encoder.layer.#.*", "blocks.#.*"),
    // Since version 5 of transformers, in memory.
    Rule::rename("layers.#.*", "blocks.#.*"),
    Rule::rename("blocks.#.attention.q_proj.*", "blocks.#.attention.attention.query.*"),
    Rule::rename("blocks.#.attention.k_proj.*", "blocks.#.attention.attention.key.*"),
    Rule::rename("blocks.#.attention.v_proj.*", "blocks.#.attention.attention.value.*"),
    Rule::rename("blocks.#.attention.o_proj.*", "blocks.#.attn.proj.*"),
    Rule::rename("layernorm.*", "norm.*"),
    Rule::rename("classifier.*", "head.*"),
    Rule::rename("blocks.#.layernorm_before.*", "blocks.#.norm1.*"),
    Rule::rename("blocks.#.layernorm_after.*", "blocks.#.norm2.*"),
    Rule::rename("blocks.#.attention.output.dense.*", "blocks.#.attn.proj.*"),
    Rule::rename("blocks.#.intermediate.dense.*", "blocks.#.mlp.fc1.*"),
    Rule::rename("blocks.#.output.dense.*", "blocks.#.mlp.fc2.*"),
    Rule::Merge {
        from: &[
            "blocks.#.attention.attention.query.*",
            "blocks.#.attention.attention.key.*",
            "blocks.#.attention.attention.value.*",
        ],
        to: "blocks.#.attn.qkv.*",
        dim: 0,
    },
    Rule::fresh("head.*"),
];

/// The model `vit`.
pub struct Vit(Family);

pub struct Network {
    patches: Patches,
    blocks: Vec<TransformerBlock>,
    norm: LayerNorm,
    head: Linear,
    dropout: f64,
}

const WIDTH: &[&str] = &["hidden_size", "model_args.embed_dim"];
const DEPTH: &[&str] = &["num_hidden_layers", "model_args.depth"];
const HEADS: &[&str] = &["num_attention_heads", "model_args.num_heads"];
const PATCH: &[&str] = &["patch_size", "model_args.patch_size"];

impl Component for Vit {
    type Config = Config;

    fn new(config: Config, setup: &mut Setup) -> Result<Self> {
        let defaults = serde_json::json!({
            "hidden_size": 64, "num_hidden_layers": 4, "num_attention_heads": 4, "patch_size": 4,
            "layer_norm_eps": 1e-6,
        });
        let mut family = Family::open(setup, config.from.as_deref(), config.lora, defaults)?;
        let known = architectures::vit(family.sizes.text(&["architecture"]))?;
        for (keys, size) in [WIDTH, DEPTH, HEADS, PATCH].into_iter().zip(known) {
            family.sizes.complete(keys, size);
        }
        let family = family
            .with(WIDTH, config.width)
            .with(DEPTH, config.layers)
            .with(HEADS, config.heads)
            .with(PATCH, config.patch)
            .with(&["hidden_dropout_prob"], config.dropout);
        Ok(Vit(family))
    }
}

impl Model for Vit {
    type Network = Network;

    fn build(&self, data: &DataSpec, params: Params) -> Result<Network> {
        let [channels, rows, columns] = image(data)?;
        let (sizes, outputs) = (&self.0.sizes, classes(&self.0, data)?);
        let params = self.0.adapted(params);
        let (width, heads, patch) = (sizes.size(WIDTH)?, sizes.size(HEADS)?, sizes.size(PATCH)?);
        let places = places([rows, columns], patch)?;
        let epsilon = sizes.number_or(&["layer_norm_eps"], 1e-6);
        let wide = sizes.size_or(&["intermediate_size"], 4 * width);
        let block = |index: usize| -> Result<TransformerBlock> {
            let params = params.pp("blocks").pp(index);
            let norm = |name: &str| layer_norm(width, epsilon, params.pp(name));
            let norms = [norm("norm1")?, norm("norm2")?];
            let attention = ["qkv", "proj"].map(|name| params.pp("attn").pp(name));
            let attention = fused_attention(width, heads, attention)?;
            let feed = ["fc1", "fc2"].map(|name| params.pp("mlp").pp(name));
            let feed = feed_forward([width, wide], Activation::GeluErf, feed)?;
            Ok(TransformerBlock::pre_norm(norms, attention, feed))
        };
        let config = ConvConfig { stride: patch, ..ConvConfig::default() };
        let first = Init::Normal { mean: 0.0, std: 0.02 };
        let convolution = params.pp("patch_embed").pp("proj");
        let network = Network {
            patches: Patches {
                convolution: conv2d(channels, width, patch, config, convolution)?,
                class: params.get((1, 1, width), "cls_token", first)?,
                positions: params.get((1, places, width), "pos_embed", first)?,
            },
            blocks: (0..sizes.size(DEPTH)?).map(block).collect::<Result<_>>()?,
            norm: layer_norm(width, epsilon, params.pp("norm"))?,
            head: linear(width, outputs, params.pp("head"))?,
            dropout: sizes.number_or(&["hidden_dropout_prob"], 0.0),
        };
        params.check_lora()?;
        Ok(network)
    }

    fn forward(&self, network: &Network, xs: &Tensor) -> Result<Tensor> {
        let dropout = || dropout(network.dropout);
        let mut hidden = dropout().forward(&network.patches.forward(xs)?)?;
        for block in &network.blocks {
            hidden = block.forward(&hidden, &Attention::default(), dropout())?;
        }
        let first = hidden.narrow(1, 0, 1)?.squeeze(1)?;
        network.head.forward(&network.norm.forward(&first)?)
    }

    fn names(&self) -> Result<Option<Names>> {
        Ok(Some(self.0.names(RULES)))
    }
}
