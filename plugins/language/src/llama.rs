//! Model `llama`: LLaMA (Touvron et al. 2023), Mistral, Mixtral, Qwen 2, Qwen 3, dense or as a mixture of
//! experts, and Gemma, under the names that transformers gives their parameters.

use std::path::PathBuf;

use fluxbay_plugin::{Attention, Names, Rule, nn::*, prelude::*};

use crate::family::{Family, set};

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
    Rule::Rename { from: "embed_tokens.*", to: "model.embed_tokens.*" },
    Rule::Rename { from: "layers.*", to: "model.layers.*" },
    Rule::Rename { from: "norm.weight", to: "model.norm.weight" },
    Rule::Ignore { names: "*.rotary_emb.inv_freq" },
];

/// The model `llama`.
pub struct Llama(Family);

struct Block {
    norms: [RmsNorm; 2],
    /// Query, key, value, output.
    attention: [Linear; 4],
    /// Of queries and keys of a head.
    head_norms: Option<[RmsNorm; 2]>,
    feed: Box<dyn Module>,
    window: Option<usize>,
}

pub struct Network {
    tokens: Embedding,
    scale: f64,
    rotary: RotaryEmbedding,
    blocks: Vec<Block>,
    norm: RmsNorm,
    output: Linear,
    heads: [usize; 2],
}

const EXPERTS: &[&str] = &["num_local_experts", "num_experts"];
const USED: &[&str] = &["num_experts_per_tok"];

impl Component for Llama {
    type Config = Config;

    fn new(config: Config, setup: &mut Setup) -> Result<Self> {
        let kind = if config.experts.is_some() { "mixtral" } else { "llama" };
        let class =
            if config.experts.is_some() { "MixtralForCausalLM" } else { "LlamaForCausalLM" };
        let family = Family::open(
            setup,
            (config.from.as_deref(), config.lora),
            serde_json::json!({
                "model_type": kind, "architectures": [class], "hidden_size": 128,
                "num_hidden_layers": 4, "num_attention_heads": 4, "num_key_value_heads": 2,
                "intermediate_size": 352, "hidden_act": "silu", "max_position_embeddings": 2048,
                "rms_norm_eps": 1e-5, "rope_theta": 1e4, "tie_word_embeddings": false,
            }),
            [
                set(&["num_hidden_layers"], config.layers),
                set(&["hidden_size"], config.width),
                set(&["num_attention_heads"], config.heads),
                set(&["num_key_value_heads"], config.groups),
                set(&["moe_intermediate_size", "intermediate_size"], config.feed_forward),
                set(EXPERTS, config.experts),
                set(USED, config.experts_per_token),
                set(&["max_position_embeddings"], config.places),
            ],
        )?;
        const KNOWN: [&str; 7] =
            ["llama", "mistral", "mixtral", "qwen2", "qwen3", "qwen3_moe", "gemma"];
        match family.sizes.text(&["model_type"]) {
            kind if KNOWN.contains(&kind) => Ok(Llama(family)),
            other => bail!("model_type `{other}` is none of {}", KNOWN.join(", ")),
        }
    }
}

impl Llama {
    /// Whether the output layer is the table of tokens.
    fn tied(&self) -> bool {
        let sizes = &self.0.sizes;
        sizes.flag_or(&["tie_word_embeddings"], sizes.text(&["model_type"]) == "gemma")
    }

    /// The feed-forward layer of a block, whose paths begin with `params`.
    fn feed(&self, index: usize, params: &Params) -> Result<Box<dyn Module>> {
        let sizes = &self.0.sizes;
        let (kind, width) = (sizes.text(&["model_type"]), sizes.size(&["hidden_size"])?);
        // The files of Gemma name the exact form of GELU, but the models are of the other.
        let activation = match sizes.activation(&["hidden_activation", "hidden_act"])? {
            Activation::GeluErf if kind == "gemma" => Activation::Gelu,
            other => other,
        };
        let dense = sizes.sizes(&["mlp_only_layers"]).is_ok_and(|list| list.contains(&index))
            || !(index + 1).is_multiple_of(sizes.size_or(&["decoder_sparse_step"], 1).max(1));
        let (below, names, size) = match kind {
            "mixtral" => ("block_sparse_moe", ["w1", "w3", "w2"], "intermediate_size"),
            "qwen3_moe" if !dense => {
                ("mlp", ["gate_proj", "up_proj", "down_proj"], "moe_intermediate_size")
            }
            _ => {
                let wide = sizes.size(&["intermediate_size"])?;
                let names = ["gate_proj", "up_proj", "down_proj"];
                let params = names.map(|name| params.pp("mlp").pp(name));
                return Ok(Box::new(gated_feed_forward([width, wide], activation, params)?));
            }
        };
        let (params, experts) = (params.pp(below), params.pp(below).pp("experts"));
        let config = MixtureConfig {
            width,
            wide: sizes.size(&[size])?,
            experts: sizes.size(EXPERTS)?,
            used: sizes.size_or(USED, 2),
            normalised: kind == "mixtral" || sizes.flag_or(&["norm_topk_prob"], false),
            activation,
        };
        let expert = |index: usize, part: usize| experts.pp(index).pp(names[part]);
        Ok(Box::new(mixture_of_experts(config, params.pp("gate"), expert)?))
    }
}

impl Model for Llama {
    type Network = Network;

