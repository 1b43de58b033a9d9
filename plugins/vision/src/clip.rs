//! Model `clip`: one of the two encoders of CLIP (Radford et al. 2021), under the names that
//! transformers gives their parameters.

use std::path::PathBuf;

use fluxbay_plugin::{Attention, Family, Names, Pretrained, Rule, nn::*, prelude::*};

use crate::{
    image,
    patches::{Patches, places},
};

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
const IMAGE_RULES: &[Rule] = &[Rule::ignore("text_*"), Rule::ignore("logit_scale"), POSITIONS];
const TEXT_RULES: &[Rule] = &[
    Rule::ignore("vision_model.*"),
    Rule::ignore("visual_projection.weight"),
    Rule::ignore("logit_scale"),
    POSITIONS,
];
const POSITIONS: Rule = Rule::ignore("*.position_ids");

/// The model `clip`.
pub struct Clip {
    family: Family,
    /// Those of the encoder: in its own part of `config.json`, or alone.
    sizes: Pretrained,
    tower: Tower,
}

/// What blocks begin with.
enum Start {
    Image(Patches, LayerNorm),
    Text(Embedding, Tensor),
}

pub struct Network {
    start: Start,
    blocks: Vec<TransformerBlock>,
    norm: LayerNorm,
    projection: Linear,
    /// Id of the token that ends a text; 2 stands for the largest id.
    end: u32,
}

/// x sigmoid(1.702 x), an approximation of GELU (Hendrycks and Gimpel 2016, arXiv:1606.08415).
struct QuickGelu;

impl Module for QuickGelu {
    fn forward(&self, xs: &Tensor) -> Result<Tensor> {
        xs.mul(&xs.affine(1.702, 0.0)?.sigmoid()?)
    }
}

impl Component for Clip {
    type Config = Config;

    fn new(config: Config, setup: &mut Setup) -> Result<Self> {
        let small = serde_json::json!({
            "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 256,
            "patch_size": 4, "max_position_embeddings": 77, "projection_dim": 64, "hidden_act": "quick_gelu",
            "layer_norm_eps": 1e-5, "eos_token_id": 2,
        });
        let family = Family::open(setup, config.from.as_deref(), config.lora, small)?;
        let part = match config.tower {
            Tower::Image => "vision_config",
            Tower::Text => "text_config",
        };
        let sizes = family.sizes.section(part);
        Ok(Clip { family, sizes, tower: config.tower })
    }
}

impl Clip {
    fn size(&self, name: &str) -> Result<usize> {
        self.sizes.size(&[name])
    }

    /// What the blocks begin with, below path `params`.
    fn start(&self, data: &DataSpec, params: &Params, epsilon: f64) -> Result<Start> {
        let (at, width) = (params.pp("embeddings"), self.size("hidden_size")?);
        let first = Init::Normal { mean: 0.0, std: 0.02 };
        let table =
            |places: usize| at.pp("position_embedding").get((places, width), "weight", first);
        if self.tower == Tower::Image {
            let ([channels, rows, columns], patch) = (image(data)?, self.size("patch_size")?);
            let places = places([rows, columns], patch)?;
            let config = ConvConfig { stride: patch, bias: false, ..ConvConfig::default() };
            let convolution = conv2d(channels, width, patch, config, at.pp("patch_embedding"))?;
            let class = at.get(width, "class_embedding", first)?;
            let norm = layer_norm(width, epsilon, params.pp("pre_layrnorm"))?;
            return Ok(Start::Image(
                Patches { convolution, class, positions: table(places)? },
                norm,
            ));
        }
        let &[time] = &data.xs()?.shape[..] else {
            bail!("texts are token ids [time], the data has {:?}", data.xs()?.shape);
        };
        let Some(vocabulary) = self.size("vocab_size").ok().or(data.xs()?.classes) else {
            bail!("the size of the vocabulary is not known")
        };
        let places = self.size("max_position_embeddings")?;
        if time > places {
            bail!("texts have {time} tokens, the model has {places} places");
        }
        let tokens = embedding(vocabulary, width, 0.02, at.pp("token_embedding"))?;
        Ok(Start::Text(tokens, table(places)?))
    }
}

impl Model for Clip {
    type Network = Network;

    fn build(&self, data: &DataSpec, params: Params) -> Result<Network> {
        let (params, sizes) = (self.family.adapted(params), &self.sizes);
        let (width, heads) = (self.size("hidden_size")?, self.size("num_attention_heads")?);
        let epsilon = sizes.number_or(&["layer_norm_eps"], 1e-5);
        let (prefix, last, projection) = match self.tower {
            Tower::Image => ("vision_model", "post_layernorm", "visual_projection"),
            Tower::Text => ("text_model", "final_layer_norm", "text_projection"),
        };
        let all = params.pp(prefix);
        let start = self.start(data, &all, epsilon)?;
        let wide = self.size("intermediate_size")?;
        let quick = sizes.text(&["hidden_act"]) == "quick_gelu";
        let activation =
            if quick { Activation::None } else { sizes.activation(&["hidden_act"])? };
        let block = |index: usize| -> Result<TransformerBlock> {
            let params = all.pp("encoder").pp("layers").pp(index);
            let norm = |name: &str| layer_norm(width, epsilon, params.pp(name));
            let norms = [norm("layer_norm1")?, norm("layer_norm2")?];
            let own = ["q_proj", "k_proj", "v_proj", "out_proj"];
            let own = own.map(|name| params.pp("self_attn").pp(name));
            let attention = projected_attention(width, heads, own)?;
            let [expand, contract] = ["fc1", "fc2"].map(|name| params.pp("mlp").pp(name));
            let feed = seq().add(linear(width, wide, expand)?.with_activation(activation));
            let feed = if quick { feed.add(QuickGelu) } else { feed };
            let feed = feed.add(linear(wide, width, contract)?);
            Ok(TransformerBlock::pre_norm(norms, attention, feed))
        };
        let network = Network {
            start,
            blocks: (0..self.size("num_hidden_layers")?).map(block).collect::<Result<_>>()?,
            norm: layer_norm(width, epsilon, all.pp(last))?,
            projection: linear_no_bias(width, self.size("projection_dim")?, params.pp(projection))?,
            end: sizes.size_or(&["eos_token_id"], 49_407) as u32,
        };
        params.check_lora()?;
        Ok(network)
    }

    fn forward(&self, network: &Network, xs: &Tensor) -> Result<Tensor> {
        let mut hidden = match &network.start {
            Start::Image(patches, norm) => norm.forward(&patches.forward(xs)?)?,
            Start::Text(tokens, table) => {
                tokens.forward(xs)?.add(&table.narrow(0, 0, xs.dim(1)?)?)?
            }
        };
        let causal = self.tower == Tower::Text;
        for block in &network.blocks {
            let options = Attention { causal, ..Attention::default() };
            hidden = block.forward(&hidden, &options, dropout(0.0))?;
        }
        let pooled = match self.tower {
            Tower::Image => network.norm.forward(&hidden.narrow(1, 0, 1)?.squeeze(1)?)?,
            Tower::Text => {
                let (batch, time, width) = (hidden.dim(0)?, hidden.dim(1)?, hidden.dim(2)?);
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
        Ok(Some(self.family.names(rules)))
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
