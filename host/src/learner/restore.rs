//! Restoring a snapshot.

use fluxbay_plugin::abi::{operation::op, state::Point};

use super::control::{Flow, Stop};
use super::runtime::Runtime;
use super::saving::Resumption;
use super::snapshot::{SavedInstance, SavedValue, Snapshot};
use super::state::{Value, release_dropped};
use crate::breadcrumb::Activity;
use crate::tensor::ParameterInfo;

impl Runtime {
    /// Restores a snapshot in a learner that was assembled from the same run and has not trained.
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

    /// Restores what fits, in a learner of a changed run that has not trained. Returns what did not
    /// fit.
    ///
    /// # Errors
    /// A parameter of another shape, an instance that refuses its state. The learner should not be
    /// used then.
    pub fn restore_what_fits(&self, snapshot: &Snapshot) -> Flow<Vec<String>> {
        let mut misfits = self.restore_state(snapshot)?;
        self.restore_position(snapshot, &mut misfits);
        Ok(misfits)
    }

    /// Restores what was learned and counted, but not the position of the run.
    pub(super) fn restore_state(&self, snapshot: &Snapshot) -> Flow<Vec<String>> {
        let roles = self.roles()?;
        let mut misfits = Vec::new();
        self.restore_parameters(snapshot, &mut misfits)?;
        self.restore_optimizers(snapshot, &mut misfits)?;
        self.restore_values(snapshot)?;
        for (id, steps) in &snapshot.phase_steps {
            match roles.phases.iter().find(|phase| phase.instance.id == *id) {
                Some(phase) => phase.total_steps.set(*steps),
                None => misfits.push(format!("the run has no phase `{id}`")),
            }
        }
        for saved in &snapshot.instances {
            self.load_instance(saved, &mut misfits)?;
        }
        for instance in self.members.all() {
            let is_known = snapshot.instances.iter().any(|saved| saved.id == instance.id)
                || snapshot.disabled.contains(&instance.id);
            if !is_known {
                misfits.push(format!("the checkpoint has no instance `{}`", instance.id));
            }
        }
        self.engine.borrow_mut().set_random_state(&snapshot.random);
        self.metrics.borrow_mut().restore(&snapshot.metrics);
        self.measured.restore(snapshot.measured.as_ref());
        Ok(misfits)
    }

    fn restore_position(&self, snapshot: &Snapshot, misfits: &mut Vec<String>) {
        self.epochs.done.set(snapshot.epochs);
        self.epochs.next_phase.set(snapshot.next_phase);
        if snapshot.in_fit {
            self.position
                .change(|at| at.epoch = snapshot.epochs + u64::from(snapshot.next_phase > 0));
        }
        for id in &snapshot.disabled {
            match self.members.named(id) {
                Some(instance) => instance.disable(),
                None => misfits.push(format!("the run has no instance `{id}`")),
            }
        }
        *self.saving.resumption.borrow_mut() = Resumption {
            fit_begun: snapshot.in_fit,
            epoch: snapshot.in_epoch.clone(),
            validation: snapshot.in_validation.clone(),
            stop: snapshot.stop.clone(),
        };
    }

    pub(super) fn load_instance(&self, saved: &SavedInstance, misfits: &mut Vec<String>) -> Flow {
        let Some(instance) = self.members.named(&saved.id) else {
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
        instance.call(self, Activity::Loading, |call| call.load(saved.state_version, &saved.bytes))
    }

    fn restore_parameters(&self, snapshot: &Snapshot, misfits: &mut Vec<String>) -> Flow {
        let known: Vec<(String, usize)> = {
            let engine = self.engine.borrow();
            let name = |p: ParameterInfo<'_>| {
                format!("{}.{}", engine.model_name(p.model).unwrap_or_default(), p.path)
            };
            engine.parameters().map(|p| (name(p), p.index)).collect()
        };
        for (name, index) in &known {
            match snapshot.parameters.iter().find(|(saved, _)| saved == name) {
                Some((_, value)) => {
                    self.engine.borrow_mut().set_parameter(*index, value).map_err(Stop::engine)?
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
        let models = self.roles()?.models.iter();
        let optimizers = models
            .flat_map(|model| model.optimizers.iter().map(move |optimizer| (model, optimizer)));
        for (model, optimizer) in optimizers {
            for tracked in optimizer.tracked().iter() {
                let name = format!("{}.{}", model.name, tracked.path);
                for (state, &handle) in
                    optimizer.instance.requested.optimizer_state.iter().zip(&tracked.states)
                {
                    let name = format!("{name}.{state}");
                    let Some((_, value)) =
                        snapshot.optimizer_states.iter().find(|(known, _)| *known == name)
                    else {
                        misfits.push(format!("the checkpoint has no optimizer state `{name}`"));
                        continue;
                    };
                    let mut engine = self.engine.borrow_mut();
                    let value = engine.insert(value.clone()).map_err(Stop::engine)?;
                    let assigned =
                        engine.apply(op::ASSIGN, &[handle, value], &[], &[], &mut Vec::new());
                    engine.release(value).map_err(Stop::engine)?;
                    assigned.map_err(Stop::engine)?;
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
            self.restore_value(path, value)?;
        }
        for (path, tensor) in &snapshot.tensors {
            let handle = self.engine.borrow_mut().insert(tensor.clone()).map_err(Stop::engine)?;
            self.restore_value(path, Value::Tensor(handle))?;
        }
        release_dropped(&self.state, &self.engine).map_err(Stop::engine)
    }

    fn restore_value(&self, path: &str, value: Value) -> Flow {
        let mut state = self.state.borrow_mut();
        let node = state.node(path).map_err(Stop::engine)?;
        if !state.value(node).is_hosted() {
            state.set(node, value);
        }
        Ok(())
    }
}
