//! All that a learner has to remember between two epochs, taken out and put back.
//!
//! Parameters, optimizer state, random counters, the state tree, the position, and every instance's own state. Numbers
//! travel as their bits: what comes back is what was there. The form on the disk is the session's business.

use std::rc::Rc;

use candle_core::Tensor;
use fluxbay_plugin::abi::state::Point;
use serde::{Deserialize, Serialize};

use super::control::{Flow, Stop};
use super::instances::{Doing, Instance};
use super::runtime::Runtime;
use super::state::Value;
use super::step::engine_error;
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

/// The state of one instance, in its own form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SavedInstance {
    /// Its id.
    pub id: String,
    /// Its component, such as `callback/recorder`.
    pub component: String,
    /// Version of the form.
    pub state_version: u32,
    /// What it saved; may be empty.
    pub bytes: Vec<u8>,
}

/// A learner at rest.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// Epochs of the fit that were completed.
    pub epochs: u64,
    /// Phase that comes next, 0 for a new epoch.
    pub next_phase: usize,
    /// Steps that each phase has begun, by id.
    pub phase_steps: Vec<(String, u64)>,
    /// Seed and counters of the random streams.
    pub random: RandomState,
    /// Parameters and buffers, as `MODEL.PATH`.
    pub parameters: Vec<(String, Tensor)>,
    /// State tensors of optimizers, as `MODEL.PATH.STATE`, with dots within names as they are.
    pub optimizer_states: Vec<(String, Tensor)>,
    /// Updates of each parameter, as `MODEL.PATH`.
    pub updates: Vec<(String, u64)>,
    /// The state tree without the step and without tensors.
    pub values: Vec<(String, SavedValue)>,
    /// Tensors of the state tree.
    pub tensors: Vec<(String, Tensor)>,
    /// Last value of each epoch metric, as (phase, name, bits).
    pub metrics: Vec<(String, String, u64)>,
    /// Every instance, children too.
    pub instances: Vec<SavedInstance>,
}

impl Runtime {
    /// Whether the running phase is the last of an epoch of the fit.
    pub fn at_end_of_epoch(&self) -> bool {
        self.parts.get().is_some_and(|parts| self.position.get().phase as usize + 1 == parts.phases.len())
    }

    /// Takes everything out. Between steps only.
    ///
    /// # Errors
    /// An instance that cannot save its state, or a step that is running.
    pub fn snapshot(&self) -> Flow<Snapshot> {
        self.snapshot_of(|_| true)
    }

    /// As [`Runtime::snapshot`], with the states of some instances alone.
    pub(super) fn snapshot_of(&self, wanted: impl Fn(&Instance) -> bool) -> Flow<Snapshot> {
        if self.in_step() {
            return Err(Stop::host("the state of a run can be saved only between steps"));
        }
        let parts = self.parts()?;
        let at = self.position.get();
        let next_phase = if (at.phase as usize) + 1 < parts.phases.len() { at.phase as usize + 1 } else { 0 };
        let epochs = self.epochs_done.get() + u64::from(at.phase as usize + 1 == parts.phases.len());
        let instances: Vec<Rc<Instance>> = self.instances.borrow().iter().flatten().cloned().collect();
        let instances = instances.iter().filter(|instance| !instance.is_poisoned() && wanted(instance));
        // First, and on its own: an instance that saves tensors calls back, so nothing may be borrowed here.
        let instances = instances.map(|instance| self.save_instance(instance)).collect::<Flow<Vec<_>>>()?;
        let random = self.engine.borrow().random_state();
        let mut snapshot = Snapshot {
            epochs,
            next_phase,
            phase_steps: parts.phases.iter().map(|phase| (phase.instance.id.clone(), phase.total_steps.get())).collect(),
            random,
            parameters: Vec::new(),
            optimizer_states: Vec::new(),
            updates: Vec::new(),
            values: Vec::new(),
            tensors: Vec::new(),
            metrics: self.metrics.borrow().iter().map(|(phase, name, value)| (phase.clone(), name.clone(), value.to_bits())).collect(),
            instances,
        };
        self.save_tensors(&mut snapshot)?;
        self.save_values(&mut snapshot)?;
        Ok(snapshot)
    }

