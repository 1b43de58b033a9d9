//! Model `llama`: LLaMA (Touvron et al. 2023), Mistral, Mixtral, Qwen 2, Qwen 3, dense or as a mixture of
//! experts, and Gemma, under the names that transformers gives their parameters.

use std::{path::PathBuf, rc::Rc};

use fluxbay_plugin::{Family, Names, Rule, nn::*, prelude::*};

use crate::{
    decoder::Decoder,
    relatives::{EXPERTS, Relative, USED},
};

config! {
    /// Sizes default to those of `from`, and without it to a small LLaMA.
    pub struct Config {
        /// Folder with `config.json` and safetensors files, relative to the run file.
        from: Option<PathBuf> = null,
        /// Number of blocks.
        layers: Option<usize> = null => 1..,
        /// Width of the residual stream.
        width: Option<usize> = null => 1..,
        /// Heads of the queries.
        heads: Option<usize> = null => 1..,
        /// Heads of keys and values, a divisor of `heads`.
        groups: Option<usize> = null => 1..,
        /// Width of each feed-forward layer.
        feed_forward: Option<usize> = null => 1..,
        /// Experts of each feed-forward layer, for a mixture.
        experts: Option<usize> = null => 1..,
        /// Experts that a token passes through.
        experts_per_token: Option<usize> = null => 1..,
        /// Longest sequence.
        places: Option<usize> = null => 1..,
        /// Low-rank adapters: train these instead of the weights.
        lora: Option<Lora> = null,
    }
}

const RULES: &[Rule] = &[
    Rule::rename("embed_tokens.*", "model.embed_tokens.*"),
    Rule::rename("layers.*", "model.layers.*"),
    Rule::rename("norm.weight", "model.norm.weight"),
    Rule::ignore("*.rotary_emb.inv_freq"),
];

/// The model `llama`.
pub struct Llama(Family, Relative);

impl Component for Llama {
    type Config = Config;

    fn new(config: Config, setup: &mut Setup) -> Result<Self> {
        let (kind, class) = match config.experts {
            Some(_) => ("mixtral", "MixtralForCausalLM"),
            None => ("llama", "LlamaForCausalLM"),
        };
        let defaults = serde_json::json!({
            "model_type": kind, "architectures": [class], "hidden_size": 128,
            "num_hidden_layers": 4, "num_attention_heads": 4, "num_key_value_heads": 2,
            "intermediate_size": 352, "hidden_act": "silu", "max_position_embeddings": 2048,
            "rms_norm_eps": 1e-5, "rope_theta": 1e4, "tie_word_embeddings": false,
        });
        let family = Family::open(setup, config.from.as_deref(), config.lora, defaults)?
            .with(&["num_hidden_layers"], config.layers)
            .with(&["hidden_size"], config.width)
            .with(&["num_attention_heads"], config.heads)
            .with(&["num_key_value_heads"], config.groups)
            .with(&["moe_intermediate_size", "intermediate_size"], config.feed_forward)
            .with(EXPERTS, config.experts)
            .with(USED, config.experts_per_token)
            .with(&["max_position_embeddings"], config.places);
        let relative = Relative::of(&family.sizes)?;
        Ok(Llama(family, relative))
    }
}

impl Model for Llama {
    type Network = Decoder;

    fn build(&self, data: &DataSpec, params: Params) -> Result<Decoder> {
        let Llama(family, relative) = self;
        let (sizes, [time, vocabulary]) = (&family.sizes, family.text(data)?);
        let params = family.adapted(params);
        let (width, heads) = (sizes.size(&["hidden_size"])?, sizes.size(&["num_attention_heads"])?);
        let groups = sizes.size_or(&["num_key_value_heads"], heads);
        let head = sizes.size_or(&["head_dim"], width / heads.max(1));
        let places = sizes.size(&["max_position_embeddings"])?;
        if time > places || groups == 0 || !heads.is_multiple_of(groups) {
            bail!(
                "{time} tokens with {places} places, {heads} heads with {groups} groups do not fit"
            );
        }
        let norm = |width: usize, params: Params| relative.norm(width, params);
        let rotary = Rc::new(sizes.rotary(head)?);
        let block = |index: usize| -> Result<TransformerBlock> {
            let params = params.pp("model.layers").pp(index);
            let own = params.pp("self_attn");
            let head_norms = match relative.head_norms {
                true => Some([norm(head, own.pp("q_norm"))?, norm(head, own.pp("k_norm"))?]),
                false => None,
            };
            let norms = [
                norm(width, params.pp("input_layernorm"))?,
                norm(width, params.pp("post_attention_layernorm"))?,
            ];
            let of_heads = |name: &str, heads: usize| {
                linear_b(width, heads * head, relative.biased, own.pp(name))
            };
            let layers = [
                of_heads("q_proj", heads)?,
                of_heads("k_proj", groups)?,
                of_heads("v_proj", groups)?,
                linear_b(heads * head, width, relative.output_biased, own.pp("o_proj"))?,
            ];
            let attention = ProjectedAttention::new(layers, [heads * head, heads])?
                .with_groups(groups)
                .with_head_norms(head_norms)
                .with_rotary(rotary.clone())
                .with_window(relative.window(index));
            let feed = relative.feed_forward(sizes, index, &params)?;
            Ok(TransformerBlock::pre_norm(norms, attention, feed))
        };
        let tokens = embedding(vocabulary, width, 0.02, params.pp("model.embed_tokens"))?;
        let output =
            (!relative.tied).then(|| linear_no_bias(width, vocabulary, params.pp("lm_head")));
        let decoder = Decoder {
            tokens,
            scale: relative.scale,
            positions: None,
            blocks: (0..sizes.size(&["num_hidden_layers"])?).map(block).collect::<Result<_>>()?,
            norm: Box::new(norm(width, params.pp("model.norm"))?),
            output: output.transpose()?,
            dropout: [0.0; 3],
        };
        params.check_lora()?;
        Ok(decoder)
    }

    fn forward(&self, decoder: &Decoder, xs: &Tensor) -> Result<Tensor> {
        decoder.forward(xs, None)
    }

    fn names(&self) -> Result<Option<Names>> {
        let mut names = self.0.names(RULES);
        if self.1.tied {
            names.rules.push(Rule::ignore("lm_head.weight"));
        }
        Ok(Some(names))
    }
}
