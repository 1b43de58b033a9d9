//! The standard metrics. Each gathers counts or sums over an epoch, so that its value is exact whatever the batches were.

mod accuracy;
mod samples;
mod smooth_loss;

use accuracy::Accuracy;
use fluxbay_plugin::prelude::*;
use smooth_loss::SmoothLoss;

plugin! {
    summary: "The standard metrics, exact over an epoch.",
    metric "accuracy" => Accuracy {
        summary: "Share of samples whose predicted class is the target's.",
        details: "Takes class scores with labels or one-hot rows, or binary logits with 0/1 targets. The largest score wins, the first among equals.",
        example: "[[callback]]\ncomponent = \"metrics\"\nmetrics = [\"accuracy\"]\n",
    },
    metric "smooth-loss" => SmoothLoss {
        summary: "The loss as an exponential average over the steps, with bias correction.",
        example: "[[callback]]\ncomponent = \"metrics\"\nmetrics = [\"smooth-loss\"]\n",
    },
}
