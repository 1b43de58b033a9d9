//! Optimizers at work: state tensors per parameter, counted updates, one call per parameter.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use fluxbay_plugin::abi::{handle::Handle, optimizer::UpdateRaw, text::Text};

use super::control::{Flow, Stop};
use super::instances::{Doing, Instance};
use super::runtime::Runtime;
use super::step::engine_error;
use crate::tensor::Kind;

/// What an optimizer keeps of one parameter.
#[derive(Debug)]
pub struct Tracked {
    /// Number of the parameter in the engine.
    pub parameter: usize,
    /// Its path within the model.
    pub path: String,
    handle: Handle,
    /// State tensors, in the order of the optimizer's names.
    pub states: Vec<Handle>,
    /// Updates so far.
    pub updates: Cell<u64>,
}

/// The optimizer of one model.
#[derive(Debug)]
pub struct OptimizerSlot {
    /// The instance; several models may share one.
    pub instance: Rc<Instance>,
    /// The model's index.
    pub model: usize,
    tracked: RefCell<Rc<Vec<Tracked>>>,
}

impl OptimizerSlot {
    /// The optimizer `instance` for model `model`.
    pub fn new(instance: Rc<Instance>, model: usize) -> OptimizerSlot {
        OptimizerSlot { instance, model, tracked: RefCell::default() }
    }

    /// Makes the state tensors, all zeros, once the model's parameters are there.
    pub(super) fn prepare(&self, runtime: &Runtime) -> Flow {
        let names = self.instance.answers.optimizer_state.len();
        let parameters: Vec<(usize, String, Handle)> = {
            let engine = runtime.engine.borrow();
            let ours =
                engine.parameters().filter(|p| p.model == self.model && p.kind == Kind::Trainable);
            ours.map(|p| (p.index, p.path.to_owned(), p.handle)).collect()
        };
        let mut tracked = Vec::with_capacity(parameters.len());
        for (parameter, path, handle) in parameters {
            let mut engine = runtime.engine.borrow_mut();
            let mut states = Vec::with_capacity(names);
            for _ in 0..names {
                let zeros = engine
                    .value(handle)
                    .map_err(engine_error)?
                    .zeros_like()
                    .map_err(engine_error)?;
                states.push(engine.insert(zeros));
            }
            tracked.push(Tracked { parameter, path, handle, states, updates: Cell::new(0) });
        }
        *self.tracked.borrow_mut() = Rc::new(tracked);
        Ok(())
    }

    /// What is kept per parameter, sorted by path.
    pub fn tracked(&self) -> Rc<Vec<Tracked>> {
        Rc::clone(&self.tracked.borrow())
    }

    /// Applies the gradients that are there. A parameter without one stays as it is.
    pub(super) fn update(&self, runtime: &Runtime) -> Flow {
        let instance = &self.instance;
        let tracked = self.tracked();
        instance.call(runtime, Doing::Preparing, |plugin| {
            plugin.optimizer_begin(runtime, instance.number)
        })?;
        for entry in tracked.iter() {
            let Some(gradient) = runtime.engine.borrow().lent_gradient(entry.parameter) else {
                continue;
            };
            let step = entry.updates.get() + 1;
            let request = UpdateRaw {
                path: Text::new(&entry.path),
                parameter: entry.handle,
                gradient,
                states: entry.states.as_ptr(),
                state_count: entry.states.len(),
                step,
            };
            let flow = instance.call(runtime, Doing::Updating, |plugin| {
                plugin.optimizer_update(runtime, instance.number, &request)
            });
            flow.map_err(|stop| name_parameter(stop, &entry.path))?;
            entry.updates.set(step);
        }
        Ok(())
    }
}

#[cold]
#[inline(never)]
fn name_parameter(mut stop: Stop, path: &str) -> Stop {
    stop.0.text = format!("{} (parameter `{path}`)", stop.0.text);
    stop
}