    /// An instance may be saved while it is being called: a checkpointer asks for it.
    fn save_instance(&self, instance: &Instance) -> Flow<SavedInstance> {
        let doing = Doing::Named("while its state was saved");
        let bytes = instance.call_again(self, doing, |plugin| plugin.save(self, instance.number))?;
        let state_version = instance.plugin_side().state_version();
        Ok(SavedInstance { id: instance.id.clone(), component: instance.component.clone(), state_version, bytes })
    }

    fn save_tensors(&self, snapshot: &mut Snapshot) -> Flow {
        let engine = self.engine.borrow();
        let copy = |handle| engine.value(handle).map_err(engine_error)?.copy().map_err(engine_error);
        for p in engine.parameters() {
            snapshot.parameters.push((format!("{}.{}", engine.model_name(p.model).unwrap_or_default(), p.path), copy(p.handle)?));
        }
        for model in &self.parts()?.models {
            let Some(optimizer) = &model.optimizer else { continue };
            for tracked in optimizer.tracked().iter() {
                let name = format!("{}.{}", model.name, tracked.path);
                for (state, &handle) in optimizer.instance.answers.optimizer_state.iter().zip(&tracked.states) {
                    snapshot.optimizer_states.push((format!("{name}.{state}"), copy(handle)?));
                }
                snapshot.updates.push((name, tracked.updates.get()));
            }
        }
        Ok(())
    }

    fn save_values(&self, snapshot: &mut Snapshot) -> Flow {
        let state = self.state.borrow();
        for (path, value) in state.values().filter(|(path, _)| !super::state::covers("step", path)) {
            let saved = match value {
                Value::Number(number) => SavedValue::Number(number.to_bits()),
                Value::Flag(flag) => SavedValue::Flag(*flag),
                Value::Text(text) => SavedValue::Text(text.clone()),
                Value::Bytes(bytes) => SavedValue::Bytes(bytes.clone()),
                Value::Series(points) => SavedValue::Series(points.iter().map(|point| (point.x.to_bits(), point.y.to_bits())).collect()),
                Value::Tensor(handle) => {
                    let copy = self.engine.borrow().value(*handle).map_err(engine_error)?.copy().map_err(engine_error)?;
                    snapshot.tensors.push((path.to_owned(), copy));
                    continue;
                }
                Value::Absent | Value::Tensors(_) | Value::Member(..) => continue,
            };
            snapshot.values.push((path.to_owned(), saved));
        }
        Ok(())
    }

    /// Puts everything back, into a learner that was assembled from the same run and has not trained.
    ///
    /// # Errors
    /// What does not fit: a parameter of another shape, an instance that is missing or refuses its state. The learner should not be
    /// used then.
    pub fn restore(&self, snapshot: &Snapshot) -> Flow {
        let parts = self.parts()?;
        self.restore_parameters(snapshot)?;
        self.restore_optimizers(snapshot)?;
        self.restore_values(snapshot)?;
        for (id, steps) in &snapshot.phase_steps {
            let phase = parts.phases.iter().find(|phase| phase.instance.id == *id).ok_or_else(|| missing("phase", id))?;
            phase.total_steps.set(*steps);
        }
        for saved in &snapshot.instances {
            self.load_instance(saved)?;
        }
        self.engine.borrow_mut().set_random_state(&snapshot.random);
        *self.metrics.borrow_mut() =
            snapshot.metrics.iter().map(|(phase, name, bits)| (phase.clone(), name.clone(), f64::from_bits(*bits))).collect();
        self.epochs_done.set(snapshot.epochs);
        self.resume_phase.set(snapshot.next_phase);
        Ok(())
    }

