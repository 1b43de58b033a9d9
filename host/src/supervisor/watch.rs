//! The supervisor's side: start the worker, forward signals, wait, and report how it ended.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::FileExt as _;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::sync::atomic::{AtomicI32, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::fs::{MemfdFlags, ftruncate, memfd_create};
use rustix::io::{FdFlags, fcntl_setfd};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, waitid};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGUSR2};
use signal_hook::iterator::Signals;

use super::report::{Breadcrumb, Cause, Report, Scene, Stuck, report};
use crate::breadcrumb::memory::{BYTES, USED, word};
use crate::breadcrumb::{Names, WORKER_OPTION};
use crate::library::escape;
use crate::record::{RankState, RunState, STATE, Status, checkpoint, file};

/// Interval at which the worker's calls are checked.
const TICK: Duration = Duration::from_millis(100);
/// Time that a worker may take to exit once it is done.
const FAREWELL: Duration = Duration::from_secs(10);
/// Signals within this time count as one: a terminal signals every process of the group, and
/// supervisors such as this one, or `timeout`, then forward the signal.
pub const SAME_SIGNAL: Duration = Duration::from_millis(100);
/// Time that a worker has to end after the second signal.
const SECOND_SIGNAL: Duration = Duration::from_secs(2);
/// Time within which the failure of another rank is looked for after SIGTERM.
const OTHER_RANK: Duration = Duration::from_millis(1500);
/// Time after which a stopped worker is reported.
const STOPPED: Duration = Duration::from_secs(2);
/// Least time after which a call, or a stop, may count as a hang since another rank has given up.
const HANGS: Duration = Duration::from_secs(1);
/// The setting that limits the time of a call, for reports that name no other.
const HANDLER_LIMIT: &str = "`run.handler-limit`";
/// SIGKILL.
const KILLED: i32 = 9;
/// Exit code of a command whose worker was ended.
const FAILED: u8 = 1;

/// How the worker ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// By itself, with this code.
    Itself(u8),
    /// By a plugin, a signal or the supervisor; what to print, and the exit code.
    Broken {
        /// What happened and where, and what to do.
        text: String,
        /// Exit code.
        code: u8,
    },
}

/// Runs this process' command line again as a worker, until it ends.
///
/// # Errors
/// Where no process can be started.
pub fn supervise() -> io::Result<Ended> {
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP, SIGUSR1, SIGUSR2])?;
    let supervised = Supervised::start(|option, number| {
        let mut arguments = std::env::args_os();
        let mut command = Command::new("/proc/self/exe");
        command.arg0(arguments.next().unwrap_or_else(|| "fluxbay".into()));
        command.arg(option).arg(number).args(arguments);
        command
    })?;
    let handle = signals.handle();
    let worker = Arc::clone(&supervised.worker);
    let shared = supervised.shared.try_clone()?;
    let forwarder = std::thread::spawn(move || forward(&mut signals, &worker, &shared));
    let ended = supervised.wait();
    handle.close();
    let forced = forwarder.join().ok().flatten();
    match (ended, forced) {
        (Ok(Ended::Broken { text, .. }), Some(signal)) => {
            let code = if signal == SIGINT { 130 } else { 143 };
            let name = if signal == SIGINT { "SIGINT" } else { "SIGTERM" };
            let text =
                format!("ended by a second {name}, to which the process did not react\n{text}");
            Ok(Ended::Broken { text, code })
        }
        (ended, _) => ended,
    }
}

/// Forwards signals to the worker until the list of signals is closed. A worker that is still there
/// [`SECOND_SIGNAL`] after the second SIGINT or SIGTERM is ended: plugins can make it ignore signals. Returns the
/// signal that it was ended for.
fn forward(signals: &mut Signals, worker: &Arc<Worker>, shared: &File) -> Option<i32> {
    let forced = Arc::new(AtomicI32::new(0));
    let mut first: Option<Instant> = None;
    for signal in signals.forever() {
        worker.send(signal);
        // The others can ask to save and continue, as often as a scheduler likes.
        if !matches!(signal, SIGINT | SIGTERM) {
            continue;
        }
        if first.is_none()
            && signal == SIGTERM
            && let Ok(shared) = shared.try_clone()
        {
            let worker = Arc::clone(worker);
            std::thread::spawn(move || end_after_another_rank(&worker, &shared));
        }
        // A terminal and a parent process may both send one: that counts as one.
        let is_second = first.get_or_insert_with(Instant::now).elapsed() > SAME_SIGNAL;
        if is_second && forced.load(Relaxed) == 0 {
            let (worker, forced) = (Arc::clone(worker), Arc::clone(&forced));
            std::thread::spawn(move || {
                std::thread::sleep(SECOND_SIGNAL);
                if worker.is_there() {
                    forced.store(signal, Relaxed);
                    worker.send(Signal::KILL.as_raw());
                }
            });
        }
    }
    Some(forced.load(Relaxed)).filter(|signal| *signal != 0)
}

