//! The standard callbacks, one module each. The `plugin!` table below registers them with their
//! summary, the events that they handle and the state paths that they access.
//!
//! A callback is a `Component` that implements
//! `Callback`. The host creates it from the run file, orders all
//! callbacks by their access to the state, and calls `on` for each event in the table. A callback
//! never calls another one; callbacks exchange values through the state (`cbstate.*`).
//!
//! | purpose | modules |
//! |---|---|
//! | measure and record | `recorder`, `metrics`, `traces`, `memory_trim` |
//! | display | `progress`, `metrics_printer` |
//! | log | `log_metrics`, `log_traces`, `log_hyperparameters`, `log_histograms`, `log_images` |
//! | stop | `early_stopping`, `stop_on_nan`, `anomaly_detection` |
//! | hyper-parameters | `scheduler`, `reduce_on_plateau`, `lr_finder` |
//! | gradients and parameters | `gradient_clipping`, `gradient_accumulation`, `ema`, `swa` |
//! | inputs and targets | `mixup`, `cutmix`, `label_smoothing`, `to_device` |
//! | checks and checkpoints | `sanity_check`, `checkpointer` |
//! | wrappers of other callbacks | `throttle`, `conditional` |
//!
//! Shared code: `watched` (one metric of one phase) and `comparison` (which value is better), for callbacks
//! that compare a metric between epochs, `averages` (averages that replace the model's values), `criterion` (stopping criteria), `phases` (the setting `phase`), `nested` (components inside a
//! configuration), `inner` (wrapped callbacks), `saved_tensors` (tensors in saved state), `targets`
//! (labels as rows), `mixing` (mixed inputs and targets), `table` and `beta`.
//!
//! To add a callback: write a module, add it to the table, regenerate `docs/reference` (see
//! `tests/reference_pages.rs`), and add tests to `tests/behaviours`. `docs/how-to-add.md` has the
//! list of files.

mod anomaly_detection;
mod averages;
mod beta;
mod checkpointer;
mod comparison;
mod conditional;
mod criterion;
mod cutmix;
mod details;
mod early_stopping;
mod ema;
mod gradient_accumulation;
mod gradient_clipping;
mod gradual_unfreezing;
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
mod mixing;
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
mod swa;
mod table;
mod targets;
mod throttle;
mod to_device;
mod traces;
mod watched;
mod worst_samples;

use anomaly_detection::AnomalyDetection;
use checkpointer::Checkpointer;
use conditional::Conditional;
use cutmix::Cutmix;
use early_stopping::EarlyStopping;
use ema::Ema;
use fluxbay_plugin::prelude::*;
use gradient_accumulation::GradientAccumulation;
use gradient_clipping::GradientClipping;
use gradual_unfreezing::GradualUnfreezing;
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
use swa::Swa;
use throttle::Throttle;
use to_device::ToDevice;
use traces::Traces;
use worst_samples::WorstSamples;

