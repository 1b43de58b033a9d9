#![doc = include_str!("../README.md")]

mod accuracy;
mod auroc;
mod averaged;
mod confusion;
mod perplexity;
#[cfg(test)]
mod reference;
mod regression;
mod samples;
mod smooth_loss;
mod top_k;

use accuracy::Accuracy;
use auroc::Auroc;
use averaged::{F1, Precision, Recall};
use confusion::ConfusionMatrix;
use fluxbay_plugin::prelude::*;
use perplexity::Perplexity;
use regression::{Mae, Mse, R2, Rmse};
use smooth_loss::SmoothLoss;
use top_k::TopK;

/// An example: the metrics callback with one metric.
macro_rules! example {
    ($metric:literal) => {
        concat!("[[callback]]\ncomponent = \"metrics\"\nmetrics = [", $metric, "]\n")
    };
}

plugin! {
    summary: "The standard metrics, exact over an epoch.",
    metric "accuracy" => Accuracy {
        summary: "Share of samples whose predicted class is the target's.",
        details: "Takes class scores with labels or one-hot rows, or binary logits with 0/1 targets. The largest score wins, the first among equals.",
        example: example!("\"accuracy\""),
    },
    metric "top-k" => TopK {
        summary: "Share of samples whose true class is among the k largest scores.",
        example: example!("{ component = \"top-k\", k = 3, name = \"top-3\" }"),
    },
    metric "precision" => Precision {
        summary: "Share of correct predictions among the predictions of a class, averaged over the classes.",
        details: "The details hold the value of each class. A class that is never predicted counts as 0.",
        example: example!("{ component = \"precision\", average = \"macro\" }"),
    },
    metric "recall" => Recall {
        summary: "Share of the samples of a class that are predicted as such, averaged over the classes.",
        details: "The details hold the value of each class.",
        example: example!("{ component = \"recall\", average = \"weighted\" }"),
    },
    metric "f1" => F1 {
        summary: "Harmonic mean of precision and recall, averaged over the classes.",
        details: "The details hold the value of each class.",
        example: example!("{ component = \"f1\", average = \"binary\", positive = 1 }"),
    },
    metric "confusion-matrix" => ConfusionMatrix {
        summary: "Number of samples per true and predicted class.",
        details: "The details hold the matrix with true classes in rows; the value is the accuracy.",
        example: example!("\"confusion-matrix\""),
    },
    metric "auroc" => Auroc {
        summary: "Area under the receiver operating characteristic, exact over the epoch.",
        details: "With more than two classes, each against the rest, averaged over the classes that occur. Stores all scores of the epoch.",
        example: example!("\"auroc\""),
    },
    metric "perplexity" => Perplexity {
        summary: "Exponential of the mean negative log-likelihood of the targets.",
        example: example!("\"perplexity\""),
    },
    metric "mse" => Mse {
        summary: "Mean squared error.",
        example: example!("\"mse\""),
    },
    metric "rmse" => Rmse {
        summary: "Square root of the mean squared error.",
        example: example!("\"rmse\""),
    },
    metric "mae" => Mae {
        summary: "Mean absolute error.",
        example: example!("\"mae\""),
    },
    metric "r2" => R2 {
        summary: "Share of the targets' variance that the predictions explain, averaged over the outputs.",
        example: example!("\"r2\""),
    },
    metric "smooth-loss" => SmoothLoss {
        summary: "Exponential moving average of the loss over the steps, with bias correction.",
        example: example!("\"smooth-loss\""),
    },
}
