//! Model `vit`: the vision transformer (Dosovitskiy et al. 2020), under the names that timm gives its
//! parameters. Files of transformers are read, too.

use std::{cell::Cell, path::PathBuf};

use fluxbay_plugin::{Attention, Names, Pretrained, Rule, nn::*, prelude::*};

use crate::{image, images};

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

macro_rules! merge {
    ($part:literal) => {
        Rule::Merge {
            from: &[
                concat!("blocks.#.attention.attention.query.", $part),
                concat!("blocks.#.attention.attention.key.", $part),
                concat!("blocks.#.attention.attention.value.", $part),
            ],
            to: concat!("blocks.#.attn.qkv.", $part),
            dim: 0,
        }
    };
}

/// From the names of transformers.
const RULES: &[Rule] = &[
    Rule::Rename { from: "vit.*", to: "*" },
    Rule::Ignore { names: "pooler.*" },
    Rule::Ignore { names: "embeddings.mask_token" },
    Rule::Rename { from: "embeddings.cls_token", to: "cls_token" },
    Rule::Rename { from: "embeddings.position_embeddings", to: "pos_embed" },
    Rule::Rename { from: "embeddings.patch_embeddings.projection.*", to: "patch_embed.proj.*" },
    Rule::Rename { from: "encoder.layer.#.*", to: "blocks.#.*" },
    // Since version 5 of transformers, in memory.
    Rule::Rename { from: "layers.#.*", to: "blocks.#.*" },
    Rule::Rename {
        from: "blocks.#.attention.q_proj.*",
        to: "blocks.#.attention.attention.query.*",
    },
    Rule::Rename { from: "blocks.#.attention.k_proj.*", to: "blocks.#.attention.attention.key.*" },
    Rule::Rename {
        from: "blocks.#.attention.v_proj.*",
        to: "blocks.#.attention.attention.value.*",
    },
    Rule::Rename { from: "blocks.#.attention.o_proj.*", to: "blocks.#.attn.proj.*" },
    Rule::Rename { from: "layernorm.*", to: "norm.*" },
    Rule::Rename { from: "classifier.*", to: "head.*" },
    Rule::Rename { from: "blocks.#.layernorm_before.*", to: "blocks.#.norm1.*" },
    Rule::Rename { from: "blocks.#.layernorm_after.*", to: "blocks.#.norm2.*" },
    Rule::Rename { from: "blocks.#.attention.output.dense.*", to: "blocks.#.attn.proj.*" },
    Rule::Rename { from: "blocks.#.intermediate.dense.*", to: "blocks.#.mlp.fc1.*" },
    Rule::Rename { from: "blocks.#.output.dense.*", to: "blocks.#.mlp.fc2.*" },
    merge!("weight"),
    merge!("bias"),
    Rule::Fresh { names: "head.*" },
];

/// The model `vit`.
pub struct Vit {
    sizes: Pretrained,
    outputs: Cell<usize>,
    lora: Option<Lora>,
}

struct Block {
    norms: [LayerNorm; 2],
    attention: [Linear; 2],
    feed: FeedForward,
}

pub struct Network {
    patches: Conv2d,
    class: Tensor,
    positions: Tensor,
    blocks: Vec<Block>,
    norm: LayerNorm,
    head: Linear,
    heads: usize,
    dropout: f64,
}

const WIDTH: &[&str] = &["hidden_size", "model_args.embed_dim"];
const DEPTH: &[&str] = &["num_hidden_layers", "model_args.depth"];
const HEADS: &[&str] = &["num_attention_heads", "model_args.num_heads"];
const PATCH: &[&str] = &["patch_size", "model_args.patch_size"];

impl Component for Vit {
    type Config = Config;

    fn new(config: Config, setup: &mut Setup) -> Result<Self> {
        let mut sizes = Pretrained::open(
            setup,
            config.from.as_deref(),
            serde_json::json!({
                "hidden_size": 64, "num_hidden_layers": 4, "num_attention_heads": 4,
                "patch_size": 4, "layer_norm_eps": 1e-6,
            }),
        )?;
        // timm's configurations name the architecture, such as vit_tiny_patch16_224.
        let name = sizes.text(&["architecture"]).to_owned();
        let mut parts = name.split(['_', '.']);
        if let (Some("vit"), Some(size), Some(patch)) = (parts.next(), parts.next(), parts.next()) {
            let (width, depth, heads) = match size {
                "tiny" => (192, 12, 3),
                "small" => (384, 12, 6),
                "base" => (768, 12, 12),
                "large" => (1024, 24, 16),
                other => {
                    bail!("architecture {name}: `{other}` is none of tiny, small, base, large")
                }
            };
            let patch = patch.strip_prefix("patch").and_then(|patch| patch.parse::<usize>().ok());
            for (keys, size) in [(WIDTH, width), (DEPTH, depth), (HEADS, heads)] {
                sizes.set(keys, sizes.value(keys).is_none().then_some(size));
            }
            sizes.set(PATCH, patch.filter(|_| sizes.value(PATCH).is_none()));
        }
        sizes.set(WIDTH, config.width);
        sizes.set(DEPTH, config.layers);
        sizes.set(HEADS, config.heads);
        sizes.set(PATCH, config.patch);
        sizes.set(&["hidden_dropout_prob"], config.dropout);
        Ok(Vit { sizes, outputs: Cell::new(0), lora: Lora::resolved(config.lora, setup)? })
    }
}

