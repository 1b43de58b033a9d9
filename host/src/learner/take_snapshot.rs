//! Taking a snapshot.

use std::rc::Rc;

use candle_core::Tensor;

use super::control::{Flow, Stop};
use super::instance::Instance;
use super::runtime::Runtime;
use super::snapshot::{SavedEpoch, SavedInstance, SavedStop, SavedValue, Snapshot};
use super::span::Span;
use super::state::{Value, covers};
use crate::breadcrumb::Activity;

impl Runtime {
    /// Whether the running phase is the last of an epoch of the fit.
    pub fn at_end_of_epoch(&self) -> bool {
        self.roles
            .get()
            .is_some_and(|roles| self.position.get().phase as usize + 1 == roles.phases.len())
            && !self.intervals.is_within()
    }

    /// Completed epochs of the fit, the phase that comes next or is running, and its position.
    fn progress(&self) -> Flow<(u64, usize, Option<SavedEpoch>)> {
        let phases = self.roles()?.phases.len();
        let (at, done) = (self.position.get(), self.epochs.done.get());
        if let Some((phase, within)) = self.intervals.outer() {
            return Ok((done, phase, Some(within)));
        }
        if self.epochs.is_open() {
            let within = self.position_in_epoch().ok_or_else(|| {
                Stop::host("the state of a run cannot be saved here: batches of the epoch are on their way")
            })?;
            return Ok((done, at.phase as usize, Some(within)));
        }
        let next = match at.phase {
            u32::MAX => self.epochs.next_phase.get(),
            phase => phase as usize + 1,
        };
        Ok(if next < phases { (done, next, None) } else { (done + 1, 0, None) })
    }

    /// The state of the learner. Between steps only.
    ///
    /// # Errors
    /// An instance that cannot save its state, or a step that is running.
    pub fn snapshot(&self) -> Flow<Snapshot> {
        self.snapshot_of(|_| true)
    }

    /// As [`Runtime::snapshot`], with the states of some instances only.
    pub(super) fn snapshot_of(&self, wanted: impl Fn(&Instance) -> bool) -> Flow<Snapshot> {
        if self.in_step() {
            return Err(Stop::host("the state of a run can be saved only between steps"));
        }
        let roles = self.roles()?;
        let (epochs, next_phase, in_epoch) = self.progress()?;
        let in_validation = self.saved_validation()?;
        let outer_metrics = self.intervals.outer_metrics();
        let instances = self.members.all();
        let disabled =
            instances.iter().filter(|instance| instance.is_disabled() || instance.is_poisoned());
        let disabled = disabled.map(|instance| instance.id.clone()).collect();
        let instances =
            instances.iter().filter(|instance| !instance.is_poisoned() && wanted(instance));
        // Before anything is borrowed: an instance that saves tensors calls back.
        let save = |instance: &Rc<Instance>| {
            // The snapshot is of the training epoch, if validation has suspended one.
            match outer_metrics.iter().find(|saved| saved.id == instance.id) {
                Some(saved) => Ok(saved.clone()),
                None => self.save_instance(instance),
            }
        };
        let instances = instances.map(save).collect::<Flow<Vec<_>>>()?;
        let random = self.engine.borrow().random_state();
        let mut snapshot = Snapshot {
            epochs,
            next_phase,
            in_fit: self.spans.is_open(Span::Fit),
            in_epoch,
            in_validation,
            stop: self.saving.stopping.borrow().as_ref().map(|stop| SavedStop {
                by: stop.0.by.clone(),
                component: stop.0.component.clone(),
                plugin: stop.0.plugin.clone(),
                text: stop.0.text.clone(),
            }),
            disabled,
            phase_steps: roles
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
            metrics: self.metrics.borrow().save(),
            measured: self.measured_model(),
            instances,
        };
        self.save_tensors(&mut snapshot)?;
        self.save_values(&mut snapshot)?;
        Ok(snapshot)
    }

    /// An instance may be saved while it is being called: a checkpointer asks for it.
    pub(super) fn save_instance(&self, instance: &Instance) -> Flow<SavedInstance> {
        let limit = self.saving.state_limit.get();
        let bytes = instance.call_nested(self, Activity::Saving, |call| call.save(limit))?;
        let state_version = instance.plugin_side().state_version();
        Ok(SavedInstance {
            id: instance.id.clone(),
            component: instance.component.clone(),
            state_version,
            bytes,
        })
    }

    /// Copies of all parameters and buffers, as `MODEL.PATH`.
    pub(super) fn parameter_copies(&self) -> Flow<Vec<(String, Tensor)>> {
        let engine = self.engine.borrow();
        let copy =
            |handle| engine.value(handle).map_err(Stop::engine)?.copy().map_err(Stop::engine);
        let copies = engine.parameters().map(|p| {
            let name = format!("{}.{}", engine.model_name(p.model).unwrap_or_default(), p.path);
            Ok((name, copy(p.handle)?))
        });
        copies.collect()
    }

    fn save_tensors(&self, snapshot: &mut Snapshot) -> Flow {
        snapshot.parameters = self.parameter_copies()?;
        let mut others = self.states_of_others()?;
        let engine = self.engine.borrow();
        let copy =
            |handle| engine.value(handle).map_err(Stop::engine)?.copy().map_err(Stop::engine);
        for model in &self.roles()?.models {
            for optimizer in &model.optimizers {
                for tracked in optimizer.tracked().iter() {
                    let name = format!("{}.{}", model.name, tracked.path);
                    let states = &optimizer.instance.requested.optimizer_state;
                    for (state, &handle) in states.iter().zip(&tracked.states) {
                        snapshot.optimizer_states.push((format!("{name}.{state}"), copy(handle)?));
                    }
                    if let Some(others) = others.as_mut().filter(|_| !self.owns(tracked)) {
                        for state in states {
                            let value = others.next_of(tracked.owner)?;
                            snapshot.optimizer_states.push((format!("{name}.{state}"), value));
                        }
                    }
                    snapshot.updates.push((name, tracked.updates.get()));
                }
            }
        }
        Ok(())
    }

    fn save_values(&self, snapshot: &mut Snapshot) -> Flow {
        let state = self.state.borrow();
        for (path, value) in state.values().filter(|(path, _)| !covers("step", path)) {
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
                        .map_err(Stop::engine)?
                        .copy()
                        .map_err(Stop::engine)?;
                    snapshot.tensors.push((path.to_owned(), copy));
                    continue;
                }
                Value::Absent | Value::Tensors(_) | Value::Member(..) => continue,
            };
            snapshot.values.push((path.to_owned(), saved));
        }
        Ok(())
    }
}
