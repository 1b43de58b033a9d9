//! Converts the state of a session to the files of a checkpoint, and back. The record writes the
//! files and verifies them.

use std::collections::BTreeMap;
use std::rc::Rc;

use candle_core::Tensor;
use serde::{Deserialize, Serialize};

use super::Session;
use crate::learner::saving::SavePoint;
use crate::learner::snapshot::{
    SavedEpoch, SavedInstance, SavedMetric, SavedStop, SavedValidation, SavedValue, Snapshot,
};
use crate::learner::{Flow, MeasuredModel, Runtime, Stop};
use crate::record::{checkpoint::Content, tensors};
use crate::tensor::RandomState;

/// The files of a checkpoint, by name.
pub type Files = BTreeMap<String, Content>;

/// Format of [`STATE`]; increases when it changes. Older formats are read.
const FORM: u32 = 2;
/// Parameters and buffers; the measured ones, if they differ from the trained ones.
pub const MODEL: &str = "model.safetensors";
/// The trained parameters and buffers, if [`MODEL`] holds those that were measured.
pub const TRAINED: &str = "trained.safetensors";
/// State tensors of the optimizers.
pub const OPTIMIZER: &str = "optimizer.safetensors";
/// Tensors of the state tree.
pub const TENSORS: &str = "state.safetensors";
/// The states of all instances, concatenated.
pub const INSTANCES: &str = "instances.bin";
/// Everything else, and the number of bytes of each instance in [`INSTANCES`].
pub const STATE: &str = "learner.json";

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Written {
    form: u32,
    epochs: u64,
    next_phase: usize,
    in_fit: bool,
    in_epoch: Option<SavedEpoch>,
    stop: Option<SavedStop>,
    disabled: Vec<String>,
    seed: u64,
    random_counters: BTreeMap<String, u64>,
    phase_steps: Vec<(String, u64)>,
    updates: Vec<(String, u64)>,
    values: Vec<(String, SavedValue)>,
    metrics: Vec<(String, String, u64)>,
    /// Updates of the parameters when each of `metrics` was measured.
    #[serde(default)]
    metric_updates: Vec<Option<u64>>,
    /// The phase that measured [`MODEL`], if that is not the trained model.
    #[serde(default)]
    measured_by: Option<String>,
    instances: Vec<WrittenInstance>,
    /// The validation within `in_epoch`; the states of its metrics follow those of `instances`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    in_validation: Option<WrittenValidation>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct WrittenValidation {
    next_phase: usize,
    epoch: Option<SavedEpoch>,
    metrics: Vec<WrittenInstance>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct WrittenInstance {
    id: String,
    component: String,
    state_version: u32,
    /// Number of its bytes in [`INSTANCES`].
    bytes: usize,
}

fn unusable(what: impl std::fmt::Display) -> Stop {
    Stop::host(format!("the checkpoint cannot be used: {what}"))
}

/// The files of a snapshot.
///
/// # Errors
/// A tensor cannot be written.
pub fn to_files(snapshot: &Snapshot) -> Flow<Files> {
    let mut files = Files::new();
    let (model, trained) = match &snapshot.measured {
        Some(measured) => (&measured.parameters, Some((TRAINED, &snapshot.parameters))),
        None => (&snapshot.parameters, None),
    };
    let states = [(OPTIMIZER, &snapshot.optimizer_states), (TENSORS, &snapshot.tensors)];
    for (name, tensors) in [(MODEL, model)].into_iter().chain(trained).chain(states) {
        let encoded = tensors::prepare(tensors)
            .map_err(|error| Stop::host(format!("the checkpoint cannot be written: {error}")))?;
        files.insert(name.to_owned(), Content::Tensors(encoded));
    }
    let mut states = Vec::new();
    let mut write = |instances: &[SavedInstance]| -> Vec<WrittenInstance> {
        let one = |saved: &SavedInstance| {
            states.extend_from_slice(&saved.bytes);
            WrittenInstance {
                id: saved.id.clone(),
                component: saved.component.clone(),
                state_version: saved.state_version,
                bytes: saved.bytes.len(),
            }
        };
        instances.iter().map(one).collect()
    };
    let instances = write(&snapshot.instances);
    let in_validation = snapshot.in_validation.as_ref().map(|validation| WrittenValidation {
        next_phase: validation.next_phase,
        epoch: validation.epoch.clone(),
        metrics: write(&validation.metrics),
    });
    files.insert(INSTANCES.to_owned(), states.into());
    let written = Written {
        form: FORM,
        epochs: snapshot.epochs,
        next_phase: snapshot.next_phase,
        in_fit: snapshot.in_fit,
        in_epoch: snapshot.in_epoch.clone(),
        stop: snapshot.stop.clone(),
        disabled: snapshot.disabled.clone(),
        seed: snapshot.random.seed,
        random_counters: snapshot.random.counters.clone(),
        phase_steps: snapshot.phase_steps.clone(),
        updates: snapshot.updates.clone(),
        values: snapshot.values.clone(),
        metrics: snapshot
            .metrics
            .iter()
            .map(|metric| (metric.phase.clone(), metric.name.clone(), metric.bits))
            .collect(),
        metric_updates: snapshot.metrics.iter().map(|metric| metric.updates).collect(),
        measured_by: snapshot.measured.as_ref().map(|measured| measured.phase.clone()),
        instances,
        in_validation,
    };
    let state = serde_json::to_vec_pretty(&written)
        .map_err(|error| Stop::host(format!("the checkpoint cannot be written: {error}")))?;
    files.insert(STATE.to_owned(), state.into());
    Ok(files)
}

/// The snapshot in the files of a checkpoint.
///
/// # Errors
/// A file that is missing or not what was written.
pub fn from_files(files: &Files) -> Flow<Snapshot> {
    let file = |name: &str| {
        files
            .get(name)
            .map(Content::bytes)
            .ok_or_else(|| unusable(format_args!("it has no file `{name}`")))
    };
    let decode = |name: &str| -> Flow<Vec<(String, Tensor)>> {
        tensors::decode(&file(name)?).map_err(unusable)
    };
    let written: Written = serde_json::from_slice(&file(STATE)?).map_err(unusable)?;
    if written.form > FORM {
        return Err(unusable(format_args!(
            "it has format {}, this host reads up to {FORM}: use the newer host that wrote it",
            written.form
        )));
    }
    let states = file(INSTANCES)?;
    let mut rest = &states[..];
    let mut instance = |one: WrittenInstance| -> Flow<SavedInstance> {
        let bytes = rest.split_off(..one.bytes).ok_or_else(|| {
            unusable(format_args!("`{INSTANCES}` ends in the state of `{}`", one.id))
        })?;
        Ok(SavedInstance {
            id: one.id,
            component: one.component,
            state_version: one.state_version,
            bytes: bytes.to_vec(),
        })
    };
    let instances = written.instances.into_iter().map(&mut instance).collect::<Flow<_>>()?;
    let in_validation = match written.in_validation {
        None => None,
        Some(validation) => Some(SavedValidation {
            next_phase: validation.next_phase,
            epoch: validation.epoch,
            metrics: validation.metrics.into_iter().map(instance).collect::<Flow<_>>()?,
        }),
    };
    let updates = written.updates.iter().map(|(_, updates)| updates).sum();
    let (parameters, measured) = match written.measured_by {
        Some(phase) => (decode(TRAINED)?, Some(MeasuredModel::new(phase, decode(MODEL)?, updates))),
        None => (decode(MODEL)?, None),
    };
    let measured_at = written.metric_updates.into_iter().chain(std::iter::repeat(None));
    let metrics = written.metrics.into_iter().zip(measured_at);
    let metrics =
        metrics.map(|((phase, name, bits), updates)| SavedMetric { phase, name, bits, updates });
    Ok(Snapshot {
        epochs: written.epochs,
        next_phase: written.next_phase,
        in_fit: written.in_fit,
        in_epoch: written.in_epoch,
        in_validation,
        stop: written.stop,
        disabled: written.disabled,
        phase_steps: written.phase_steps,
        random: RandomState { seed: written.seed, counters: written.random_counters },
        parameters,
        optimizer_states: decode(OPTIMIZER)?,
        updates: written.updates,
        values: written.values,
        tensors: decode(TENSORS)?,
        metrics: metrics.collect(),
        measured,
        instances,
    })
}

impl Session {
    /// The session's state as files, between steps.
    ///
    /// # Errors
    /// An instance that cannot save its state.
    pub fn checkpoint(&self) -> Flow<Files> {
        to_files(&self.runtime().snapshot()?)
    }

    /// Restores a state of [`Session::checkpoint`] in a session of the same run that has not
    /// trained.
    ///
    /// # Errors
    /// Something does not fit. The session should not be used then.
    pub fn restore(&self, files: &Files) -> Flow {
        self.runtime().restore(&from_files(files)?)
    }

    /// As [`Session::restore`], in a session of a changed run: what the run does not have is left
    /// out, what the checkpoint does not have keeps its initial value. Returns what did not fit.
    ///
    /// # Errors
    /// A parameter of another shape, an instance that refuses its state. The session should not be
    /// used then.
    pub fn restore_what_fits(&self, files: &Files) -> Flow<Vec<String>> {
        self.runtime().restore_what_fits(&from_files(files)?)
    }

    /// Sets the action that writes checkpoints, from [`to_files`] of the runtime's snapshot. It is
    /// called after every epoch of a phase, and between two steps if an instance asked for a
    /// checkpoint, a signal ends the run, or [`Runtime::watch_steps`] was called. An error ends the
    /// fit.
    pub fn on_checkpoint(&self, action: impl Fn(&Runtime, SavePoint) -> Flow + 'static) {
        self.runtime().set_on_save_point(Some(Rc::new(action)));
    }

    /// Runs the remaining epochs of the run description, after [`Session::restore`].
    pub fn fit_rest(&self) -> crate::learner::FitReport {
        let done = self.runtime().epochs_done();
        self.fit_epochs(self.run().run.epochs.saturating_sub(done))
    }
}