/// Ends a worker whose launcher ends it because another rank has failed: it may wait for that rank, and
/// launchers kill soon.
fn end_after_another_rank(worker: &Worker, shared: &File) {
    let begin = Instant::now();
    while worker.is_there() && begin.elapsed() < OTHER_RANK {
        if Names::read(shared).is_ok_and(|names| failed_before(&names).is_some()) {
            worker.send(Signal::KILL.as_raw());
            return;
        }
        std::thread::sleep(TICK);
    }
}

/// The failure of another rank of the run that the worker trains.
fn failed_before(names: &Names) -> Option<RankState> {
    let file = names.rank.as_ref()?;
    let own = RankState::read(file)?.rank;
    RankState::failure_of_another(file.parent()?.parent()?, own)
}

/// A worker that is being watched.
#[derive(Debug)]
pub struct Supervised {
    shared: File,
    worker: Arc<Worker>,
    guard: JoinHandle<Option<Hang>>,
    limit_set_by: &'static str,
}

/// What a worker was ended for, with the breadcrumbs at that time.
struct Hang {
    cause: Cause,
    scene: Scene,
    /// The call that did not return.
    call: Option<Breadcrumb>,
}

impl Supervised {
    /// Starts the worker. `command` gets the hidden option and its value, which have to come first
    /// among the arguments of this program. Called on the main thread: the worker ends when the
    /// thread that started it does.
    ///
    /// # Errors
    /// Where no process can be started.
    pub fn start(command: impl FnOnce(&'static str, String) -> Command) -> io::Result<Self> {
        // Without CLOEXEC: the worker inherits it, and nothing else is started meanwhile.
        let shared = File::from(memfd_create("fluxbay-supervisor", MemfdFlags::empty())?);
        ftruncate(&shared, BYTES as u64)?;
        shared.write_all_at(
            &u64::from(std::process::id()).to_ne_bytes(),
            8 * word::SUPERVISOR as u64,
        )?;
        let worker =
            Arc::new(Worker::new(command(WORKER_OPTION, shared.as_raw_fd().to_string()).spawn()?));
        fcntl_setfd(&shared, FdFlags::CLOEXEC)?;
        let guard = Guard { shared: shared.try_clone()?, worker: Arc::clone(&worker) };
        let guard = std::thread::spawn(move || guard.watch());
        Ok(Self { shared, worker, guard, limit_set_by: HANDLER_LIMIT })
    }

    /// Says what sets the limit of a call, for reports of calls that took longer.
    #[must_use]
    pub fn limit_set_by(self, what: &'static str) -> Self {
        Self { limit_set_by: what, ..self }
    }

    /// A function that kills the worker; it can be called from any thread and at any time.
    pub fn killer(&self) -> impl Fn() + Send + 'static {
        let worker = Arc::clone(&self.worker);
        move || worker.send(Signal::KILL.as_raw())
    }

    /// Waits for the worker's end, and returns how it ended.
    ///
    /// # Errors
    /// If the system cannot report it.
    pub fn wait(self) -> io::Result<Ended> {
        let status = self.worker.wait()?;
        self.guard.thread().unpark();
        let hang = self.guard.join().ok().flatten();
        judge(&self.shared, status, hang, self.limit_set_by)
    }
}

/// The worker. Its process id is used only until it is reaped.
#[derive(Debug)]
struct Worker {
    pid: Pid,
    child: Mutex<Option<Child>>,
}

impl Worker {
    fn new(child: Child) -> Self {
        let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw).unwrap_or(Pid::INIT);
        Self { pid, child: Mutex::new(Some(child)) }
    }

    fn send(&self, signal: i32) {
        let child = self.child.lock().unwrap_or_else(PoisonError::into_inner);
        if let (Some(_), Some(signal)) = (&*child, Signal::from_named_raw(signal)) {
            let _ = kill_process(self.pid, signal);
        }
    }

    fn is_there(&self) -> bool {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        let child = self.child.lock().unwrap_or_else(PoisonError::into_inner);
        child.is_some() && matches!(waitid(WaitId::Pid(self.pid), options), Ok(None))
    }

    /// Waits for its end; signals can be sent meanwhile.
    fn wait(&self) -> io::Result<ExitStatus> {
        loop {
            match waitid(WaitId::Pid(self.pid), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT) {
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
                Ok(_) => break,
            }
        }
        let child = self.child.lock().unwrap_or_else(PoisonError::into_inner).take();
        child.map_or_else(
            || Err(io::Error::other("the worker was waited for twice")),
            |mut child| child.wait(),
        )
    }
}