    fn build(&self, data: &DataSpec, params: Params) -> Result<Network> {
        let sizes = &self.0.sizes;
        let (time, vocabulary, params) = self.0.begin(data, params)?;
        let family = sizes.text(&["model_type"]);
        let width = sizes.size(&["hidden_size"])?;
        let heads = sizes.size(&["num_attention_heads"])?;
        let groups = sizes.size_or(&["num_key_value_heads"], heads);
        let head = sizes.size_or(&["head_dim"], width / heads.max(1));
        let places = sizes.size(&["max_position_embeddings"])?;
        if time > places || groups == 0 || !heads.is_multiple_of(groups) {
            bail!(
                "{time} tokens with {places} places, {heads} heads with {groups} groups do not fit"
            );
        }
        let epsilon = sizes.number_or(&["rms_norm_eps"], 1e-6);
        // Gemma multiplies by 1 + weight, and the embeddings by the root of the width.
        let gemma = family == "gemma";
        let norm =
            |width, params| rms_norm_offset(width, epsilon, if gemma { 1.0 } else { 0.0 }, params);
        let biased = family == "qwen2" || sizes.flag_or(&["attention_bias"], false);
        let windowed = matches!(family, "mistral" | "mixtral")
            || sizes.flag_or(&["use_sliding_window"], false);
        let window = sizes.size(&["sliding_window"]).ok().filter(|_| windowed);
        let full_below = match family {
            "qwen2" | "qwen3" => sizes.size_or(&["max_window_layers"], 0),
            _ => 0,
        };
        let all = params.pp("model");
        let block = |index: usize| -> Result<Block> {
            let params = all.pp("layers").pp(index);
            let own = params.pp("self_attn");
            let dense = |name: &str, inputs: usize, outputs: usize| match biased
                && !(family == "qwen2" && name == "o_proj")
            {
                true => linear(inputs, outputs, own.pp(name)),
                false => linear_no_bias(inputs, outputs, own.pp(name)),
            };
            let head_norms = match family {
                "qwen3" | "qwen3_moe" => {
                    Some([norm(head, own.pp("q_norm"))?, norm(head, own.pp("k_norm"))?])
                }
                _ => None,
            };
            Ok(Block {
                norms: [
                    norm(width, params.pp("input_layernorm"))?,
                    norm(width, params.pp("post_attention_layernorm"))?,
                ],
                attention: [
                    dense("q_proj", width, heads * head)?,
                    dense("k_proj", width, groups * head)?,
                    dense("v_proj", width, groups * head)?,
                    dense("o_proj", heads * head, width)?,
                ],
                head_norms,
                feed: self.feed(index, &params)?,
                window: window.filter(|_| index >= full_below),
            })
        };
        let tokens = embedding(vocabulary, width, 0.02, all.pp("embed_tokens"))?;
        let output = match self.tied() {
            true => Linear::new(tokens.weight().clone(), None),
            false => linear_no_bias(width, vocabulary, params.pp("lm_head"))?,
        };
        let base = sizes.number_or(&["rope_parameters.rope_theta", "rope_theta"], 1e4);
        let network = Network {
            scale: if gemma { (width as f64).sqrt() } else { 1.0 },
            tokens,
            rotary: rotary(head, base, self.0.rotary_scaling()?, false)?,
            blocks: (0..sizes.size(&["num_hidden_layers"])?).map(block).collect::<Result<_>>()?,
            norm: norm(width, all.pp("norm"))?,
            output,
            heads: [heads, groups],
        };
        params.check_lora()?;
        Ok(network)
    }

    fn forward(&self, network: &Network, xs: &Tensor) -> Result<Tensor> {
        let mut hidden = network.tokens.forward(xs)?;
        // Rotations depend on the distance of two tokens alone: they need no places within samples.
        let bias = packing(xs)?.map(|rows| rows.bias(hidden.dtype()?)).transpose()?;
        if network.scale != 1.0 {
            hidden = hidden.affine(network.scale, 0.0)?;
        }
        let [heads, groups] = network.heads;
        for block in &network.blocks {
            let normal = block.norms[0].forward(&hidden)?;
            let [query, key, value, out] = &block.attention;
            let mut q = split_heads(&query.forward(&normal)?, heads)?;
            let mut k = split_heads(&key.forward(&normal)?, groups)?;
            if let Some([of_q, of_k]) = &block.head_norms {
                (q, k) = (of_q.forward(&q)?, of_k.forward(&k)?);
            }
            let (q, k) = (network.rotary.forward(&q)?, network.rotary.forward(&k)?);
            let v = split_heads(&value.forward(&normal)?, groups)?;
            let options = Attention {
                causal: true,
                window: block.window,
                bias: bias.as_ref(),
                ..Attention::default()
            };
            let mixed = merge_heads(&q.attention(&k, &v, &options)?)?;
            hidden = hidden.add(&out.forward(&mixed)?)?;
            hidden = hidden.add(&block.feed.forward(&block.norms[1].forward(&hidden)?)?)?;
        }
        network.output.forward(&network.norm.forward(&hidden)?)
    }

    fn names(&self) -> Result<Option<Names>> {
        let mut names = self.0.names(RULES);
        if self.tied() {
            names.rules.push(Rule::Ignore { names: "lm_head.weight" });
        }
        Ok(Some(names))
    }
}
