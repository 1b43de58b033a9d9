#![doc = include_str!("../README.md")]

mod binary;
mod cross_entropy;
mod ctc;
mod focal;
mod kl_divergence;
mod regression;
mod targets;

use binary::BinaryCrossEntropy;
use cross_entropy::CrossEntropy;
use ctc::Ctc;
use fluxbay_plugin::prelude::*;
use focal::Focal;
use kl_divergence::KlDivergence;
use regression::{Huber, MeanAbsoluteError, MeanSquaredError};

plugin! {
    summary: "The standard losses: cross-entropy, binary cross-entropy, focal, Kullback-Leibler divergence, CTC, mean squared and absolute error, Huber.",
    loss "cross-entropy" => CrossEntropy {
        summary: "Softmax cross-entropy of logits against class labels or class probabilities.",
        targets: ["classes", "probabilities"],
        example: "[loss]\ncomponent = \"cross-entropy\"\nlabel-smoothing = 0.1\n",
    },
    loss "bce-with-logits" => BinaryCrossEntropy {
        summary: "Binary cross-entropy of logits against targets from 0 to 1.",
        targets: ["binary", "probabilities", "numbers"],
        details: "Predictions and targets have the same shape, such as [batch, 1]. A model whose target has two classes needs outputs = 1.",
        example: "[loss]\ncomponent = \"bce-with-logits\"\npos-weight = [3.0]\n",
    },
    loss "focal" => Focal {
        summary: "Cross-entropy with less weight on samples that are predicted well.",
        targets: ["classes", "binary", "probabilities", "numbers"],
        details: "Takes class scores with labels, or binary logits with 0/1 targets of the same shape.",
        example: "[loss]\ncomponent = \"focal\"\ngamma = 2.0\n",
    },
    loss "kl-divergence" => KlDivergence {
        summary: "Kullback-Leibler divergence of the predicted distribution from the target.",
        targets: ["classes", "probabilities"],
        details: "Targets are class probabilities of the shape of the predictions, or labels.",
        example: "[loss]\ncomponent = \"kl-divergence\"\n",
    },
    loss "ctc" => Ctc {
        summary: "Connectionist temporal classification: sequences of labels without their places in the input.",
        targets: ["classes"],
        details: "Predictions are logits [n, frames, classes], targets labels [n, length], padded at the end with the class of the blank. Every frame counts.",
        example: "[loss]\ncomponent = \"ctc\"\nblank = 0\n",
    },
    loss "mse" => MeanSquaredError {
        summary: "Mean squared error.",
        targets: ["numbers", "probabilities"],
        example: "[loss]\ncomponent = \"mse\"\n",
    },
    loss "mae" => MeanAbsoluteError {
        summary: "Mean absolute error.",
        targets: ["numbers", "probabilities"],
        example: "[loss]\ncomponent = \"mae\"\n",
    },
    loss "huber" => Huber {
        summary: "Squared error up to delta, absolute error above.",
        targets: ["numbers", "probabilities"],
        example: "[loss]\ncomponent = \"huber\"\ndelta = 1.0\n",
    },
}
