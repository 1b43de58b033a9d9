//! The batches of the epoch that is running, and the progress of the epochs.

use std::cell::{Cell, RefCell};

use fluxbay_plugin::abi::{handle::Handle, learner::BatchRaw, learner::FIELDS};

use super::ports::Batches;
use crate::tensor::Engine;

/// The batch that marks the end of an epoch's batches.
pub(crate) const NO_BATCH: BatchRaw =
    BatchRaw { fields: [Handle::NONE; FIELDS], field_count: 0, samples: 0, index: 0 };

/// The data of the epoch that is running.
pub(crate) struct OpenEpoch {
    /// `None` for a phase without data.
    pub(super) batches: Option<Box<dyn Batches>>,
    /// Batches that the phase has taken and not finished; the host holds their tensors.
    held: Vec<BatchRaw>,
}

/// An epoch that another one interrupts.
pub(super) struct SuspendedEpoch {
    open: Option<OpenEpoch>,
    begun_by_phase: u32,
    is_complete: bool,
}

/// The epochs of a run: which is open, how far they are.
#[derive(Default)]
pub(crate) struct Epochs {
    pub(super) open: RefCell<Option<OpenEpoch>>,
    /// Completed epochs of the fit.
    pub(super) done: Cell<u64>,
    /// The phase that comes next within the epoch of the fit.
    pub(super) next_phase: Cell<usize>,
    /// Epochs that the running phase has begun since it was called.
    pub(super) begun_by_phase: Cell<u32>,
    /// Whether the epoch that the running phase began last is complete: all batches done, or
    /// cancelled by an instance.
    pub(super) is_complete: Cell<bool>,
}

impl Epochs {
    /// Opens an epoch.
    pub(super) fn begin(&self, batches: Option<Box<dyn Batches>>) {
        *self.open.borrow_mut() = Some(OpenEpoch { batches, held: Vec::with_capacity(2) });
    }

    /// Takes out the open epoch, so that another one can begin.
    pub(super) fn suspend(&self) -> SuspendedEpoch {
        SuspendedEpoch {
            open: self.open.borrow_mut().take(),
            begun_by_phase: self.begun_by_phase.replace(0),
            is_complete: self.is_complete.replace(false),
        }
    }

    /// Makes a suspended epoch the open one.
    pub(super) fn resume(&self, epoch: SuspendedEpoch) {
        *self.open.borrow_mut() = epoch.open;
        self.begun_by_phase.set(epoch.begun_by_phase);
        self.is_complete.set(epoch.is_complete);
    }

    /// Whether an epoch is open.
    pub(super) fn is_open(&self) -> bool {
        self.open.borrow().is_some()
    }

    /// Closes the epoch and releases the batches that the phase still holds.
    pub(super) fn close(&self, engine: &RefCell<Engine>) {
        if let Some(open) = self.open.borrow_mut().take() {
            open.held.iter().for_each(|batch| release_fields(engine, batch));
        }
    }

    /// Notes that the phase has taken a batch.
    pub(super) fn hold(&self, batch: BatchRaw) {
        if let Some(open) = self.open.borrow_mut().as_mut() {
            open.held.push(batch);
        }
    }

    /// Releases a batch whose step has ended.
    pub(super) fn release(&self, engine: &RefCell<Engine>, batch: &BatchRaw) {
        let mut open = self.open.borrow_mut();
        let Some(open) = open.as_mut() else { return };
        if let Some(place) = open.held.iter().position(|held| held.fields == batch.fields) {
            let held = open.held.swap_remove(place);
            release_fields(engine, &held);
        }
    }

    /// Whether the phase holds a batch that it has not finished.
    pub(super) fn holds_batches(&self) -> bool {
        self.open.borrow().as_ref().is_some_and(|open| !open.held.is_empty())
    }

    /// Whether all batches of the open epoch were taken.
    pub(super) fn all_batches_taken(&self) -> bool {
        let open = self.open.borrow();
        let batches = open.as_ref().and_then(|open| open.batches.as_ref());
        batches.is_some_and(|batches| batches.is_done())
    }
}

fn release_fields(engine: &RefCell<Engine>, batch: &BatchRaw) {
    let mut engine = engine.borrow_mut();
    for &field in &batch.fields[..batch.field_count as usize] {
        if let Err(error) = engine.release(field) {
            log::warn!("a plugin released a batch that it had only borrowed: {error}");
        }
    }
}
