//! A session's state as named bytes, and back: the content of a checkpoint. Where they lie, and that they are whole, is
//! the record's business.

use std::collections::BTreeMap;
use std::rc::Rc;

use candle_core::Tensor;
use serde::{Deserialize, Serialize};

use super::Session;
use crate::learner::snapshot::{SavedInstance, SavedValue, Snapshot};
use crate::learner::{Flow, Runtime, Stop};
use crate::record::tensors;
use crate::tensor::RandomState;

/// The files of a checkpoint, by name.
pub type Files = BTreeMap<String, Vec<u8>>;

/// Form of [`STATE`]; grows when it changes.
const FORM: u32 = 1;
/// Parameters and buffers.
pub const MODEL: &str = "model.safetensors";
/// State tensors of the optimizers.
pub const OPTIMIZER: &str = "optimizer.safetensors";
/// Tensors of the state tree.
pub const TENSORS: &str = "state.safetensors";
/// Everything else, and which instance each other file belongs to.
pub const STATE: &str = "learner.json";

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Written {
    form: u32,
    epochs: u64,
    next_phase: usize,
    seed: u64,
    random_counters: BTreeMap<String, u64>,
    phase_steps: Vec<(String, u64)>,
    updates: Vec<(String, u64)>,
    values: Vec<(String, SavedValue)>,
    metrics: Vec<(String, String, u64)>,
    instances: Vec<WrittenInstance>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct WrittenInstance {
    id: String,
    component: String,
    state_version: u32,
    /// File with its bytes; none where it has no state.
    file: Option<String>,
}

fn odd(what: impl std::fmt::Display) -> Stop {
    Stop::host(format!("the checkpoint cannot be used: {what}"))
}

/// The files of a snapshot.
///
/// # Errors
/// Where a tensor cannot be written.
pub fn to_files(snapshot: &Snapshot) -> Flow<Files> {
    let mut files = Files::new();
    for (name, tensors) in [(MODEL, &snapshot.parameters), (OPTIMIZER, &snapshot.optimizer_states), (TENSORS, &snapshot.tensors)] {
        let bytes = tensors::encode(tensors).map_err(|error| Stop::host(format!("the checkpoint cannot be written: {error}")))?;
        files.insert(name.to_owned(), bytes);
    }
    let mut instances = Vec::new();
    for (number, saved) in snapshot.instances.iter().enumerate() {
        let file = (!saved.bytes.is_empty()).then(|| format!("instance-{number}.bin"));
        if let Some(file) = &file {
            files.insert(file.clone(), saved.bytes.clone());
        }
        let (id, component) = (saved.id.clone(), saved.component.clone());
        instances.push(WrittenInstance { id, component, state_version: saved.state_version, file });
    }
    let written = Written {
        form: FORM,
        epochs: snapshot.epochs,
        next_phase: snapshot.next_phase,
        seed: snapshot.random.seed,
        random_counters: snapshot.random.counters.clone(),
        phase_steps: snapshot.phase_steps.clone(),
        updates: snapshot.updates.clone(),
        values: snapshot.values.clone(),
        metrics: snapshot.metrics.clone(),
        instances,
    };
    let state = serde_json::to_vec_pretty(&written).map_err(|error| Stop::host(format!("the checkpoint cannot be written: {error}")))?;
    files.insert(STATE.to_owned(), state);
    Ok(files)
}

/// The snapshot in the files of a checkpoint.
///
/// # Errors
/// A file that is missing or not what was written.
pub fn from_files(files: &Files) -> Flow<Snapshot> {
    let file = |name: &str| files.get(name).ok_or_else(|| odd(format_args!("it has no file `{name}`")));
    let decode = |name: &str| -> Flow<Vec<(String, Tensor)>> { tensors::decode(file(name)?).map_err(odd) };
    let written: Written = serde_json::from_slice(file(STATE)?).map_err(odd)?;
    if written.form != FORM {
        return Err(odd(format_args!("it has form {}, this host reads form {FORM}", written.form)));
    }
    let instance = |one: WrittenInstance| -> Flow<SavedInstance> {
        let bytes = one.file.as_deref().map(&file).transpose()?.cloned().unwrap_or_default();
        Ok(SavedInstance { id: one.id, component: one.component, state_version: one.state_version, bytes })
    };
    Ok(Snapshot {
        epochs: written.epochs,
        next_phase: written.next_phase,
        phase_steps: written.phase_steps,
        random: RandomState { seed: written.seed, counters: written.random_counters },
        parameters: decode(MODEL)?,
        optimizer_states: decode(OPTIMIZER)?,
        updates: written.updates,
        values: written.values,
        tensors: decode(TENSORS)?,
        metrics: written.metrics,
        instances: written.instances.into_iter().map(instance).collect::<Flow<_>>()?,
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

    /// Puts a state back that [`Session::checkpoint`] gave, into a session of the same run that has not trained.
    ///
    /// # Errors
    /// What does not fit. The session should not be used then.
    pub fn restore(&self, files: &Files) -> Flow {
        self.runtime().restore(&from_files(files)?)
    }

    /// Has `action` called after every epoch of a phase, once every reader of epoch-end has run: take
    /// [`to_files`] of the runtime's snapshot there. Its failure ends the fit.
    pub fn on_checkpoint(&self, action: impl Fn(&Runtime) -> Flow + 'static) {
        *self.runtime().on_checkpoint.borrow_mut() = Some(Rc::new(action));
    }

    /// Runs what is left of the run description's epochs, after [`Session::restore`].
    pub fn fit_rest(&self) -> crate::learner::FitReport {
        let done = self.runtime().epochs_done.get();
        self.fit_epochs(self.run().run.epochs.saturating_sub(done))
    }
}
