//! The standard callbacks.

mod metrics;
mod metrics_printer;
mod phases;
mod progress;
mod recorder;
mod stop_on_nan;
mod table;

use fluxbay_plugin::prelude::*;
use metrics::Metrics;
use metrics_printer::MetricsPrinter;
use progress::Progress;
use recorder::Recorder;
use stop_on_nan::StopOnNan;

plugin! {
    summary: "The standard callbacks: recording, measuring, displaying, stopping, scheduling.",
    callback "recorder" => Recorder {
        summary: "Counts the epochs, steps and samples of each phase.",
        details: "Others read cbstate.history.PHASE.epochs, .steps, .epoch-steps and .samples; a phase that has not run reads 0.",
        on: [FitBegin, EpochBegin, StepEnd, EpochEnd],
        writes: ["cbstate.history"],
        example: "[[callback]]\ncomponent = \"recorder\"\n",
    },
    callback "metrics" => Metrics {
        summary: "Measures the loss and any metrics, per step and exactly over each epoch.",
        details: "The loss always comes first. A metric is a name, or a table with `component`, its configuration, and where wanted `name` and `phase`. Values stand under cbstate.metrics-step.PHASE.NAME and cbstate.metrics-epoch.PHASE.NAME and in the run's metrics files.",
        on: [EpochBegin, StepEnd, EpochEnd],
        reads: ["step.loss", "step.yhats", "step.ys"],
        writes: ["cbstate.metrics-step", "cbstate.metrics-epoch"],
        example: "[[callback]]\ncomponent = \"metrics\"\nmetrics = [\"accuracy\", { component = \"top-k\", k = 3, phase = \"validation\" }]\n",
    },
    callback "metrics-printer" => MetricsPrinter {
        summary: "Prints a line per epoch with the metrics of all phases.",
        on: [EpochBegin, EpochEnd, FitEnd],
        reads: ["cbstate.metrics-epoch"],
        example: "[[callback]]\ncomponent = \"metrics-printer\"\n",
    },
    callback "progress" => Progress {
        summary: "Shows how far the running phase is, with its loss, its metrics and the rate.",
        details: "A bar on a terminal, a line per epoch and phase elsewhere.",
        on: [EpochBegin, StepEnd, EpochEnd, EpochCancelled, FitEnd, Error],
        reads: ["cbstate.metrics-step"],
        example: "[[callback]]\ncomponent = \"progress\"\n",
    },
    callback "stop-on-nan" => StopOnNan {
        summary: "Ends the fit when a training loss is NaN or infinite, before the parameters are updated with it.",
        on: [BackwardBegin, StepEnd],
        reads: ["step.loss"],
        example: "[[callback]]\ncomponent = \"stop-on-nan\"\n",
    },
}
