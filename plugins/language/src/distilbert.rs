//! DistilBERT (Sanh et al. 2019), for the model `bert`.

use fluxbay_plugin::{Activation, Rule};

use crate::{encoder::Head, style::Style};

/// Names of DistilBERT.
pub const STYLE: Style = Style {
    prefix: "distilbert",
    blocks: "transformer.layer",
    attention: ["attention.q_lin", "attention.k_lin", "attention.v_lin", "attention.out_lin"],
    norms: ["sa_layer_norm", "output_layer_norm"],
    feed: ["ffn.lin1", "ffn.lin2"],
    classify: (["pre_classifier", "classifier"], Activation::Relu),
    predict: ["vocab_transform", "vocab_layer_norm", "vocab_projector"],
    places_behind_padding: false,
    heads: &[
        ("pre_classifier.*", &[Head::Classification]),
        ("classifier.*", &[Head::Classification, Head::Tokens]),
        ("vocab_*", &[Head::MaskedLanguage]),
    ],
    rules: &[
        Rule::rename("embeddings.*", "distilbert.embeddings.*"),
        Rule::rename("transformer.*", "distilbert.transformer.*"),
        Rule::ignore("*.position_ids"),
        Rule::ignore("vocab_projector.weight"),
    ],
};
