//! A rehearsal that is under way, as data.

use std::cell::{Cell, RefCell};

use fluxbay_plugin::abi::event::EventRaw;

use super::ports::Batches;
use super::snapshot::Snapshot;

/// A rehearsal that is under way.
pub(super) struct Rehearsal {
    /// Number of the callback that began it.
    pub(super) caller: u32,
    pub(super) split: String,
    /// The epoch whose order the batches have.
    pub(super) epoch: u64,
    pub(super) batches: Box<dyn Batches>,
    /// Restored at the end.
    pub(super) snapshot: Snapshot,
    /// Restored at the end.
    pub(super) position: EventRaw,
}

/// The rehearsals of a run, of which at most one is under way.
#[derive(Default)]
pub(crate) struct Rehearsals {
    pub(super) current: RefCell<Option<Rehearsal>>,
    /// Set while a step of a rehearsal runs: no callback receives an event, nothing is shown or
    /// recorded.
    muted: Cell<bool>,
}

impl Rehearsals {
    /// Whether a step of a rehearsal runs.
    #[inline]
    pub(super) fn is_muted(&self) -> bool {
        self.muted.get()
    }

    /// Sets whether a step of a rehearsal runs.
    pub(super) fn set_muted(&self, muted: bool) {
        self.muted.set(muted);
    }
}
