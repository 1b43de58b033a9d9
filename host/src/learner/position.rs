//! The position of the run: phase, epoch, step. Copied at every event.

use std::cell::Cell;

use fluxbay_plugin::abi::event::{EventRaw, phase_kind};

use crate::breadcrumb;

/// The position, with the parts that an event does not carry.
#[derive(Debug)]
pub struct Position {
    at: Cell<EventRaw>,
    /// Number of the running phase's instance; [`NO_PHASE`] if none runs.
    pub phase_instance: Cell<u32>,
    /// Epochs that the fit runs in total.
    pub epochs: Cell<u64>,
    /// Samples of the current batch; 0 outside steps.
    pub samples: Cell<u64>,
    /// Samples that an epoch of the running phase reads.
    pub samples_per_epoch: Cell<u64>,
}

/// Neither an instance nor `NO_INSTANCE` has this number.
const NO_PHASE: u32 = u32::MAX - 1;

const OUTSIDE: EventRaw = EventRaw {
    kind: 0,
    phase: u32::MAX,
    phase_kind: phase_kind::NONE,
    reserved: 0,
    epoch: 0,
    step: 0,
    total_steps: 0,
    steps_per_epoch: 0,
};

impl Default for Position {
    fn default() -> Position {
        Position {
            at: Cell::new(OUTSIDE),
            phase_instance: Cell::new(NO_PHASE),
            epochs: Cell::new(0),
            samples: Cell::new(0),
            samples_per_epoch: Cell::new(0),
        }
    }
}

impl Position {
    /// The position as an event of kind `kind`.
    #[inline]
    pub fn event(&self, kind: u32) -> EventRaw {
        EventRaw { kind, ..self.at.get() }
    }

    /// Number of the running phase; `u32::MAX` if none runs.
    #[inline]
    pub fn phase(&self) -> u32 {
        self.at.get().phase
    }

    /// The position.
    #[inline]
    pub fn get(&self) -> EventRaw {
        self.at.get()
    }

    /// Changes it.
    pub fn change(&self, change: impl FnOnce(&mut EventRaw)) {
        let mut at = self.at.get();
        change(&mut at);
        self.at.set(at);
        breadcrumb::position(at.phase, at.epoch, at.step);
    }

    /// Leaves the phase; the epoch is kept.
    pub fn leave_phase(&self) {
        let epoch = self.at.get().epoch;
        breadcrumb::position(OUTSIDE.phase, epoch, 0);
        self.at.set(EventRaw { epoch, ..OUTSIDE });
        self.phase_instance.set(NO_PHASE);
        self.samples.set(0);
        self.samples_per_epoch.set(0);
    }
}