/// Ends a worker whose call does not return, that hangs while the other ranks have given up, or that
/// does not exit once it is done.
struct Guard {
    shared: File,
    worker: Arc<Worker>,
}

impl Guard {
    /// Runs until the worker has ended. Returns what it was ended for, if it was.
    fn watch(&self) -> Option<Hang> {
        let mut stuck = Stuck::default();
        let mut done_since = None;
        let mut stopped = StoppedWorker::default();
        while self.worker.is_there() {
            std::thread::park_timeout(TICK);
            let Ok(scene) = scene(&self.shared) else { continue };
            if stopped.look(self.worker.pid) {
                let call = Names::read(&self.shared)
                    .ok()
                    .and_then(|names| Some(scene.describe(scene.training?, &names)));
                let call = call.unwrap_or_else(|| "no plugin".to_owned());
                log::warn!(
                    "the process that runs the plugins is stopped, as by SIGSTOP; called at that time: {call}; `kill -CONT {}` continues it",
                    self.worker.pid.as_raw_nonzero()
                );
            }
            if scene.ended.is_some() {
                if done_since.get_or_insert_with(Instant::now).elapsed() > FAREWELL {
                    self.worker.send(Signal::KILL.as_raw());
                }
                continue;
            }
            let call = stuck.look(&scene, Instant::now());
            let cause = match call {
                Some((since, _)) if !scene.limit.is_zero() && since > scene.limit => {
                    Some(Cause::TooLong(scene.limit, HANDLER_LIMIT))
                }
                _ if stopped.lasts(HANGS) && self.is_given_up(|time| stopped.lasts(time)) => {
                    Some(Cause::Stopped)
                }
                Some((since, call))
                    if since > HANGS
                        && !call.is_communicating()
                        && self.is_given_up(|time| since >= time) =>
                {
                    Some(Cause::Hung)
                }
                _ => None,
            };
            if let Some(cause) = cause {
                self.worker.send(Signal::KILL.as_raw());
                return Some(Hang { cause, scene, call: call.map(|(_, call)| call) });
            }
        }
        None
    }

    /// Whether another rank of the run that the worker trains has given up waiting, for what has lasted
    /// at least half as long as ranks wait.
    fn is_given_up(&self, lasts: impl Fn(Duration) -> bool) -> bool {
        let Ok(Names { rank: Some(file), .. }) = Names::read(&self.shared) else { return false };
        let (Some(folder), Some(own)) =
            (file.parent().and_then(Path::parent), RankState::read(&file))
        else {
            return false;
        };
        let half = Duration::try_from_secs_f64(own.timeout / 2.0).unwrap_or_default();
        lasts(half) && RankState::has_another_given_up(folder, own.rank)
    }
}

/// Notices that the worker is stopped. Its own watchdog cannot: it is stopped as well.
#[derive(Default)]
struct StoppedWorker {
    since: Option<Instant>,
    reported: bool,
}

impl StoppedWorker {
    /// Whether the worker has been stopped for so long, when it was last looked at.
    fn lasts(&self, time: Duration) -> bool {
        self.since.is_some_and(|since| since.elapsed() >= time)
    }

    /// Whether to report now that the worker is stopped: once each time, after [`STOPPED`].
    fn look(&mut self, pid: Pid) -> bool {
        if !is_stopped(pid) {
            *self = Self::default();
            return false;
        }
        let due = self.since.get_or_insert_with(Instant::now).elapsed() >= STOPPED;
        due && !std::mem::replace(&mut self.reported, due)
    }
}

fn is_stopped(pid: Pid) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero()));
    // The state follows the name, which stands in brackets and may hold any characters.
    stat.ok()
        .and_then(|text| text.rsplit_once(") ").map(|(_, after)| after.starts_with('T')))
        .unwrap_or(false)
}

fn scene(shared: &File) -> io::Result<Scene> {
    let mut bytes = [0; USED];
    shared.read_exact_at(&mut bytes, 0)?;
    let number = |place: usize| {
        bytes
            .get(8 * place..8 * place + 8)
            .and_then(|word| word.try_into().ok())
            .map_or(0, u64::from_ne_bytes)
    };
    Ok(Scene::of(number))
}

