//! Model `clip`: one of the two encoders of CLIP (Radford et al. 2021), under the names that
//! transformers gives their parameters.

use std::path::PathBuf;

use fluxbay_plugin::{Attention, Names, Pretrained, Rule, nn::*, prelude::*};

use crate::{image, images};

choice! {
    /// Which of the two encoders.
    pub enum Tower {
        /// Of images `[channels, height, width]`.
        Image,
        /// Of token ids `[time]`.
        Text,
    }
}

config! {
    /// Sizes are those of `from`, and without it those of a small one.
    pub struct Config {
        /// Folder with `config.json` and safetensors files, relative to the run file.
        from: Option<PathBuf> = null,
        /// Which of the two encoders.
        tower: Tower,
        /// Low-rank adapters: train these instead of the weights.
        lora: Option<Lora> = null,
    }
}

/// The other encoder of a file, and what both do without.
const IMAGE_RULES: &[Rule] =
    &[Rule::Ignore { names: "text_*" }, Rule::Ignore { names: "logit_scale" }, POSITIONS];
const TEXT_RULES: &[Rule] = &[
    Rule::Ignore { names: "vision_model.*" },
    Rule::Ignore { names: "visual_projection.weight" },
    Rule::Ignore { names: "logit_scale" },
    POSITIONS,
];
const POSITIONS: Rule = Rule::Ignore { names: "*.position_ids" };

/// The model `clip`.
pub struct Clip {
    sizes: Pretrained,
    tower: Tower,
    lora: Option<Lora>,
}

struct Block {
    norms: [LayerNorm; 2],
    attention: ProjectedAttention,
    feed: [Linear; 2],
}

/// What tokens or patches begin as.
enum Start {
    /// Patches, and the vector before them.
    Image(Conv2d, Tensor, LayerNorm),
    Text(Embedding),
}

pub struct Network {
    start: Start,
    positions: Tensor,
    blocks: Vec<Block>,
    norm: LayerNorm,
    projection: Linear,
    /// Id of the token that ends a text; 2 stands for the largest id.
    end: u32,
    /// The activation is x sigmoid(1.702 x), not that of the layer.
    quick: bool,
}

impl Component for Clip {
    type Config = Config;

    fn new(config: Config, setup: &mut Setup) -> Result<Self> {
        let small = serde_json::json!({
            "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 256,
            "patch_size": 4, "max_position_embeddings": 77, "projection_dim": 64, "hidden_act": "quick_gelu",
            "layer_norm_eps": 1e-5, "eos_token_id": 2,
        });
        Ok(Clip {
            sizes: Pretrained::open(setup, config.from.as_deref(), small)?,
            tower: config.tower,
            lora: Lora::resolved(config.lora, setup)?,
        })
    }
}

impl Clip {
    /// The keys of a size: below the encoder's own part of `config.json`, or alone.
    fn keys(&self, name: &str) -> [String; 2] {
        let part = if self.tower == Tower::Image { "vision_config" } else { "text_config" };
        [format!("{part}.{name}"), name.to_owned()]
    }

    fn size(&self, name: &str) -> Result<usize> {
        let [own, alone] = self.keys(name);
        self.sizes.size(&[&own, &alone])
    }
}

impl Model for Clip {
    type Network = Network;

    fn build(&self, data: &DataSpec, params: Params) -> Result<Network> {
        let params = params.with_lora(self.lora.as_ref());
        let (width, heads) = (self.size("hidden_size")?, self.size("num_attention_heads")?);
        let [own, alone] = self.keys("layer_norm_eps");
        let epsilon = self.sizes.number_or(&[&own, &alone], 1e-5);
        let first = Init::Normal { mean: 0.0, std: 0.02 };
        let (prefix, last, projection) = match self.tower {
            Tower::Image => ("vision_model", "post_layernorm", "visual_projection"),
            Tower::Text => ("text_model", "final_layer_norm", "text_projection"),
        };
        let (all, at) = (params.pp(prefix), params.pp(prefix).pp("embeddings"));
        let (start, places) = match self.tower {
            Tower::Image => {
                let ([channels, rows, columns], patch) = (image(data)?, self.size("patch_size")?);
                if !rows.is_multiple_of(patch) || !columns.is_multiple_of(patch) {
                    bail!("images of {rows} x {columns} cannot be divided into patches of {patch}");
                }
                let config = ConvConfig { stride: patch, bias: false, ..ConvConfig::default() };
                let patches = conv2d(channels, width, patch, config, at.pp("patch_embedding"))?;
                let class = at.get(width, "class_embedding", first)?;
                let norm = layer_norm(width, epsilon, all.pp("pre_layrnorm"))?;
                (Start::Image(patches, class, norm), rows / patch * (columns / patch) + 1)
            }
            Tower::Text => {
                let &[time] = &data.xs()?.shape[..] else {
                    bail!("texts are token ids [time], the data has {:?}", data.xs()?.shape);
                };
                let known = self.size("vocab_size").ok().or(data.xs()?.classes);
                let Some(vocabulary) = known else {
                    bail!("the size of the vocabulary is not known")
                };
                let places = self.size("max_position_embeddings")?;
                if time > places {
                    bail!("texts have {time} tokens, the model has {places} places");
                }
                let tokens = embedding(vocabulary, width, 0.02, at.pp("token_embedding"))?;
                (Start::Text(tokens), places)
            }
        };
        let [own, alone] = self.keys("hidden_act");
        let keys = [&own[..], &alone[..]];
        let quick = self.sizes.text(&keys) == "quick_gelu";
        let activation = if quick { Activation::None } else { self.sizes.activation(&keys)? };
        let wide = self.size("intermediate_size")?;
        let block = |index: usize| -> Result<Block> {
            let params = all.pp("encoder").pp("layers").pp(index);
            let (own, feed) = (params.pp("self_attn"), params.pp("mlp"));
            let norm = |name: &str| layer_norm(width, epsilon, params.pp(name));
            Ok(Block {
                norms: [norm("layer_norm1")?, norm("layer_norm2")?],
                attention: projected_attention(
                    width,
                    heads,
                    ["q_proj", "k_proj", "v_proj", "out_proj"].map(|name| own.pp(name)),
                )?,
                feed: [
                    linear(width, wide, feed.pp("fc1"))?.with_activation(activation),
                    linear(wide, width, feed.pp("fc2"))?,
                ],
            })
        };
        let outputs = self.size("projection_dim")?;
        let [own, alone] = self.keys("eos_token_id");
        let network = Network {
            start,
            positions: at.pp("position_embedding").get((places, width), "weight", first)?,
            blocks: (0..self.size("num_hidden_layers")?).map(block).collect::<Result<_>>()?,
            norm: layer_norm(width, epsilon, all.pp(last))?,
            projection: linear_no_bias(width, outputs, params.pp(projection))?,
            end: self.sizes.size_or(&[&own, &alone], 49_407) as u32,
            quick,
        };
        params.check_lora()?;
        Ok(network)
    }