plugin! {
    summary: "The standard callbacks: recording, measuring, displaying, stopping, scheduling.",
    callback "recorder" => Recorder {
        summary: "Counts the epochs, steps and samples of each phase.",
        details: "Values are at cbstate.history.PHASE.epochs, .steps, .epoch-steps and .samples; 0 for a phase that has not run.",
        on: [FitBegin, EpochBegin, StepEnd, EpochEnd],
        writes: ["cbstate.history"],
        example: "[[callback]]\ncomponent = \"recorder\"\n",
    },
    callback "metrics" => Metrics {
        summary: "Measures the loss and any metrics, for each step and exactly over each epoch.",
        details: "The loss is always the first metric. A metric is a name, or a table with `component`, the component's own keys, and optionally `name` and `phase`. Values are at cbstate.metrics-step.PHASE.NAME and cbstate.metrics-epoch.PHASE.NAME, and in the metrics files of the run.",
        on: [EpochBegin, StepEnd, EpochEnd],
        reads: ["step.loss", "step.yhats", "step.ys"],
        writes: ["cbstate.metrics-step", "cbstate.metrics-epoch"],
        example: "[[callback]]\ncomponent = \"metrics\"\nmetrics = [\"accuracy\", { component = \"top-k\", k = 3, phase = \"validation\" }]\n",
    },
    callback "metrics-printer" => MetricsPrinter {
        summary: "Prints one line per epoch with the metrics of all phases.",
        on: [EpochBegin, EpochEnd, FitEnd],
        reads: ["cbstate.metrics-epoch"],
        example: "[[callback]]\ncomponent = \"metrics-printer\"\n",
    },
    callback "progress" => Progress {
        summary: "Shows the progress of the running phase with its loss, its metrics and the samples per second.",
        details: "On a terminal it is a bar; elsewhere one line per epoch and phase.",
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
    callback "anomaly-detection" => AnomalyDetection {
        summary: "Finds the operation that first produces a NaN or an infinity, and its layer.",
        details: "Reads the results of every operation and every gradient, so steps are several times slower. The report names the operation, the parameter that it uses or that was used last before it, and whether an input was not finite already; it is at cbstate.anomaly. For finding the cause of a failure, not for every run.",
        on: [StepBegin, LossBegin, BackwardBegin, BackwardEnd, StepEnd, StepCancelled, Error],
        reads: ["step.loss"],
        writes: ["cbstate.anomaly"],
        run_before: ["stop-on-nan"],
        example: "[[callback]]\ncomponent = \"anomaly-detection\"\n",
    },
    callback "early-stopping" => EarlyStopping {
        summary: "Ends the fit when a metric stops improving or meets another criterion.",
        details: "Criteria of EarlyStopping.jl: never, invalid-value, time-limit, gl, pq, patience, number-since-best, number-limit, threshold, warmup, any-of. A whole number means number-since-best.",
        on: [FitBegin, EpochEnd],
        reads: ["cbstate.metrics-epoch"],
        run_after: ["metrics"],
        example: "[[callback]]\ncomponent = \"early-stopping\"\ncriterion = [5, { type = \"time-limit\", seconds = 3600 }]\n",
    },
    callback "scheduler" => Scheduler {
        summary: "Sets hyper-parameters from schedules.",
        details: "Counts updates of training phases (or epochs), from 1. Any number that a component declares as a hyper-parameter can be scheduled.",
        on: [EpochBegin, StepBegin, StepEnd, EpochEnd],
        reads: ["step.update-skipped"],
        writes: ["optimizer", "hyper"],
        example: "[[callback]]\ncomponent = \"scheduler\"\n\n[callback.schedules]\n\"optimizer.learning-rate\" = { component = \"onecycle\", steps = 1000, max = 0.01 }\n",
    },
    callback "reduce-on-plateau" => ReduceOnPlateau {
        summary: "Lowers the learning rate when a metric stops improving.",
        on: [EpochEnd],
        reads: ["cbstate.metrics-epoch"],
        writes: ["optimizer", "hyper"],
        example: "[[callback]]\ncomponent = \"reduce-on-plateau\"\nfactor = 0.5\npatience = 3\n",
    },
    callback "gradual-unfreezing" => GradualUnfreezing {
        summary: "Freezes parts of a model at first and trains them one after the other.",
        details: "A frozen parameter has no gradient, so steps are shorter while the first parts of a network are frozen. Optimizers keep their state of a parameter that joins later from then on. A resumed run has the parts of its epoch.",
        on: [StepBegin],
        example: "[[callback]]\ncomponent = \"gradual-unfreezing\"\nparts = [\"*.layer4.*\", \"*.layer3.*\"]\n",
    },
    callback "gradient-clipping" => GradientClipping {
        summary: "Limits the norm of all gradients, or each of their values.",
        details: "step.gradient-norm holds the norm before clipping. With gradient-accumulation, the accumulated gradients are clipped.",
        on: [BackwardEnd],
        reads: ["step.update-skipped"],
        writes: ["step.grads", "step.gradient-norm"],
        hyper_parameters: ["norm", "value"],
        example: "[[callback]]\ncomponent = \"gradient-clipping\"\nnorm = 1.0\n",
    },
    callback "gradient-accumulation" => GradientAccumulation {
        summary: "Updates the parameters once for several steps, as if their batches were one batch.",
        details: "Each step is weighted by its samples. The last update of an epoch uses the steps that are left. Steps without an update set step.update-skipped; schedules count updates.",
        on: [BackwardEnd],
        writes: ["step.grads", "step.update-skipped"],
        example: "[[callback]]\ncomponent = \"gradient-accumulation\"\nsteps = 4\n",
    },
    callback "ema" => Ema {
        summary: "Keeps an exponential moving average of the parameters and validates with it.",
        on: [EpochBegin, StepEnd, EpochEnd, EpochCancelled, FitEnd, Error],
        reads: ["step.update-skipped"],
        writes: ["params"],
        hyper_parameters: ["decay"],
        example: "[[callback]]\ncomponent = \"ema\"\ndecay = 0.999\n",
    },
    callback "swa" => Swa {
        summary: "Stochastic weight averaging: averages the model over the last epochs, and validates with it.",
        details: "The average has equal weights. Combine it with a constant or cyclical learning rate in the averaged epochs, such as a `sequence` of the callback `scheduler`.",
        on: [EpochBegin, EpochEnd, EpochCancelled, FitEnd, Error],
        writes: ["params", "model"],
        example: "[[callback]]\ncomponent = \"swa\"\nstart = 8\n",
    },
    callback "label-smoothing" => LabelSmoothing {
        summary: "Softens class labels for the training loss; metrics use the original labels.",
        on: [LossBegin, BackwardBegin, StepCancelled],
        reads: ["step.yhats"],
        writes: ["step.ys"],
        hyper_parameters: ["amount"],
        example: "[[callback]]\ncomponent = \"label-smoothing\"\namount = 0.1\n",
    },
    callback "mixup" => Mixup {
        summary: "Trains on mixtures of two samples; metrics use the original labels.",
        on: [StepBegin, LossBegin, BackwardBegin, StepCancelled],
        reads: ["step.yhats"],
        writes: ["step.xs", "step.ys"],
        hyper_parameters: ["alpha"],
        example: "[[callback]]\ncomponent = \"mixup\"\nalpha = 0.4\n",
    },
    callback "cutmix" => Cutmix {
        summary: "Trains on images with a rectangle of another one; metrics use the original labels.",
        details: "Targets are mixed by area. With `mixup`, some of the steps train on weighted sums of two images instead. What is drawn follows from the seed and is saved with the run.",
        on: [StepBegin, LossBegin, BackwardBegin, StepCancelled],
        reads: ["step.yhats"],
        writes: ["step.xs", "step.ys"],
        hyper_parameters: ["alpha"],
        example: "[[callback]]\ncomponent = \"cutmix\"\nmixup = 0.5\n",
    },
    callback "traces" => Traces {
        summary: "Records named values of each step of a phase.",
        details: "A value is the state path of a number or a tensor; a tensor with several elements is reduced to its mean, norm, minimum or maximum. Values are at cbstate.traces.PHASE.NAME.",
        on: [StepEnd],
        reads: ["step", "params", "model", "optimizer", "hyper", "cbstate"],
        writes: ["cbstate.traces"],
        example: "[[callback]]\ncomponent = \"traces\"\nvalues = { loss = \"step.loss\", rate = \"optimizer.learning-rate\" }\n",
    },
    callback "log-metrics" => LogMetrics {
        summary: "Logs the measured metrics.",
        on: [StepEnd, EpochEnd],
        reads: ["cbstate.metrics-step", "cbstate.metrics-epoch"],
        example: "[[callback]]\ncomponent = \"log-metrics\"\n",
    },
    callback "log-traces" => LogTraces {
        summary: "Logs the values that `traces` records.",
        on: [StepEnd],
        reads: ["cbstate.traces"],
        example: "[[callback]]\ncomponent = \"log-traces\"\n",
    },
    callback "log-hyperparameters" => LogHyperparameters {
        summary: "Logs the hyper-parameters at the beginning of the fit and at each step.",
        on: [FitBegin, StepEnd],
        reads: ["optimizer", "hyper"],
        example: "[[callback]]\ncomponent = \"log-hyperparameters\"\n",
    },
    callback "log-histograms" => LogHistograms {
        summary: "Logs histograms of weights and gradients.",
        on: [BackwardEnd],
        reads: ["params", "step.grads"],
        example: "[[callback]]\ncomponent = \"log-histograms\"\nevery = 100\n",
    },
    callback "log-images" => LogImages {
        summary: "Logs images from the batches.",
        on: [StepEnd],
        reads: ["step"],
        example: "[[callback]]\ncomponent = \"log-images\"\nevery = 100\nshape = [8, 8]\n",
    },
    callback "worst-samples" => WorstSamples {
        summary: "Keeps the samples with the highest loss, for the report.",
        details: "They are those of the last epoch of the phase, with loss, target, prediction and pixels, in the file `details/PHASE.worst-samples.json` of the run's folder. `fluxbay report` shows them.",
        on: [EpochBegin, StepEnd, EpochEnd],
        reads: ["step"],
        example: "[[callback]]\ncomponent = \"worst-samples\"\nshape = [8, 8]\n",
    },
    callback "sanity-check" => SanityCheck {
        summary: "Checks data, batches, model and loss once, before the first epoch.",
        details: "Batches of the training and the validation phase are tried in rehearsed steps, which are undone afterwards. Missing validation data is a warning; every other problem ends the run with its reason.",
        on: [FitBegin],
        reads: ["data", "step.xs", "step.ys", "step.loss"],
        example: "[[callback]]\ncomponent = \"sanity-check\"\n",
    },
    callback "lr-finder" => LrFinder {
        summary: "Searches for a learning rate before training, with steps that are undone afterwards.",
        details: "The rate grows by a constant factor from step to step until the averaged loss explodes. The suggestion is the rate at which the loss falls fastest over the logarithm of the rate, or a smaller one, whichever trains best over `compare` steps; a rate that trains worse than the current one is not suggested. Other callbacks are not called in these steps. Averaged losses over rates are at cbstate.lr-finder.loss, the suggestion at cbstate.lr-finder.suggestion.",
        on: [FitBegin],
        reads: ["step.loss"],
        writes: ["cbstate.lr-finder", "optimizer", "hyper"],
        example: "[[callback]]\ncomponent = \"lr-finder\"\nsteps = 100\n",
    },
    callback "checkpointer" => Checkpointer {
        summary: "Saves a checkpoint after each epoch and keeps all of them, or the best by a metric.",
        details: "The newest checkpoint is always kept, so with keep-top-k there may be one more. They are stored with the checkpoints of the run, and a run can be resumed from them.",
        on: [Checkpoint],
        reads: ["cbstate.metrics-epoch"],
        example: "[[callback]]\ncomponent = \"checkpointer\"\nkeep-top-k = 3\nmetric = \"accuracy\"\n",
    },
    callback "to-device" => ToDevice {
        summary: "Converts the inputs of each batch to an element type, and checks the device of the run.",
        details: "The host already places models, optimizer states and batches on the device of the run.",
        on: [StepBegin],
        writes: ["step.xs"],
        run_before: ["scheduler"],
        example: "[[callback]]\ncomponent = \"to-device\"\ndtype = \"f32\"\n",
    },
    callback "memory-trim" => MemoryTrim {
        summary: "Returns unused memory to the operating system every `every` steps.",
        details: "The resident memory of the process afterwards, in bytes, is at cbstate.memory.PHASE.",
        on: [StepEnd],
        writes: ["cbstate.memory"],
        example: "[[callback]]\ncomponent = \"memory-trim\"\nevery = 1000\n",
    },
    callback "throttle" => Throttle {
        summary: "Runs another callback for an event only every so many times or seconds.",
        details: "The first event passes, then every n-th, counted per phase. Other events always pass.",
        on: EVERY,
        example: "[[callback]]\ncomponent = \"throttle\"\nevent = \"step-end\"\nevery = 10\ncallback = { component = \"log-traces\" }\n",
    },
    callback "conditional" => Conditional {
        summary: "Runs another callback only in some phases, epochs or steps.",
        on: EVERY,
        example: "[[callback]]\ncomponent = \"conditional\"\nfrom-epoch = 5\ncallback = { component = \"ema\", decay = 0.99 }\n",
    },
}
