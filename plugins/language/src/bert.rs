//! Model `bert`: BERT (Devlin et al. 2018), RoBERTa (Liu et al. 2019) and DistilBERT (Sanh et al.
//! 2019), under the names that transformers gives their parameters.

use std::path::PathBuf;

use fluxbay_plugin::{Family, Names, nn::*, prelude::*};

use crate::{
    distilbert,
    encoder::{Encoder, Head, TextModel},
    roberta,
    style::{self, Style},
};

config! {
    /// Sizes default to those of `from`, and without it to a small BERT.
    pub struct Config {
        /// Folder with `config.json` and safetensors files, relative to the run file.
        from: Option<PathBuf> = null,
        /// What the model predicts.
        head: Head = "classification",
        /// Number of blocks.
        layers: Option<usize> = null => 1..,
        /// Width of the residual stream.
        width: Option<usize> = null => 1..,
        /// Attention heads; must divide the width.
        heads: Option<usize> = null => 1..,
        /// Width of each feed-forward layer.
        feed_forward: Option<usize> = null => 1..,
        /// Dropout probability, also of attention weights.
        dropout: Option<f64> = null => 0.0..1.0,
        /// Id of the token that fills short sequences; not attended to.
        padding: Option<u32> = null,
        /// Low-rank adapters: train these instead of the weights.
        lora: Option<Lora> = null,
    }
}

/// The model `bert`.
pub struct Bert {
    model: TextModel,
    style: &'static Style,
}

impl Component for Bert {
    type Config = Config;

    fn new(config: Config, setup: &mut Setup) -> Result<Self> {
        let defaults = serde_json::json!({
            "model_type": "bert", "hidden_size": 128, "num_hidden_layers": 2, "num_attention_heads": 2,
            "intermediate_size": 512, "hidden_act": "gelu", "hidden_dropout_prob": 0.1,
            "attention_probs_dropout_prob": 0.1, "max_position_embeddings": 512, "type_vocab_size": 2,
            "layer_norm_eps": 1e-12,
        });
        let family = Family::open(setup, config.from.as_deref(), config.lora, defaults)?
            .with(&["num_hidden_layers", "n_layers"], config.layers)
            .with(&["hidden_size", "dim"], config.width)
            .with(&["num_attention_heads", "n_heads"], config.heads)
            .with(&["intermediate_size", "hidden_dim"], config.feed_forward)
            .with(&["hidden_dropout_prob", "dropout"], config.dropout)
            .with(&["attention_probs_dropout_prob", "attention_dropout"], config.dropout)
            .with(&["pad_token_id"], config.padding);
        let style = match family.sizes.text(&["model_type"]) {
            "bert" => &style::BERT,
            "roberta" | "xlm-roberta" | "camembert" => &roberta::STYLE,
            "distilbert" => &distilbert::STYLE,
            other => bail!("model_type `{other}` is none of bert, roberta, distilbert"),
        };
        Ok(Bert { model: TextModel { family, head: config.head }, style })
    }
}

impl Model for Bert {
    type Network = Encoder;

    fn build(&self, data: &DataSpec, params: Params) -> Result<Encoder> {
        let params = self.model.family.adapted(params);
        let encoder = self.style.build(&self.model, data, &params)?;
        params.check_lora()?;
        Ok(encoder)
    }

    fn forward(&self, encoder: &Encoder, xs: &Tensor) -> Result<Tensor> {
        encoder.forward(xs)
    }

    fn names(&self) -> Result<Option<Names>> {
        Ok(Some(self.model.names(self.style.rules, self.style.heads)))
    }
}