    fn load_instance(&self, saved: &SavedInstance) -> Flow {
        let instance = self.instance_named(&saved.id).ok_or_else(|| missing("instance", &saved.id))?;
        if instance.component != saved.component {
            return Err(Stop::host(format!(
                "instance `{}` is a {} in this run, a {} in the checkpoint",
                saved.id, instance.component, saved.component
            )));
        }
        let doing = Doing::Named("while its state was loaded");
        instance.call(self, doing, |plugin| plugin.load(self, instance.number, saved.state_version, &saved.bytes))
    }

    fn restore_parameters(&self, snapshot: &Snapshot) -> Flow {
        let known: Vec<(String, usize)> = {
            let engine = self.engine.borrow();
            let name = |p: crate::tensor::ParameterInfo<'_>| format!("{}.{}", engine.model_name(p.model).unwrap_or_default(), p.path);
            engine.parameters().map(|p| (name(p), p.index)).collect()
        };
        if known.len() != snapshot.parameters.len() {
            return Err(Stop::host(format!("the checkpoint has {} parameters, the run {}", snapshot.parameters.len(), known.len())));
        }
        for (name, value) in &snapshot.parameters {
            let (_, index) = known.iter().find(|(known, _)| known == name).ok_or_else(|| missing("parameter", name))?;
            self.engine.borrow_mut().set_parameter(*index, value).map_err(engine_error)?;
        }
        Ok(())
    }

    fn restore_optimizers(&self, snapshot: &Snapshot) -> Flow {
        for model in &self.parts()?.models {
            let Some(optimizer) = &model.optimizer else { continue };
            for tracked in optimizer.tracked().iter() {
                let name = format!("{}.{}", model.name, tracked.path);
                for (state, &handle) in optimizer.instance.answers.optimizer_state.iter().zip(&tracked.states) {
                    let name = format!("{name}.{state}");
                    let saved = snapshot.optimizer_states.iter().find(|(known, _)| *known == name);
                    let (_, value) = saved.ok_or_else(|| missing("optimizer state", &name))?;
                    let mut engine = self.engine.borrow_mut();
                    let value = engine.insert(value.clone());
                    let assigned = engine.apply(fluxbay_plugin::abi::operation::op::ASSIGN, &[handle, value], &[], &[], &mut Vec::new());
                    engine.release(value).map_err(engine_error)?;
                    assigned.map_err(engine_error)?;
                }
                let updates = snapshot.updates.iter().find(|(known, _)| *known == name).ok_or_else(|| missing("update count", &name))?;
                tracked.updates.set(updates.1);
            }
        }
        Ok(())
    }

    fn restore_values(&self, snapshot: &Snapshot) -> Flow {
        for (path, saved) in &snapshot.values {
            let value = match saved {
                SavedValue::Number(bits) => Value::Number(f64::from_bits(*bits)),
                SavedValue::Flag(flag) => Value::Flag(*flag),
                SavedValue::Text(text) => Value::Text(text.clone()),
                SavedValue::Bytes(bytes) => Value::Bytes(bytes.clone()),
                SavedValue::Series(points) => {
                    let point = |(x, y): &(u64, u64)| Point { x: f64::from_bits(*x), y: f64::from_bits(*y) };
                    Value::Series(points.iter().map(point).collect())
                }
            };
            self.put(path, value)?;
        }
        for (path, tensor) in &snapshot.tensors {
            let handle = self.engine.borrow_mut().insert(tensor.clone());
            self.put(path, Value::Tensor(handle))?;
        }
        self.release_dropped().map_err(engine_error)
    }

    fn put(&self, path: &str, value: Value) -> Flow {
        let mut state = self.state.borrow_mut();
        let node = state.node(path).map_err(engine_error)?;
        if !state.value(node).is_hosted() {
            state.set(node, value);
        }
        Ok(())
    }
}

fn missing(what: &str, name: &str) -> Stop {
    Stop::host(format!("the checkpoint and the run do not fit together: {what} `{name}` is missing; resume with the run that wrote it"))
}
