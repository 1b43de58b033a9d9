//! All that a learner has to remember between two epochs, taken out and put back.
//!
//! Parameters, optimizer state, random counters, the state tree, the position, and every instance's
//! own state. Numbers travel as their bits: what comes back is what was there. The form on the disk
//! is the session's business.

use std::rc::Rc;

use candle_core::Tensor;
use fluxbay_plugin::abi::state::Point;
use serde::{Deserialize, Serialize};

use super::control::{Flow, Stop};
use super::instances::{Doing, Instance, Span};
use super::runtime::Runtime;
use super::saving::{Resumption, SavedEpoch, SavedStop};
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
    /// Phase that comes next, or goes on, by its number; 0 for a new epoch.
    pub next_phase: usize,
    /// Whether it was taken within a fit, so that fit-begin has been sent.
    pub in_fit: bool,
    /// The epoch that it was taken within; none between two.
    pub in_epoch: Option<SavedEpoch>,
    /// The end of the fit that was decided already.
    pub stop: Option<SavedStop>,
    /// Instances that were left out after an error.
    pub disabled: Vec<String>,
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
        self.parts
            .get()
            .is_some_and(|parts| self.position.get().phase as usize + 1 == parts.phases.len())
    }

    /// Epochs of the fit that are completed, the phase that comes next or goes on, and where that
    /// phase stands.
    fn standing(&self) -> Flow<(u64, usize, Option<SavedEpoch>)> {
        let phases = self.parts()?.phases.len();
        let (at, done) = (self.position.get(), self.epochs_done.get());
        if self.open_epoch.borrow().is_some() {
            let within = self.position_in_epoch();
            let within =
                within.ok_or_else(|| Stop::host("the state of a run cannot be saved here: batches of the epoch are on their way"))?;
            return Ok((done, at.phase as usize, Some(within)));
        }
        let next = match at.phase {
            u32::MAX => self.next_phase.get(),
            phase => phase as usize + 1,
        };
        Ok(if next < phases { (done, next, None) } else { (done + 1, 0, None) })
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
        let (epochs, next_phase, in_epoch) = self.standing()?;
        let instances: Vec<Rc<Instance>> =
            self.instances.borrow().iter().flatten().cloned().collect();
        let left_out =
            instances.iter().filter(|instance| instance.is_disabled() || instance.is_poisoned());
        let disabled = left_out.map(|instance| instance.id.clone()).collect();
        let instances =
            instances.iter().filter(|instance| !instance.is_poisoned() && wanted(instance));
        // First, and on its own: an instance that saves tensors calls back, so nothing may be
        // borrowed here.
        let instances =
            instances.map(|instance| self.save_instance(instance)).collect::<Flow<Vec<_>>>()?;
        let random = self.engine.borrow().random_state();
        let mut snapshot = Snapshot {
            epochs,
            next_phase,
            in_fit: self.spans[Span::Fit as usize].get() != 0,
            in_epoch,
            stop: self.stopping.borrow().as_ref().map(|stop| SavedStop {
                by: stop.0.by.clone(),
                component: stop.0.component.clone(),
                plugin: stop.0.plugin.clone(),
                text: stop.0.text.clone(),
            }),
            disabled,
            phase_steps: parts
                .phases
                .iter()
                .map(|phase| (phase.instance.id.clone(), phase.total_steps.get()))
                .collect(),
            random,
            parameters: Vec::new(),
            optimizer_states: Vec::new(),
            updates: Vec::new(),
            values: Vec::new(),
            tensors: Vec::new(),
            metrics: self
                .metrics
                .borrow()
                .iter()
                .map(|(phase, name, value)| (phase.clone(), name.clone(), value.to_bits()))
                .collect(),
            instances,
        };
        self.save_tensors(&mut snapshot)?;
        self.save_values(&mut snapshot)?;
        Ok(snapshot)
    }

    /// An instance may be saved while it is being called: a checkpointer asks for it.
    fn save_instance(&self, instance: &Instance) -> Flow<SavedInstance> {
        let doing = Doing::Saving;
        let bytes =
            instance.call_again(self, doing, |plugin| plugin.save(self, instance.number))?;
        let state_version = instance.plugin_side().state_version();
        Ok(SavedInstance {
            id: instance.id.clone(),
            component: instance.component.clone(),
            state_version,
            bytes,
        })
    }

    fn save_tensors(&self, snapshot: &mut Snapshot) -> Flow {
        let engine = self.engine.borrow();
        let copy =
            |handle| engine.value(handle).map_err(engine_error)?.copy().map_err(engine_error);
        for p in engine.parameters() {
            snapshot.parameters.push((
                format!("{}.{}", engine.model_name(p.model).unwrap_or_default(), p.path),
                copy(p.handle)?,
            ));
        }
        for model in &self.parts()?.models {
            let Some(optimizer) = &model.optimizer else { continue };
            for tracked in optimizer.tracked().iter() {
                let name = format!("{}.{}", model.name, tracked.path);
                for (state, &handle) in
                    optimizer.instance.answers.optimizer_state.iter().zip(&tracked.states)
                {
                    snapshot.optimizer_states.push((format!("{name}.{state}"), copy(handle)?));
                }
                snapshot.updates.push((name, tracked.updates.get()));
            }
        }
        Ok(())
    }

    fn save_values(&self, snapshot: &mut Snapshot) -> Flow {
        let state = self.state.borrow();
        for (path, value) in state.values().filter(|(path, _)| !super::state::covers("step", path))
        {
            let saved = match value {
                Value::Number(number) => SavedValue::Number(number.to_bits()),
                Value::Flag(flag) => SavedValue::Flag(*flag),
                Value::Text(text) => SavedValue::Text(text.clone()),
                Value::Bytes(bytes) => SavedValue::Bytes(bytes.clone()),
                Value::Series(points) => SavedValue::Series(
                    points.iter().map(|point| (point.x.to_bits(), point.y.to_bits())).collect(),
                ),
                Value::Tensor(handle) => {
                    let copy = self
                        .engine
                        .borrow()
                        .value(*handle)
                        .map_err(engine_error)?
                        .copy()
                        .map_err(engine_error)?;
                    snapshot.tensors.push((path.to_owned(), copy));
                    continue;
                }
                Value::Absent | Value::Tensors(_) | Value::Member(..) => continue,
            };
            snapshot.values.push((path.to_owned(), saved));
        }
        Ok(())
    }

    /// Puts everything back, into a learner that was assembled from the same run and has not
    /// trained.
    ///
    /// # Errors
    /// What does not fit: a parameter of another shape, an instance that is missing or refuses its
    /// state. The learner should not be used then.
    pub fn restore(&self, snapshot: &Snapshot) -> Flow {
        match self.restore_what_fits(snapshot)?.into_iter().next() {
            Some(misfit) => Err(Stop::host(format!(
                "the checkpoint and the run do not fit together: {misfit}; resume with the run that wrote it"
            ))),
            None => Ok(()),
        }
    }

    /// Puts back what fits, into a learner of a changed run that has not trained. Answers what did
    /// not.
    ///
    /// # Errors
    /// A parameter of another shape, an instance that refuses its state. The learner should not be
    /// used then.
    pub fn restore_what_fits(&self, snapshot: &Snapshot) -> Flow<Vec<String>> {
        let mut misfits = self.restore_state(snapshot)?;
        self.restore_standing(snapshot, &mut misfits);
        Ok(misfits)
    }

    /// Puts back what is learned and counted, but not where the run stands.
    pub(super) fn restore_state(&self, snapshot: &Snapshot) -> Flow<Vec<String>> {
        let parts = self.parts()?;
        let mut misfits = Vec::new();
        self.restore_parameters(snapshot, &mut misfits)?;
        self.restore_optimizers(snapshot, &mut misfits)?;
        self.restore_values(snapshot)?;
        for (id, steps) in &snapshot.phase_steps {
            match parts.phases.iter().find(|phase| phase.instance.id == *id) {
                Some(phase) => phase.total_steps.set(*steps),
                None => misfits.push(format!("the run has no phase `{id}`")),
            }
        }
        for saved in &snapshot.instances {
            self.load_instance(saved, &mut misfits)?;
        }
        for instance in self.instances.borrow().iter().flatten() {
            let is_known = snapshot.instances.iter().any(|saved| saved.id == instance.id)
                || snapshot.disabled.contains(&instance.id);
            if !is_known {
                misfits.push(format!("the checkpoint has no instance `{}`", instance.id));
            }
        }
        self.engine.borrow_mut().set_random_state(&snapshot.random);
        *self.metrics.borrow_mut() = snapshot
            .metrics
            .iter()
            .map(|(phase, name, bits)| (phase.clone(), name.clone(), f64::from_bits(*bits)))
            .collect();
        Ok(misfits)
    }

    fn restore_standing(&self, snapshot: &Snapshot, misfits: &mut Vec<String>) {
        self.epochs_done.set(snapshot.epochs);
        self.next_phase.set(snapshot.next_phase);
        if snapshot.in_fit {
            self.position
                .change(|at| at.epoch = snapshot.epochs + u64::from(snapshot.next_phase > 0));
        }
        for id in &snapshot.disabled {
            match self.instance_named(id) {
                Some(instance) => instance.disable(),
                None => misfits.push(format!("the run has no instance `{id}`")),
            }
        }
        *self.resumption.borrow_mut() = Resumption {
            fit_begun: snapshot.in_fit,
            epoch: snapshot.in_epoch.clone(),
            stop: snapshot.stop.clone(),
        };
    }

    fn load_instance(&self, saved: &SavedInstance, misfits: &mut Vec<String>) -> Flow {
        let Some(instance) = self.instance_named(&saved.id) else {
            misfits.push(format!("the run has no instance `{}` ({})", saved.id, saved.component));
            return Ok(());
        };
        if instance.component != saved.component {
            misfits.push(format!(
                "instance `{}` is a {} in this run, a {} in the checkpoint",
                saved.id, instance.component, saved.component
            ));
            return Ok(());
        }
        let known = instance.plugin_side().state_version();
        if saved.state_version > known {
            return Err(Stop::host(format!(
                "the state of `{}` ({}) has version {}, but plugin `{}` reads up to version {known}: use the newer plugin that wrote it",
                saved.id, saved.component, saved.state_version, instance.plugin
            )));
        }
        let doing = Doing::Loading;
        instance.call(self, doing, |plugin| {
            plugin.load(self, instance.number, saved.state_version, &saved.bytes)
        })
    }

    fn restore_parameters(&self, snapshot: &Snapshot, misfits: &mut Vec<String>) -> Flow {
        let known: Vec<(String, usize)> = {
            let engine = self.engine.borrow();
            let name = |p: crate::tensor::ParameterInfo<'_>| {
                format!("{}.{}", engine.model_name(p.model).unwrap_or_default(), p.path)
            };
            engine.parameters().map(|p| (name(p), p.index)).collect()
        };
        for (name, index) in &known {
            match snapshot.parameters.iter().find(|(saved, _)| saved == name) {
                Some((_, value)) => {
                    self.engine.borrow_mut().set_parameter(*index, value).map_err(engine_error)?
                }
                None => misfits.push(format!("the checkpoint has no parameter `{name}`")),
            }
        }
        let lost = snapshot
            .parameters
            .iter()
            .filter(|(name, _)| !known.iter().any(|(known, _)| known == name));
        misfits.extend(lost.map(|(name, _)| format!("the run has no parameter `{name}`")));
        Ok(())
    }

    fn restore_optimizers(&self, snapshot: &Snapshot, misfits: &mut Vec<String>) -> Flow {
        for model in &self.parts()?.models {
            let Some(optimizer) = &model.optimizer else { continue };
            for tracked in optimizer.tracked().iter() {
                let name = format!("{}.{}", model.name, tracked.path);
                for (state, &handle) in
                    optimizer.instance.answers.optimizer_state.iter().zip(&tracked.states)
                {
                    let name = format!("{name}.{state}");
                    let Some((_, value)) =
                        snapshot.optimizer_states.iter().find(|(known, _)| *known == name)
                    else {
                        misfits.push(format!("the checkpoint has no optimizer state `{name}`"));
                        continue;
                    };
                    let mut engine = self.engine.borrow_mut();
                    let value = engine.insert(value.clone());
                    let assigned = engine.apply(
                        fluxbay_plugin::abi::operation::op::ASSIGN,
                        &[handle, value],
                        &[],
                        &[],
                        &mut Vec::new(),
                    );
                    engine.release(value).map_err(engine_error)?;
                    assigned.map_err(engine_error)?;
                }
                match snapshot.updates.iter().find(|(known, _)| *known == name) {
                    Some((_, updates)) => tracked.updates.set(*updates),
                    None => {
                        misfits.push(format!("the checkpoint has no count of updates of `{name}`"))
                    }
                }
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
                    let point = |(x, y): &(u64, u64)| Point {
                        x: f64::from_bits(*x),
                        y: f64::from_bits(*y),
                    };
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
