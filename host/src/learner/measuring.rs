//! What is measured of a run: the model of an epoch whose parameters callbacks replaced, which is
//! copied at the end of the epoch (see `measured`), and the memory of training steps.

use super::control::Flow;
use super::measured::MeasuredModel;
use super::ports::{MemoryUse, PhaseKind};
use super::runtime::Runtime;

impl Runtime {
    /// Updates of all parameters by optimizers since the run began: changes whenever the trained
    /// model does.
    pub(super) fn model_updates(&self) -> u64 {
        let models = self.roles.get().map(|roles| roles.models.iter()).into_iter().flatten();
        let optimizers = models.flat_map(|model| &model.optimizers);
        let updates = |optimizer: &super::OptimizerSlot| -> u64 {
            optimizer.tracked().iter().map(|tracked| tracked.updates.get()).sum()
        };
        optimizers.map(updates).sum()
    }

    /// The most memory that training steps of this process needed; `None` before the first backward
    /// pass.
    pub fn memory_use(&self) -> Option<MemoryUse> {
        let models = self.roles().map(|roles| &roles.models[..]).unwrap_or_default();
        let tracked = models.iter().flat_map(|model| &model.optimizers).map(|slot| slot.tracked());
        let states = tracked.flat_map(|all| {
            let states = all.iter().flat_map(|one| &one.states).copied();
            states.collect::<Vec<_>>()
        });
        self.memory.most(&self.engine.borrow(), states)
    }

    /// The last value of the epoch metric `PHASE/NAME`, if it measured the present model.
    pub fn measured_metric(&self, metric: &str) -> Option<f64> {
        self.metrics.borrow().of_model(metric, self.model_updates())
    }

    /// Copies the parameters at the end of an epoch that measured others than the trained ones.
    pub(super) fn capture_measured(&self) -> Flow {
        let kind = self.with_at(|at| at.kind);
        if kind == Some(PhaseKind::Training) || !self.measured.were_set() {
            return Ok(());
        }
        let model = MeasuredModel {
            phase: self.with_at(|at| at.phase.to_owned()),
            parameters: self.parameter_copies()?,
            updates: self.model_updates(),
            writes: self.measured.writes.get(),
        };
        *self.measured.model.borrow_mut() = Some(model);
        Ok(())
    }

    /// The model that was measured last, if it was trained to the present state and differs from
    /// the present parameters.
    pub(super) fn measured_model(&self) -> Option<MeasuredModel> {
        let model = self.measured.model.borrow();
        let is_present = |model: &&MeasuredModel| {
            model.updates == self.model_updates() && model.writes != self.measured.writes.get()
        };
        model.as_ref().filter(is_present).cloned()
    }
}
