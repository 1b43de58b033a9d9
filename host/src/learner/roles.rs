//! The instances of a run by role.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use fluxbay_plugin::abi::handle::Handle;

use super::control::{Flow, Stop};
use super::instance::Instance;
use super::ports::PhaseKind;
use crate::run_file::Selection;
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
    /// Its optimizers: one for each parameter group, tried in order, and last the one for all other
    /// parameters; empty if it has none.
    pub optimizers: Vec<OptimizerSlot>,
}

impl ModelSlot {
    /// The trainable parameters of each optimizer, once they exist: number, path and handle.
    pub fn divided(&self, engine: &Engine) -> Vec<Vec<(usize, String, Handle)>> {
        let mut parts = vec![Vec::new(); self.optimizers.len()];
        let Some(last) = self.optimizers.last() else { return parts };
        for p in engine.parameters() {
            if p.model != last.model || p.kind != Kind::Trainable {
                continue;
            }
            let dimensions = engine.shape(p.handle).map_or(0, <[usize]>::len);
            let wants = |slot: &OptimizerSlot| slot.wants(&self.name, p.path, dimensions);
            if let Some(part) = self.optimizers.iter().position(wants) {
                parts[part].push((p.index, p.path.to_owned(), p.handle));
            }
        }
        parts
    }

    /// Divides the parameters among the optimizers, once they exist, and creates the state tensors.
    pub(super) fn prepare_optimizers(&self, engine: &mut Engine, shares: &mut Shares) -> Flow {
        let parts = self.divided(engine);
        let mut slots = self.optimizers.iter().zip(parts);
        slots.try_for_each(|(slot, part)| slot.prepare(engine, part, shares))
    }
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
    /// State tensors, in the order of the optimizer's names; none on ranks that do not keep them.
    pub states: Vec<Handle>,
    /// The rank that keeps the state and updates the parameter, if the state is divided among them.
    pub(super) owner: usize,
    /// Updates so far.
    pub updates: Cell<u64>,
}

/// Whose optimizer state a process keeps: parameters go to the rank that has the fewest bytes so far.
#[derive(Debug)]
pub(super) struct Shares {
    own: usize,
    /// Bytes of each rank.
    taken: Vec<u64>,
}

impl Shares {
    /// Those of rank `own` of `ranks`.
    pub(super) fn new(own: usize, ranks: usize) -> Shares {
        Shares { own, taken: vec![0; ranks] }
    }

    /// The rank that the next parameter, of so many bytes, belongs to.
    fn next(&mut self, bytes: u64) -> usize {
        let least = self.taken.iter().enumerate().min_by_key(|(_, bytes)| **bytes);
        let owner = least.map_or(0, |(rank, _)| rank);
        if let Some(taken) = self.taken.get_mut(owner) {
            *taken += bytes;
        }
        owner
    }

    /// Whether this process keeps the state of the parameters of a rank.
    fn is_own(&self, owner: usize) -> bool {
        owner == self.own
    }
}

/// The optimizer of one model, or of a group of its parameters.
#[derive(Debug)]
pub struct OptimizerSlot {
    /// The instance; several models may share one.
    pub instance: Rc<Instance>,
    /// The model's index.
    pub model: usize,
    /// The group; `None` for the parameters that no group has.
    pub group: Option<Group>,
    tracked: RefCell<Rc<Vec<Tracked>>>,
}

/// A group of parameters.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Group {
    /// Its name.
    pub name: String,
    /// A parameter belongs to it if all of them match and no earlier group has it.
    pub selections: Vec<Selection>,
    /// Hyper-parameters that follow others: path, path of the other, factor.
    pub scaled: Vec<(String, String, f64)>,
}

impl OptimizerSlot {
    /// The optimizer `instance` for model `model`.
    pub fn new(instance: Rc<Instance>, model: usize) -> OptimizerSlot {
        OptimizerSlot { instance, model, group: None, tracked: RefCell::default() }
    }

    /// The optimizer `instance` for a group of parameters of model `model`.
    pub fn of_group(instance: Rc<Instance>, model: usize, group: Group) -> OptimizerSlot {
        OptimizerSlot { group: Some(group), ..OptimizerSlot::new(instance, model) }
    }

    /// Whether a parameter at `path` with `dimensions` dimensions belongs to it, if no earlier one
    /// has it.
    fn wants(&self, model: &str, path: &str, dimensions: usize) -> bool {
        let selections = self.group.iter().flat_map(|group| &group.selections);
        selections.into_iter().all(|selection| selection.matches(model, path, dimensions))
    }

    /// Creates the state tensors, all zeros, once the model's parameters exist.
    fn prepare(
        &self,
        engine: &mut Engine,
        parameters: Vec<(usize, String, Handle)>,
        shares: &mut Shares,
    ) -> Flow {
        let names = self.instance.requested.optimizer_state.len();
        let mut tracked = Vec::with_capacity(parameters.len());
        for (parameter, path, handle) in parameters {
            let value = engine.value(handle).map_err(Stop::engine)?;
            let bytes = value.elem_count() * value.dtype().size_in_bytes();
            let owner = shares.next(bytes as u64);
            let names = if shares.is_own(owner) { names } else { 0 };
            let mut states = Vec::with_capacity(names);
            for _ in 0..names {
                let zeros = value.zeros_like().map_err(Stop::engine)?;
                states.push(engine.insert(zeros).map_err(Stop::engine)?);
            }
            let updates = Cell::new(0);
            tracked.push(Tracked { parameter, path, handle, states, owner, updates });
        }
        *self.tracked.borrow_mut() = Rc::new(tracked);
        Ok(())
    }

    /// What is kept per parameter, sorted by path.
    pub fn tracked(&self) -> Rc<Vec<Tracked>> {
        Rc::clone(&self.tracked.borrow())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_go_to_the_rank_that_has_the_fewest_bytes() {
        let mut shares = Shares::new(1, 3);
        let owners = [100, 10, 10, 10, 10, 1].map(|bytes| shares.next(bytes));
        assert_eq!(owners, [0, 1, 2, 1, 2, 1]);
        assert!(shares.is_own(1) && !shares.is_own(0));
        // One process has all.
        let mut alone = Shares::new(0, 1);
        assert!((0..4).all(|bytes| alone.next(bytes) == 0));
    }
}
