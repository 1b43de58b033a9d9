//! Models, losses, the backward pass: what the steps of phases consist of.

use fluxbay_plugin::abi::{handle::Handle, learner::ALL};

use super::control::{Flow, Stop};
use super::mode::OUTSIDE_STEPS;
use super::ports::DataField;
use super::profile::Work;
use super::refusal::{Answer, Refusal, stopped};
use super::roles::{LossSlot, ModelSlot};
use super::runtime::Runtime;
use super::state::{Rights, State, TensorSet, Value};
use crate::breadcrumb::Activity;
use crate::calls::FieldSpecs;
use crate::tensor::{Init, Kind};

impl Runtime {
    /// Builds every model for data with these fields, and adds `params`, `model` and `step.grads` to
    /// the state tree.
    pub(super) fn build_models(&self, models: &[ModelSlot], fields: &[DataField]) -> Flow {
        let specs = FieldSpecs::new(fields);
        let single = models.len() == 1;
        for (index, model) in models.iter().enumerate() {
            let number = self.engine.borrow_mut().model(&model.name);
            debug_assert_eq!(number, index);
            self.step.building.set(Some((number, model.instance.number)));
            let built =
                model.instance.call(self, Activity::Building, |call| call.model_build(&specs));
            self.step.building.set(None);
            built?;
        }
        let mut state = self.state.borrow_mut();
        for (path, set) in [
            ("params", TensorSet::Parameters(None)),
            ("model", TensorSet::Model(None)),
            ("step.grads", TensorSet::Gradients(None)),
        ] {
            self.host_set(&mut state, path, set, if single { &[] } else { models })?;
        }
        Ok(())
    }

    fn host_set(
        &self,
        state: &mut State,
        path: &str,
        set: TensorSet,
        models: &[ModelSlot],
    ) -> Flow {
        let mut put = |path: &str, set: TensorSet| -> Flow {
            let node = state.node(path).map_err(Stop::engine)?;
            state.set(node, Value::Tensors(set));
            // Slots below it that were granted earlier now lead to single tensors.
            state.host_below(node, set);
            Ok(())
        };
        put(path, set)?;
        for (index, model) in models.iter().enumerate() {
            put(&format!("{path}.{}", model.name), set.of_model(index))?;
        }
        Ok(())
    }

    /// Creates a parameter of the model that is being built.
    pub(crate) fn make_parameter(
        &self,
        caller: u32,
        path: &str,
        shape: &[usize],
        init: Init,
        kind: Kind,
    ) -> Answer<Handle> {
        match self.step.building.get() {
            Some((model, number)) if number == caller => {
                Ok(self.engine.borrow_mut().parameter(model, path, shape, init, kind)?)
            }
            _ => Err(Refusal::Text(format!(
                "parameter `{path}` can be made only by a model, and only while it is built"
            ))),
        }
    }

    /// The device that the run trains on, such as `cpu`.
    pub(crate) fn device_name(&self) -> String {
        self.engine.borrow().device_name()
    }

    fn model_at(&self, index: u32) -> Answer<&ModelSlot> {
        let models = &stopped(self.roles())?.models;
        models.get(index as usize).ok_or_else(|| {
            Refusal::Text(format!(
                "there is no model number {index}; this run has {}",
                models.len()
            ))
        })
    }

    fn loss_at(&self, index: u32) -> Answer<&LossSlot> {
        let losses = &stopped(self.roles())?.losses;
        losses.get(index as usize).ok_or_else(|| {
            Refusal::Text(format!("there is no loss number {index}; this run has {}", losses.len()))
        })
    }

    /// Runs a model for the running phase, or for an instance with a read grant on `model`: then
    /// without recording, in evaluation mode.
    pub(crate) fn forward(
        &self,
        caller: u32,
        model: u32,
        inputs: &[Handle],
        outputs: &mut [Handle],
    ) -> Answer<usize> {
        let slot = self.model_at(model)?;
        let mut run = || {
            let instance = &slot.instance;
            instance.call(self, Activity::Forward, |call| {
                let count = call.model_forward(inputs, outputs)?;
                self.accept_outputs(instance, caller, &outputs[..count])?;
                Ok(count)
            })
        };
        if self.require_phase(caller, "run a model").is_ok() {
            if let Some(ranks) = self.in_blocks() {
                let index = model as usize;
                let run = || self.forward_in_blocks(ranks, index, slot, caller, inputs, outputs);
                return stopped(self.profile.time(Work::Forward, run));
            }
            return stopped(self.profile.time(Work::Forward, run));
        }
        self.require_read(caller, "model")?;
        let before = self.engine.borrow().mode();
        self.engine.borrow_mut().set_mode(OUTSIDE_STEPS);
        let flow = run();
        self.engine.borrow_mut().set_mode(before);
        stopped(flow)
    }

