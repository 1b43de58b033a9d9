//! The time budget of a check: whether another check still starts, and sizes of trainings that fit.

use std::time::{Duration, Instant};

/// Number of trainings that the checks of one component run, about.
const TRAININGS: u32 = 40;
/// A training step of a batch of four samples that is faster than this is measured again with the
/// batch size of the run; a slower one is extrapolated.
pub(super) const CHEAP: Duration = Duration::from_millis(20);

/// Time for all checks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Budget {
    total: Duration,
    end: Instant,
}

impl Budget {
    /// A budget of `total`, of which `left` is not used yet.
    pub(super) fn new(total: Duration, left: Duration) -> Self {
        let now = Instant::now();
        Self { total, end: now.checked_add(left).unwrap_or(now + Duration::from_secs(1 << 30)) }
    }

    /// Whether no time is left.
    pub(super) fn is_spent(&self) -> bool {
        Instant::now() >= self.end
    }

    /// Message of a check that is skipped because no time is left.
    pub(super) fn spent(&self) -> String {
        format!("no time is left of {:?}: give it more with --budget", self.total)
    }

    /// Time for one training, if the time that is left is shared by `components` components.
    pub(super) fn training(&self, components: usize) -> Duration {
        let left = self.end.saturating_duration_since(Instant::now());
        left / u32::try_from(components.max(1)).unwrap_or(u32::MAX) / TRAININGS
    }
}

/// Size of the trainings of a component.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Size {
    /// Samples in a batch; 0 for the batch size of the run.
    pub(super) batch: u64,
    /// Batches in an epoch of each phase; 0 for all.
    pub(super) batches: u64,
}

/// Durations of a small training.
#[derive(Clone, Copy, Debug)]
pub(super) struct Measured {
    /// Opening the session.
    pub(super) opening: Duration,
    /// One step.
    pub(super) step: Duration,
    /// Samples in its batches.
    pub(super) batch: u64,
}

/// The largest size whose training of two epochs takes at most `time`; the smallest size if none
/// does. `batch` and `steps` are the batch size of the run and its steps in an epoch of all phases.
/// No size has fewer than four steps in a phase: some checks act in the third step.
pub(super) fn size(measured: &Measured, batch: u64, steps: u64, time: Duration) -> Size {
    let least = batch.min(4);
    let candidates = [
        (batch, 0),
        (batch, 16),
        (batch.min(32), 8),
        (batch.min(16), 8),
        (batch.min(8), 4),
        (least, 4),
    ];
    let takes = |batch: u64, batches: u64| {
        let steps = if batches == 0 { steps } else { (2 * batches).min(steps) };
        let share = batch as f64 / measured.batch.max(1) as f64;
        measured.opening.as_secs_f64() + 2.0 * steps as f64 * measured.step.as_secs_f64() * share
    };
    let fitting = candidates
        .into_iter()
        .find(|(batch, batches)| takes(*batch, *batches) <= time.as_secs_f64());
    let (chosen, batches) = fitting.unwrap_or((least, 4));
    Size { batch: if chosen == batch { 0 } else { chosen }, batches }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_size_that_fits_is_chosen() {
        let second = Duration::from_secs(1);
        let of = |milliseconds: u64, batch: u64, time: Duration| {
            let step = Duration::from_millis(milliseconds);
            let measured = Measured { opening: Duration::from_millis(100), step, batch };
            size(&measured, 128, 15, time)
        };
        // 0.1 s + 2 epochs of 15 steps of 10 ms = 0.4 s.
        assert_eq!(of(10, 128, second), Size::default());
        // Full: 0.1 + 2 * 15 * 0.1 * 32 s. With 4 samples and 2 * 4 steps: 0.1 + 2 * 8 * 0.1 s.
        assert_eq!(of(100, 4, 2 * second), Size { batch: 4, batches: 4 });
        // With 8 samples: 0.1 + 2 * 8 * 0.2 = 3.3 s.
        assert_eq!(of(100, 4, 4 * second), Size { batch: 8, batches: 4 });
        // Nothing fits.
        assert_eq!(of(100, 4, Duration::ZERO), Size { batch: 4, batches: 4 });
    }

    #[test]
    fn what_is_left_is_shared_by_the_components_that_are_left() {
        let budget = Budget::new(Duration::from_secs(60), Duration::from_secs(40));
        assert!(!budget.is_spent() && budget.spent().contains("60s"));
        let alone = budget.training(1);
        assert!(alone <= Duration::from_secs(1) && alone > Duration::from_millis(500));
        assert!(budget.training(10) <= Duration::from_millis(100));
        assert!(Budget::new(Duration::from_secs(60), Duration::ZERO).is_spent());
    }
}
