//! The decoder of Whisper: a causal transformer that attends to the encoded sounds.

use fluxbay_plugin::{Attention, Pretrained, nn::*, prelude::*};

struct Block {
    norms: [LayerNorm; 3],
    /// To the tokens, and to the sounds.
    attention: [ProjectedAttention; 2],
    feed: FeedForward,
}

/// From encoded sounds and tokens to the next tokens.
pub struct Decoder {
    tokens: Embedding,
    positions: Tensor,
    blocks: Vec<Block>,
    norm: LayerNorm,
}

/// The projections of an attention: as Whisper has them, that of the keys is without bias.
pub fn attention(width: usize, heads: usize, params: &Params) -> Result<ProjectedAttention> {
    let square = |name: &str| linear(width, width, params.pp(name));
    let key = linear_no_bias(width, width, params.pp("k_proj"))?;
    let layers = [square("q_proj")?, key, square("v_proj")?, square("out_proj")?];
    ProjectedAttention::new(layers, [width, heads])
}

impl Decoder {
    /// A decoder for texts of `time` tokens.
    ///
    /// # Errors
    /// Sizes that do not fit together.
    pub fn build(
        sizes: &Pretrained,
        [time, vocabulary]: [usize; 2],
        params: &Params,
    ) -> Result<Decoder> {
        let (width, places) = (sizes.size(&["d_model"])?, sizes.size(&["max_target_positions"])?);
        if time > places {
            bail!("{time} tokens do not fit {places} places");
        }
        let heads = sizes.size(&["decoder_attention_heads"])?;
        let wide = sizes.size(&["decoder_ffn_dim"])?;
        let activation = sizes.activation(&["activation_function"])?;
        let block = |index: usize| -> Result<Block> {
            let params = params.pp("layers").pp(index);
            let norm = |name: &str| layer_norm(width, 1e-5, params.pp(name));
            let to = |name: &str| attention(width, heads, &params.pp(name));
            Ok(Block {
                norms: [
                    norm("self_attn_layer_norm")?,
                    norm("encoder_attn_layer_norm")?,
                    norm("final_layer_norm")?,
                ],
                attention: [to("self_attn")?, to("encoder_attn")?],
                feed: feed_forward(
                    [width, wide],
                    activation,
                    ["fc1", "fc2"].map(|x| params.pp(x)),
                )?,
            })
        };
        let table = |entries: usize, name: &str| embedding(entries, width, 0.02, params.pp(name));
        Ok(Decoder {
            tokens: table(vocabulary, "embed_tokens")?,
            positions: table(places, "embed_positions")?.weight().clone(),
            blocks: (0..sizes.size(&["decoder_layers"])?).map(block).collect::<Result<_>>()?,
            norm: layer_norm(width, 1e-5, params.pp("layer_norm"))?,
        })
    }

    /// Logits `[batch, time, vocabulary]` of the tokens behind `tokens` `[batch, time]`, with sounds
    /// `[batch, places, width]`; `rates` are those of dropout, behind layers and of attention weights.
    ///
    /// # Errors
    /// Shapes that do not fit.
    pub fn forward(&self, sounds: &Tensor, tokens: &Tensor, rates: [f64; 2]) -> Result<Tensor> {
        let dropout = dropout(rates[0]);
        let hidden = self.tokens.forward(tokens)?;
        let hidden = hidden.add(&positions(&self.positions, tokens.dim(1)?)?)?;
        let mut hidden = dropout.forward(&hidden)?;
        let to_sounds = Attention { dropout: rates[1], ..Attention::default() };
        let to_tokens = Attention { causal: true, ..to_sounds };
        for Block { norms, attention: [own, cross], feed } in &self.blocks {
            let mixed = own.forward(&norms[0].forward(&hidden)?, &to_tokens)?;
            hidden = hidden.add(&dropout.forward(&mixed)?)?;
            let heard = cross.cross(&norms[1].forward(&hidden)?, sounds, &to_sounds)?;
            hidden = hidden.add(&dropout.forward(&heard)?)?;
            let fed = feed.forward(&norms[2].forward(&hidden)?)?;
            hidden = hidden.add(&dropout.forward(&fed)?)?;
        }
        // The output layer is the table of tokens.
        let output = Linear::new(self.tokens.weight().clone(), None);
        output.forward(&self.norm.forward(&hidden)?)
    }
}
