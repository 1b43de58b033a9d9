//! Model `whisper`: the encoder of Whisper (Radford et al. 2022) as a classifier of sounds, under the
//! names that transformers gives its parameters.

use std::{cell::Cell, path::PathBuf};

use fluxbay_plugin::{Attention, Names, Rule, nn::*, prelude::*};

use crate::family::{Family, set};

config! {
    /// Sizes default to those of `from`, and without it to a small encoder.
    pub struct Config {
        /// Folder with `config.json` and safetensors files, relative to the run file.
        from: Option<PathBuf> = null,
        /// Number of blocks.
        layers: Option<usize> = null => 1..,
        /// Width of the residual stream.
        width: Option<usize> = null => 2..,
        /// Attention heads; must divide the width.
        heads: Option<usize> = null => 1..,
        /// Width of each feed-forward layer.
        feed_forward: Option<usize> = null => 1..,
        /// Places of the encoder: half of the most frames of a spectrogram.
        places: Option<usize> = null => 1..,
        /// Dropout probability after each block's layers.
        dropout: Option<f64> = null => 0.0..1.0,
        /// Low-rank adapters: train these instead of the weights.
        lora: Option<Lora> = null,
    }
}

const RULES: &[Rule] = &[
    // Of the complete model.
    Rule::Ignore { names: "model.decoder.*" },
    Rule::Ignore { names: "proj_out.weight" },
    Rule::Rename { from: "model.encoder.*", to: "encoder.*" },
    Rule::Fresh { names: "projector.*" },
    Rule::Fresh { names: "classifier.*" },
];

/// The model `whisper`.
pub struct Whisper {
    family: Family,
    bands: Cell<usize>,
    outputs: Cell<usize>,
}

struct Block {
    norms: [LayerNorm; 2],
    attention: ProjectedAttention,
    feed: FeedForward,
}

pub struct Network {
    convolutions: [Conv1d; 2],
    positions: Tensor,
    blocks: Vec<Block>,
    norm: LayerNorm,
    head: [Linear; 2],
    dropout: [f64; 2],
}

impl Component for Whisper {
    type Config = Config;

    fn new(config: Config, setup: &mut Setup) -> Result<Self> {
        let family = Family::open(
            setup,
            (config.from.as_deref(), config.lora),
            serde_json::json!({
                "model_type": "whisper", "architectures": ["WhisperForAudioClassification"],
                "d_model": 64, "encoder_layers": 2, "encoder_attention_heads": 4, "encoder_ffn_dim": 256,
                "max_source_positions": 1500, "activation_function": "gelu", "dropout": 0.0,
                "attention_dropout": 0.0, "classifier_proj_size": 64,
            }),
            [
                set(&["encoder_layers"], config.layers),
                set(&["d_model"], config.width),
                set(&["encoder_attention_heads"], config.heads),
                set(&["encoder_ffn_dim"], config.feed_forward),
                set(&["max_source_positions"], config.places),
                set(&["dropout"], config.dropout),
            ],
        )?;
        for key in ["scale_embedding", "use_weighted_layer_sum"] {
            if family.sizes.flag_or(&[key], false) {
                bail!("config.json: {key} = true is not supported");
            }
        }
        Ok(Whisper { family, bands: Cell::new(0), outputs: Cell::new(0) })
    }
}

/// The published positions, `[places, width]`: sines, and cosines behind them.
fn sinusoids(places: usize, width: usize) -> Result<Tensor> {
    let half = width / 2;
    let step = 1e4_f64.ln() / half.saturating_sub(1).max(1) as f64;
    let angle = |at: usize, pair: usize| at as f64 * (-step * pair as f64).exp();
    let row = |at: usize| {
        let angles = (0..half).map(move |pair| angle(at, pair));
        angles.clone().map(f64::sin).chain(angles.map(f64::cos))
    };
    let values: Vec<f64> = (0..places).flat_map(row).collect();
    Tensor::from_slice(&values, (places, width))
}

impl Model for Whisper {
    type Network = Network;

