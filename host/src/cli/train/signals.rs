//! Signals while a run trains: the first SIGINT or SIGTERM ends the fit after the current step, the
//! second ends the process immediately.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use signal_hook::{
    consts::{SIGINT, SIGTERM},
    iterator::{Handle, Signals},
    low_level,
};

use crate::breadcrumb::{self, HostThread};
use crate::{cli::outcome::Exit, display::Screen, learner::TIME_IS_UP, supervisor};

/// Signals within this time count as one: a terminal signals every process of the group, and
/// supervisors such as this program's own, or `timeout`, then forward the signal.
const SAME_SIGNAL: Duration = Duration::from_millis(100);

/// Handles signals until it is dropped.
pub(super) struct Listening {
    handle: Handle,
    thread: Option<thread::JoinHandle<()>>,
}

/// Starts to handle signals. `interrupt` becomes the number of the first one.
///
/// # Errors
/// The handlers or the thread cannot be installed.
pub(super) fn listen(interrupt: Arc<AtomicU32>, screen: Screen) -> io::Result<Listening> {
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    let handle = signals.handle();
    let thread = thread::Builder::new().name("signals".to_owned()).spawn(move || {
        breadcrumb::host_thread(HostThread::Signals);
        let mut first: Option<Instant> = None;
        for signal in signals.forever() {
            if first.is_some_and(|first| first.elapsed() < SAME_SIGNAL) {
                continue;
            }
            first.get_or_insert_with(Instant::now);
            if !matches!(interrupt.swap(signal.unsigned_abs(), Ordering::Relaxed), 0 | TIME_IS_UP) {
                supervisor::worker::done(exit(signal.unsigned_abs()).code());
                low_level::exit(i32::from(exit(signal.unsigned_abs()).code()));
            }
            screen.print(&format!(
                "{}: the run ends after this step; send it again to end it immediately",
                name(signal.unsigned_abs())
            ));
        }
    })?;
    Ok(Listening { handle, thread: Some(thread) })
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.handle.close();
        if let Some(thread) = self.thread.take() {
            // It ends when the handle closes; a panic in it does not matter any more.
            let _ = thread.join();
        }
    }
}

/// `SIGINT` or `SIGTERM`.
pub(super) fn name(signal: u32) -> &'static str {
    if signal == SIGTERM.unsigned_abs() { "SIGTERM" } else { "SIGINT" }
}

/// The exit code after a signal.
pub(super) fn exit(signal: u32) -> Exit {
    if signal == SIGTERM.unsigned_abs() { Exit::Terminated } else { Exit::Interrupted }
}
