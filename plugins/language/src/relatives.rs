//! In what Mistral, Mixtral, Qwen 2, Qwen 3 and Gemma differ from LLaMA.

use fluxbay_plugin::{Pretrained, nn::*, prelude::*};

/// Names of the number of experts, and of how many a token passes through.
pub const EXPERTS: &[&str] = &["num_local_experts", "num_experts"];
pub const USED: &[&str] = &["num_experts_per_tok"];

const KNOWN: [&str; 7] = ["llama", "mistral", "mixtral", "qwen2", "qwen3", "qwen3_moe", "gemma"];

/// The differences of a relative.
pub struct Relative {
    /// Factor of the embeddings.
    pub scale: f64,
    /// Whether the layers of queries, keys and values have biases.
    pub biased: bool,
    /// Whether the output layer of attention has one.
    pub output_biased: bool,
    /// Whether queries and keys of a head are normalised.
    pub head_norms: bool,
    /// Whether the output layer is the table of tokens.
    pub tied: bool,
    /// Added to the weights of normalisations.
    offset: f64,
    epsilon: f64,
    activation: Activation,
    /// Tokens this far away and farther are not seen, from a block on.
    window: Option<usize>,
    full_below: usize,
}

impl Relative {
    /// Of these sizes: `model_type` tells which it is.
    ///
    /// # Errors
    /// A family that is not known, or sizes that are missing.
    pub fn of(sizes: &Pretrained) -> Result<Relative> {
        let kind = sizes.text(&["model_type"]);
        if !KNOWN.contains(&kind) {
            bail!("model_type `{kind}` is none of {}", KNOWN.join(", "));
        }
        let gemma = kind == "gemma";
        let biased = kind == "qwen2" || sizes.flag_or(&["attention_bias"], false);
        let windowed =
            matches!(kind, "mistral" | "mixtral") || sizes.flag_or(&["use_sliding_window"], false);
        Ok(Relative {
            scale: if gemma { (sizes.size(&["hidden_size"])? as f64).sqrt() } else { 1.0 },
            biased,
            output_biased: biased && kind != "qwen2",
            head_norms: matches!(kind, "qwen3" | "qwen3_moe"),
            tied: sizes.flag_or(&["tie_word_embeddings"], gemma),
            offset: if gemma { 1.0 } else { 0.0 },
            epsilon: sizes.number_or(&["rms_norm_eps"], 1e-6),
            // The files of Gemma name the exact form of GELU, but the models are of the other.
            activation: match sizes.activation(&["hidden_activation", "hidden_act"])? {
                Activation::GeluErf if gemma => Activation::Gelu,
                other => other,
            },
            window: sizes.size(&["sliding_window"]).ok().filter(|_| windowed),
            full_below: match kind {
                "qwen2" | "qwen3" => sizes.size_or(&["max_window_layers"], 0),
                _ => 0,
            },
        })
    }

    /// A normalisation.
    ///
    /// # Errors
    /// The model has a parameter of that path already.
    pub fn norm(&self, width: usize, params: Params) -> Result<RmsNorm> {
        rms_norm_offset(width, self.epsilon, self.offset, params)
    }

    /// Tokens this far away and farther are not seen by a block.
    pub fn window(&self, index: usize) -> Option<usize> {
        self.window.filter(|_| index >= self.full_below)
    }

    /// The feed-forward layer of a block, whose paths begin with `params`: a dense one, or the mixture
    /// of experts of Mixtral and Qwen 3.
    ///
    /// # Errors
    /// Sizes that are missing or do not fit together.
    pub fn feed_forward(
        &self,
        sizes: &Pretrained,
        index: usize,
        params: &Params,
    ) -> Result<Sequential> {
        let (kind, width) = (sizes.text(&["model_type"]), sizes.size(&["hidden_size"])?);
        let dense = sizes.sizes(&["mlp_only_layers"]).is_ok_and(|list| list.contains(&index))
            || !(index + 1).is_multiple_of(sizes.size_or(&["decoder_sparse_step"], 1).max(1));
        let own = ["gate_proj", "up_proj", "down_proj"];
        let (below, names, size) = match kind {
            "mixtral" => ("block_sparse_moe", ["w1", "w3", "w2"], "intermediate_size"),
            "qwen3_moe" if !dense => ("mlp", own, "moe_intermediate_size"),
            _ => {
                let wide = sizes.size(&["intermediate_size"])?;
                let params = own.map(|name| params.pp("mlp").pp(name));
                return Ok(seq().add(gated_feed_forward([width, wide], self.activation, params)?));
            }
        };
        let (params, experts) = (params.pp(below), params.pp(below).pp("experts"));
        let config = MixtureConfig {
            width,
            wide: sizes.size(&[size])?,
            experts: sizes.size(EXPERTS)?,
            used: sizes.size_or(USED, 2),
            normalised: kind == "mixtral" || sizes.flag_or(&["norm_topk_prob"], false),
            activation: self.activation,
        };
        let expert = |index: usize, part: usize| experts.pp(index).pp(names[part]);
        Ok(seq().add(mixture_of_experts(config, params.pp("gate"), expert)?))
    }
}
