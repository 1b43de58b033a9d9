//! Encoders whose layers are normalised behind, with learnt places: BERT, RoBERTa and DistilBERT, which
//! differ in their names.

use fluxbay_plugin::{Rule, nn::*, prelude::*};

use crate::encoder::{Encoder, Head, Parts, TextModel};

/// Names of one of the families.
pub struct Style {
    /// Of all parameters but those of heads.
    pub prefix: &'static str,
    /// Of the blocks, below the prefix.
    pub blocks: &'static str,
    /// Query, key, value and output, below the path of a block.
    pub attention: [&'static str; 4],
    /// Behind the attention and behind the feed-forward layer.
    pub norms: [&'static str; 2],
    /// The feed-forward layer.
    pub feed: [&'static str; 2],
    /// The two layers that classify sequences, and the activation of the first.
    pub classify: ([&'static str; 2], Activation),
    /// Layer and norm of the masked-language head, and what the bias is below.
    pub predict: [&'static str; 3],
    /// Whether the first token has the place behind the id of the padding.
    pub places_behind_padding: bool,
    /// Tensors of heads.
    pub heads: Parts,
    pub rules: &'static [Rule],
}

/// Names of BERT.
pub const BERT: Style = Style {
    prefix: "bert",
    blocks: "encoder.layer",
    attention: [
        "attention.self.query",
        "attention.self.key",
        "attention.self.value",
        "attention.output.dense",
    ],
    norms: ["attention.output.LayerNorm", "output.LayerNorm"],
    feed: ["intermediate.dense", "output.dense"],
    classify: (["bert.pooler.dense", "classifier"], Activation::Tanh),
    predict: [
        "cls.predictions.transform.dense",
        "cls.predictions.transform.LayerNorm",
        "cls.predictions",
    ],
    places_behind_padding: false,
    heads: &[
        ("bert.pooler.*", &[Head::Classification]),
        ("cls.*", &[Head::MaskedLanguage]),
        ("classifier.*", &[Head::Classification, Head::Tokens]),
    ],
    rules: &[
        Rule::rename("*.gamma", "*.weight"),
        Rule::rename("*.beta", "*.bias"),
        Rule::rename("embeddings.*", "bert.embeddings.*"),
        Rule::rename("encoder.*", "bert.encoder.*"),
        Rule::rename("pooler.*", "bert.pooler.*"),
        Rule::ignore("*.position_ids"),
        Rule::ignore("cls.predictions.decoder.*"),
        Rule::ignore("cls.seq_relationship.*"),
    ],
};

impl Style {
    /// The layers for the shapes of the data.
    ///
    /// # Errors
    /// Sizes that do not fit together or to the data.
    pub fn build(&self, model: &TextModel, data: &DataSpec, params: &Params) -> Result<Encoder> {
        let (sizes, [time, vocabulary]) = (&model.family.sizes, model.family.text(data)?);
        let width = sizes.size(&["hidden_size", "dim"])?;
        let heads = sizes.size(&["num_attention_heads", "n_heads"])?;
        let padding = model.padding();
        let first = match padding {
            Some(id) if self.places_behind_padding => id as usize + 1,
            _ => 0,
        };
        let places = sizes.size(&["max_position_embeddings"])?;
        if first + time > places {
            bail!("sequences have {time} tokens, the model has places for {}", places - first);
        }
        let epsilon = sizes.number_or(&["layer_norm_eps"], 1e-12);
        let activation = sizes.activation(&["hidden_act", "activation"])?;
        let wide = sizes.size(&["intermediate_size", "hidden_dim"])?;
        let at = params.pp(self.prefix).pp("embeddings");
        let rows = |count: usize, name: &str| {
            embedding(count, width, 0.02, at.pp(name)).map(|table| table.weight().clone())
        };
        let tokens = embedding(vocabulary, width, 0.02, at.pp("word_embeddings"))?;
        let positions = Some((rows(places, "position_embeddings")?, first));
        let segments = match sizes.size_or(&["type_vocab_size"], 0) {
            0 => None,
            count => Some(rows(count, "token_type_embeddings")?),
        };
        let block = |index: usize| -> Result<TransformerBlock> {
            let params = params.pp(self.prefix).pp(self.blocks).pp(index);
            let norm = |name: &str| layer_norm(width, epsilon, params.pp(name));
            let attention = self.attention.map(|name| params.pp(name));
            let attention = projected_attention(width, heads, attention)?;
            let first = norm(self.norms[0])?;
            let feed = self.feed.map(|name| params.pp(name));
            let feed = feed_forward([width, wide], activation, feed)?;
            Ok(TransformerBlock::post_norm([first, norm(self.norms[1])?], attention, feed))
        };
        let blocks = 0..sizes.size(&["num_hidden_layers", "n_layers"])?;
        let blocks = blocks.map(block).collect::<Result<_>>()?;
        let rates = [
            sizes.number_or(&["hidden_dropout_prob", "dropout"], 0.1),
            sizes.number_or(&["attention_probs_dropout_prob", "attention_dropout"], 0.1),
        ];
        let square = |name: &str, activation: Activation| -> Result<Linear> {
            Ok(linear(width, width, params.pp(name))?.with_activation(activation))
        };
        let output = |classifier: &str| {
            let paths = [classifier, self.predict[2]].map(|name| params.pp(name));
            model.output(data, &tokens, paths)
        };
        let predict = match model.head {
            Head::Embedding => output("")?,
            Head::Classification => {
                let ([dense, out], activation) = self.classify;
                let dense = square(dense, activation)?;
                seq().add(dense).add(dropout(rates[0])).add(output(out)?)
            }
            Head::Tokens => seq().add(dropout(rates[0])).add(output("classifier")?),
            Head::MaskedLanguage => {
                let norm = layer_norm(width, epsilon, params.pp(self.predict[1]))?;
                let output = output("")?;
                seq().add(square(self.predict[0], activation)?).add(norm).add(output)
            }
        };
        Ok(Encoder {
            tokens,
            positions,
            segments,
            norm: layer_norm(width, epsilon, at.pp("LayerNorm"))?,
            blocks,
            last: None,
            head: model.head,
            mean: false,
            predict,
            padding,
            dropout: rates,
        })
    }
}
