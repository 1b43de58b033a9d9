//! Model `resnet`: residual networks (He et al. 2015), under the names that torchvision and timm give
//! their parameters.

use std::{cell::Cell, path::PathBuf};

use fluxbay_plugin::{Names, Pretrained, Rule, nn::*, prelude::*};

use crate::{
    image, images,
    residual::{Residual, name_sizes},
};

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

impl Component for ResNet {
    type Config = Config;

    fn new(config: Config, setup: &mut Setup) -> Result<Self> {
        let defaults = serde_json::json!({ "architecture": format!("resnet{}", config.depth) });
        let mut sizes = Pretrained::open(setup, config.from.as_deref(), defaults)?;
        // timm's and torchvision's configurations name the architecture only.
        let name = sizes.text(&["architecture"]).to_owned();
        name_sizes(&mut sizes, &name)?;
        sizes.set(&["embedding_size"], config.stem);
        sizes.set(&["hidden_sizes"], config.widths);
        sizes.set(&["depths"], config.blocks);
        Ok(ResNet { sizes, small_images: config.small_images, outputs: Cell::new(0) })
    }
}

impl Model for ResNet {
    type Network = (Residual, Linear);

    fn build(&self, data: &DataSpec, params: Params) -> Result<Self::Network> {
        let ([channels, ..], outputs) = (image(data)?, data.outputs()?);
        self.outputs.set(outputs);
        let form = (channels, self.small_images, usize::MAX);
        let residual = Residual::build(&self.sizes, form, &params)?;
        let width = residual.channels.last().copied().unwrap_or(0);
        Ok((residual, linear(width, outputs, params.pp("fc"))?))
    }

    fn forward(&self, (residual, output): &Self::Network, xs: &Tensor) -> Result<Tensor> {
        match residual.features(&images(xs)?)?.last() {
            Some(features) => output.forward(&features.mean([2, 3])?),
            None => bail!("a residual network without layers"),
        }
    }

    fn names(&self) -> Result<Option<Names>> {
        let mut names = self.sizes.names(RULES).with_labels(self.outputs.get());
        names.rules.extend(STAGES.as_flattened());
        names.rules.extend(LAYERS);
        Ok(Some(names.with_size("num_classes", self.outputs.get())))
    }
}