impl Model for Vit {
    type Network = Network;

    fn build(&self, data: &DataSpec, params: Params) -> Result<Network> {
        let [channels, rows, columns] = image(data)?;
        let (sizes, outputs) = (&self.sizes, data.outputs()?);
        self.outputs.set(outputs);
        let params = params.with_lora(self.lora.as_ref());
        let (width, heads, patch) = (sizes.size(WIDTH)?, sizes.size(HEADS)?, sizes.size(PATCH)?);
        if !rows.is_multiple_of(patch) || !columns.is_multiple_of(patch) {
            bail!(
                "images of {rows} x {columns} cannot be divided into patches of {patch} x {patch}"
            );
        }
        if !width.is_multiple_of(heads) {
            bail!("{heads} heads do not divide a width of {width}");
        }
        let places = rows / patch * (columns / patch) + 1;
        let epsilon = sizes.number_or(&["layer_norm_eps"], 1e-6);
        let wide = sizes.size_or(&["intermediate_size"], 4 * width);
        let block = |index: usize| -> Result<Block> {
            let params = params.pp("blocks").pp(index);
            let (attention, feed) = (params.pp("attn"), params.pp("mlp"));
            Ok(Block {
                norms: [
                    layer_norm(width, epsilon, params.pp("norm1"))?,
                    layer_norm(width, epsilon, params.pp("norm2"))?,
                ],
                attention: [
                    linear(width, 3 * width, attention.pp("qkv"))?,
                    linear(width, width, attention.pp("proj"))?,
                ],
                feed: feed_forward(
                    [width, wide],
                    Activation::GeluErf,
                    ["fc1", "fc2"].map(|name| feed.pp(name)),
                )?,
            })
        };
        let config = ConvConfig { stride: patch, ..ConvConfig::default() };
        let first = Init::Normal { mean: 0.0, std: 0.02 };
        let network = Network {
            patches: conv2d(channels, width, patch, config, params.pp("patch_embed").pp("proj"))?,
            class: params.get((1, 1, width), "cls_token", first)?,
            positions: params.get((1, places, width), "pos_embed", first)?,
            blocks: (0..sizes.size(DEPTH)?).map(block).collect::<Result<_>>()?,
            norm: layer_norm(width, epsilon, params.pp("norm"))?,
            head: linear(width, outputs, params.pp("head"))?,
            heads,
            dropout: sizes.number_or(&["hidden_dropout_prob"], 0.0),
        };
        params.check_lora()?;
        Ok(network)
    }

    fn forward(&self, network: &Network, xs: &Tensor) -> Result<Tensor> {
        let dropout = dropout(network.dropout);
        let patches = network.patches.forward(&images(xs)?)?.flatten_from(2)?.transpose(1, 2)?;
        let &[batch, _, width] = &patches.dims()?[..] else {
            bail!("patches have three dimensions")
        };
        let class = network.class.broadcast_as((batch, 1, width))?;
        let hidden = Tensor::cat(&[&class, &patches], 1)?.add(&network.positions)?;
        let mut hidden = dropout.forward(&hidden)?;
        for Block { norms, attention, feed } in &network.blocks {
            let qkv = attention[0].forward(&norms[0].forward(&hidden)?)?;
            let part = |index: usize| qkv.narrow(2, index * width, width);
            let parts = [&part(0)?, &part(1)?, &part(2)?];
            let mixed = attend(parts, [network.heads; 2], &Attention::default())?;
            hidden = hidden.add(&dropout.forward(&attention[1].forward(&mixed)?)?)?;
            let fed = feed.forward(&norms[1].forward(&hidden)?)?;
            hidden = hidden.add(&dropout.forward(&fed)?)?;
        }
        let first = hidden.narrow(1, 0, 1)?.squeeze(1)?;
        network.head.forward(&network.norm.forward(&first)?)
    }

    fn names(&self) -> Result<Option<Names>> {
        let names = self.sizes.names(RULES).with_lora(self.lora.as_ref());
        let names = names.with_labels(self.outputs.get());
        Ok(Some(names.with_size("num_classes", self.outputs.get())))
    }
}
