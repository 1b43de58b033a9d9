//! How long the batches of a split take. Decides on which threads they are made, never what they
//! hold.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Shortest time of a batch, in nanoseconds, from which loader threads make it. A faster one is
/// made by the kernel threads: handing it over, and taking a core from the kernels, would cost as
/// much as making it.
const WORTH_A_THREAD: u64 = 150_000;
/// Batches that are timed before a decision: the first ones run with cold caches.
const TIMED: u64 = 5;
/// Nanoseconds after which a decision is made with fewer timed batches.
const TIMING: u64 = 20_000_000;

/// Timings of one split, kept from epoch to epoch.
#[derive(Default)]
pub(super) struct SplitTimings {
    /// Whether one batch passed the verification of every byte.
    pub(super) verified: AtomicBool,
    /// Shortest time of a batch, in nanoseconds.
    fastest: AtomicU64,
    /// Batches that were timed.
    timed: AtomicU64,
    /// Sum of their times, in nanoseconds.
    spent: AtomicU64,
}

impl SplitTimings {
    /// Records how long a batch took. Called by one thread at a time.
    pub(super) fn record(&self, nanoseconds: u64) {
        let known = if self.timed.fetch_add(1, Ordering::Relaxed) == 0 {
            u64::MAX
        } else {
            self.fastest.load(Ordering::Relaxed)
        };
        self.fastest.store(nanoseconds.min(known), Ordering::Relaxed);
        self.spent.fetch_add(nanoseconds, Ordering::Relaxed);
    }

    /// Whether loader threads should make the batches; `None` before the decision.
    pub(super) fn worth_a_thread(&self) -> Option<bool> {
        let known = self.timed.load(Ordering::Relaxed) >= TIMED
            || self.spent.load(Ordering::Relaxed) >= TIMING;
        known.then(|| self.fastest.load(Ordering::Relaxed) >= WORTH_A_THREAD)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_split_is_judged_by_the_fastest_of_several_batches() {
        let judge = |times: &[u64]| {
            let timings = SplitTimings::default();
            times.iter().for_each(|&time| timings.record(time));
            timings.worth_a_thread()
        };
        assert_eq!(judge(&[]), None);
        assert_eq!(judge(&[900_000, 10_000, 900_000, 900_000]), None, "too few");
        assert_eq!(
            judge(&[900_000, 10_000, 900_000, 900_000, 900_000]),
            Some(false),
            "the first found nothing in the cache"
        );
        assert_eq!(judge(&[200_000; 5]), Some(true));
        assert_eq!(judge(&[30_000_000]), Some(true), "so long that no more are timed");
    }
}
