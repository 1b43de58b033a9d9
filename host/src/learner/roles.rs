//! The instances of a run by role.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use fluxbay_plugin::abi::handle::Handle;

use super::control::{Flow, Stop};
use super::instance::Instance;
use super::ports::PhaseKind;
use crate::tensor::{Engine, Kind};

/// One phase of the run.
#[derive(Debug)]
pub struct PhaseSlot {
    /// The instance.
    pub instance: Rc<Instance>,
    /// What it is for.
    pub kind: PhaseKind,
    /// The split that it reads; `None` for none.
    pub split: Option<String>,
    /// Steps begun since the run began.
    pub total_steps: Cell<u64>,
}

/// One model of the run.
#[derive(Debug)]
pub struct ModelSlot {
    /// Its name in the run file; `model` for the only one.
    pub name: String,
    /// The instance.
    pub instance: Rc<Instance>,
    /// Its optimizer.
    pub optimizer: Option<OptimizerSlot>,
}

/// One loss of the run.
#[derive(Debug)]
pub struct LossSlot {
    /// Its name in the run file; `loss` for the only one.
    pub name: String,
    /// The instance.
    pub instance: Rc<Instance>,
}

/// The instances of a run by role, fixed once it is composed. Callbacks are not among them.
#[derive(Debug, Default)]
pub struct Roles {
    /// In the order of an epoch.
    pub phases: Vec<PhaseSlot>,
    /// In the order of the run file.
    pub models: Vec<ModelSlot>,
    /// In the order of the run file.
    pub losses: Vec<LossSlot>,
    /// In the order of the run file.
    pub loggers: Vec<Rc<Instance>>,
    /// The data set, if it is an instance of the run.
    pub dataset: Option<Rc<Instance>>,
}

/// What an optimizer keeps of one parameter.
#[derive(Debug)]
pub struct Tracked {
    /// Number of the parameter in the engine.
    pub parameter: usize,
    /// Its path within the model.
    pub path: String,
    pub(super) handle: Handle,
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

    /// Creates the state tensors, all zeros, once the model's parameters exist.
    pub(super) fn prepare(&self, engine: &mut Engine) -> Flow {
        let names = self.instance.requested.optimizer_state.len();
        let own =
            engine.parameters().filter(|p| p.model == self.model && p.kind == Kind::Trainable);
        let parameters: Vec<(usize, String, Handle)> =
            own.map(|p| (p.index, p.path.to_owned(), p.handle)).collect();
        let mut tracked = Vec::with_capacity(parameters.len());
        for (parameter, path, handle) in parameters {
            let mut states = Vec::with_capacity(names);
            for _ in 0..names {
                let value = engine.value(handle).map_err(Stop::engine)?;
                let zeros = value.zeros_like().map_err(Stop::engine)?;
                states.push(engine.insert(zeros).map_err(Stop::engine)?);
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
}
