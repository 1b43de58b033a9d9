//! The time limit of a run: when it expires, the fit ends after the current step.

use std::{
    io,
    sync::{Arc, mpsc},
    thread,
    time::Duration,
};

use crate::breadcrumb::{self, HostThread};
use crate::learner::Interrupt;

/// A timer that runs until it is dropped.
pub(super) struct Deadline {
    stop: Option<mpsc::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Deadline {
    /// Starts the timer; 0 seconds means no limit. When it expires, `interrupt` becomes
    /// [`TIME_IS_UP`], unless it holds a signal already.
    ///
    /// # Errors
    /// The timer's thread cannot be started.
    pub(super) fn begin(interrupt: Arc<Interrupt>, seconds: f64) -> io::Result<Deadline> {
        let Some(limit) =
            Duration::try_from_secs_f64(seconds).ok().filter(|limit| !limit.is_zero())
        else {
            return Ok(Deadline { stop: None, thread: None });
        };
        let (stop, stopped) = mpsc::channel();
        let thread = thread::Builder::new().name("deadline".to_owned()).spawn(move || {
            breadcrumb::host_thread(HostThread::Deadline);
            if stopped.recv_timeout(limit) == Err(mpsc::RecvTimeoutError::Timeout) {
                interrupt.end_in_time();
            }
        })?;
        Ok(Deadline { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Deadline {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // It ends when the channel closes; a panic in it does not matter any more.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::learner::TIME_IS_UP;

    #[test]
    fn the_timer_expires_once_and_keeps_an_earlier_signal() {
        let interrupt = Arc::new(Interrupt::default());
        let deadline = Deadline::begin(Arc::clone(&interrupt), 1e-3).unwrap();
        while interrupt.signal() == 0 {
            thread::yield_now();
        }
        drop(deadline);
        assert_eq!(interrupt.signal(), TIME_IS_UP);
        // Dropped before it expires, or without a limit: nothing happens.
        for seconds in [1e6, 0.0] {
            let interrupt = Arc::new(Interrupt::default());
            drop(Deadline::begin(Arc::clone(&interrupt), seconds).unwrap());
            assert_eq!(interrupt.signal(), 0);
        }
    }
}
