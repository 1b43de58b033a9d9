//! Requests to a running fit from other threads, such as signal handlers: to end, or to save and
//! continue. One atomic number, so that the loop checks both with one load.

use std::sync::atomic::{AtomicU32, Ordering};

/// Value of [`Interrupt::signal`] when the run's time limit is reached; all others are signal
/// numbers.
pub const TIME_IS_UP: u32 = u32::MAX >> 1;
/// Bit of a request to save and continue.
const SAVE: u32 = 1 << 31;

/// The requests to a fit.
#[derive(Debug, Default)]
pub struct Interrupt(AtomicU32);

impl Interrupt {
    /// Whether there is any request.
    #[inline]
    pub fn is_pending(&self) -> bool {
        self.0.load(Ordering::Relaxed) != 0
    }

    /// The signal that ends the fit, or [`TIME_IS_UP`]; 0 for none.
    #[inline]
    pub fn signal(&self) -> u32 {
        self.0.load(Ordering::Relaxed) & !SAVE
    }

    /// Ends the fit after the step. Returns the signal of an earlier call, or 0.
    pub fn end(&self, signal: u32) -> u32 {
        let replace = |old: u32| Some(old & SAVE | signal & !SAVE);
        let old = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, replace);
        old.unwrap_or_else(|old| old) & !SAVE
    }

    /// Ends the fit after the step because its time is up, unless it ends already.
    pub fn end_in_time(&self) {
        let replace = |old: u32| (old & !SAVE == 0).then_some(old | TIME_IS_UP);
        // Fails if a signal ends the fit.
        let _ = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, replace);
    }

    /// Requests a checkpoint after the step; the fit continues.
    pub fn save(&self) {
        self.0.fetch_or(SAVE, Ordering::Relaxed);
    }

    /// Whether a checkpoint is requested.
    pub fn wants_save(&self) -> bool {
        self.0.load(Ordering::Relaxed) & SAVE != 0
    }

    /// Marks the requested checkpoint as taken.
    pub fn saved(&self) {
        self.0.fetch_and(!SAVE, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ending_and_saving_are_independent() {
        let interrupt = Interrupt::default();
        assert!(!interrupt.is_pending());
        interrupt.save();
        assert!(interrupt.is_pending() && interrupt.wants_save() && interrupt.signal() == 0);
        interrupt.end_in_time();
        assert_eq!((interrupt.signal(), interrupt.wants_save()), (TIME_IS_UP, true));
        assert_eq!(interrupt.end(15), TIME_IS_UP);
        assert_eq!((interrupt.signal(), interrupt.wants_save()), (15, true));
        interrupt.saved();
        interrupt.end_in_time();
        assert_eq!((interrupt.signal(), interrupt.wants_save()), (15, false));
        assert_eq!(interrupt.end(2), 15);
    }
}
