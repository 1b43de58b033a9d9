//! Model `bert`: BERT (Devlin et al. 2018), RoBERTa (Liu et al. 2019) and DistilBERT (Sanh et al.
//! 2019), under the names that transformers gives their parameters.

use std::{cell::Cell, path::PathBuf};

use fluxbay_plugin::{Attention, Names, Rule, nn::*, prelude::*};

use crate::family::{Family, attention_bias, known_tokens, mean_over, set, unit_vectors};

choice! {
    /// What the model predicts.
    pub enum Head {
        /// A class, or numbers, for each sequence.
        Classification,
        /// A class for each token.
        Tokens,
        /// The token at each place.
        MaskedLanguage,
        /// A vector of length 1 for each sequence: the mean over its tokens.
        Embedding,
    }
}

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

/// Names of one of the families: below the prefix, those of a block; of the heads.
struct Style {
    prefix: &'static str,
    blocks: &'static str,
    /// Query, key, value, output, norm, feed-forward in and out, norm.
    block: [&'static str; 8],
    /// First layer of the classification head, its activation, second layer.
    classify: (&'static str, Activation, &'static str),
    /// Layer and norm of the masked-language head, and what the bias is below.
    predict: [&'static str; 3],
    /// Tensors that belong to some heads only.
    heads: &'static [(&'static str, &'static [Head])],
    rules: &'static [Rule],
}

#[rustfmt::skip]
const BERT: Style = Style {
    prefix: "bert", blocks: "encoder.layer",
    block: ["attention.self.query", "attention.self.key", "attention.self.value", "attention.output.dense",
        "attention.output.LayerNorm", "intermediate.dense", "output.dense", "output.LayerNorm"],
    classify: ("bert.pooler.dense", Activation::Tanh, "classifier"),
    predict: ["cls.predictions.transform.dense", "cls.predictions.transform.LayerNorm", "cls.predictions"],
    heads: &[("bert.pooler.*", &[Head::Classification]), ("cls.*", &[Head::MaskedLanguage]),
        ("classifier.*", &[Head::Classification, Head::Tokens])],
    rules: &[
        Rule::Rename { from: "*.gamma", to: "*.weight" }, Rule::Rename { from: "*.beta", to: "*.bias" },
        Rule::Rename { from: "embeddings.*", to: "bert.embeddings.*" }, Rule::Rename { from: "encoder.*", to: "bert.encoder.*" },
        Rule::Rename { from: "pooler.*", to: "bert.pooler.*" }, Rule::Ignore { names: "*.position_ids" },
        Rule::Ignore { names: "cls.predictions.decoder.*" }, Rule::Ignore { names: "cls.seq_relationship.*" },
    ],
};
#[rustfmt::skip]
const ROBERTA: Style = Style {
    prefix: "roberta", classify: ("classifier.dense", Activation::Tanh, "classifier.out_proj"),
    predict: ["lm_head.dense", "lm_head.layer_norm", "lm_head"],
    heads: &[("classifier.*", &[Head::Classification, Head::Tokens]), ("lm_head.*", &[Head::MaskedLanguage])],
    rules: &[
        Rule::Rename { from: "embeddings.*", to: "roberta.embeddings.*" }, Rule::Rename { from: "encoder.*", to: "roberta.encoder.*" },
        Rule::Ignore { names: "*.position_ids" }, Rule::Ignore { names: "lm_head.decoder.*" }, Rule::Ignore { names: "*pooler.*" },
    ],
    ..BERT
};
#[rustfmt::skip]
const DISTILBERT: Style = Style {
    prefix: "distilbert", blocks: "transformer.layer",
    block: ["attention.q_lin", "attention.k_lin", "attention.v_lin", "attention.out_lin", "sa_layer_norm", "ffn.lin1", "ffn.lin2",
        "output_layer_norm"],
    classify: ("pre_classifier", Activation::Relu, "classifier"),
    predict: ["vocab_transform", "vocab_layer_norm", "vocab_projector"],
    heads: &[("pre_classifier.*", &[Head::Classification]), ("classifier.*", &[Head::Classification, Head::Tokens]),
        ("vocab_*", &[Head::MaskedLanguage])],
    rules: &[
        Rule::Rename { from: "embeddings.*", to: "distilbert.embeddings.*" }, Rule::Rename { from: "transformer.*", to: "distilbert.transformer.*" },
        Rule::Ignore { names: "*.position_ids" }, Rule::Ignore { names: "vocab_projector.weight" },
    ],
};

/// The model `bert`.
pub struct Bert {
    head: Head,
    family: Family,
    style: &'static Style,
    /// Outputs of the head, once they are known.
    outputs: Cell<usize>,
}

struct Block {
    attention: ProjectedAttention,
    attention_norm: LayerNorm,
    feed: FeedForward,
    feed_norm: LayerNorm,
}

pub struct Network {
    tokens: Embedding,
    positions: Tensor,
    /// The place of the first token.
    first: usize,
    segments: Option<Tensor>,
    norm: LayerNorm,
    blocks: Vec<Block>,
    head: Vec<Linear>,
    /// Norm and bias of the masked-language head.
    predict: Option<(LayerNorm, Tensor)>,
    padding: Option<u32>,
    dropout: [f64; 2],
}

impl Component for Bert {
    type Config = Config;

    fn new(config: Config, setup: &mut Setup) -> Result<Self> {
        let Config { head, layers, width, heads, dropout, .. } = config;
        let family = Family::open(
            setup,
            (config.from.as_deref(), config.lora),
            serde_json::json!({
                "model_type": "bert", "hidden_size": 128, "num_hidden_layers": 2, "num_attention_heads": 2,
                "intermediate_size": 512, "hidden_act": "gelu", "hidden_dropout_prob": 0.1,
                "attention_probs_dropout_prob": 0.1, "max_position_embeddings": 512, "type_vocab_size": 2,
                "layer_norm_eps": 1e-12,
            }),
            [
                set(&["num_hidden_layers", "n_layers"], layers),
                set(&["hidden_size", "dim"], width),
                set(&["num_attention_heads", "n_heads"], heads),
                set(&["intermediate_size", "hidden_dim"], config.feed_forward),
                set(&["hidden_dropout_prob", "dropout"], dropout),
                set(&["attention_probs_dropout_prob", "attention_dropout"], dropout),
                set(&["pad_token_id"], config.padding),
            ],
        )?;
        let style = match family.sizes.text(&["model_type"]) {
            "bert" => &BERT,
            "roberta" | "xlm-roberta" | "camembert" => &ROBERTA,
            "distilbert" => &DISTILBERT,
            other => bail!("model_type `{other}` is none of bert, roberta, distilbert"),
        };
        Ok(Bert { head, family, style, outputs: Cell::new(0) })
    }
}

impl Model for Bert {
    type Network = Network;

    fn build(&self, data: &DataSpec, params: Params) -> Result<Network> {
        let &Bert { ref family, style, head, .. } = self;
        let (time, vocabulary, params) = family.begin(data, params)?;
        let sizes = &family.sizes;
        let width = sizes.size(&["hidden_size", "dim"])?;
        let heads = sizes.size(&["num_attention_heads", "n_heads"])?;
        let padding = sizes.size(&["pad_token_id"]).ok().map(|id| id as u32);
        // RoBERTa counts places from the one after its padding.
        let first =
            if style.prefix == "roberta" { padding.map_or(0, |id| id as usize + 1) } else { 0 };
        let places = sizes.size(&["max_position_embeddings"])?;
        if first + time > places {
            bail!("sequences have {time} tokens, the model has places for {}", places - first);
        }
        let epsilon = sizes.number_or(&["layer_norm_eps"], 1e-12);
        let activation = sizes.activation(&["hidden_act", "activation"])?;
        let wide = sizes.size(&["intermediate_size", "hidden_dim"])?;
        let at = params.pp(style.prefix).pp("embeddings");
        let rows = |count: usize, name: &str| {
            embedding(count, width, 0.02, at.pp(name)).map(|table| table.weight().clone())
        };
        let tokens = embedding(vocabulary, width, 0.02, at.pp("word_embeddings"))?;
        let positions = rows(places, "position_embeddings")?;
        let segments = match sizes.size_or(&["type_vocab_size"], 0) {
            0 => None,
            count => Some(rows(count, "token_type_embeddings")?),
        };
        let blocks = 0..sizes.size(&["num_hidden_layers", "n_layers"])?;
        let block = |index: usize| -> Result<Block> {
            let params = params.pp(style.prefix).pp(style.blocks).pp(index);
            let [query, key, value, out, norm, expand, contract, last] =
                style.block.map(|name| params.pp(name));
            Ok(Block {
                attention: projected_attention(width, heads, [query, key, value, out])?,
                attention_norm: layer_norm(width, epsilon, norm)?,
                feed: feed_forward([width, wide], activation, [expand, contract])?,
                feed_norm: layer_norm(width, epsilon, last)?,
            })
        };
        let blocks = blocks.map(block).collect::<Result<_>>()?;
        let (dense, act, out) = style.classify;
        let square = |name: &str, act: Activation| -> Result<Linear> {
            Ok(linear(width, width, params.pp(name))?.with_activation(act))
        };
        let mut outputs = data.outputs()?;
        let [transform, predict_norm, bias] = style.predict;
        let (head, predict) = match head {
            Head::Embedding => (Vec::new(), None),
            Head::Classification => {
                (vec![square(dense, act)?, linear(width, outputs, params.pp(out))?], None)
            }
            Head::Tokens => {
                outputs = data.ys()?.classes.unwrap_or(1);
                (vec![linear(width, outputs, params.pp("classifier"))?], None)
            }
            Head::MaskedLanguage => {
                let norm = layer_norm(width, epsilon, params.pp(predict_norm))?;
                let bias = params.pp(bias).get(vocabulary, "bias", Init::ZEROS)?;
                (vec![square(transform, activation)?], Some((norm, bias)))
            }
        };
        params.check_lora()?;
        self.outputs.set(outputs);
        let dropout = [
            sizes.number_or(&["hidden_dropout_prob", "dropout"], 0.1),
            sizes.number_or(&["attention_probs_dropout_prob", "attention_dropout"], 0.1),
        ];
        let norm = layer_norm(width, epsilon, at.pp("LayerNorm"))?;
        Ok(Network {
            tokens,
            positions,
            first,
            segments,
            norm,
            blocks,
            head,
            predict,
            padding,
            dropout,
        })
    }

    fn forward(&self, network: &Network, xs: &Tensor) -> Result<Tensor> {
        let dtype = network.tokens.weight().dtype()?;
        let rows = packing(xs)?;
        let bias = attention_bias(xs, network.padding, rows.as_ref(), dtype)?;
        let [dropout, of_weights] = network.dropout;
        let dropout = fluxbay_plugin::nn::dropout(dropout);
        let options =
            Attention { bias: bias.as_ref(), dropout: of_weights, ..Attention::default() };
        let positions = match &rows {
            Some(rows) => {
                let places = network.positions.dim(0)? - network.first;
                rows.rows(&network.positions.narrow(0, network.first, places)?)?
            }
            None => network.positions.narrow(0, network.first, xs.dim(1)?)?,
        };
        let mut hidden = network.tokens.forward(xs)?.add(&positions)?;
        if let Some(segments) = &network.segments {
            hidden = hidden.add(&segments.narrow(0, 0, 1)?)?;
        }
        let mut hidden = dropout.forward(&network.norm.forward(&hidden)?)?;
        for block in &network.blocks {
            let mixed = dropout.forward(&block.attention.forward(&hidden, &options)?)?;
            hidden = block.attention_norm.forward(&hidden.add(&mixed)?)?;
            let fed = block.feed.forward(&hidden)?;
            hidden = block.feed_norm.forward(&hidden.add(&dropout.forward(&fed)?)?)?;
        }
        match (&network.head[..], &network.predict) {
            ([dense, out], _) => {
                let first = hidden.narrow(1, 0, 1)?.squeeze(1)?;
                out.forward(&dropout.forward(&dense.forward(&first)?)?)
            }
            ([dense], Some((norm, bias))) => {
                let hidden = norm.forward(&dense.forward(&hidden)?)?;
                Linear::new(network.tokens.weight().clone(), Some(bias.clone())).forward(&hidden)
            }
            ([out], None) => out.forward(&dropout.forward(&hidden)?),
            _ => unit_vectors(&mean_over(&hidden, &known_tokens(xs, network.padding, dtype)?)?),
        }
    }

    fn names(&self) -> Result<Option<Names>> {
        let mut names = self.family.names(self.style.rules);
        names.rules.extend(self.style.heads.iter().map(|&(names, heads)| {
            if heads.contains(&self.head) { Rule::Fresh { names } } else { Rule::Ignore { names } }
        }));
        Ok(Some(match self.head {
            Head::Classification | Head::Tokens => names.with_labels(self.outputs.get()),
            Head::MaskedLanguage | Head::Embedding => names,
        }))
    }
}
