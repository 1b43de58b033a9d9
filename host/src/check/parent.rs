//! The parent's side: checks the file, starts the child, and restarts it after a check that ended it.

use std::fs::{self, File, Permissions};
use std::io::{self, Read as _};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use super::child::{Message, Task};
use super::report::{CheckOutcome, CheckReport, Found, failed, passed, warning};
use super::{COMMAND, Check, Item, file, plan};
use crate::library::{
    Candidate, HostContract, Inspected, Inspection, Limits, Manifest, Refusal, Sha256, Trust,
    escape,
};
use crate::supervisor::{Ended, Supervised};

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
}

/// Checks a file.
///
/// # Errors
/// No child can be started, or no folder created. Faults of the plugin are in the report.
pub fn check(options: &Options) -> io::Result<CheckReport> {
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
    run_it(options, &bytes, &manifest, &mut report.outcomes)?;
    if !options.only.is_empty() {
        report.outcomes.retain(|outcome| options.only.contains(&outcome.check));
    }
    Ok(report)
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
    };
    let kinds: Vec<_> = manifest.components.iter().map(|component| component.kind).collect();
    let plan = plan(&kinds);
    let mut printed = Vec::new();
    while task.from < plan.len() {
        let turn = Turn::run(&task)?;
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
        let component = component.map(|place| manifest.components[place].id());
        outcomes.push(CheckOutcome::new(check, component, failed(text), 0));
        if check == Check::Loads {
            return Ok(());
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
    fn run(task: &Task) -> io::Result<Self> {
        let (mut channel, theirs) = io::pipe()?;
        let (stdout, their_stdout) = io::pipe()?;
        let (stderr, their_stderr) = io::pipe()?;
        let text = serde_json::to_string(task)?;
        let supervised = Supervised::start(|option, number| {
            let mut command = Command::new("/proc/self/exe");
            command.arg(option).arg(number).arg(COMMAND).arg(&text).current_dir("/");
            command
                .stdin(Stdio::from(OwnedFd::from(theirs)))
                .stdout(their_stdout)
                .stderr(their_stderr);
            command
        })?;
        let printed = std::thread::spawn(move || read_all(File::from(OwnedFd::from(stdout))));
        let errors = std::thread::spawn(move || read_all(File::from(OwnedFd::from(stderr))));
        let lines = std::thread::spawn(move || {
            let mut bytes = Vec::new();
            let _ = channel.read_to_end(&mut bytes);
            bytes
        });
        let ended = supervised.wait()?;
        // A process that the plugin started may keep the pipes open, so wait for a second at most.
        let collect = |thread: std::thread::JoinHandle<Vec<u8>>| {
            for _ in 0..100 {
                if thread.is_finished() {
                    return thread.join().unwrap_or_default();
                }
                std::thread::sleep(std::time::Duration::from_millis(10));
            }
            Vec::new()
        };
        let (printed, errors, lines) = (collect(printed), collect(errors), collect(lines));
        let mut turn = Self {
            outcomes: Vec::new(),
            begun: None,
            done: false,
            problem: match ended {
                Ended::Broken { text, .. } => text.lines().next().unwrap_or_default().to_owned(),
                Ended::Itself(code) => {
                    format!("the process that runs the checks left with exit code {code}")
                }
            },
            printed,
            errors: last(&errors),
        };
        for message in
            lines.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok())
        {
            match message {
                Message::Begin(number) => turn.begun = Some(number),
                Message::Ended(_, outcome) => turn.outcomes.push(*outcome),
                Message::Done => turn.done = true,
            }
        }
        Ok(turn)
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
