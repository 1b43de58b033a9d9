//! The time that a run may take: when it is up, the fit ends after the step, as if it had been
//! asked to.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
        mpsc,
    },
    thread,
    time::Duration,
};

use crate::learner::TIME_IS_UP;

/// Watches the time until it is dropped.
pub(super) struct Deadline {
    stop: Option<mpsc::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Deadline {
    /// Begins to watch; `seconds` of 0 are no limit. A signal that came before stays what it is.
    ///
    /// # Errors
    /// Where no thread can be started.
    pub(super) fn begin(interrupt: Arc<AtomicU32>, seconds: f64) -> io::Result<Deadline> {
        let Some(limit) =
            Duration::try_from_secs_f64(seconds).ok().filter(|limit| !limit.is_zero())
        else {
            return Ok(Deadline { stop: None, thread: None });
        };
        let (stop, stopped) = mpsc::channel();
        let thread = thread::Builder::new().name("deadline".to_owned()).spawn(move || {
            if stopped.recv_timeout(limit) == Err(mpsc::RecvTimeoutError::Timeout) {
                let _ =
                    interrupt.compare_exchange(0, TIME_IS_UP, Ordering::Relaxed, Ordering::Relaxed);
            }
        })?;
        Ok(Deadline { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Deadline {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // It ends with the channel; a panic in it has nothing left to spoil.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_is_up_once_and_a_signal_before_it_stays() {
        let interrupt = Arc::new(AtomicU32::new(0));
        let deadline = Deadline::begin(Arc::clone(&interrupt), 1e-3).unwrap();
        while interrupt.load(Ordering::Relaxed) == 0 {
            thread::yield_now();
        }
        drop(deadline);
        assert_eq!(interrupt.load(Ordering::Relaxed), TIME_IS_UP);
        // Dropped before the time is up, and without a limit: nothing happens.
        for seconds in [1e6, 0.0] {
            let interrupt = Arc::new(AtomicU32::new(0));
            drop(Deadline::begin(Arc::clone(&interrupt), seconds).unwrap());
            assert_eq!(interrupt.load(Ordering::Relaxed), 0);
        }
    }
}
