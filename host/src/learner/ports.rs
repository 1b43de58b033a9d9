//! What the learner needs from the rest of the host, as traits: data, the record of a run, the
//! display.
//!
//! The loader, the run directory and the terminal implement them; tests have implementations of a
//! few lines. The learner itself opens no file and writes to no terminal.

use std::sync::Arc;

use candle_core::{CpuStorage, Tensor};
pub use fluxbay_plugin::PhaseKind;
use serde::{Deserialize, Serialize};

pub use crate::calls::DataField;
use crate::tensor::{Engine, Idle};

/// The position of a run when something is recorded.
#[derive(Clone, Copy, Debug)]
pub struct At<'a> {
    /// Instance id of the running phase; empty outside phases.
    pub phase: &'a str,
    /// Its kind; `None` outside phases.
    pub kind: Option<PhaseKind>,
    /// Epoch of the fit, from 1; 0 before the first.
    pub epoch: u64,
    /// Step within the epoch, from 1; 0 outside steps.
    pub step: u64,
    /// Steps that this phase has begun since the run began.
    pub total_steps: u64,
}

/// What a metric's value belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// One step.
    Step,
    /// An epoch of a phase.
    Epoch,
}

impl Scope {
    /// `step` or `epoch`.
    pub fn name(self) -> &'static str {
        match self {
            Scope::Step => "step",
            Scope::Epoch => "epoch",
        }
    }
}

/// Why the record of a run could not be written, such as a full disk. It ends the run.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct SinkError(pub String);

/// The record of a run on disk. Called on the training thread, between tensor operations, so
/// implementations buffer.
pub trait Sink {
    /// One figure, for `metrics.jsonl` and `metrics.csv`.
    fn metric(&self, at: &At<'_>, scope: Scope, name: &str, value: f64) -> Result<(), SinkError>;

    /// An event in the life of the run, for `events.jsonl`: `fit-begin`,
    /// `epoch-begin`, `epoch-end`, `epoch-cancelled`, `step-cancelled`, `fit-cancelled`, `error`,
    /// `fit-end`, `instance-disabled`. `by` is the instance that caused it (or empty), `detail` the
    /// reason. Ordinary steps are not recorded.
    fn event(&self, at: &At<'_>, kind: &str, by: &str, detail: &str) -> Result<(), SinkError>;

    /// Writes what is buffered to the disk. Called at the end of each phase's epoch, after all
    /// callbacks of epoch-end.
    fn flush(&self) -> Result<(), SinkError>;
}

/// A record that discards everything.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoSink;

impl Sink for NoSink {
    fn metric(&self, _: &At<'_>, _: Scope, _: &str, _: f64) -> Result<(), SinkError> {
        Ok(())
    }
    fn event(&self, _: &At<'_>, _: &str, _: &str, _: &str) -> Result<(), SinkError> {
        Ok(())
    }
    fn flush(&self) -> Result<(), SinkError> {
        Ok(())
    }
}

/// What the user sees in the terminal. `by` is the id of the calling instance; each has at most one
/// bar.
pub trait Display {
    /// Prints lines above any bar.
    fn print(&self, by: &str, text: &str);
    /// Begins a bar of `total` units; 0 if unknown.
    fn progress_begin(&self, by: &str, label: &str, total: u64);
    /// Moves the bar.
    fn progress_set(&self, by: &str, position: u64, message: &str);
    /// Ends the bar and leaves the message as a line.
    fn progress_end(&self, by: &str, message: &str);
    /// Whether bars are drawn.
    fn interactive(&self) -> bool;
    /// Ends all open bars; called when a fit ends, for whatever reason.
    fn close(&self);
}

/// A display that shows nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoDisplay;

impl Display for NoDisplay {
    fn print(&self, _: &str, _: &str) {}
    fn progress_begin(&self, _: &str, _: &str, _: u64) {}
    fn progress_set(&self, _: &str, _: u64, _: &str) {}
    fn progress_end(&self, _: &str, _: &str) {}
    fn interactive(&self) -> bool {
        false
    }
    fn close(&self) {}
}

/// One batch, ready for the engine: a tensor `[samples, ...]` per field, in the order of the
/// fields.
#[derive(Clone, Debug)]
pub struct DataBatch {
    /// The tensors.
    pub fields: Vec<Tensor>,
    /// Number of samples, at least 1.
    pub samples: usize,
    /// Position in the epoch, from 0.
    pub index: u64,
}

/// Bytes of the tensors of training steps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MemoryUse {
    /// Parameters and buffers of the models.
    pub parameters: u64,
    /// State of the optimizers.
    pub optimizer: u64,
    /// Gradients of the parameters.
    pub gradients: u64,
    /// What a training step had at most beside these and its batch: values that are kept for the
    /// backward pass, and what that computes.
    pub activations: u64,
    /// A batch.
    pub batch: u64,
    /// Blocks that a backward pass computed again.
    pub recomputed: u64,
    /// All tensors together, at most.
    pub peak: u64,
}

/// Size of one split.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SplitSize {
    /// Samples that an epoch reads.
    pub samples: u64,
    /// Batches of an epoch.
    pub steps: u64,
}

