//! Model `whisper`: Whisper (Radford et al. 2022), complete or its encoder as a classifier of sounds, under
//! the names that transformers gives its parameters.

use std::path::PathBuf;

use fluxbay_plugin::{Family, Names, Rule, nn::*, prelude::*};

use crate::{
    decoder::Decoder,
    sounds::{SoundEncoder, text_decoder},
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
    Rule::ignore("model.decoder.*"),
    Rule::ignore("proj_out.weight"),
    Rule::rename("model.encoder.*", "encoder.*"),
    Rule::fresh("projector.*"),
    Rule::fresh("classifier.*"),
];
/// Of the complete model. Its output layer is the table of tokens.
const COMPLETE: &[Rule] = &[
    Rule::ignore("proj_out.weight"),
    Rule::rename("encoder.*", "model.encoder.*"),
    Rule::rename("decoder.*", "model.decoder.*"),
];

/// The model `whisper`.
pub struct Whisper {
    family: Family,
    head: Head,
}

pub struct Network {
    encoder: SoundEncoder,
    output: Output,
}

enum Output {
    Classes([Linear; 2]),
    Text(Decoder),
}

impl Component for Whisper {
    type Config = Config;

    fn new(config: Config, setup: &mut Setup) -> Result<Self> {
        let defaults = serde_json::json!({
            "model_type": "whisper", "architectures": ["WhisperForAudioClassification"],
            "d_model": 64, "encoder_layers": 2, "encoder_attention_heads": 4, "encoder_ffn_dim": 256,
            "max_source_positions": 1500, "activation_function": "gelu", "dropout": 0.0,
            "attention_dropout": 0.0, "classifier_proj_size": 64, "decoder_layers": 2,
            "decoder_attention_heads": 4, "decoder_ffn_dim": 256, "max_target_positions": 448,
            "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "decoder_start_token_id": 1,
        });
        let complete = config.head == Head::Transcription;
        let family = Family::open(setup, config.from.as_deref(), config.lora, defaults)?
            .with(&["encoder_layers"], config.layers)
            .with(&["d_model"], config.width)
            .with(&["encoder_attention_heads"], config.heads)
            .with(&["encoder_ffn_dim"], config.feed_forward)
            .with(&["decoder_layers"], config.layers)
            .with(&["decoder_attention_heads"], config.heads)
            .with(&["decoder_ffn_dim"], config.feed_forward)
            .with(&["max_source_positions"], config.places)
            .with(&["max_target_positions"], config.text_places)
            .with(&["dropout"], config.dropout)
            .with(&["architectures"], complete.then(|| vec!["WhisperForConditionalGeneration"]));
        for key in ["scale_embedding", "use_weighted_layer_sum"] {
            if family.sizes.flag_or(&[key], false) {
                bail!("config.json: {key} = true is not supported");
            }
        }
        Ok(Whisper { family, head: config.head })
    }
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
        self.family.found("num_mel_bins", bands);
        let params = self.family.adapted(params);
        let params = match self.head {
            Head::Classification => params,
            Head::Transcription => params.pp("model"),
        };
        let output = match self.head {
            Head::Classification => {
                let (outputs, width) = (data.outputs()?, sizes.size(&["d_model"])?);
                self.family.found_labels(outputs);
                let projected = sizes.size_or(&["classifier_proj_size"], 256);
                Output::Classes([
                    linear(width, projected, params.pp("projector"))?,
                    linear(projected, outputs, params.pp("classifier"))?,
                ])
            }
            Head::Transcription => {
                let ys = data.ys()?;
                let vocabulary = self.family.vocabulary(ys.classes)?;
                let &[time] = &ys.shape[..] else {
                    bail!(
                        "targets are token ids [time], the data set has {:?} per sample",
                        ys.shape
                    );
                };
                Output::Text(text_decoder(sizes, [time, vocabulary], &params.pp("decoder"))?)
            }
        };
        let encoder = SoundEncoder::build(sizes, [bands, frames], &params.pp("encoder"))?;
        params.check_lora()?;
        Ok(Network { encoder, output })
    }

    fn forward(&self, network: &Network, xs: &Tensor) -> Result<Tensor> {
        match &network.output {
            Output::Classes([projector, classifier]) => {
                let sounds = network.encoder.forward(xs)?;
                classifier.forward(&projector.forward(&sounds)?.mean(1)?)
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
                Ok(vec![decoder.forward(tokens, Some(&network.encoder.forward(xs)?))?])
            }
            (_, [xs]) => Ok(vec![self.forward(network, xs)?]),
            _ => bail!("a classifier of sounds takes one input, not {}", inputs.len()),
        }
    }

    fn names(&self) -> Result<Option<Names>> {
        Ok(Some(self.family.names(match self.head {
            Head::Classification => RULES,
            Head::Transcription => COMPLETE,
        })))
    }
}
