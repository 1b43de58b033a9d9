//! What the tensors of a run take: the most that training steps needed, by what it is for.

use std::cell::Cell;

use fluxbay_plugin::abi::handle::Handle;

use super::ports::MemoryUse;
use crate::tensor::{Engine, Memory};

/// The measurements of training steps.
#[derive(Debug, Default)]
pub(crate) struct MeasuredMemory {
    /// Bytes when the step began with its batch, while a step is measured.
    begun: Cell<Option<u64>>,
    most: Cell<MemoryUse>,
}

impl MeasuredMemory {
    /// A step that is not measured begins.
    pub(super) fn skip(&self) {
        self.begun.set(None);
    }

    /// A step that is measured begins with its batch.
    pub(super) fn begin(&self, engine: &mut Engine, fields: &[Handle]) {
        engine.mark_memory();
        let batch = fields.iter().map(|&field| engine.bytes(field).unwrap_or_default()).sum();
        self.begun.set(Some(engine.memory().now));
        let most = self.most.get();
        self.most.set(MemoryUse { batch: most.batch.max(batch), ..most });
    }

    /// A backward pass has ended.
    pub(super) fn end_backward(&self, engine: &Engine) {
        let Some(begun) = self.begun.get() else { return };
        let Memory { peak, gradients, .. } = engine.memory();
        let all = engine.parameters().filter_map(|p| engine.lent_gradient(p.index));
        let all: u64 = all.map(|gradient| engine.bytes(gradient).unwrap_or_default()).sum();
        let most = self.most.get();
        self.most.set(MemoryUse {
            gradients: most.gradients.max(all),
            activations: most.activations.max(peak.saturating_sub(begun + gradients)),
            recomputed: most.recomputed.max(engine.recomputed()),
            peak: most.peak.max(peak),
            ..most
        });
    }

    /// The most that training steps needed, with the present sizes of the parameters and of the
    /// `optimizer` states; `None` before the first backward pass.
    pub(super) fn most(
        &self,
        engine: &Engine,
        optimizer: impl Iterator<Item = Handle>,
    ) -> Option<MemoryUse> {
        let most = self.most.get();
        let bytes = |handle: Handle| engine.bytes(handle).unwrap_or_default();
        (most.peak > 0).then(|| MemoryUse {
            parameters: engine.parameters().map(|p| bytes(p.handle)).sum(),
            optimizer: optimizer.map(bytes).sum(),
            ..most
        })
    }
}
