//! Model `unet`: U-Net (Ronneberger et al. 2015) over a residual network, under the names that
//! segmentation_models_pytorch gives its parameters.

use std::{cell::Cell, path::PathBuf};

use fluxbay_plugin::{Names, Pretrained, Rule, nn::*, prelude::*};

use crate::{
    image, images,
    residual::{Layer, Residual, layer, name_sizes, run},
};

config! {
    /// Sizes default to those of `from`, and without it to a ResNet 18 with the published decoder.
    pub struct Config {
        /// Folder with `config.json` and safetensors files, relative to the run file. Files of a
        /// `resnet` give the encoder its weights.
        from: Option<PathBuf> = null,
        /// The residual network that finds features: `"resnet18"`, 34, 50, 101 or 152.
        encoder: Option<String> = null,
        /// Channels of the encoder's first layer.
        stem: Option<usize> = null => 1..,
        /// Output channels of each stage of the encoder.
        widths: Option<Vec<usize>> = null,
        /// Blocks of each stage of the encoder.
        blocks: Option<Vec<usize>> = null,
        /// Channels of the decoder, from the deepest part on: as many as there are stages, and one
        /// more. Fewer leave out the deepest stages of the encoder, for small images.
        decoder: Option<Vec<usize>> = null,
    }
}

const CHANNELS: &[&str] = &["decoder_channels"];
const RULES: &[Rule] = &[
    Rule::Ignore { names: "*.num_batches_tracked" },
    Rule::Ignore { names: "fc.*" },
    Rule::Rename { from: "conv1.*", to: "encoder.conv1.*" },
    Rule::Rename { from: "bn1.*", to: "encoder.bn1.*" },
    Rule::Rename { from: "layer#.*", to: "encoder.layer#.*" },
    Rule::Fresh { names: "segmentation_head.*" },
];
/// For files of a residual network alone, which have no decoder.
const FRESH_DECODER: Rule = Rule::Fresh { names: "decoder.*" };

/// The model `unet`.
pub struct UNet {
    sizes: Pretrained,
    /// Sizes of the encoder.
    encoder: Pretrained,
    /// Whether the weights are of an encoder alone.
    alone: bool,
    /// Channels of images and of predictions, once they are known.
    channels: Cell<[usize; 2]>,
}

pub struct Network {
    encoder: Residual,
    /// Two layers for each time that the picture grows.
    decoder: Vec<[Layer; 2]>,
    head: Conv2d,
    /// Whether targets have no dimension of channels.
    flat: bool,
}

/// For stages that are left out.
const STAGES: [Rule; 4] = [
    Rule::Ignore { names: "encoder.layer1.*" },
    Rule::Ignore { names: "encoder.layer2.*" },
    Rule::Ignore { names: "encoder.layer3.*" },
    Rule::Ignore { names: "encoder.layer4.*" },
];

/// Settings of segmentation_models_pytorch, with the values under which its network is the plain one.
const PLAIN: &[(&str, &[&str])] = &[
    ("_model_class", &["\"Unet\""]),
    ("activation", &[]),
    ("decoder_attention_type", &[]),
    ("decoder_interpolation", &["\"nearest\""]),
    ("decoder_use_norm", &["true", "\"batchnorm\""]),
    ("decoder_use_batchnorm", &["true"]),
];

impl Component for UNet {
    type Config = Config;

    fn new(config: Config, setup: &mut Setup) -> Result<Self> {
        let defaults = serde_json::json!({
            "_model_class": "Unet", "encoder_name": "resnet18", "encoder_weights": null,
            "decoder_channels": [256, 128, 64, 32, 16],
        });
        let mut sizes = Pretrained::open(setup, config.from.as_deref(), defaults)?;
        for (key, plain) in PLAIN {
            if let Some(value) = sizes.value(&[key]).map(ToString::to_string)
                && !plain.contains(&value.as_str())
            {
                bail!("config.json: {key} = {value} is not supported, only {}", plain.join(", "));
            }
        }
        // A residual network's own file names its architecture, and has no decoder.
        let alone = sizes.value(CHANNELS).is_none();
        sizes.set(&["_model_class"], Some("Unet"));
        sizes.set(CHANNELS, alone.then(|| vec![256, 128, 64, 32, 16]));
        sizes.set(CHANNELS, config.decoder);
        let depth = sizes.sizes(CHANNELS)?.len();
        sizes.set(&["encoder_depth"], Some(depth));
        let name = sizes.text(&["encoder_name", "architecture"]).to_owned();
        sizes.set(&["encoder_name"], Some(config.encoder.unwrap_or(name)));
        let mut encoder = sizes.clone();
        name_sizes(&mut encoder, sizes.text(&["encoder_name"]))?;
        for (keys, given) in [(&["hidden_sizes"], config.widths), (&["depths"], config.blocks)] {
            encoder.set(keys, given.clone());
            sizes.set(keys, given);
        }
        for sizes in [&mut encoder, &mut sizes] {
            sizes.set(&["embedding_size"], config.stem);
        }
        Ok(UNet { sizes, encoder, alone, channels: Cell::new([0; 2]) })
    }
}

