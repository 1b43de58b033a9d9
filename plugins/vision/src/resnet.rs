//! Model `resnet`: residual networks (He et al. 2015), under the names that torchvision and timm give
//! their parameters.

use std::{cell::Cell, path::PathBuf};

use fluxbay_plugin::{Names, Pretrained, Rule, nn::*, prelude::*};

use crate::{image, images};

config! {
    /// Sizes default to those of `from`, and without it to the published ones of `depth`.
    pub struct Config {
        /// Folder with `config.json` and safetensors files, relative to the run file.
        from: Option<PathBuf> = null,
        /// Number of layers: 18, 34, 50, 101 or 152.
        depth: usize = 18,
        /// Channels of the first layer.
        stem: Option<usize> = null => 1..,
        /// Output channels of each stage.
        widths: Option<Vec<usize>> = null,
        /// Blocks of each stage.
        blocks: Option<Vec<usize>> = null,
        /// Whether the first layer is 3 by 3 with stride 1, without pooling: for images of up to 64
        /// pixels a side, of which the published one leaves 2.
        small_images: bool = false,
    }
}

/// Names of transformers; its shortcut and layers have a convolution and a normalisation each.
macro_rules! stage {
    ($theirs:literal, $ours:literal) => {
        [
            Rule::Rename {
                from: concat!("encoder.stages.", $theirs, ".layers.#.shortcut.convolution.*"),
                to: concat!($ours, ".#.downsample.0.*"),
            },
            Rule::Rename {
                from: concat!("encoder.stages.", $theirs, ".layers.#.shortcut.normalization.*"),
                to: concat!($ours, ".#.downsample.1.*"),
            },
            Rule::Rename {
                from: concat!("encoder.stages.", $theirs, ".layers.#.layer.#.*"),
                to: concat!($ours, ".#.layer.#.*"),
            },
        ]
    };
}

const STAGES: [[Rule; 3]; 4] =
    [stage!("0", "layer1"), stage!("1", "layer2"), stage!("2", "layer3"), stage!("3", "layer4")];
const RULES: &[Rule] = &[
    Rule::Ignore { names: "*.num_batches_tracked" },
    Rule::Rename { from: "resnet.*", to: "*" },
    Rule::Rename { from: "embedder.embedder.convolution.*", to: "conv1.*" },
    Rule::Rename { from: "embedder.embedder.normalization.*", to: "bn1.*" },
    Rule::Rename { from: "classifier.1.*", to: "fc.*" },
    Rule::Fresh { names: "fc.*" },
];
const LAYERS: &[Rule] = &[
    Rule::Rename { from: "*.layer.0.convolution.*", to: "*.conv1.*" },
    Rule::Rename { from: "*.layer.0.normalization.*", to: "*.bn1.*" },
    Rule::Rename { from: "*.layer.1.convolution.*", to: "*.conv2.*" },
    Rule::Rename { from: "*.layer.1.normalization.*", to: "*.bn2.*" },
    Rule::Rename { from: "*.layer.2.convolution.*", to: "*.conv3.*" },
    Rule::Rename { from: "*.layer.2.normalization.*", to: "*.bn3.*" },
];

/// The model `resnet`.
pub struct ResNet {
    sizes: Pretrained,
    small_images: bool,
    outputs: Cell<usize>,
}

/// A convolution and its normalisation.
type Layer = (Conv2d, BatchNorm);

struct Block {
    layers: Vec<Layer>,
    shortcut: Option<Layer>,
}

pub struct Network {
    stem: Layer,
    pool: Option<Pool2d>,
    blocks: Vec<Block>,
    output: Linear,
}

fn layer(sizes: [usize; 3], stride: usize, conv: Params, norm: Params) -> Result<Layer> {
    let [inputs, outputs, kernel] = sizes;
    let config = ConvConfig { stride, padding: kernel / 2, bias: false, ..ConvConfig::default() };
    Ok((conv2d(inputs, outputs, kernel, config, conv)?, batch_norm(outputs, norm)?))
}

fn run((conv, norm): &Layer, xs: &Tensor) -> Result<Tensor> {
    norm.forward(&conv.forward(xs)?)
}

impl Component for ResNet {
    type Config = Config;