    /// Runs a loss for the running phase, or for an instance with a read grant on `model`.
    pub(crate) fn loss(&self, caller: u32, loss: u32, yhats: Handle, ys: Handle) -> Answer<Handle> {
        let slot = self.loss_at(loss)?;
        if self.require_phase(caller, "run a loss").is_err() {
            self.require_read(caller, "model")?;
        }
        let instance = &slot.instance;
        let run = || {
            instance.call(self, Activity::Loss, |call| {
                let value = call.loss_forward(yhats, ys)?;
                self.accept_loss(instance, caller, value, [yhats, ys])?;
                Ok(value)
            })
        };
        stopped(self.profile.time(Work::Loss, run))
    }

    fn require_read(&self, caller: u32, path: &str) -> Answer {
        let state = self.state.borrow();
        if state.may(caller, path, Rights::Read) {
            return Ok(());
        }
        let id = state.owner_id(caller);
        Err(Refusal::Text(format!(
            "`{id}` may not run models or losses: only the running phase may, and instances that read `{path}`; add \
             `setup.read(\"{path}\")` when it is created, and \"{path}\" to the `reads` in its plugin's manifest"
        )))
    }

    /// Computes the gradients of `loss`, in place of those of the model.
    pub(crate) fn backward(&self, caller: u32, model: u32, loss: Handle) -> Answer {
        self.require_phase(caller, "run a backward pass")?;
        let model = self.one_or_all(model)?;
        self.engine.borrow_mut().clear_gradients(model);
        self.profile.time(Work::Backward, || match self.in_blocks() {
            Some(ranks) => self.backward_in_blocks(ranks, loss, model),
            None => Ok(self.engine.borrow_mut().backward(loss, model)?),
        })?;
        self.memory.end_backward(&self.engine.borrow());
        self.step.has_gradients.set(true);
        Ok(())
    }

    fn one_or_all(&self, model: u32) -> Answer<Option<usize>> {
        if model == ALL {
            return Ok(None);
        }
        self.model_at(model)?;
        Ok(Some(model as usize))
    }

    /// Applies the gradients to the parameters of one model or of all.
    pub(crate) fn update(&self, caller: u32, model: u32) -> Answer {
        self.require_phase(caller, "update parameters")?;
        let only = self.one_or_all(model)?;
        if !self.step.has_gradients.get() {
            return Err(Refusal::Text(
                "there are no gradients to apply: run `backward` first, in the same step".into(),
            ));
        }
        let models = &stopped(self.roles())?.models;
        for (index, slot) in models.iter().enumerate() {
            if only.is_none_or(|only| only == index) {
                stopped(self.update_model(slot))?;
            }
        }
        stopped(self.profile.time(Work::Update, || self.share_parameters(only)))
    }

    fn update_model(&self, model: &ModelSlot) -> Flow {
        if model.optimizers.is_empty() {
            return Err(Stop::host(format!(
                "model `{0}` has no optimizer, so its parameters cannot be updated: add `[optimizer]`, or `[optimizer.{0}]` for this model",
                model.name
            )));
        }
        let update = || model.optimizers.iter().try_for_each(|optimizer| optimizer.update(self));
        self.profile.time(Work::Update, update)
    }

    /// Index of the model, or of the only one for an empty name.
    pub(crate) fn model_index(&self, name: &str) -> Answer<u32> {
        let names: Vec<&str> =
            stopped(self.roles())?.models.iter().map(|model| model.name.as_str()).collect();
        index_of(&names, name, "model")
    }

    /// Index of the loss, or of the only one for an empty name.
    pub(crate) fn loss_number(&self, name: &str) -> Answer<u32> {
        let names: Vec<&str> =
            stopped(self.roles())?.losses.iter().map(|loss| loss.name.as_str()).collect();
        index_of(&names, name, "loss")
    }
}

fn index_of(names: &[&str], name: &str, what: &str) -> Answer<u32> {
    if name.is_empty() {
        return match names.len() {
            1 => Ok(0),
            0 => Err(Refusal::Text(format!(
                "this run has no {what}: add `[{what}]` to the run file"
            ))),
            count => Err(Refusal::Text(format!(
                "this run has {count} of `{what}` ({}), so one has to be named",
                names.join(", ")
            ))),
        };
    }
    match names.iter().position(|known| *known == name) {
        Some(index) => Ok(index as u32),
        None => Err(Refusal::Text(format!(
            "this run has no {what} called `{name}`; it has {}",
            names.join(", ")
        ))),
    }
}
