#![doc = include_str!("../README.md")]

mod cross_entropy;
mod regression;

use cross_entropy::CrossEntropy;
use fluxbay_plugin::prelude::*;
use regression::{Huber, MeanAbsoluteError, MeanSquaredError};

plugin! {
    summary: "The standard losses: cross-entropy, mean squared and absolute error, Huber.",
    loss "cross-entropy" => CrossEntropy {
        summary: "Softmax cross-entropy of logits against class labels or class probabilities.",
        example: "[loss]\ncomponent = \"cross-entropy\"\nlabel-smoothing = 0.1\n",
    },
    loss "mse" => MeanSquaredError {
        summary: "Mean squared error.",
        example: "[loss]\ncomponent = \"mse\"\n",
    },
    loss "mae" => MeanAbsoluteError {
        summary: "Mean absolute error.",
        example: "[loss]\ncomponent = \"mae\"\n",
    },
    loss "huber" => Huber {
        summary: "Squared error up to delta, absolute error above.",
        example: "[loss]\ncomponent = \"huber\"\ndelta = 1.0\n",
    },
}
