//! Signals while a run trains. SIGINT, SIGTERM, SIGHUP and SIGUSR2 end the fit after the current
//! step, a second one ends the process immediately. SIGUSR1, or those of `--save-on`, save and
//! continue.

use std::{
    io,
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::Instant,
};

use signal_hook::{
    consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGUSR2},
    iterator::{Handle, Signals},
    low_level,
};

use crate::{
    breadcrumb::{self, HostThread},
    cli::outcome::Exit,
    display::Screen,
    learner::{Interrupt, TIME_IS_UP},
    supervisor,
};

/// A signal that schedulers send, for `--save-on`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum SaveSignal {
    /// SIGHUP.
    Hup,
    /// SIGUSR1.
    Usr1,
    /// SIGUSR2.
    Usr2,
}

impl SaveSignal {
    fn number(self) -> i32 {
        match self {
            SaveSignal::Hup => SIGHUP,
            SaveSignal::Usr1 => SIGUSR1,
            SaveSignal::Usr2 => SIGUSR2,
        }
    }
}

/// Handles signals until it is dropped.
pub(super) struct Listening {
    target: Arc<Mutex<Arc<Interrupt>>>,
    handle: Handle,
    thread: Option<thread::JoinHandle<()>>,
}

/// Starts to handle signals. `save_on` are those that save and continue, by default SIGUSR1; all
/// others end the run. Until [`Listening::attach`] they are remembered, so that none is lost while
/// plugins and data are loaded.
///
/// # Errors
/// The handlers or the thread cannot be installed.
pub(super) fn listen(save_on: &[SaveSignal], screen: Screen) -> io::Result<Listening> {
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP, SIGUSR1, SIGUSR2])?;
    let saving: Vec<i32> = match save_on {
        [] => vec![SIGUSR1],
        given => given.iter().map(|signal| signal.number()).collect(),
    };
    let handle = signals.handle();
    let target: Arc<Mutex<Arc<Interrupt>>> = Arc::default();
    let current = Arc::clone(&target);
    let thread = thread::Builder::new().name("signals".to_owned()).spawn(move || {
        breadcrumb::host_thread(HostThread::Signals);
        let mut first: Option<Instant> = None;
        for signal in signals.forever() {
            let number = signal.unsigned_abs();
            let interrupt = current.lock().unwrap_or_else(PoisonError::into_inner);
            if saving.contains(&signal) {
                interrupt.save();
                screen.print(&format!("{}: saving after this step", name(number)));
                continue;
            }
            if first.is_some_and(|first| first.elapsed() < supervisor::SAME_SIGNAL) {
                continue;
            }
            first.get_or_insert_with(Instant::now);
            if !matches!(interrupt.end(number), 0 | TIME_IS_UP) {
                supervisor::worker::done(exit(number).code());
                low_level::exit(i32::from(exit(number).code()));
            }
            screen.print(&format!(
                "{}: the run ends after this step; send it again to end it immediately",
                name(number)
            ));
        }
    })?;
    Ok(Listening { target, handle, thread: Some(thread) })
}

impl Listening {
    /// Passes the signals on to a fit, also those that came before.
    pub(super) fn attach(&self, interrupt: Arc<Interrupt>) {
        let mut target = self.target.lock().unwrap_or_else(PoisonError::into_inner);
        if target.signal() != 0 {
            interrupt.end(target.signal());
        }
        if target.wants_save() {
            interrupt.save();
        }
        *target = interrupt;
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.handle.close();
        if let Some(thread) = self.thread.take() {
            // The thread ends with the handle; a panic in it needs no handling.
            let _ = thread.join();
        }
    }
}

/// The name of a signal, such as `SIGINT`.
pub(super) fn name(signal: u32) -> &'static str {
    match i32::try_from(signal) {
        Ok(SIGTERM) => "SIGTERM",
        Ok(SIGHUP) => "SIGHUP",
        Ok(SIGUSR1) => "SIGUSR1",
        Ok(SIGUSR2) => "SIGUSR2",
        _ => "SIGINT",
    }
}

/// The exit code after a signal.
pub(super) fn exit(signal: u32) -> Exit {
    match i32::try_from(signal) {
        Ok(SIGTERM) => Exit::Terminated,
        Ok(SIGHUP | SIGUSR1 | SIGUSR2) => Exit::Signalled(signal),
        _ => Exit::Interrupted,
    }
}