/// Threads that can make batches while the training thread waits for one, including the caller's.
pub trait Helpers {
    /// Number of threads.
    fn threads(&self) -> usize;
    /// Runs `task` for each number below `count`, and returns when all are done.
    fn share(&self, count: usize, task: &(dyn Fn(usize) + Sync));
    /// Offers `task` to the other threads, piece by piece, whenever they are idle. It may never
    /// run.
    fn idle(&self, task: Arc<Idle>);
}

/// The caller's thread alone.
#[derive(Clone, Copy, Debug, Default)]
pub struct Alone;

impl Helpers for Alone {
    fn threads(&self) -> usize {
        1
    }
    fn share(&self, count: usize, task: &(dyn Fn(usize) + Sync)) {
        (0..count).for_each(task);
    }
    fn idle(&self, _: Arc<Idle>) {}
}

impl Helpers for Engine {
    fn threads(&self) -> usize {
        Engine::threads(self)
    }
    fn share(&self, count: usize, task: &(dyn Fn(usize) + Sync)) {
        Engine::share(self, count, task);
    }
    fn idle(&self, task: Arc<Idle>) {
        Engine::idle(self, task);
    }
}

/// The batches of one epoch, in order.
pub trait Batches {
    /// The next batch, or `None` after the last. An error ends the run; its text says what failed.
    fn next_batch(&mut self, helpers: &dyn Helpers) -> Result<Option<DataBatch>, String>;

    /// Returns the buffer of a tensor of an earlier batch, to be used again.
    fn take_back(&mut self, buffer: CpuStorage) {
        drop(buffer);
    }

    /// The position, for [`Data::resume`]; `None` after the last batch, and if the data has no
    /// positions: such a run can be saved only after an epoch of a phase.
    fn position(&self) -> Option<BatchPosition> {
        None
    }

    /// Whether all batches were taken.
    fn is_done(&self) -> bool {
        false
    }

    /// Whether the batches are parts of batches: other processes of the run read the rest.
    fn are_parts(&self) -> bool {
        false
    }
}

/// A place in an epoch of a split.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct BatchPosition {
    /// The next batch, from 0.
    pub next: u64,
    /// Hash of the order of the samples.
    pub fingerprint: u64,
}

/// The connection to the other processes of a run. Called on the training thread, by every process in
/// the same order. After an error only `close` is called.
pub trait Communication {
    /// Sends the same bytes to all; returns those of all, `counts` from each, in the order of the
    /// ranks.
    fn gather(&self, sent: &[u8], counts: &[u64]) -> Result<Vec<u8>, String>;
    /// Sends `sent_counts` bytes to each, and returns `counts` from each, in the order of the ranks.
    fn exchange(&self, sent: &[u8], sent_counts: &[u64], counts: &[u64])
    -> Result<Vec<u8>, String>;
    /// Leaves the others; after a failure without waiting for them.
    fn close(&self, failed: bool) -> Result<(), String>;
}

/// The data of a run.
pub trait Data {
    /// The fields of every sample.
    fn fields(&self) -> &[DataField];
    /// The size of a split, or `None` if the data has no such split.
    fn split(&self, name: &str) -> Option<SplitSize>;
    /// Begins epoch `epoch` (from 1) of a split.
    fn epoch(&self, split: &str, epoch: u64) -> Result<Box<dyn Batches>, String>;
    /// Resumes an epoch at a position from [`Batches::position`]; an error if it would read other
    /// samples.
    fn resume(
        &self,
        split: &str,
        epoch: u64,
        at: &BatchPosition,
    ) -> Result<Box<dyn Batches>, String> {
        Err(format!(
            "epoch {epoch} of split `{split}` cannot be resumed at batch {}: this data begins only whole epochs",
            at.next
        ))
    }
}

/// No data at all, for runs whose phases make their own.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoData;

impl Data for NoData {
    fn fields(&self) -> &[DataField] {
        &[]
    }
    fn split(&self, _: &str) -> Option<SplitSize> {
        None
    }
    fn epoch(&self, split: &str, _: u64) -> Result<Box<dyn Batches>, String> {
        Err(format!("this run has no data, so there is no split `{split}`"))
    }
}
