//! The loop of the dashboard: read, draw, wait for a key.

use std::{
    io::{self, IsTerminal as _},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use ratatui::crossterm::event::{self, Event, KeyEventKind};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGWINCH};

use crate::{
    Host,
    app::{After, App},
    memory::resident,
    record::Record,
    view,
};

/// Time between two looks at the files.
const TICK: Duration = Duration::from_millis(250);
/// Time for reading before a key is looked for again.
const READING: Duration = Duration::from_millis(120);
/// Looks at the files between two looks at memory, lock and clock.
const SLOW: u32 = 4;

/// Why the dashboard was left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Left {
    /// The user left it.
    ByUser,
    /// The host closed it.
    ByHost,
    /// A signal ended it.
    BySignal(i32),
}

/// Shows a run on the terminal of stdin and stdout until the user leaves, the host closes it, or a
/// signal arrives. The terminal is as before afterwards.
///
/// # Errors
/// Stdin or stdout is no terminal, or it cannot be used.
pub fn watch(id: &str, folder: &Path, colors: bool, host: &mut dyn Host) -> io::Result<Left> {
    if !io::stdin().is_terminal() || !io::stdout().is_terminal() {
        return Err(io::Error::other("stdin and stdout are no terminal"));
    }
    let signals = Signals::listen()?;
    let mut app = App::new(Record::new(id, folder), colors);
    app.ends_run = host.ends_run();
    let mut terminal = ratatui::try_init()?;
    let left = show(&mut terminal, &mut app, host, &signals);
    if input(Duration::ZERO).is_ok_and(|input| input == Input::Gone) {
        // Dropping it prints a message if it fails, to a terminal that is gone.
        std::mem::forget(terminal);
        let _ = ratatui::try_restore();
        return Ok(Left::BySignal(SIGHUP));
    }
    let restored = ratatui::try_restore();
    let left = left?;
    restored.map(|()| left)
}

/// What the terminal has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Input {
    /// Something to read.
    Waiting,
    Nothing,
    /// It was closed.
    Gone,
}

/// Waits until the terminal has input, at most `time`, or a signal arrives. Events are only read from a terminal that has input:
/// from one that was closed, reading them would not return.
fn input(time: Duration) -> io::Result<Input> {
    let stdin = io::stdin();
    let mut polled = [PollFd::new(&stdin, PollFlags::IN)];
    let time = Timespec { tv_sec: 0, tv_nsec: i64::from(time.subsec_nanos()) };
    match poll(&mut polled, Some(&time)) {
        Ok(_) => {
            let found = polled[0].revents();
            Ok(match found.intersects(PollFlags::HUP | PollFlags::ERR | PollFlags::NVAL) {
                true => Input::Gone,
                false if found.contains(PollFlags::IN) => Input::Waiting,
                false => Input::Nothing,
            })
        }
        Err(Errno::INTR) => Ok(Input::Nothing),
        Err(error) => Err(error.into()),
    }
}

fn show(
    terminal: &mut ratatui::DefaultTerminal,
    app: &mut App,
    host: &mut dyn Host,
    signals: &Signals,
) -> io::Result<Left> {
    let mut ticks = 0_u32;
    let mut next = Instant::now();
    let mut dirty = true;
    let mut more = false;
    loop {
        if more || Instant::now() >= next {
            next = Instant::now() + TICK;
            if ticks.is_multiple_of(SLOW) {
                dirty |= look(app, host);
            }
            ticks = ticks.wrapping_add(1);
            let updated = app.update(READING);
            more = updated.more;
            dirty |= updated.changed;
        }
        if dirty | signals.resized() {
            terminal.draw(|frame| view::draw(frame, app))?;
            dirty = false;
        }
        if host.is_over() {
            return Ok(Left::ByHost);
        }
        if let Some(signal) = signals.arrived() {
            return Ok(Left::BySignal(signal));
        }
        let wait =
            if more { Duration::ZERO } else { next.saturating_duration_since(Instant::now()) };
        match input(Duration::ZERO)? {
            Input::Gone => return Ok(Left::BySignal(SIGHUP)),
            Input::Nothing => {
                input(wait)?;
            }
            // Several events may have been read at once.
            Input::Waiting => {
                while event::poll(Duration::ZERO)? {
                    dirty = true;
                    if let Some(left) = handle(&event::read()?, app, host) {
                        return Ok(left);
                    }
                    if input(Duration::ZERO)? == Input::Gone {
                        break;
                    }
                }
            }
        }
        // A run to compare with is read at once.
        if dirty && app.other.is_some() {
            next = Instant::now();
        }
    }
}

/// Does what a key asks for. Returns why the dashboard is left, if it is.
fn handle(event: &Event, app: &mut App, host: &mut dyn Host) -> Option<Left> {
    let Event::Key(key) = event else { return None };
    if key.kind == KeyEventKind::Release {
        return None;
    }
    match app.key(*key, &*host) {
        After::Stay => {}
        After::Leave => return Some(Left::ByUser),
        After::Interrupt => {
            host.interrupt();
            app.notice = "the run ends after this step; again to end it at once".to_owned();
        }
    }
    None
}

/// Looks at what no file says. Returns whether it has changed.
fn look(app: &mut App, host: &dyn Host) -> bool {
    let live = host.is_live(&app.run.folder);
    let process = app.run.state.as_ref().map(|state| state.process);
    let memory = process.filter(|_| live).and_then(resident);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64());
    let changed = live || live != app.live || memory != app.memory;
    (app.live, app.memory, app.now) = (live, memory, now);
    changed
}

/// Signals that leave the dashboard, so that the terminal is restored, and that of a new size.
struct Signals(Vec<(i32, Arc<AtomicBool>, signal_hook::SigId)>);

impl Signals {
    fn listen() -> io::Result<Signals> {
        let mut listening = Signals(Vec::new());
        for signal in [SIGHUP, SIGINT, SIGTERM, SIGWINCH] {
            let arrived = Arc::new(AtomicBool::new(false));
            let id = signal_hook::flag::register(signal, Arc::clone(&arrived))?;
            listening.0.push((signal, arrived, id));
        }
        Ok(listening)
    }

    fn arrived(&self) -> Option<i32> {
        let mut leaves = self.0.iter().filter(|(signal, ..)| *signal != SIGWINCH);
        let arrived = leaves.find(|(_, arrived, _)| arrived.load(Relaxed));
        arrived.map(|(signal, _, _)| *signal)
    }

    /// Whether the terminal has another size since the last call. What is drawn next fills it.
    fn resized(&self) -> bool {
        let mut own = self.0.iter().filter(|(signal, ..)| *signal == SIGWINCH);
        own.any(|(_, arrived, _)| arrived.swap(false, Relaxed))
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        for (_, _, id) in &self.0 {
            signal_hook::low_level::unregister(*id);
        }
    }
}
