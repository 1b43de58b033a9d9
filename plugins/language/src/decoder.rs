//! Causal transformers from tokens to the next ones: those of language models, and of decoders that
//! attend to something else, too.

use fluxbay_plugin::{Attention, nn::*, prelude::*};

/// The layers.
pub struct Decoder {
    pub tokens: Embedding,
    /// Factor of the embeddings.
    pub scale: f64,
    /// A table of learnt places `[places, width]`.
    pub positions: Option<Tensor>,
    pub blocks: Vec<TransformerBlock>,
    /// Behind the blocks.
    pub norm: Box<dyn Module>,
    /// To the logits; without one, the table of tokens.
    pub output: Option<Linear>,
    /// Of embeddings, of attention weights, and of what each layer adds.
    pub dropout: [f64; 3],
}

impl Decoder {
    /// Logits `[batch, time, vocabulary]` of the tokens behind `xs` `[batch, time]`. The blocks attend to
    /// `memory` `[batch, places, width]`, if they are those of such a decoder.
    ///
    /// # Errors
    /// Shapes that do not fit.
    pub fn forward(&self, xs: &Tensor, memory: Option<&Tensor>) -> Result<Tensor> {
        let [of_embeddings, of_weights, of_layers] = self.dropout;
        let mut hidden = self.tokens.forward(xs)?;
        let rows = packing(xs)?;
        if self.scale != 1.0 {
            hidden = hidden.affine(self.scale, 0.0)?;
        }
        // Rotations depend on the distance of two tokens alone: they need no places within samples.
        if let Some(table) = &self.positions {
            hidden = hidden.add(&match &rows {
                Some(rows) => rows.rows(table)?,
                None => positions(table, xs.dim(1)?)?,
            })?;
        }
        let bias = rows.map(|rows| rows.bias(hidden.dtype()?)).transpose()?;
        let options = Attention {
            causal: true,
            dropout: of_weights,
            bias: bias.as_ref(),
            ..Attention::default()
        };
        hidden = dropout(of_embeddings).forward(&hidden)?;
        for block in &self.blocks {
            hidden = match memory {
                Some(memory) => block.decode(&hidden, memory, &options, dropout(of_layers))?,
                None => block.forward(&hidden, &options, dropout(of_layers))?,
            };
        }
        let hidden = self.norm.forward(&hidden)?;
        match &self.output {
            Some(output) => output.forward(&hidden),
            None => Linear::new(self.tokens.weight().clone(), None).forward(&hidden),
        }
    }
}
