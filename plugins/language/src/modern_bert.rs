//! Model `modern-bert`: ModernBERT (Warner et al. 2024), under the names that transformers gives its
//! parameters.

use std::{path::PathBuf, rc::Rc};

use fluxbay_plugin::{Family, Names, Rule, nn::*, prelude::*};

use crate::encoder::{Encoder, Head, Parts, TextModel};

config! {
    /// Sizes default to those of `from`, and without it to a small ModernBERT.
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
        /// Id of the token that fills short sequences; not attended to.
        padding: Option<u32> = null,
        /// Low-rank adapters: train these instead of the weights.
        lora: Option<Lora> = null,
    }
}

const RULES: &[Rule] = &[
    Rule::rename("embeddings.*", "model.embeddings.*"),
    Rule::rename("layers.*", "model.layers.*"),
    Rule::rename("final_norm.*", "model.final_norm.*"),
    Rule::ignore("decoder.weight"),
];
const PARTS: Parts = &[
    ("head.*", &[Head::Classification, Head::Tokens, Head::MaskedLanguage]),
    ("classifier.*", &[Head::Classification, Head::Tokens]),
    ("decoder.bias", &[Head::MaskedLanguage]),
];

/// The model `modern-bert`.
pub struct ModernBert(TextModel);

impl Component for ModernBert {
    type Config = Config;

    fn new(config: Config, setup: &mut Setup) -> Result<Self> {
        let defaults = serde_json::json!({
            "model_type": "modernbert", "hidden_size": 128, "num_hidden_layers": 4, "num_attention_heads": 4,
            "intermediate_size": 192, "hidden_activation": "gelu", "classifier_activation": "gelu",
            "norm_eps": 1e-5, "local_attention": 128, "global_attn_every_n_layers": 3, "pad_token_id": null,
        });
        let family = Family::open(setup, config.from.as_deref(), config.lora, defaults)?
            .with(&["num_hidden_layers"], config.layers)
            .with(&["hidden_size"], config.width)
            .with(&["num_attention_heads"], config.heads)
            .with(&["intermediate_size"], config.feed_forward)
            .with(&["pad_token_id"], config.padding);
        Ok(ModernBert(TextModel { family, head: config.head }))
    }
}

impl Model for ModernBert {
    type Network = Encoder;

    fn build(&self, data: &DataSpec, params: Params) -> Result<Encoder> {
        let TextModel { family, head } = &self.0;
        let (sizes, [_, vocabulary]) = (&family.sizes, family.text(data)?);
        let params = family.adapted(params);
        let (width, heads) = (sizes.size(&["hidden_size"])?, sizes.size(&["num_attention_heads"])?);
        if !width.is_multiple_of(heads) {
            bail!("{heads} heads do not divide a width of {width}");
        }
        let epsilon = sizes.number_or(&["norm_eps"], 1e-5);
        let norm = |params: Params| match sizes.flag_or(&["norm_bias"], false) {
            true => layer_norm(width, epsilon, params),
            false => layer_norm_no_bias(width, epsilon, params),
        };
        let dense = |inputs: usize, outputs: usize, key: &str, params: Params| {
            linear_b(inputs, outputs, sizes.flag_or(&[key], false), params)
        };
        let angles = |kind: &str, old: &str, default: f64| -> Result<Rc<RotaryEmbedding>> {
            let key = format!("rope_parameters.{kind}.rope_theta");
            let base = sizes.number_or(&[&key, old], default);
            rotary(width / heads, base, RotaryScaling::None, false).map(Rc::new)
        };
        let far = angles("full_attention", "global_rope_theta", 160_000.0)?;
        let near = angles("sliding_attention", "local_rope_theta", 10_000.0)?;
        let wide = sizes.size(&["intermediate_size"])?;
        let activation = sizes.activation(&["hidden_activation"])?;
        let every = sizes.size_or(&["global_attn_every_n_layers"], 3).max(1);
        let types = sizes.value(&["layer_types"]).and_then(|types| types.as_array());
        let window = sizes.size_or(&["local_attention"], 128) / 2 + 1;
        let block = |index: usize| -> Result<TransformerBlock> {
            let params = params.pp("model.layers").pp(index);
            let local = match types.and_then(|types| types.get(index)) {
                Some(kind) => kind == "sliding_attention",
                None => !index.is_multiple_of(every),
            };
            // The first block's inputs are normalised already.
            let first = if index == 0 { seq() } else { seq().add(norm(params.pp("attn_norm"))?) };
            let qkv = dense(width, 3 * width, "attention_bias", params.pp("attn.Wqkv"))?;
            let out = dense(width, width, "attention_bias", params.pp("attn.Wo"))?;
            let attention = ProjectedAttention::fused([qkv, out], [width, heads])?
                .with_rotary(if local { near.clone() } else { far.clone() })
                .with_window(local.then_some(window));
            let second = seq().add(norm(params.pp("mlp_norm"))?);
            let both = dense(width, 2 * wide, "mlp_bias", params.pp("mlp.Wi"))?;
            let down = dense(wide, width, "mlp_bias", params.pp("mlp.Wo"))?;
            let feed = GatedFeedForward::fused([both, down], activation);
            Ok(TransformerBlock::pre_norm([first, second], attention, feed))
        };
        let at = params.pp("model.embeddings");
        let tokens = embedding(vocabulary, width, 0.02, at.pp("tok_embeddings"))?;
        let mut predict = seq();
        if *head != Head::Embedding {
            let dense = dense(width, width, "classifier_bias", params.pp("head.dense"))?;
            let dense = dense.with_activation(sizes.activation(&["classifier_activation"])?);
            predict = predict.add(dense).add(norm(params.pp("head.norm"))?);
        }
        let paths = [params.pp("classifier"), params.pp("decoder")];
        let predict = predict.add(self.0.output(data, &tokens, paths)?);
        let encoder = Encoder {
            tokens,
            positions: None,
            segments: None,
            norm: norm(at.pp("norm"))?,
            blocks: (0..sizes.size(&["num_hidden_layers"])?).map(block).collect::<Result<_>>()?,
            last: Some(norm(params.pp("model.final_norm"))?),
            head: *head,
            mean: sizes.text(&["classifier_pooling"]) == "mean",
            predict,
            padding: self.0.padding(),
            dropout: [0.0; 2],
        };
        params.check_lora()?;
        Ok(encoder)
    }

    fn forward(&self, encoder: &Encoder, xs: &Tensor) -> Result<Tensor> {
        encoder.forward(xs)
    }

    fn names(&self) -> Result<Option<Names>> {
        Ok(Some(self.0.names(RULES, PARTS)))
    }
}
