//! The state of a learner between two steps or epochs, as data.
//!
//! Parameters, optimizer state, random counters, the state tree, the position, and every instance's
//! own state. Numbers are kept as bits, so that restoring them changes nothing. The session decides
//! on the format on disk.

use candle_core::Tensor;
use serde::{Deserialize, Serialize};

use super::measured::MeasuredModel;
use super::ports::BatchPosition;
use crate::tensor::RandomState;

/// A value of the state tree, with numbers as bits.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SavedValue {
    /// A number's bits.
    Number(u64),
    /// A flag.
    Flag(bool),
    /// A text.
    Text(String),
    /// Bytes.
    Bytes(Vec<u8>),
    /// Points, each as the bits of x and y.
    Series(Vec<(u64, u64)>),
}

/// The state of one instance, in its own format.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SavedInstance {
    /// Its id.
    pub id: String,
    /// Its component, such as `callback/recorder`.
    pub component: String,
    /// Version of the format.
    pub state_version: u32,
    /// What it saved; may be empty.
    pub bytes: Vec<u8>,
}

/// The last value of an epoch metric.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SavedMetric {
    /// The phase, by instance id.
    pub phase: String,
    /// Its name.
    pub name: String,
    /// Bits of its value.
    pub bits: u64,
    /// Updates of the parameters when it was measured; `None` in checkpoints of older releases.
    pub updates: Option<u64>,
}

/// An epoch of a phase within which a snapshot was taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct SavedEpoch {
    /// The phase, by instance id.
    pub phase: String,
    /// Steps that were begun in it.
    pub step: u64,
    /// Position of its data.
    pub batches: BatchPosition,
    /// Whether callbacks have set parameters in it, so that it measures another model than the
    /// trained one.
    #[serde(default)]
    pub parameters_set: bool,
    /// Step after which validation phases last ran within it; 0 if none did.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub validated: u64,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// Validation within an epoch of a training phase, as part of a snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SavedValidation {
    /// Number of the validation phase that is running or comes next.
    pub next_phase: usize,
    /// Its epoch, if it is running.
    pub epoch: Option<SavedEpoch>,
    /// States of the metrics in it; the snapshot's own are those of the training epoch.
    pub metrics: Vec<SavedInstance>,
}

/// An end of the fit that was decided when a snapshot was taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct SavedStop {
    /// The instance that decided it.
    pub by: String,
    /// Its component.
    pub component: String,
    /// Its plugin.
    pub plugin: String,
    /// The reason.
    pub text: String,
}

/// The state of a learner.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// Completed epochs of the fit.
    pub epochs: u64,
    /// Number of the phase that comes next or is resumed; 0 for a new epoch.
    pub next_phase: usize,
    /// Whether it was taken within a fit, so that fit-begin has been sent.
    pub in_fit: bool,
    /// The epoch within which it was taken; `None` between two.
    pub in_epoch: Option<SavedEpoch>,
    /// The validation within that epoch that was running or came next.
    pub in_validation: Option<SavedValidation>,
    /// The end of the fit, if it was already decided.
    pub stop: Option<SavedStop>,
    /// Instances that were disabled after an error.
    pub disabled: Vec<String>,
    /// Steps that were begun, by phase id.
    pub phase_steps: Vec<(String, u64)>,
    /// Seed and counters of the random streams.
    pub random: RandomState,
    /// Parameters and buffers, as `MODEL.PATH`.
    pub parameters: Vec<(String, Tensor)>,
    /// State tensors of optimizers, as `MODEL.PATH.STATE`; names may contain dots.
    pub optimizer_states: Vec<(String, Tensor)>,
    /// Updates of each parameter, as `MODEL.PATH`.
    pub updates: Vec<(String, u64)>,
    /// The state tree without the step and without tensors.
    pub values: Vec<(String, SavedValue)>,
    /// Tensors of the state tree.
    pub tensors: Vec<(String, Tensor)>,
    /// Last value of each epoch metric.
    pub metrics: Vec<SavedMetric>,
    /// The model that was measured last, if it differs from the parameters.
    pub measured: Option<MeasuredModel>,
    /// All instances, including children.
    pub instances: Vec<SavedInstance>,
}

impl Snapshot {
    /// The epoch metrics that measured its model, as (phase, name, value).
    pub fn measured_metrics(&self) -> impl Iterator<Item = (&str, &str, f64)> {
        let updates: u64 = self.updates.iter().map(|(_, updates)| updates).sum();
        // Within an epoch with other parameters, those of the snapshot are measured by none.
        let validation =
            self.in_validation.as_ref().and_then(|validation| validation.epoch.as_ref());
        let is_mixed = self.in_epoch.iter().chain(validation).any(|epoch| epoch.parameters_set);
        let of_model = move |metric: &&SavedMetric| !is_mixed && metric.updates == Some(updates);
        let values = self.metrics.iter().filter(of_model);
        values.map(|metric| (&*metric.phase, &*metric.name, f64::from_bits(metric.bits)))
    }
}
