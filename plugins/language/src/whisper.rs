//! Model `whisper`: Whisper (Radford et al. 2022), complete or its encoder as a classifier of sounds, under
//! the names that transformers gives its parameters.

use std::{cell::Cell, path::PathBuf};

use fluxbay_plugin::{Attention, Names, Rule, nn::*, prelude::*};

use crate::{
    family::{Family, set},
    transcription::{Decoder, attention},
};

choice! {
    /// What the model predicts.
    pub enum Head {
        /// A class, or numbers, for each sound: by the encoder alone.
        Classification,
        /// The next token of a text: by encoder and decoder, in the phase `causal-language` with `begin`.
        Transcription,
    }
}

config! {
    /// Sizes default to those of `from`, and without it to a small encoder.
    pub struct Config {
        /// Folder with `config.json` and safetensors files, relative to the run file.
        from: Option<PathBuf> = null,
        /// What the model predicts.
        head: Head = "classification",
        /// Number of blocks, of encoder and decoder each.
        layers: Option<usize> = null => 1..,
        /// Width of the residual stream.
        width: Option<usize> = null => 2..,
        /// Attention heads; must divide the width.
        heads: Option<usize> = null => 1..,
        /// Width of each feed-forward layer.
        feed_forward: Option<usize> = null => 1..,
        /// Places of the encoder: half of the most frames of a spectrogram.
        places: Option<usize> = null => 1..,
        /// Places of the decoder: the most tokens of a text.
        text_places: Option<usize> = null => 1..,
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

/// Of the complete model. Its output layer is the table of tokens.
const COMPLETE: &[Rule] = &[
    Rule::Ignore { names: "proj_out.weight" },
    Rule::Rename { from: "encoder.*", to: "model.encoder.*" },
    Rule::Rename { from: "decoder.*", to: "model.decoder.*" },
];

/// The model `whisper`.
pub struct Whisper {
    family: Family,
    head: Head,
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
    output: Output,
    dropout: [f64; 2],
}

enum Output {
    Classes([Linear; 2]),
    Text(Decoder),
}

impl Component for Whisper {
    type Config = Config;

    fn new(config: Config, setup: &mut Setup) -> Result<Self> {
        let mut family = Family::open(
            setup,
            (config.from.as_deref(), config.lora),
            serde_json::json!({
                "model_type": "whisper", "architectures": ["WhisperForAudioClassification"],
                "d_model": 64, "encoder_layers": 2, "encoder_attention_heads": 4, "encoder_ffn_dim": 256,
                "max_source_positions": 1500, "activation_function": "gelu", "dropout": 0.0,
                "attention_dropout": 0.0, "classifier_proj_size": 64, "decoder_layers": 2,
                "decoder_attention_heads": 4, "decoder_ffn_dim": 256, "max_target_positions": 448,
                "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "decoder_start_token_id": 1,
            }),
            [
                set(&["encoder_layers"], config.layers),
                set(&["d_model"], config.width),
                set(&["encoder_attention_heads"], config.heads),
                set(&["encoder_ffn_dim"], config.feed_forward),
                set(&["decoder_layers"], config.layers),
                set(&["decoder_attention_heads"], config.heads),
                set(&["decoder_ffn_dim"], config.feed_forward),
                set(&["max_source_positions"], config.places),
                set(&["max_target_positions"], config.text_places),
                set(&["dropout"], config.dropout),
            ],
        )?;
        for key in ["scale_embedding", "use_weighted_layer_sum"] {
            if family.sizes.flag_or(&[key], false) {
                bail!("config.json: {key} = true is not supported");
            }
        }
        if config.head == Head::Transcription {
            let class = ["WhisperForConditionalGeneration"];
            family.sizes.set(&["architectures"], Some(&class[..]));
        }
        Ok(Whisper { family, head: config.head, bands: Cell::new(0), outputs: Cell::new(0) })
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
        let &[bands, frames] = &data.xs()?.shape[..] else {
            bail!(
                "this model takes spectrograms [bands, frames], the data set has {:?} per sample",
                data.xs()?.shape
            );
        };
        self.bands.set(bands);
        let mut params = self.family.adapted(params);
        if self.head == Head::Transcription {
            params = params.pp("model");
        }
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
            let norm = |name: &str| layer_norm(width, 1e-5, params.pp(name));
            Ok(Block {
                norms: [norm("self_attn_layer_norm")?, norm("final_layer_norm")?],
                attention: attention(width, heads, &params.pp("self_attn"))?,
                feed: feed_forward(
                    [width, wide],
                    activation,
                    ["fc1", "fc2"].map(|x| params.pp(x)),
                )?,
            })
        };
        let output = match self.head {
            Head::Classification => {
                let projected = sizes.size_or(&["classifier_proj_size"], 256);
                self.outputs.set(data.outputs()?);
                Output::Classes([
                    linear(width, projected, params.pp("projector"))?,
                    linear(projected, self.outputs.get(), params.pp("classifier"))?,
                ])
            }
            Head::Transcription => {
                let (ys, vocabulary) = (data.ys()?, self.family.vocabulary(data.ys()?.classes)?);
                let &[time] = &ys.shape[..] else {
                    bail!(
                        "targets are token ids [time], the data set has {:?} per sample",
                        ys.shape
                    );
                };
                Output::Text(Decoder::build(sizes, [time, vocabulary], &params.pp("decoder"))?)
            }
        };
        let network = Network {
            convolutions: [convolution("conv1", bands, 1)?, convolution("conv2", width, 2)?],
            positions,
            blocks: (0..sizes.size(&["encoder_layers"])?).map(block).collect::<Result<_>>()?,
            norm: layer_norm(width, 1e-5, all.pp("layer_norm"))?,
            output,
            dropout: ["dropout", "attention_dropout"].map(|key| sizes.number_or(&[key], 0.0)),
        };
        params.check_lora()?;
        Ok(network)
    }

    fn forward(&self, network: &Network, xs: &Tensor) -> Result<Tensor> {
        match &network.output {
            Output::Classes([projector, classifier]) => {
                classifier.forward(&projector.forward(&network.encoded(xs)?)?.mean(1)?)
            }
            Output::Text(_) => bail!(
                "with head = \"transcription\" this model takes a spectrogram and the tokens before each \
                 prediction: train it in the phase causal-language with `begin`"
            ),
        }
    }

    fn forward_many(&self, network: &Network, inputs: &[Tensor]) -> Result<Vec<Tensor>> {
        match (&network.output, inputs) {
            (Output::Text(decoder), [xs, tokens]) => {
                Ok(vec![decoder.forward(&network.encoded(xs)?, tokens, network.dropout)?])
            }
            (_, [xs]) => Ok(vec![self.forward(network, xs)?]),
            _ => bail!("a classifier of sounds takes one input, not {}", inputs.len()),
        }
    }

    fn names(&self) -> Result<Option<Names>> {
        let names = match self.head {
            Head::Classification => self.family.names(RULES).with_labels(self.outputs.get()),
            Head::Transcription => self.family.names(COMPLETE),
        };
        Ok(Some(names.with_size("num_mel_bins", self.bands.get())))
    }
}

impl Network {
    /// Spectrograms as `[batch, places, width]`.
    fn encoded(&self, xs: &Tensor) -> Result<Tensor> {
        let [first, second] = &self.convolutions;
        let [rate, of_weights] = self.dropout;
        let dropout = dropout(rate);
        let sounds = second.forward(&first.forward(xs)?)?.transpose(1, 2)?.contiguous()?;
        let hidden = sounds.add(&self.positions.narrow(0, 0, sounds.dim(1)?)?)?;
        let mut hidden = dropout.forward(&hidden)?;
        let options = Attention { dropout: of_weights, ..Attention::default() };
        for Block { norms, attention, feed } in &self.blocks {
            let mixed = attention.forward(&norms[0].forward(&hidden)?, &options)?;
            hidden = hidden.add(&dropout.forward(&mixed)?)?;
            let fed = feed.forward(&norms[1].forward(&hidden)?)?;
            hidden = hidden.add(&dropout.forward(&fed)?)?;
        }
        self.norm.forward(&hidden)
    }
}
