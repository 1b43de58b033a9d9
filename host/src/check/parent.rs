//! The parent's side: checks the file, starts the child, and restarts it after a check that ended it.

use std::collections::BTreeSet;
use std::fs::{self, File, Permissions};
use std::io::{self, BufRead as _, BufReader, Read as _};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use super::report::{CheckOutcome, CheckReport, Found, failed, passed, warning};
use super::task::{Message, Task};
use super::{COMMAND, Check, Item, file, plan};
use crate::library::{
    Candidate, HostContract, Inspected, Inspection, Limits, Manifest, Refusal, Sha256, Trust,
    escape,
};
use crate::supervisor::{Ended, Supervised};

/// Interval at which signals and the end of the child are checked.
const POLL: Duration = Duration::from_millis(50);
/// Time for loading the plugin.
const LOADING: Duration = Duration::from_secs(20);
/// Time that the last check may take after the budget is spent.
const OVERTIME: Duration = Duration::from_secs(30);
/// Time to wait for output after the child has ended.
const LAST_OUTPUT: Duration = Duration::from_secs(1);
/// Limit of the plugin's output in a message, in bytes.
const OUTPUT: usize = 2000;

/// Options of a check.
#[derive(Clone, Debug)]
pub struct Options {
    /// The plugin.
    pub file: PathBuf,
    /// Further folders with plugins, for the trainings.
    pub dirs: Vec<PathBuf>,
    /// Run files that use its components.
    pub runs: Vec<PathBuf>,
    /// Seed of all generated inputs.
    pub seed: u64,
    /// Names of the checks to run; all if empty.
    pub only: Vec<String>,
    /// Time for all checks. Trainings are made so small that they fit; checks that do not fit are
    /// skipped.
    pub budget: Duration,
}

/// What [`check`] reports while it runs.
#[derive(Clone, Copy, Debug)]
pub enum Progress<'a> {
    /// A check begins.
    Begun {
        /// Its name.
        check: &'a str,
        /// The component as `kind/name`, if it is about one.
        component: Option<&'a str>,
    },
    /// A check has ended.
    Ended(&'a CheckOutcome),
}