    fn new(config: Config, setup: &mut Setup) -> Result<Self> {
        let defaults = serde_json::json!({ "architecture": format!("resnet{}", config.depth) });
        let mut sizes = Pretrained::open(setup, config.from.as_deref(), defaults)?;
        // timm's and torchvision's configurations name the architecture only.
        let name = sizes.text(&["architecture"]).to_owned();
        let (kind, widths, blocks) = match name.split('.').next().unwrap_or_default() {
            "resnet18" => ("basic", [64, 128, 256, 512], [2, 2, 2, 2]),
            "resnet34" => ("basic", [64, 128, 256, 512], [3, 4, 6, 3]),
            "resnet50" => ("bottleneck", [256, 512, 1024, 2048], [3, 4, 6, 3]),
            "resnet101" => ("bottleneck", [256, 512, 1024, 2048], [3, 4, 23, 3]),
            "resnet152" => ("bottleneck", [256, 512, 1024, 2048], [3, 8, 36, 3]),
            "" => ("", [0; 4], [0; 4]),
            other => {
                bail!("`{other}` is none of resnet18, resnet34, resnet50, resnet101, resnet152")
            }
        };
        if !kind.is_empty() {
            sizes.set(&["layer_type"], Some(kind));
            sizes.set(&["embedding_size"], Some(64));
            sizes.set(&["hidden_sizes"], Some(widths.to_vec()));
            sizes.set(&["depths"], Some(blocks.to_vec()));
        }
        sizes.set(&["embedding_size"], config.stem);
        sizes.set(&["hidden_sizes"], config.widths);
        sizes.set(&["depths"], config.blocks);
        Ok(ResNet { sizes, small_images: config.small_images, outputs: Cell::new(0) })
    }
}

impl Model for ResNet {
    type Network = Network;

    fn build(&self, data: &DataSpec, params: Params) -> Result<Network> {
        let [channels, ..] = image(data)?;
        let (sizes, outputs) = (&self.sizes, data.outputs()?);
        self.outputs.set(outputs);
        let bottleneck = sizes.text(&["layer_type"]) == "bottleneck";
        let (widths, depths) = (sizes.sizes(&["hidden_sizes"])?, sizes.sizes(&["depths"])?);
        if widths.len() != depths.len() || widths.is_empty() {
            bail!("widths {widths:?} and blocks {depths:?} are not of the same stages");
        }
        let first = sizes.size(&["embedding_size"])?;
        let (kernel, stride) = if self.small_images { (3, 1) } else { (7, 2) };
        let stem = layer([channels, first, kernel], stride, params.pp("conv1"), params.pp("bn1"))?;
        let pool = (!self.small_images).then(|| pool2d(Pool::Max, 3, 2, 1));
        let (mut blocks, mut inputs) = (Vec::new(), first);
        for (stage, (&width, &depth)) in widths.iter().zip(&depths).enumerate() {
            for index in 0..depth {
                let at = params.pp(format!("layer{}", stage + 1)).pp(index);
                let stride = if index == 0 && stage > 0 { 2 } else { 1 };
                let part = |number: usize, sizes: [usize; 3], stride: usize| {
                    let (conv, norm) = (format!("conv{number}"), format!("bn{number}"));
                    layer(sizes, stride, at.pp(conv), at.pp(norm))
                };
                let layers = match bottleneck {
                    true => vec![
                        part(1, [inputs, width / 4, 1], 1)?,
                        part(2, [width / 4, width / 4, 3], stride)?,
                        part(3, [width / 4, width, 1], 1)?,
                    ],
                    false => {
                        vec![part(1, [inputs, width, 3], stride)?, part(2, [width, width, 3], 1)?]
                    }
                };
                let shortcut = at.pp("downsample");
                let shortcut = (stride != 1 || inputs != width)
                    .then(|| layer([inputs, width, 1], stride, shortcut.pp(0), shortcut.pp(1)));
                blocks.push(Block { layers, shortcut: shortcut.transpose()? });
                inputs = width;
            }
        }
        Ok(Network { stem, pool, blocks, output: linear(inputs, outputs, params.pp("fc"))? })
    }

    fn forward(&self, network: &Network, xs: &Tensor) -> Result<Tensor> {
        let mut hidden = run(&network.stem, &images(xs)?)?.relu()?;
        if let Some(pool) = &network.pool {
            hidden = pool.forward(&hidden)?;
        }
        for Block { layers, shortcut } in &network.blocks {
            let mut branch = hidden.clone();
            for (index, layer) in layers.iter().enumerate() {
                branch = run(layer, &if index == 0 { branch } else { branch.relu()? })?;
            }
            let same = match shortcut {
                Some(shortcut) => run(shortcut, &hidden)?,
                None => hidden,
            };
            hidden = branch.add(&same)?.relu()?;
        }
        network.output.forward(&hidden.mean([2, 3])?)
    }

    fn names(&self) -> Result<Option<Names>> {
        let mut names = self.sizes.names(RULES).with_labels(self.outputs.get());
        names.rules.extend(STAGES.as_flattened());
        names.rules.extend(LAYERS);
        Ok(Some(names.with_size("num_classes", self.outputs.get())))
    }
}
