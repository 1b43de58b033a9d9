//! How often validation phases run within an epoch of a training phase, and what is kept of the
//! training epoch meanwhile. See `validating`.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use super::batches::SuspendedEpoch;
use super::instance::Instance;
use super::snapshot::{SavedEpoch, SavedInstance};
use super::span::Marks;

/// How often validation phases run within an epoch of a training phase.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Interval {
    /// After so many steps.
    Steps(u64),
    /// After this share of the epoch's steps, between 0 and 1.
    Share(f64),
}

impl Interval {
    /// Intervals that have passed after `step` of `steps` steps; 0 for a share of an unknown number.
    pub(super) fn passed(self, step: u64, steps: u64) -> u64 {
        /// Against 3 / (0.1 * 30) being below 1.
        const ROUNDING: f64 = 1e-9;
        match self {
            Interval::Steps(every) => step.checked_div(every).unwrap_or(0),
            Interval::Share(share) if steps > 0 && share > 0.0 => {
                (step as f64 / (share * steps as f64) + ROUNDING) as u64
            }
            Interval::Share(_) => 0,
        }
    }
}

/// A training epoch that is suspended for validation.
pub(super) struct Suspended {
    /// What a snapshot keeps of it.
    pub(super) saved: SavedEpoch,
    /// Number of its phase.
    pub(super) phase: usize,
    pub(super) epoch: SuspendedEpoch,
    /// Serial number of its span.
    pub(super) serial: u64,
    pub(super) marks: Vec<(Rc<Instance>, Marks)>,
    /// States of the metrics in it.
    pub(super) metrics: Vec<SavedInstance>,
}

/// When validation phases run within an epoch of a training phase.
#[derive(Default)]
pub(crate) struct Intervals {
    pub(super) every: Cell<Option<Interval>>,
    /// Step of the open training epoch after which it was last validated.
    pub(super) validated: Cell<u64>,
    pub(super) suspended: RefCell<Option<Suspended>>,
}

impl Intervals {
    /// Forgets an epoch that a failure left suspended.
    pub(super) fn reset(&self) {
        *self.suspended.borrow_mut() = None;
    }

    /// Whether a training epoch is suspended.
    pub(super) fn is_within(&self) -> bool {
        self.suspended.borrow().is_some()
    }

    /// Step of the suspended training epoch.
    pub(super) fn outer_step(&self) -> Option<u64> {
        self.suspended.borrow().as_ref().map(|suspended| suspended.saved.step)
    }

    /// The suspended epoch and the number of its phase, for a snapshot.
    pub(super) fn outer(&self) -> Option<(usize, SavedEpoch)> {
        let suspended = self.suspended.borrow();
        suspended.as_ref().map(|suspended| (suspended.phase, suspended.saved.clone()))
    }

    /// The states of the metrics in the suspended epoch.
    pub(super) fn outer_metrics(&self) -> Vec<SavedInstance> {
        let suspended = self.suspended.borrow();
        suspended.as_ref().map(|suspended| suspended.metrics.clone()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The steps of an epoch of `steps` steps after which another interval has passed.
    fn due(interval: Interval, steps: u64) -> Vec<u64> {
        (1..=steps)
            .filter(|step| interval.passed(*step, steps) > interval.passed(step - 1, steps))
            .collect()
    }

    #[test]
    fn intervals_are_counted_in_steps_or_shares_of_the_epoch() {
        assert_eq!(due(Interval::Steps(4), 10), [4, 8]);
        assert!(due(Interval::Steps(11), 10).is_empty());
        assert_eq!(due(Interval::Share(0.5), 10), [5, 10]);
        assert_eq!(due(Interval::Share(0.25), 10), [3, 5, 8, 10]);
        assert_eq!(due(Interval::Share(0.1), 30), [3, 6, 9, 12, 15, 18, 21, 24, 27, 30]);
        assert!(due(Interval::Share(0.1), 0).is_empty());
        assert_eq!(due(Interval::Share(0.01), 10), [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
    }
}
