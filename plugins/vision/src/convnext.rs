//! Model `convnext`: ConvNeXt (Liu et al. 2022), under the names that timm gives its parameters.

use std::path::PathBuf;

use fluxbay_plugin::{Family, Names, Rule, nn::*, prelude::*};

use crate::{architectures, classes, image, images};

config! {
    /// Sizes default to those of `from`, and without it to a small one for small images.
    pub struct Config {
        /// Folder with `config.json` and safetensors files, relative to the run file.
        from: Option<PathBuf> = null,
        /// Side of the patches of the first layer.
        patch: Option<usize> = null => 1..,
        /// Channels of each stage.
        widths: Option<Vec<usize>> = null,
        /// Blocks of each stage.
        blocks: Option<Vec<usize>> = null,
    }
}

const RULES: &[Rule] = &[Rule::fresh("head.fc.*")];

/// The model `convnext`.
pub struct ConvNext(Family);

struct Block {
    depthwise: Conv2d,
    norm: LayerNorm,
    feed: FeedForward,
    gamma: Tensor,
}

struct Stage {
    downsample: Option<(LayerNorm, Conv2d)>,
    blocks: Vec<Block>,
}

pub struct Network {
    stem: (Conv2d, LayerNorm),
    stages: Vec<Stage>,
    norm: LayerNorm,
    output: Linear,
}

const WIDTHS: &[&str] = &["hidden_sizes", "model_args.dims"];
const DEPTHS: &[&str] = &["depths", "model_args.depths"];
const PATCH: &[&str] = &["patch_size", "model_args.patch_size"];

/// Normalises the channels of `[batch, channels, height, width]`.
fn over_channels(norm: &LayerNorm, xs: &Tensor) -> Result<Tensor> {
    norm.forward(&xs.permute([0, 2, 3, 1])?)?.permute([0, 3, 1, 2])
}

impl Component for ConvNext {
    type Config = Config;

    fn new(config: Config, setup: &mut Setup) -> Result<Self> {
        let small =
            serde_json::json!({ "hidden_sizes": [32, 64], "depths": [2, 2], "patch_size": 2 });
        let family = Family::open(setup, config.from.as_deref(), None, small)?;
        let known = match family.sizes.value(WIDTHS) {
            Some(_) => None,
            None => Some(architectures::convnext(family.sizes.text(&["architecture"]))?),
        };
        let [widths, depths] = known.map_or([None, None], |known| known.map(Some));
        let family = family
            .with(WIDTHS, config.widths.or(widths))
            .with(DEPTHS, config.blocks.or(depths))
            .with(PATCH, config.patch);
        Ok(ConvNext(family))
    }
}

impl Model for ConvNext {
    type Network = Network;

    fn build(&self, data: &DataSpec, params: Params) -> Result<Network> {
        let [channels, ..] = image(data)?;
        let (sizes, outputs) = (&self.0.sizes, classes(&self.0, data)?);
        let (widths, depths) = (sizes.sizes(WIDTHS)?, sizes.sizes(DEPTHS)?);
        let (Some(&first), Some(&last), true) =
            (widths.first(), widths.last(), widths.len() == depths.len())
        else {
            bail!("widths {widths:?} and blocks {depths:?} are not of the same stages");
        };
        let epsilon = 1e-6;
        let patches = |stride: usize| ConvConfig { stride, ..ConvConfig::default() };
        let (stem, patch) = (params.pp("stem"), sizes.size_or(PATCH, 4));
        let stem = (
            conv2d(channels, first, patch, patches(patch), stem.pp(0))?,
            layer_norm(first, epsilon, stem.pp(1))?,
        );
        let (mut stages, mut inputs) = (Vec::new(), first);
        for (index, (&width, &depth)) in widths.iter().zip(&depths).enumerate() {
            let params = params.pp("stages").pp(index);
            let own = params.pp("downsample");
            // As timm: behind patches of 2 the first stage halves the map, too.
            let downsample = match index > 0 || patch == 2 {
                false => None,
                true => Some((
                    layer_norm(inputs, epsilon, own.pp(0))?,
                    conv2d(inputs, width, 2, patches(2), own.pp(1))?,
                )),
            };
            let block = |index: usize| -> Result<Block> {
                let params = params.pp("blocks").pp(index);
                let config = ConvConfig { padding: 3, groups: width, ..ConvConfig::default() };
                let feed = ["fc1", "fc2"].map(|name| params.pp("mlp").pp(name));
                Ok(Block {
                    depthwise: conv2d(width, width, 7, config, params.pp("conv_dw"))?,
                    norm: layer_norm(width, epsilon, params.pp("norm"))?,
                    feed: feed_forward([width, 4 * width], Activation::GeluErf, feed)?,
                    gamma: params.get(width, "gamma", Init::Const(1e-6))?,
                })
            };
            let blocks = (0..depth).map(block).collect::<Result<_>>()?;
            stages.push(Stage { downsample, blocks });
            inputs = width;
        }
        let head = params.pp("head");
        Ok(Network {
            stem,
            stages,
            norm: layer_norm(last, epsilon, head.pp("norm"))?,
            output: linear(last, outputs, head.pp("fc"))?,
        })
    }

    fn forward(&self, network: &Network, xs: &Tensor) -> Result<Tensor> {
        let (conv, norm) = &network.stem;
        let mut hidden = over_channels(norm, &conv.forward(&images(xs)?)?)?;
        for Stage { downsample, blocks } in &network.stages {
            if let Some((norm, conv)) = downsample {
                hidden = conv.forward(&over_channels(norm, &hidden)?)?;
            }
            for Block { depthwise, norm, feed, gamma } in blocks {
                let mixed = depthwise.forward(&hidden)?.permute([0, 2, 3, 1])?;
                let fed = feed.forward(&norm.forward(&mixed)?)?;
                hidden = fed.mul(gamma)?.permute([0, 3, 1, 2])?.add(&hidden)?;
            }
        }
        network.output.forward(&network.norm.forward(&hidden.mean([2, 3])?)?)
    }

    fn names(&self) -> Result<Option<Names>> {
        Ok(Some(self.0.names(RULES)))
    }
}
