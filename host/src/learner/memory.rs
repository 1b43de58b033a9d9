//! What the tensors of a run take: the most that training steps needed, by what it is for.

use std::cell::Cell;

use fluxbay_plugin::abi::handle::Handle;

use super::ports::{MemoryUse, PhaseKind};
use super::runtime::Runtime;
use crate::tensor::Memory;

/// The measurements of training steps.
#[derive(Debug, Default)]
pub(crate) struct MeasuredMemory {
    /// Bytes when the step began with its batch, while a step is measured.
    begun: Cell<Option<u64>>,
    most: Cell<MemoryUse>,
}

impl Runtime {
    /// A step begins with its batch. The first steps of a phase and those that are timed are measured.
    pub(super) fn measure_memory(&self, fields: &[Handle]) {
        let at = self.position.get();
        let is_training = at.phase_kind == PhaseKind::Training.number();
        if !is_training || (at.total_steps > 2 && !self.profile.is_timing()) {
            self.memory.begun.set(None);
            return;
        }
        let mut engine = self.engine.borrow_mut();
        engine.mark_memory();
        let batch = fields.iter().map(|&field| engine.bytes(field).unwrap_or_default()).sum();
        self.memory.begun.set(Some(engine.memory().now));
        let most = self.memory.most.get();
        self.memory.most.set(MemoryUse { batch: most.batch.max(batch), ..most });
    }

    /// A backward pass has ended.
    pub(super) fn measured_backward(&self) {
        let Some(begun) = self.memory.begun.get() else { return };
        let engine = self.engine.borrow();
        let Memory { peak, gradients, .. } = engine.memory();
        let all = engine.parameters().filter_map(|p| engine.lent_gradient(p.index));
        let all: u64 = all.map(|gradient| engine.bytes(gradient).unwrap_or_default()).sum();
        let most = self.memory.most.get();
        self.memory.most.set(MemoryUse {
            gradients: most.gradients.max(all),
            activations: most.activations.max(peak.saturating_sub(begun + gradients)),
            recomputed: most.recomputed.max(engine.recomputed()),
            peak: most.peak.max(peak),
            ..most
        });
    }

    /// The most that training steps of this process needed; `None` before the first backward pass.
    pub fn memory_use(&self) -> Option<MemoryUse> {
        let most = self.memory.most.get();
        if most.peak == 0 {
            return None;
        }
        let engine = self.engine.borrow();
        let bytes = |handle: Handle| engine.bytes(handle).unwrap_or_default();
        let models = self.roles().map(|roles| &roles.models[..]).unwrap_or_default();
        let optimizers = models.iter().flat_map(|model| &model.optimizers);
        let states = optimizers.map(|slot| {
            let tracked = slot.tracked();
            tracked.iter().flat_map(|one| &one.states).map(|&state| bytes(state)).sum::<u64>()
        });
        Some(MemoryUse {
            parameters: engine.parameters().map(|p| bytes(p.handle)).sum(),
            optimizer: states.sum(),
            ..most
        })
    }
}
