//! The standard callbacks.

mod beta;
mod checkpointer;
mod conditional;
mod criterion;
mod early_stopping;
mod ema;
mod gradient_accumulation;
mod gradient_clipping;
mod inner;
mod label_smoothing;
mod log_histograms;
mod log_hyperparameters;
mod log_images;
mod log_metrics;
mod log_traces;
mod lr_finder;
mod memory_trim;
mod metrics;
mod metrics_printer;
mod mixup;
mod nested;
mod phases;
mod progress;
mod recorder;
mod reduce_on_plateau;
mod sanity_check;
mod saved_tensors;
mod scheduler;
mod stop_on_nan;
mod table;
mod targets;
mod throttle;
mod to_device;
mod traces;
mod watched;

use checkpointer::Checkpointer;
use conditional::Conditional;
use early_stopping::EarlyStopping;
use ema::Ema;
use fluxbay_plugin::prelude::*;
use gradient_accumulation::GradientAccumulation;
use gradient_clipping::GradientClipping;
use label_smoothing::LabelSmoothing;
use log_histograms::LogHistograms;
use log_hyperparameters::LogHyperparameters;
use log_images::LogImages;
use log_metrics::LogMetrics;
use log_traces::LogTraces;
use lr_finder::LrFinder;
use memory_trim::MemoryTrim;
use metrics::Metrics;
use metrics_printer::MetricsPrinter;
use mixup::Mixup;
use progress::Progress;
use recorder::Recorder;
use reduce_on_plateau::ReduceOnPlateau;
use sanity_check::SanityCheck;
use scheduler::Scheduler;
use stop_on_nan::StopOnNan;
use throttle::Throttle;
use to_device::ToDevice;
use traces::Traces;

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
    callback "early-stopping" => EarlyStopping {
        summary: "Ends the fit when a metric says that going on is no use.",
        details: "Criteria of EarlyStopping.jl: never, invalid-value, time-limit, gl, pq, patience, number-since-best, number-limit, threshold, warmup, any-of. A whole number means number-since-best.",
        on: [FitBegin, EpochEnd],
        reads: ["cbstate.metrics-epoch"],
        run_after: ["metrics"],
        example: "[[callback]]\ncomponent = \"early-stopping\"\ncriterion = [5, { type = \"time-limit\", seconds = 3600 }]\n",
    },
    callback "scheduler" => Scheduler {
        summary: "Lets hyper-parameters follow schedules.",
        details: "Counts updates of training phases (or epochs), from 1. Any number that a component declares as a hyper-parameter can follow a schedule.",
        on: [EpochBegin, StepBegin, StepEnd, EpochEnd],
        reads: ["step.update-skipped"],
        writes: ["optimizer", "hyper"],
        example: "[[callback]]\ncomponent = \"scheduler\"\n\n[callback.schedules]\n\"optimizer.learning-rate\" = { component = \"onecycle\", steps = 1000, max = 0.01 }\n",
    },
    callback "reduce-on-plateau" => ReduceOnPlateau {
        summary: "Lowers the learning rate when a metric stops getting better.",
        on: [EpochEnd],
        reads: ["cbstate.metrics-epoch"],
        writes: ["optimizer", "hyper"],
        example: "[[callback]]\ncomponent = \"reduce-on-plateau\"\nfactor = 0.5\npatience = 3\n",
    },
    callback "gradient-clipping" => GradientClipping {
        summary: "Keeps the gradients' norm, or each of their values, below a limit.",
        details: "The norm before clipping stands in step.gradient-norm. Where gradients are accumulated, it clips the accumulated ones.",
        on: [BackwardEnd],
        reads: ["step.update-skipped"],
        writes: ["step.grads", "step.gradient-norm"],
        hyper_parameters: ["norm", "value"],
        example: "[[callback]]\ncomponent = \"gradient-clipping\"\nnorm = 1.0\n",
    },
    callback "gradient-accumulation" => GradientAccumulation {
        summary: "Updates the parameters once for several steps, as if their batches were one.",
        details: "Each step counts by its samples. The last update of an epoch takes what is left. Steps without an update set step.update-skipped; schedules count updates.",
        on: [BackwardEnd],
        writes: ["step.grads", "step.update-skipped"],
        example: "[[callback]]\ncomponent = \"gradient-accumulation\"\nsteps = 4\n",
    },
    callback "ema" => Ema {
        summary: "Keeps a moving average of the parameters, and validates with it.",
        on: [EpochBegin, StepEnd, EpochEnd, EpochCancelled, FitEnd, Error],
        reads: ["step.update-skipped"],
        writes: ["params"],
        hyper_parameters: ["decay"],
        example: "[[callback]]\ncomponent = \"ema\"\ndecay = 0.999\n",
    },
    callback "label-smoothing" => LabelSmoothing {
        summary: "Softens class labels for the loss of training phases; metrics see the labels themselves.",
        on: [LossBegin, BackwardBegin, StepCancelled],
        reads: ["step.yhats"],
        writes: ["step.ys"],
        hyper_parameters: ["amount"],
        example: "[[callback]]\ncomponent = \"label-smoothing\"\namount = 0.1\n",
    },
    callback "mixup" => Mixup {
        summary: "Trains on mixtures of two samples; metrics see the labels themselves.",
        on: [StepBegin, LossBegin, BackwardBegin, StepCancelled],
        reads: ["step.yhats"],
        writes: ["step.xs", "step.ys"],
        hyper_parameters: ["alpha"],
        example: "[[callback]]\ncomponent = \"mixup\"\nalpha = 0.4\n",
    },
    callback "traces" => Traces {
        summary: "Keeps named values of every step of a phase.",
        details: "Any state path of a number or a tensor; of a tensor with several elements the mean, norm, least or largest one. They stand under cbstate.traces.PHASE.NAME.",
        on: [StepEnd],
        reads: ["step", "params", "model", "optimizer", "hyper", "cbstate"],
        writes: ["cbstate.traces"],
        example: "[[callback]]\ncomponent = \"traces\"\nvalues = { loss = \"step.loss\", rate = \"optimizer.learning-rate\" }\n",
    },
    callback "log-metrics" => LogMetrics {
        summary: "Hands the measured metrics to the run's loggers.",
        on: [StepEnd, EpochEnd],
        reads: ["cbstate.metrics-step", "cbstate.metrics-epoch"],
        example: "[[callback]]\ncomponent = \"log-metrics\"\n",
    },
    callback "log-traces" => LogTraces {
        summary: "Hands the values that `traces` keeps to the run's loggers.",
        on: [StepEnd],
        reads: ["cbstate.traces"],
        example: "[[callback]]\ncomponent = \"log-traces\"\n",
    },
    callback "log-hyperparameters" => LogHyperparameters {
        summary: "Hands the hyper-parameters to the run's loggers, at the beginning and at each step.",
        on: [FitBegin, StepEnd],
        reads: ["optimizer", "hyper"],
        example: "[[callback]]\ncomponent = \"log-hyperparameters\"\n",
    },
    callback "log-histograms" => LogHistograms {
        summary: "Hands the distributions of weights and gradients to the run's loggers.",
        on: [BackwardEnd],
        reads: ["params", "step.grads"],
        example: "[[callback]]\ncomponent = \"log-histograms\"\nevery = 100\n",
    },
    callback "log-images" => LogImages {
        summary: "Hands pictures out of the batches to the run's loggers.",
        on: [StepEnd],
        reads: ["step"],
        example: "[[callback]]\ncomponent = \"log-images\"\nevery = 100\nshape = [8, 8]\n",
    },
    callback "sanity-check" => SanityCheck {
        summary: "Looks whether data, batches, model and loss can work, once, before the first epoch.",
        details: "Batches of the training and of the validation phase are tried in rehearsed steps, which leave no trace. No validation data is a warning; everything else that is wrong ends the run with its reason.",
        on: [FitBegin],
        reads: ["data", "step.xs", "step.ys", "step.loss"],
        example: "[[callback]]\ncomponent = \"sanity-check\"\n",
    },
    callback "lr-finder" => LrFinder {
        summary: "Looks for a learning rate before the training, with steps that leave no trace.",
        details: "The rate grows by the same factor from step to step until the averaged loss explodes; the rate is suggested at which the loss falls fastest over the logarithm of the rate. No other callback takes part in these steps. Losses over rates stand under cbstate.lr-finder.loss, what is suggested under cbstate.lr-finder.suggestion.",
        on: [FitBegin],
        reads: ["step.loss"],
        writes: ["cbstate.lr-finder", "optimizer", "hyper"],
        example: "[[callback]]\ncomponent = \"lr-finder\"\nsteps = 100\n",
    },
    callback "checkpointer" => Checkpointer {
        summary: "Keeps a checkpoint after each epoch, all of them or the best by a metric.",
        details: "The newest always stays, so that with keep-top-k there may be one more. They lie among the run's own checkpoints, and a run can be resumed from them.",
        on: [Checkpoint],
        reads: ["cbstate.metrics-epoch"],
        example: "[[callback]]\ncomponent = \"checkpointer\"\nkeep-top-k = 3\nmetric = \"accuracy\"\nbetter = \"higher\"\n",
    },
    callback "to-device" => ToDevice {
        summary: "Brings the inputs of each batch into the wanted element type, and makes sure of the run's device.",
        details: "Models, optimizer states and batches lie on the run's device by themselves.",
        on: [StepBegin],
        writes: ["step.xs"],
        run_before: ["scheduler"],
        example: "[[callback]]\ncomponent = \"to-device\"\ndtype = \"f32\"\n",
    },
    callback "memory-trim" => MemoryTrim {
        summary: "Gives memory that nobody uses back to the system every so many steps.",
        details: "How much the process then occupies, in bytes, stands under cbstate.memory.PHASE.",
        on: [StepEnd],
        writes: ["cbstate.memory"],
        example: "[[callback]]\ncomponent = \"memory-trim\"\nevery = 1000\n",
    },
    callback "throttle" => Throttle {
        summary: "Lets another callback handle an event only every so many times or seconds.",
        details: "The first one passes, then every n-th, counted per phase. Other events pass.",
        on: [FitBegin, FitEnd, EpochBegin, EpochEnd, StepBegin, StepEnd, LossBegin, BackwardBegin, BackwardEnd, StepCancelled, EpochCancelled, FitCancelled, Error, Checkpoint],
        example: "[[callback]]\ncomponent = \"throttle\"\nevent = \"step-end\"\nevery = 10\ncallback = { component = \"log-traces\" }\n",
    },
    callback "conditional" => Conditional {
        summary: "Lets another callback run only in some phases, epochs or steps.",
        on: [FitBegin, FitEnd, EpochBegin, EpochEnd, StepBegin, StepEnd, LossBegin, BackwardBegin, BackwardEnd, StepCancelled, EpochCancelled, FitCancelled, Error, Checkpoint],
        example: "[[callback]]\ncomponent = \"conditional\"\nfrom-epoch = 5\ncallback = { component = \"ema\", decay = 0.99 }\n",
    },
}
