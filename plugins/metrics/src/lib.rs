#![doc = include_str!("../README.md")]

mod accuracy;
mod auroc;
mod averaged;
mod confusion;
mod perplexity;
#[cfg(test)]
mod reference;
mod regression;
mod retrieval;
mod samples;
mod segmentation;
mod sequences;
mod smooth_loss;
mod top_k;

use accuracy::Accuracy;
use auroc::Auroc;
use averaged::{F1, Precision, Recall};
use confusion::ConfusionMatrix;
use fluxbay_plugin::prelude::*;
use perplexity::Perplexity;
use regression::{Mae, Mse, R2, Rmse};
use retrieval::MeanAveragePrecision;
use segmentation::{Dice, Iou};
use sequences::{Bleu, ExactMatch, Rouge, WordErrorRate};
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
    metric "bleu" => Bleu {
        summary: "BLEU of predicted tokens over all sequences of the epoch, between 0 and 1.",
        details: "Compares ids: n-grams of predicted tokens with those of the target. Predictions are logits [samples, time, vocabulary], of which the largest of each place counts, or ids.",
        example: example!("{ component = \"bleu\", padding = 0 }"),
    },
    metric "rouge" => Rouge {
        summary: "ROUGE-1, ROUGE-2 or ROUGE-L of predicted tokens, the mean over the sequences.",
        details: "The harmonic mean of precision and recall of tokens, of pairs, or of the longest common subsequence. Predictions as for bleu.",
        example: example!("{ component = \"rouge\", variant = \"two\", name = \"rouge-2\" }"),
    },
    metric "word-error-rate" => WordErrorRate {
        summary: "Insertions, deletions and substitutions of tokens, divided by the number of tokens of the targets.",
        details: "A word error rate if tokens are words, a character error rate if they are characters. Predictions as for bleu.",
        example: example!("{ component = \"word-error-rate\", padding = 0 }"),
    },
    metric "exact-match" => ExactMatch {
        summary: "Share of sequences of which every token is predicted.",
        details: "Predictions as for bleu.",
        example: example!("{ component = \"exact-match\", padding = 0 }"),
    },
    metric "iou" => Iou {
        summary: "Intersection over union of the pixels of each class, averaged over the classes that occur.",
        details: "Predictions are logits [samples, classes, ...], targets labels [samples, ...]; one channel is the logit of class 1. The details hold the value of each class.",
        example: example!("{ component = \"iou\", ignored = 255 }"),
    },
    metric "dice" => Dice {
        summary: "Dice coefficient (F1) of the pixels of each class, averaged over the classes that occur.",
        details: "Predictions and details as for iou.",
        example: example!("{ component = \"dice\", background = false }"),
    },
    metric "mean-average-precision" => MeanAveragePrecision {
        summary: "Mean average precision of retrieval, by vectors or by scores.",
        details: "With vectors, each sample of the epoch is looked for among all others, and those of its class are relevant: all vectors are kept until the end of the epoch. Equal scores share the last place among them.",
        example: example!("\"mean-average-precision\""),
    },
    metric "smooth-loss" => SmoothLoss {
        summary: "Exponential moving average of the loss over the steps, with bias correction.",
        example: example!("\"smooth-loss\""),
    },
}