    fn build(&self, data: &DataSpec, params: Params) -> Result<Network> {
        let sizes = &self.family.sizes;
        let (&[bands, frames], outputs) = (&data.xs()?.shape[..], data.outputs()?) else {
            bail!(
                "this model takes spectrograms [bands, frames], the data set has {:?} per sample",
                data.xs()?.shape
            );
        };
        self.bands.set(bands);
        self.outputs.set(outputs);
        let params = self.family.adapted(params);
        let (width, places) = (sizes.size(&["d_model"])?, sizes.size(&["max_source_positions"])?);
        if frames.div_ceil(2) > places || !width.is_multiple_of(2) {
            bail!(
                "{frames} frames with {places} places for two each, and a width of {width}, do not fit"
            );
        }
        let heads = sizes.size(&["encoder_attention_heads"])?;
        let wide = sizes.size(&["encoder_ffn_dim"])?;
        let activation = sizes.activation(&["activation_function"])?;
        let all = params.pp("encoder");
        let convolution = |name: &str, inputs: usize, stride: usize| {
            let activation = Activation::GeluErf;
            let config = ConvConfig { stride, padding: 1, activation, ..ConvConfig::default() };
            conv1d(inputs, width, 3, config, all.pp(name))
        };
        let positions = all.pp("embed_positions").buffer((places, width), "weight", Init::ZEROS)?;
        positions.assign(&sinusoids(places, width)?.to_dtype(positions.dtype()?)?)?;
        let block = |index: usize| -> Result<Block> {
            let params = all.pp("layers").pp(index);
            let own = params.pp("self_attn");
            let norm = |name: &str| layer_norm(width, 1e-5, params.pp(name));
            let square = |name: &str| linear(width, width, own.pp(name));
            let key = linear_no_bias(width, width, own.pp("k_proj"))?;
            let layers = [square("q_proj")?, key, square("v_proj")?, square("out_proj")?];
            Ok(Block {
                norms: [norm("self_attn_layer_norm")?, norm("final_layer_norm")?],
                attention: ProjectedAttention::new(layers, [width, heads])?,
                feed: feed_forward(
                    [width, wide],
                    activation,
                    ["fc1", "fc2"].map(|x| params.pp(x)),
                )?,
            })
        };
        let projected = sizes.size_or(&["classifier_proj_size"], 256);
        let network = Network {
            convolutions: [convolution("conv1", bands, 1)?, convolution("conv2", width, 2)?],
            positions,
            blocks: (0..sizes.size(&["encoder_layers"])?).map(block).collect::<Result<_>>()?,
            norm: layer_norm(width, 1e-5, all.pp("layer_norm"))?,
            head: [
                linear(width, projected, params.pp("projector"))?,
                linear(projected, outputs, params.pp("classifier"))?,
            ],
            dropout: ["dropout", "attention_dropout"].map(|key| sizes.number_or(&[key], 0.0)),
        };
        params.check_lora()?;
        Ok(network)
    }

    fn forward(&self, network: &Network, xs: &Tensor) -> Result<Tensor> {
        let [first, second] = &network.convolutions;
        let [rate, of_weights] = network.dropout;
        let dropout = dropout(rate);
        let sounds = second.forward(&first.forward(xs)?)?.transpose(1, 2)?.contiguous()?;
        let hidden = sounds.add(&network.positions.narrow(0, 0, sounds.dim(1)?)?)?;
        let mut hidden = dropout.forward(&hidden)?;
        let options = Attention { dropout: of_weights, ..Attention::default() };
        for Block { norms, attention, feed } in &network.blocks {
            let mixed = attention.forward(&norms[0].forward(&hidden)?, &options)?;
            hidden = hidden.add(&dropout.forward(&mixed)?)?;
            let fed = feed.forward(&norms[1].forward(&hidden)?)?;
            hidden = hidden.add(&dropout.forward(&fed)?)?;
        }
        let [projector, classifier] = &network.head;
        classifier.forward(&projector.forward(&network.norm.forward(&hidden)?)?.mean(1)?)
    }

    fn names(&self) -> Result<Option<Names>> {
        let names = self.family.names(RULES).with_size("num_mel_bins", self.bands.get());
        Ok(Some(names.with_labels(self.outputs.get())))
    }
}