/// Checks a file, and calls `progress` for each check.
///
/// # Errors
/// No child can be started, or no folder created; `Interrupted` after SIGINT or SIGTERM. Faults of
/// the plugin are in the report.
pub fn check(options: &Options, progress: &mut dyn FnMut(Progress<'_>)) -> io::Result<CheckReport> {
    let interrupted = Interrupted::listen()?;
    let mut report = CheckReport {
        file: escape::path(&options.file),
        plugin: None,
        sha256: None,
        seed: options.seed,
        outcomes: Vec::new(),
    };
    let begin = Instant::now();
    let plugin = match inspect(&options.file) {
        Ok(plugin) => plugin,
        Err(found) => {
            report.outcomes.push(CheckOutcome::new(Check::FileReadable, None, found, since(begin)));
            return Ok(report);
        }
    };
    let manifest = plugin.manifest().clone();
    report.plugin = Some(format!(
        "{} {}",
        escape::text(&manifest.plugin.name),
        escape::text(&manifest.plugin.version)
    ));
    report.sha256 = Some(plugin.sha256().hex());
    report.outcomes.push(CheckOutcome::new(Check::FileReadable, None, passed(), since(begin)));
    let bytes = fs::read(&options.file)?;
    if Sha256::of(&bytes) != plugin.sha256() {
        report.outcomes.push(CheckOutcome::new(
            Check::FileReadable,
            None,
            failed("it changed while it was read"),
            since(begin),
        ));
        return Ok(report);
    }
    report.outcomes.push(CheckOutcome::new(
        Check::FileKeptFromOthers,
        None,
        kept(plugin),
        since(begin),
    ));
    for (check, component, found) in file::checks(&bytes, &manifest) {
        report.outcomes.push(CheckOutcome::new(check, component, found, 0));
    }
    report.outcomes.iter().for_each(|outcome| progress(Progress::Ended(outcome)));
    run_it(options, &bytes, &manifest, &mut report.outcomes, &interrupted, progress)?;
    if !options.only.is_empty() {
        report.outcomes.retain(|outcome| options.only.contains(&outcome.check));
    }
    Ok(report)
}

/// Whether a signal asked this process to end. Without the default action of the signals, the
/// folders of the check are removed before the process ends.
struct Interrupted {
    flag: Arc<AtomicBool>,
    registered: Vec<signal_hook::SigId>,
}

impl Interrupted {
    fn listen() -> io::Result<Self> {
        let flag = Arc::new(AtomicBool::new(false));
        let registered = [SIGINT, SIGTERM, SIGHUP]
            .into_iter()
            .map(|signal| signal_hook::flag::register(signal, Arc::clone(&flag)))
            .collect::<io::Result<_>>()?;
        Ok(Self { flag, registered })
    }

    fn check(&self) -> io::Result<()> {
        if self.flag.load(Ordering::Relaxed) {
            return Err(io::Error::new(io::ErrorKind::Interrupted, "the check was interrupted"));
        }
        Ok(())
    }
}

impl Drop for Interrupted {
    fn drop(&mut self) {
        for id in self.registered.drain(..) {
            signal_hook::low_level::unregister(id);
        }
    }
}

fn since(begin: Instant) -> u64 {
    u64::try_from(begin.elapsed().as_millis()).unwrap_or(u64::MAX)
}

fn inspect(path: &Path) -> Result<Inspected, Found> {
    let refused = |refusal: Refusal| failed(refusal.to_string());
    match Candidate::named(path)
        .inspect(&Limits { file_size: 1 << 30, host: HostContract::default() })
        .map_err(refused)?
    {
        Inspection::Plugin(plugin) => Ok(*plugin),
        Inspection::OrdinaryLibrary => Err(failed(
            "it is a shared library without a manifest: export a plugin with the macro `plugin!`",
        )),
    }
}

/// Only a warning: the folder of a build may be writable by a group, the one of an installation
/// must not be.
fn kept(plugin: Inspected) -> Found {
    match plugin.trust(&Trust::new(&[])) {
        Ok(_) => passed(),
        Err((_, refusal)) => {
            warning(format!("a run would refuse it where it is now: {}", refusal.message))
        }
    }
}

/// Runs all checks that need the plugin's code.
fn run_it(
    options: &Options,
    bytes: &[u8],
    manifest: &Manifest,
    outcomes: &mut Vec<CheckOutcome>,
    interrupted: &Interrupted,
    progress: &mut dyn FnMut(Progress<'_>),
) -> io::Result<()> {
    let private = || {
        tempfile::Builder::new()
            .prefix("fluxbay-check-")
            .permissions(Permissions::from_mode(0o700))
            .tempdir()
    };
    let (front, scratch) = (private()?, private()?);
    let copy = front.path().join("plugin.so");
    fs::write(&copy, bytes)?;
    fs::set_permissions(&copy, Permissions::from_mode(0o500))?;
    let absolute =
        |paths: &[PathBuf]| paths.iter().map(std::path::absolute).collect::<io::Result<Vec<_>>>();
    let mut task = Task {
        front: front.path().to_owned(),
        dirs: absolute(&options.dirs)?,
        sha256: Sha256::of(bytes).hex(),
        seed: options.seed,
        runs: absolute(&options.runs)?,
        from: 0,
        only: options.only.clone(),
        scratch: scratch.path().to_owned(),
        budget: options.budget,
        left: options.budget,
        without_instance: BTreeSet::new(),
    };
    let begin = Instant::now();
    let kinds: Vec<_> = manifest.components.iter().map(|component| component.kind).collect();
    let plan = plan(&kinds);
    let id = |item: &Item| item.component.map(|place| manifest.components[place].id());
    let mut printed = Vec::new();
    while task.from < plan.len() {
        task.left = options.budget.saturating_sub(begin.elapsed());
        let turn = Turn::run(&task, interrupted, &mut |message| match message {
            Message::Begin(number) => {
                if let Some(item) = plan.get(*number) {
                    let component = id(item);
                    let (check, component) = (item.check.name(), component.as_deref());
                    progress(Progress::Begun { check, component });
                }
            }
            Message::Ended(_, outcome) => progress(Progress::Ended(outcome)),
            Message::Loaded | Message::Done => {}
        })?;
        printed.extend(turn.printed);
        outcomes.extend(turn.outcomes);
        if turn.done {
            break;
        }
        // The child ended in this item.
        let at = turn.begun.unwrap_or(task.from);
        let mut text = turn.problem;
        if !turn.errors.is_empty() {
            text.push_str(&format!("\nits last output: {}", escape::paragraph(&turn.errors)));
        }
        let Item { check, component } = plan[at];
        let outcome = CheckOutcome::new(check, id(&plan[at]), failed(text), 0);
        progress(Progress::Ended(&outcome));
        outcomes.push(outcome);
        if check == Check::Loads {
            return Ok(());
        }
        if check == Check::Created {
            task.without_instance.extend(component);
        }
        task.from = at + 1;
    }
    let quiet = if printed.is_empty() {
        passed()
    } else {
        let text = String::from_utf8_lossy(&printed[..printed.len().min(OUTPUT)]).into_owned();
        warning(format!(
            "standard output is for data; use the display or the log instead:\n{}",
            escape::paragraph(&text)
        ))
    };
    outcomes.push(CheckOutcome::new(Check::Quiet, None, quiet, 0));
    Ok(())
}

/// The result of one child process.
struct Turn {
    outcomes: Vec<CheckOutcome>,
    /// The last item that began.
    begun: Option<usize>,
    done: bool,
    /// How the child ended, from the supervisor.
    problem: String,
    printed: Vec<u8>,
    errors: String,
}

impl Turn {
    /// Runs a child to its end, or kills it when it takes too long; `told` is called for each of its
    /// messages.
    fn run(
        task: &Task,
        interrupted: &Interrupted,
        told: &mut dyn FnMut(&Message),
    ) -> io::Result<Self> {
        let (channel, theirs) = io::pipe()?;
        let (stdout, their_stdout) = io::pipe()?;
        let (stderr, their_stderr) = io::pipe()?;
        let text = serde_json::to_string(task)?;
        let supervised = Supervised::start(|option, number| {
            let mut command = Command::new("/proc/self/exe");
            command.arg(option).arg(number).arg(COMMAND).arg(&text).current_dir(&task.scratch);
            command
                .stdin(Stdio::from(OwnedFd::from(theirs)))
                .stdout(their_stdout)
                .stderr(their_stderr);
            command
        })?;
        let printed = std::thread::spawn(move || read_all(File::from(OwnedFd::from(stdout))));
        let errors = std::thread::spawn(move || read_all(File::from(OwnedFd::from(stderr))));
        let (sender, messages) = mpsc::channel();
        std::thread::spawn(move || {
            let lines = BufReader::new(channel).split(b'\n').map_while(Result::ok);
            for message in lines.filter_map(|line| serde_json::from_slice::<Message>(&line).ok()) {
                if sender.send(message).is_err() {
                    return;
                }
            }
        });
        let kill = supervised.killer();
        let waiting = std::thread::spawn(move || supervised.wait());
        // The limit of calls does not cover the constructors of the library.
        let begin = Instant::now();
        let mut limit = LOADING;
        let mut too_long = false;
        let (mut outcomes, mut begun, mut done) = (Vec::new(), None, false);
        // A process that the plugin started may keep the pipes open, so once the child has ended,
        // wait for a second at most.
        let mut ended_since: Option<Instant> = None;
        loop {
            if let Err(error) = interrupted.check() {
                kill();
                let _ = waiting.join();
                return Err(error);
            }
            if begin.elapsed() > limit && !too_long {
                too_long = true;
                kill();
            }
            match messages.recv_timeout(POLL) {
                Ok(message) => {
                    told(&message);
                    match message {
                        Message::Begin(number) => begun = Some(number),
                        Message::Ended(_, outcome) => {
                            outcomes.push(*outcome);
                        }
                        Message::Loaded => limit = task.left.saturating_add(OVERTIME),
                        Message::Done => done = true,
                    }
                }
                Err(mpsc::RecvTimeoutError::Disconnected) if waiting.is_finished() => break,
                Err(mpsc::RecvTimeoutError::Disconnected) => std::thread::sleep(POLL),
                Err(mpsc::RecvTimeoutError::Timeout) if waiting.is_finished() => {
                    if ended_since.get_or_insert_with(Instant::now).elapsed() > LAST_OUTPUT {
                        break;
                    }
                }
                Err(mpsc::RecvTimeoutError::Timeout) => {}
            }
        }
        let ended = waiting.join().unwrap_or_else(|_| Err(io::Error::other("waiting failed")))?;
        let collect = |thread: std::thread::JoinHandle<Vec<u8>>| {
            let begin = Instant::now();
            while !thread.is_finished() && begin.elapsed() < LAST_OUTPUT {
                std::thread::sleep(POLL / 10);
            }
            if thread.is_finished() { thread.join().unwrap_or_default() } else { Vec::new() }
        };
        let (printed, errors) = (collect(printed), collect(errors));
        Ok(Self {
            outcomes,
            begun,
            done,
            problem: match ended {
                _ if too_long => "it did not end in time, and its process was killed".to_owned(),
                Ended::Broken { text, .. } => text.lines().next().unwrap_or_default().to_owned(),
                Ended::Itself(code) => {
                    format!("the process that runs the checks ended with exit code {code}")
                }
            },
            printed,
            errors: last(&errors),
        })
    }
}

fn read_all(mut from: File) -> Vec<u8> {
    let mut kept = Vec::new();
    let mut buffer = [0; 16 << 10];
    while let Ok(count) = from.read(&mut buffer) {
        if count == 0 {
            break;
        }
        // The rest is read and discarded, so that the child does not block.
        if kept.len() < 1 << 20 {
            kept.extend_from_slice(&buffer[..count]);
        }
    }
    kept
}

/// The end of what was printed.
fn last(bytes: &[u8]) -> String {
    let from = bytes.len().saturating_sub(OUTPUT);
    String::from_utf8_lossy(&bytes[from..]).trim_end().to_owned()
}