fn judge(
    shared: &File,
    status: ExitStatus,
    hang: Option<Hang>,
    limit_set_by: &'static str,
) -> io::Result<Ended> {
    let now = scene(shared)?;
    if let Some(code) = now.ended {
        if status.code() != Some(i32::from(code)) {
            log::warn!(
                "a plugin ended the process in its own way after everything was done and written ({status}); nothing is lost"
            );
        }
        return Ok(Ended::Itself(code));
    }
    let names = Names::read(shared)?;
    let hangs = hang.is_some();
    let report = match (hang, status.signal()) {
        (Some(Hang { cause, scene, call }), _) => {
            let cause = match cause {
                Cause::TooLong(limit, _) => Cause::TooLong(limit, limit_set_by),
                other => other,
            };
            report(cause, &scene, call, &names)
        }
        // Before the worker handles these signals, they end it like any process.
        (None, Some(signal @ (SIGINT | SIGTERM | SIGHUP | SIGUSR1 | SIGUSR2))) => {
            return Ok(Ended::Itself(128 + signal.unsigned_abs() as u8));
        }
        (None, Some(signal)) => report(Cause::Signal(signal), &now, None, &names),
        (None, None) => report(Cause::Exit(status.code().unwrap_or_default()), &now, None, &names),
    };
    let killed = !hangs && status.signal() == Some(KILLED);
    let report = match failed_before(&names).filter(|_| killed) {
        Some(other) => Report {
            text: format!("rank {} failed: {}", other.rank, other.reason),
            help: "see the report of that rank".to_owned(),
            by: other.by,
            plugin: String::new(),
        },
        None => report,
    };
    if let Some(path) = &names.rank
        && let Some(mut state) = RankState::read(path)
    {
        (state.status, state.reason, state.by) =
            (Status::Failed, report.text.clone(), report.by.clone());
        if let Err(error) = state.write(path) {
            log::warn!("the state of this rank was not written: {error}");
        }
        let folder = path.parent().and_then(Path::parent);
        if let Some(folder) = folder.filter(|_| names.directory.is_none()) {
            close_run_of_rank_0(folder, state.rank, &report);
        }
    }
    let mut text = format!("{}\n  what to do: {}", report.text, report.help);
    if let Some(directory) = &names.directory {
        if let Some(path) = path_of(directory, &report.plugin) {
            text.push_str(&format!("\n  plugin file: {}", escape::path(&path)));
        }
        text.push_str(&close_record(directory, &report));
    }
    Ok(Ended::Broken { text, code: FAILED })
}

/// Writes the failure of another rank into the state of the run, if rank 0 has not done so: launchers may
/// kill it before it can.
fn close_run_of_rank_0(folder: &Path, rank: usize, report: &Report) {
    let path = folder.join(STATE);
    let Ok(mut run) = RunState::read(&path) else { return };
    if run.status != Status::Running {
        return;
    }
    run.status = Status::Failed;
    run.reason = format!("rank {rank}: {}", report.text);
    run.by.clone_from(&report.by);
    run.exit_code = Some(FAILED);
    if let Err(error) = run.write(&path) {
        log::warn!("the state of the run was not written: {error}");
    }
}

/// The path of a plugin according to the record.
fn path_of(directory: &Path, plugin: &str) -> Option<PathBuf> {
    let lock: toml::Table =
        std::fs::read_to_string(directory.join(file::PLUGINS)).ok()?.parse().ok()?;
    let found = lock
        .get("plugin")?
        .as_array()?
        .iter()
        .find(|one| one.get("name").and_then(toml::Value::as_str) == Some(plugin))?;
    Some(found.get("path")?.as_str()?.into())
}

/// Writes the outcome into the record, and returns text about it and about resuming.
fn close_record(directory: &Path, report: &Report) -> String {
    let path = directory.join(STATE);
    let written = RunState::read(&path).and_then(|mut state| {
        state.status = Status::Failed;
        state.reason.clone_from(&report.text);
        state.by.clone_from(&report.by);
        state.exit_code = Some(FAILED);
        state.write(&path)
    });
    let mut text = match written {
        Ok(()) => format!("\n  the record of the run is in {}", escape::path(directory)),
        Err(error) => format!("\n  the record of the run could not be closed: {error}"),
    };
    let (newest, _) = checkpoint::newest(&directory.join(file::CHECKPOINTS));
    text.push_str(&match newest {
        Some((path, _)) => {
            format!(
                "\n  the checkpoint {} is whole: go on with `fluxbay resume {}`",
                escape::path(&path),
                escape::path(directory)
            )
        }
        None => "\n  there is no checkpoint yet".to_owned(),
    });
    text
}