impl Model for UNet {
    type Network = Network;

    fn build(&self, data: &DataSpec, params: Params) -> Result<Network> {
        let ([channels, height, width], ys) = (image(data)?, data.ys()?);
        // Labels, or values, of each pixel.
        let (outputs, flat) = match (ys.classes, &ys.shape[..]) {
            (Some(classes), &[h, w]) if [h, w] == [height, width] => (classes, false),
            (None, &[h, w]) if [h, w] == [height, width] => (1, true),
            (None, &[channels, h, w]) if [h, w] == [height, width] => (channels, false),
            (_, shape) => bail!(
                "targets have the shape {shape:?}: a unet predicts classes of pixels \
                 [{height}, {width}], or values [{height}, {width}] or [channels, {height}, {width}]"
            ),
        };
        self.channels.set([channels, outputs]);
        let decoded = self.sizes.sizes(CHANNELS)?;
        let stages = decoded.len().saturating_sub(1);
        let form = (channels, false, stages);
        let encoder = Residual::build(&self.encoder, form, &params.pp("encoder"))?;
        if stages == 0 || encoder.channels.len() != decoded.len() {
            bail!(
                "decoder {decoded:?} is for {stages} stages of the encoder, which has {}",
                encoder.channels.len() - 1
            );
        }
        let mut from = encoder.channels.iter().rev();
        let mut inputs = from.next().copied().unwrap_or(0);
        let mut decoder = Vec::new();
        for (index, &width) in decoded.iter().enumerate() {
            let at = params.pp("decoder").pp("blocks").pp(index);
            let part = |name: &str, inputs: usize| {
                layer([inputs, width, 3], 1, at.pp(name).pp(0), at.pp(name).pp(1))
            };
            let skipped = from.next().copied().unwrap_or(0);
            decoder.push([part("conv1", inputs + skipped)?, part("conv2", width)?]);
            inputs = width;
        }
        let config = ConvConfig { padding: 1, ..ConvConfig::default() };
        let head = conv2d(inputs, outputs, 3, config, params.pp("segmentation_head").pp(0))?;
        Ok(Network { encoder, decoder, head, flat })
    }

    fn forward(&self, network: &Network, xs: &Tensor) -> Result<Tensor> {
        let xs = images(xs)?;
        let mut features = network.encoder.features(&xs)?;
        let Some(mut hidden) = features.pop() else { bail!("an encoder without layers") };
        for [first, second] in &network.decoder {
            let skipped = features.pop();
            let size = skipped.as_ref().unwrap_or(&xs).dims()?;
            hidden = hidden.upsample_nearest2d(size[2], size[3])?;
            if let Some(skipped) = skipped {
                hidden = Tensor::cat(&[&hidden, &skipped], 1)?;
            }
            hidden = run(second, &run(first, &hidden)?.relu()?)?.relu()?;
        }
        let logits = network.head.forward(&hidden)?;
        if network.flat { logits.squeeze(1) } else { Ok(logits) }
    }

    fn names(&self) -> Result<Option<Names>> {
        let [inputs, outputs] = self.channels.get();
        let names = self.sizes.names(RULES).with_size("in_channels", inputs);
        let mut names = names.with_size("classes", outputs);
        let depth = self.sizes.sizes(CHANNELS)?.len();
        names.rules.extend(STAGES.iter().skip(depth.saturating_sub(1)));
        if self.alone {
            names.rules.push(FRESH_DECODER);
        }
        Ok(Some(names))
    }
}
