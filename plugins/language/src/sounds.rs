//! The two halves of Whisper: an encoder of spectrograms, and a decoder of texts that attends to them.

use fluxbay_plugin::{Attention, Pretrained, nn::*, prelude::*};

use crate::decoder::Decoder;

/// From spectrograms `[batch, bands, frames]` to vectors `[batch, places, width]`, of two frames each.
pub struct SoundEncoder {
    convolutions: [Conv1d; 2],
    positions: Tensor,
    blocks: Vec<TransformerBlock>,
    norm: LayerNorm,
    dropout: [f64; 2],
}

impl SoundEncoder {
    /// An encoder for spectrograms of these sizes.
    ///
    /// # Errors
    /// Sizes that do not fit together.
    pub fn build(
        sizes: &Pretrained,
        [bands, frames]: [usize; 2],
        params: &Params,
    ) -> Result<SoundEncoder> {
        let (width, places) = (sizes.size(&["d_model"])?, sizes.size(&["max_source_positions"])?);
        if frames.div_ceil(2) > places || !width.is_multiple_of(2) {
            bail!(
                "{frames} frames with {places} places for two each, and a width of {width}, do not fit"
            );
        }
        let convolution = |name: &str, inputs: usize, stride: usize| {
            let activation = Activation::GeluErf;
            let config = ConvConfig { stride, padding: 1, activation, ..ConvConfig::default() };
            conv1d(inputs, width, 3, config, params.pp(name))
        };
        let positions = params.pp("embed_positions");
        let positions = positions.buffer((places, width), "weight", Init::ZEROS)?;
        positions.assign(&sinusoids(places, width)?.to_dtype(positions.dtype()?)?)?;
        Ok(SoundEncoder {
            convolutions: [convolution("conv1", bands, 1)?, convolution("conv2", width, 2)?],
            positions,
            blocks: blocks(sizes, "encoder", params)?,
            norm: layer_norm(width, 1e-5, params.pp("layer_norm"))?,
            dropout: rates(sizes),
        })
    }

    /// Runs the encoder.
    ///
    /// # Errors
    /// Shapes that do not fit.
    pub fn forward(&self, xs: &Tensor) -> Result<Tensor> {
        let [first, second] = &self.convolutions;
        let [rate, of_weights] = self.dropout;
        let sounds = second.forward(&first.forward(xs)?)?.transpose(1, 2)?.contiguous()?;
        let hidden = sounds.add(&self.positions.narrow(0, 0, sounds.dim(1)?)?)?;
        let mut hidden = dropout(rate).forward(&hidden)?;
        let options = Attention { dropout: of_weights, ..Attention::default() };
        for block in &self.blocks {
            hidden = block.forward(&hidden, &options, dropout(rate))?;
        }
        self.norm.forward(&hidden)
    }
}

/// The decoder, for texts of `time` tokens.
///
/// # Errors
/// Sizes that do not fit together.
pub fn text_decoder(
    sizes: &Pretrained,
    [time, vocabulary]: [usize; 2],
    params: &Params,
) -> Result<Decoder> {
    let (width, places) = (sizes.size(&["d_model"])?, sizes.size(&["max_target_positions"])?);
    if time > places {
        bail!("{time} tokens do not fit {places} places");
    }
    let [rate, of_weights] = rates(sizes);
    let table = |entries: usize, name: &str| embedding(entries, width, 0.02, params.pp(name));
    Ok(Decoder {
        tokens: table(vocabulary, "embed_tokens")?,
        scale: 1.0,
        positions: Some(table(places, "embed_positions")?.weight().clone()),
        blocks: blocks(sizes, "decoder", params)?,
        norm: Box::new(layer_norm(width, 1e-5, params.pp("layer_norm"))?),
        output: None,
        dropout: [rate, of_weights, rate],
    })
}

/// Dropout behind layers, and of attention weights.
fn rates(sizes: &Pretrained) -> [f64; 2] {
    ["dropout", "attention_dropout"].map(|key| sizes.number_or(&[key], 0.0))
}

/// The blocks of the encoder or of the decoder, by the sizes that begin with its name.
fn blocks(sizes: &Pretrained, half: &str, params: &Params) -> Result<Vec<TransformerBlock>> {
    let size = |what: &str| sizes.size(&[&format!("{half}_{what}")]);
    let (heads, wide) = (size("attention_heads")?, size("ffn_dim")?);
    let width = sizes.size(&["d_model"])?;
    let activation = sizes.activation(&["activation_function"])?;
    let block = |index: usize| -> Result<TransformerBlock> {
        let params = params.pp("layers").pp(index);
        let norm = |name: &str| layer_norm(width, 1e-5, params.pp(name));
        let norms = [norm("self_attn_layer_norm")?, norm("final_layer_norm")?];
        let own = attention(width, heads, &params.pp("self_attn"))?;
        let feed = ["fc1", "fc2"].map(|name| params.pp(name));
        let feed = feed_forward([width, wide], activation, feed)?;
        let block = TransformerBlock::pre_norm(norms, own, feed);
        if half == "encoder" {
            return Ok(block);
        }
        let to_sounds = attention(width, heads, &params.pp("encoder_attn"))?;
        Ok(block.with_memory(norm("encoder_attn_layer_norm")?, to_sounds))
    };
    (0..size("layers")?).map(block).collect()
}

/// The projections of an attention: as Whisper has them, that of the keys is without bias.
fn attention(width: usize, heads: usize, params: &Params) -> Result<ProjectedAttention> {
    let square = |name: &str| linear(width, width, params.pp(name));
    let key = linear_no_bias(width, width, params.pp("k_proj"))?;
    let layers = [square("q_proj")?, key, square("v_proj")?, square("out_proj")?];
    ProjectedAttention::new(layers, [width, heads])
}
