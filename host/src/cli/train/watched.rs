//! `--watch`: runs the command again without it, in a process of its own, and shows the record of that
//! process in a dashboard.
//!
//! What the run prints is kept in a file while the dashboard covers the terminal, and printed when it is
//! left: by the user, whose run goes on, or because the run has ended. The run is not affected
//! by the dashboard, whatever happens to it.

use std::{
    fs::File,
    io::{self, Write as _},
    os::unix::{
        fs::FileExt as _,
        process::{CommandExt as _, ExitStatusExt as _},
    },
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use fluxbay_watch::Host;
use rustix::process::{Pid, Signal, kill_process};
use signal_hook::{
    consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGUSR2},
    iterator::Signals,
};

use crate::{
    cli::{
        outcome::{Exit, Failure},
        watch::{check_terminal, failed, folder_of, is_live, runs},
    },
    record::{RunEntry, RunIndex},
};

/// Time between two looks at the run while no dashboard is shown.
const TICK: Duration = Duration::from_millis(50);
/// The option that this file is about.
const OPTION: &str = "--watch";

/// Where the record of the run appears.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::cli) enum Place {
    /// In this folder.
    Folder(PathBuf),
    /// In a new folder below this one.
    Below(PathBuf),
}

/// Runs the command and shows its record. Returns its exit code.
///
/// # Errors
/// Without a terminal, or if the process cannot be started.
pub(in crate::cli) fn run(place: &Place) -> Result<u8, Failure> {
    check_terminal("`--watch`")?;
    let unavailable = |error: io::Error| {
        let help = "train without `--watch`";
        Failure::new(Exit::Failed, format!("the run cannot be watched: {error}; {help}"))
    };
    let mut signals =
        Signals::new([SIGINT, SIGTERM, SIGHUP, SIGUSR1, SIGUSR2]).map_err(unavailable)?;
    let mut run = Run::start(place).map_err(unavailable)?;
    let (handle, child) = (signals.handle(), Arc::clone(&run.child));
    // At once: signals that arrive twice within a tenth of a second count as one.
    let forwarder = thread::spawn(move || {
        signals.forever().for_each(|signal| send(&child, signal));
    });
    let ended = run.watch();
    handle.close();
    // It ends with the handle; a panic in it needs no handling.
    let _ = forwarder.join();
    let status = ended.map_err(|error| failed(&error))?;
    let code = status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0));
    Ok(u8::try_from(code).unwrap_or(Exit::Failed.code()))
}

/// The process that trains.
struct Run {
    child: Arc<Mutex<Child>>,
    process: u32,
    place: Place,
    /// What the process prints.
    output: File,
    /// Bytes of it that were printed.
    printed: u64,
    ended: Option<ExitStatus>,
    /// Folder with the other runs, once the record is known.
    beside: PathBuf,
}

impl Run {
    fn start(place: &Place) -> io::Result<Run> {
        let output = tempfile::tempfile()?;
        let mut arguments = std::env::args_os();
        let name = arguments.next().unwrap_or_else(|| "fluxbay".into());
        let child = Command::new("/proc/self/exe")
            .arg0(name)
            .args(arguments.filter(|argument| argument != OPTION))
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output.try_clone()?)
            .spawn()?;
        Ok(Run {
            process: child.id(),
            child: Arc::new(Mutex::new(child)),
            place: place.clone(),
            output,
            printed: 0,
            ended: None,
            beside: PathBuf::new(),
        })
    }

    /// Waits for the end of the process, with the dashboard from the beginning of its record on.
    fn watch(&mut self) -> io::Result<ExitStatus> {
        let mut shown = false;
        let mut problem = None;
        loop {
            let over = self.is_over();
            if shown || over {
                self.print();
            }
            if let Some(status) = self.ended {
                return problem.map_or(Ok(status), |error| {
                    drop(writeln!(io::stderr(), "warning: {error}"));
                    Ok(status)
                });
            }
            match self.record().filter(|_| !shown) {
                Some(record) => {
                    shown = true;
                    self.beside = folder_of(&record.path);
                    let colors = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
                    // Whatever it was left for, the run goes on.
                    let left = fluxbay_watch::watch(&record.id, &record.path, colors, self);
                    problem = left.err().map(|error| failed(&error));
                }
                None => thread::sleep(TICK),
            }
        }
    }

    /// The record that the process has begun, if it has.
    fn record(&self) -> Option<RunEntry> {
        let is_it =
            |run: &RunEntry| run.state.as_ref().is_ok_and(|state| state.process == self.process);
        match &self.place {
            Place::Folder(folder) => RunEntry::read(folder).filter(is_it),
            Place::Below(folder) => {
                RunIndex::read(folder).runs().iter().rev().find(|run| is_it(run)).cloned()
            }
        }
    }

    /// Prints what the process has printed since the last call.
    fn print(&mut self) {
        let mut part = vec![0; 1 << 16];
        // The process and this one share the position of the file, so reading does not move it.
        while let Ok(read @ 1..) = self.output.read_at(&mut part, self.printed) {
            self.printed += read as u64;
            // If stderr is closed, there is nothing left to do.
            let _ = io::stderr().write_all(&part[..read]);
        }
    }
}

impl Host for Run {
    fn is_live(&self, folder: &Path) -> bool {
        is_live(folder)
    }

    fn runs(&self) -> Vec<(String, PathBuf)> {
        runs(&self.beside)
    }

    fn is_over(&mut self) -> bool {
        if self.ended.is_none() {
            self.ended = lock(&self.child).try_wait().ok().flatten();
        }
        self.ended.is_some()
    }

    fn ends_run(&self) -> bool {
        true
    }

    fn interrupt(&mut self) {
        send(&self.child, SIGINT);
    }
}

/// Sends a signal to the process unless it has ended.
fn send(child: &Mutex<Child>, signal: i32) {
    let mut child = lock(child);
    let process = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    if let (Ok(None), Some(process), Some(signal)) =
        (child.try_wait(), process, Signal::from_named_raw(signal))
    {
        let _ = kill_process(process, signal);
    }
}

fn lock(child: &Mutex<Child>) -> MutexGuard<'_, Child> {
    child.lock().unwrap_or_else(PoisonError::into_inner)
}