    fn forward(&self, network: &Network, xs: &Tensor) -> Result<Tensor> {
        let mut hidden = match &network.start {
            Start::Image(patches, class, norm) => {
                let patches = patches.forward(&images(xs)?)?.flatten_from(2)?.transpose(1, 2)?;
                let &[batch, _, width] = &patches.dims()?[..] else {
                    bail!("patches have three dimensions")
                };
                let class = class.reshape((1, 1, width))?.broadcast_as((batch, 1, width))?;
                norm.forward(&Tensor::cat(&[&class, &patches], 1)?.add(&network.positions)?)?
            }
            Start::Text(tokens) => {
                let positions = network.positions.narrow(0, 0, xs.dim(1)?)?;
                tokens.forward(xs)?.add(&positions)?
            }
        };
        let causal = self.tower == Tower::Text;
        let options = Attention { causal, ..Attention::default() };
        for Block { norms, attention, feed } in &network.blocks {
            let mixed = attention.forward(&norms[0].forward(&hidden)?, &options)?;
            hidden = hidden.add(&mixed)?;
            let mut fed = feed[0].forward(&norms[1].forward(&hidden)?)?;
            if network.quick {
                fed = fed.mul(&fed.affine(1.702, 0.0)?.sigmoid()?)?;
            }
            hidden = hidden.add(&feed[1].forward(&fed)?)?;
        }
        let pooled = match self.tower {
            Tower::Image => network.norm.forward(&hidden.narrow(1, 0, 1)?.squeeze(1)?)?,
            Tower::Text => {
                let &[batch, time, width] = &hidden.dims()?[..] else {
                    bail!("texts have three dimensions")
                };
                let places = ends(&xs.to_vec::<u32>()?, time, network.end);
                let places = Tensor::from_slice(&places, batch)?;
                let rows = network.norm.forward(&hidden)?.reshape((batch * time, width))?;
                rows.index_select(&places, 0)?
            }
        };
        network.projection.forward(&pooled)
    }

    fn names(&self) -> Result<Option<Names>> {
        let rules = if self.tower == Tower::Image { IMAGE_RULES } else { TEXT_RULES };
        Ok(Some(self.sizes.names(rules).with_lora(self.lora.as_ref())))
    }
}

/// The places of the tokens that end texts, among all tokens of a batch. As in transformers, the first
/// token stands for a missing end, and an end of 2 is the largest id: the files of OpenAI say so.
fn ends(ids: &[u32], time: usize, end: u32) -> Vec<u32> {
    let place = |ids: &[u32]| {
        let wanted = if end == 2 { ids.iter().copied().max().unwrap_or(0) } else { end };
        ids.iter().position(|&id| id == wanted).unwrap_or(0)
    };
    let rows = ids.chunks(time.max(1)).enumerate();
    rows.map(|(row, ids)| (row * time + place(ids)) as u32).collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn texts_end_where_transformers_ends_them() {
        assert_eq!(super::ends(&[4, 7, 9, 9, 7, 4], 3, 7), [1, 4]);
        assert_eq!(super::ends(&[4, 8, 9, 9, 8, 4], 3, 7), [0, 3]);
        assert_eq!(super::ends(&[4, 8, 9, 9, 8, 9], 3, 2), [2, 3]);
    }
}
