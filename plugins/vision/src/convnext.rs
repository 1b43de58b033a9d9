//! Model `convnext`: ConvNeXt (Liu et al. 2022), under the names that timm gives its parameters.

use std::{cell::Cell, path::PathBuf};

use fluxbay_plugin::{Names, Pretrained, Rule, nn::*, prelude::*};

use crate::{image, images};

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

const RULES: &[Rule] = &[Rule::Fresh { names: "head.fc.*" }];

/// The model `convnext`.
pub struct ConvNext {
    sizes: Pretrained,
    outputs: Cell<usize>,
}

struct Block {
    depthwise: Conv2d,
    norm: LayerNorm,
    feed: [Linear; 2],
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
        let mut sizes = Pretrained::open(
            setup,
            config.from.as_deref(),
            serde_json::json!({ "hidden_sizes": [32, 64], "depths": [2, 2], "patch_size": 2 }),
        )?;
        // timm's configurations name the architecture, such as convnext_tiny.
        let name = sizes.text(&["architecture"]).to_owned();
        let known = match name.split('.').next().unwrap_or_default() {
            _ if sizes.value(WIDTHS).is_some() => None,
            "convnext_atto" => Some(([40, 80, 160, 320], [2, 2, 6, 2])),
            "convnext_tiny" => Some(([96, 192, 384, 768], [3, 3, 9, 3])),
            "convnext_small" => Some(([96, 192, 384, 768], [3, 3, 27, 3])),
            "convnext_base" => Some(([128, 256, 512, 1024], [3, 3, 27, 3])),
            "convnext_large" => Some(([192, 384, 768, 1536], [3, 3, 27, 3])),
            other => bail!("config.json has neither sizes nor a known architecture, but `{other}`"),
        };
        sizes.set(WIDTHS, known.map(|(widths, _)| widths.to_vec()));
        sizes.set(DEPTHS, known.map(|(_, depths)| depths.to_vec()));
        sizes.set(WIDTHS, config.widths);
        sizes.set(DEPTHS, config.blocks);
        sizes.set(PATCH, config.patch);
        Ok(ConvNext { sizes, outputs: Cell::new(0) })
    }
}

impl Model for ConvNext {
    type Network = Network;

    fn build(&self, data: &DataSpec, params: Params) -> Result<Network> {
        let [channels, ..] = image(data)?;
        let (sizes, outputs) = (&self.sizes, data.outputs()?);
        self.outputs.set(outputs);
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
                let feed = params.pp("mlp");
                Ok(Block {
                    depthwise: conv2d(width, width, 7, config, params.pp("conv_dw"))?,
                    norm: layer_norm(width, epsilon, params.pp("norm"))?,
                    feed: [
                        linear(width, 4 * width, feed.pp("fc1"))?
                            .with_activation(Activation::GeluErf),
                        linear(4 * width, width, feed.pp("fc2"))?,
                    ],
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
                let fed = feed[1].forward(&feed[0].forward(&norm.forward(&mixed)?)?)?;
                hidden = fed.mul(gamma)?.permute([0, 3, 1, 2])?.add(&hidden)?;
            }
        }
        network.output.forward(&network.norm.forward(&hidden.mean([2, 3])?)?)
    }

    fn names(&self) -> Result<Option<Names>> {
        let names = self.sizes.names(RULES).with_labels(self.outputs.get());
        Ok(Some(names.with_size("num_classes", self.outputs.get())))
    }
}
