//! The model that a phase measured, if callbacks replaced the parameters for it.
//!
//! A callback such as `ema` puts averages in place of the parameters while a phase measures, and
//! the trained values back at the end of its epoch. A checkpoint needs both: the measured model for
//! its metrics, the trained one for resuming. So the parameters are copied before epoch-end is
//! sent, if callbacks have set any since the epoch began.

use std::cell::{Cell, RefCell};

use candle_core::Tensor;

/// What is known of the measured model.
#[derive(Debug, Default)]
pub(crate) struct Measured {
    /// Number of times that a callback has set a parameter.
    pub(super) writes: Cell<u64>,
    /// The same at the begin of the epoch that is open.
    writes_at_begin: Cell<u64>,
    /// The copy of the last measured model.
    pub(super) model: RefCell<Option<MeasuredModel>>,
}

/// A copy of the parameters that a phase measured.
#[derive(Clone, Debug)]
pub struct MeasuredModel {
    /// The phase, by instance id.
    pub phase: String,
    /// The parameters, as `MODEL.PATH`.
    pub parameters: Vec<(String, Tensor)>,
    pub(super) updates: u64,
    pub(super) writes: u64,
}

impl MeasuredModel {
    /// A model that was measured after `updates` updates.
    pub fn new(phase: String, parameters: Vec<(String, Tensor)>, updates: u64) -> MeasuredModel {
        MeasuredModel { phase, parameters, updates, writes: 0 }
    }
}

impl Measured {
    /// Called when a callback sets a parameter.
    #[inline]
    pub(super) fn note_write(&self) {
        self.writes.set(self.writes.get() + 1);
    }

    /// Called before an epoch begins.
    pub(super) fn begin_epoch(&self) {
        self.writes_at_begin.set(self.writes.get());
    }

    /// Called when an epoch is resumed within which parameters were set.
    pub(super) fn resume_epoch(&self, were_set: bool) {
        self.note_write();
        self.writes_at_begin.set(self.writes.get() - u64::from(were_set));
    }

    /// Called when an epoch goes on after one within it; `were_set` as before that.
    pub(super) fn resume_outer(&self, were_set: bool) {
        self.writes_at_begin.set(self.writes.get().wrapping_sub(u64::from(were_set)));
    }

    /// Restores the measured model of a snapshot, whose parameters are the trained ones.
    pub(super) fn restore(&self, model: Option<&MeasuredModel>) {
        let writes = self.writes.get();
        self.note_write();
        *self.model.borrow_mut() = model.map(|model| MeasuredModel { writes, ..model.clone() });
    }

    /// Whether parameters were set in the epoch that is open.
    pub(super) fn were_set(&self) -> bool {
        self.writes.get() != self.writes_at_begin.get()
    }
}
