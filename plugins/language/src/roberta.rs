//! RoBERTa (Liu et al. 2019), for the model `bert`.

use fluxbay_plugin::{Activation, Rule};

use crate::{
    encoder::Head,
    style::{self, Style},
};

/// Names of RoBERTa. Its places are counted from the one behind its padding.
pub const STYLE: Style = Style {
    prefix: "roberta",
    classify: (["classifier.dense", "classifier.out_proj"], Activation::Tanh),
    predict: ["lm_head.dense", "lm_head.layer_norm", "lm_head"],
    places_behind_padding: true,
    heads: &[
        ("classifier.*", &[Head::Classification, Head::Tokens]),
        ("lm_head.*", &[Head::MaskedLanguage]),
    ],
    rules: &[
        Rule::rename("embeddings.*", "roberta.embeddings.*"),
        Rule::rename("encoder.*", "roberta.encoder.*"),
        Rule::ignore("*.position_ids"),
        Rule::ignore("lm_head.decoder.*"),
        Rule::ignore("*pooler.*"),
    ],
    ..style::BERT
};
