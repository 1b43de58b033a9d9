//! What encoders of texts have in common: the layers, the heads, and which tokens are seen.

use fluxbay_plugin::{Attention, Family, Names, Rule, nn::*, prelude::*};

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

/// Tensors that belong to some heads only.
pub type Parts = &'static [(&'static str, &'static [Head])];

/// The sizes of an encoder, and what it predicts.
pub struct TextModel {
    pub family: Family,
    pub head: Head,
}

impl TextModel {
    /// Id of the token that fills short sequences.
    pub fn padding(&self) -> Option<u32> {
        self.family.sizes.size(&["pad_token_id"]).ok().map(|id| id as u32)
    }

    /// The last layer of the head: at path `classifier`, or the table of tokens with a bias below path
    /// `bias`. Nothing for vectors of sequences.
    ///
    /// # Errors
    /// The data has no targets.
    pub fn output(
        &self,
        data: &DataSpec,
        tokens: &Embedding,
        [classifier, bias]: [Params; 2],
    ) -> Result<Sequential> {
        let outputs = match self.head {
            Head::Tokens => data.ys()?.classes.unwrap_or(1),
            _ => data.outputs()?,
        };
        let table = tokens.weight();
        Ok(match self.head {
            Head::Embedding => seq(),
            Head::MaskedLanguage => {
                let bias = bias.get(table.dim(0)?, "bias", Init::ZEROS)?;
                seq().add(Linear::new(table.clone(), Some(bias)))
            }
            Head::Classification | Head::Tokens => {
                self.family.found_labels(outputs);
                seq().add(linear(table.dim(1)?, outputs, classifier)?)
            }
        })
    }

    /// The published names. Tensors of other heads are not read; those of this one may be missing.
    pub fn names(&self, rules: &[Rule], parts: Parts) -> Names {
        let mut names = self.family.names(rules);
        names.rules.extend(parts.iter().map(|&(names, heads)| {
            if heads.contains(&self.head) { Rule::fresh(names) } else { Rule::ignore(names) }
        }));
        names
    }
}

/// An encoder with its head.
pub struct Encoder {
    pub tokens: Embedding,
    /// A table of places, and that of the first token.
    pub positions: Option<(Tensor, usize)>,
    /// Kinds of tokens; all are of the first one.
    pub segments: Option<Tensor>,
    /// Of the embeddings.
    pub norm: LayerNorm,
    pub blocks: Vec<TransformerBlock>,
    /// Behind the blocks.
    pub last: Option<LayerNorm>,
    pub head: Head,
    /// Whether a sequence is classified by the mean over its tokens, or by the first one.
    pub mean: bool,
    /// From the tokens, or that of a sequence, to the predictions.
    pub predict: Sequential,
    /// Id of the token that fills short sequences.
    pub padding: Option<u32>,
    /// Of layers, and of attention weights.
    pub dropout: [f64; 2],
}

impl Encoder {
    /// The predictions for token ids `[batch, time]`.
    ///
    /// # Errors
    /// Shapes that do not fit.
    pub fn forward(&self, xs: &Tensor) -> Result<Tensor> {
        let rows = packing(xs)?;
        let bias = self.attention_bias(xs, rows.as_ref())?;
        let [rate, of_weights] = self.dropout;
        let options =
            Attention { bias: bias.as_ref(), dropout: of_weights, ..Attention::default() };
        let mut hidden = self.tokens.forward(xs)?;
        if let Some((table, first)) = &self.positions {
            hidden = hidden.add(&match &rows {
                Some(rows) => rows.rows(&table.narrow(0, *first, table.dim(0)? - first)?)?,
                None => table.narrow(0, *first, xs.dim(1)?)?,
            })?;
        }
        if let Some(segments) = &self.segments {
            hidden = hidden.add(&segments.narrow(0, 0, 1)?)?;
        }
        hidden = dropout(rate).forward(&self.norm.forward(&hidden)?)?;
        for block in &self.blocks {
            hidden = block.forward(&hidden, &options, dropout(rate))?;
        }
        if let Some(last) = &self.last {
            hidden = last.forward(&hidden)?;
        }
        match self.head {
            Head::Embedding => {
                let mean = self.mean_over(&hidden, xs)?;
                mean.div(&mean.sqr()?.sum_keepdim(1)?.sqrt()?.clamp(1e-12, f64::MAX)?)
            }
            Head::Classification if self.mean => {
                self.predict.forward(&self.mean_over(&hidden, xs)?)
            }
            Head::Classification => self.predict.forward(&hidden.narrow(1, 0, 1)?.squeeze(1)?),
            Head::Tokens | Head::MaskedLanguage => self.predict.forward(&hidden),
        }
    }

    /// What is added to scores so that neither padding nor other samples of a row are attended to,
    /// `[batch, 1, 1, time]` or `[batch, 1, time, time]`: a large negative number instead of infinity,
    /// as transformers has it.
    fn attention_bias(&self, xs: &Tensor, rows: Option<&Packing>) -> Result<Option<Tensor>> {
        let dtype = self.tokens.weight().dtype()?;
        let others = rows.map(|rows| rows.bias(dtype)).transpose()?;
        let Some(id) = self.padding else { return Ok(others) };
        let padding = xs.is_number(f64::from(id), dtype)?;
        let padding = padding.affine(-1e30, 0.0)?.unsqueeze(1)?.unsqueeze(1)?;
        match others {
            Some(others) => others.add(&padding).map(Some),
            None => Ok(Some(padding)),
        }
    }

    /// The mean of `[batch, time, width]` over the tokens that are no padding: `[batch, width]`.
    fn mean_over(&self, hidden: &Tensor, xs: &Tensor) -> Result<Tensor> {
        let dtype = self.tokens.weight().dtype()?;
        let padding = xs.is_number(self.padding.map_or(-1.0, f64::from), dtype)?;
        let known = padding.affine(-1.0, 1.0)?;
        let sum = hidden.mul(&known.unsqueeze(2)?)?.sum(1)?;
        sum.div(&known.sum_keepdim(1)?.clamp(1e-9, f64::MAX)?)
    }
}
