//! Errors that the host finds, attributed to the instance that caused them.

use super::control::{Stop, StopKind};
use super::roles::PhaseSlot;
use super::runtime::Runtime;
use crate::breadcrumb::Activity;

impl Runtime {
    /// The running phase.
    pub(super) fn running_phase(&self) -> Option<&PhaseSlot> {
        self.roles.get()?.phases.get(self.position.get().phase as usize)
    }

    /// The running phase used the loop in a wrong way.
    #[cold]
    #[inline(never)]
    pub(super) fn misuse(&self, text: impl Into<String>) -> Stop {
        let Some(phase) = self.running_phase() else { return Stop::host(text) };
        let instance = &phase.instance;
        let in_epoch = instance.plugin_side().has_epoch() && !self.in_step();
        let activity = if in_epoch { Activity::Epoch } else { Activity::Step };
        instance.stop(self, StopKind::Error, activity, text.into())
    }

    /// A batch could not be made of the data.
    #[cold]
    #[inline(never)]
    pub(super) fn data_failed(&self, text: String) -> Stop {
        match self.roles.get().and_then(|roles| roles.dataset.as_ref()) {
            Some(instance) => instance.stop(self, StopKind::Error, Activity::Filling, text),
            None => Stop::host(text),
        }
    }
}
