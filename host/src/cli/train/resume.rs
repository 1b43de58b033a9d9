//! `fluxbay resume`: goes on with a run from its newest whole checkpoint, as if it had never
//! stopped.

use std::{
    path::{Path, PathBuf},
    rc::Rc,
};

use super::{
    fit::{Kept, Ready, fit},
    launch, plugins_lock, scratch,
    shortcuts::{Progress, Purpose, Shortcuts},
    surroundings, threads, with_given,
};
use clap_complete::engine::ArgValueCompleter;

use crate::{
    cli::{Exit, Failure, Outcome, PluginPath, RUNS, completions, run_arguments::tell},
    display::Screen,
    durable::{DeferredRecord, MARKS, PLUGINS, RESOLVED, changes},
    learner::{Flow, Stop},
    library::escape,
    record::{
        Marks, RecordError, RunDirectory, RunIndex, RunRecord, atomic,
        checkpoint::{self, CheckpointData, newest, read},
        file,
    },
    run_file::{Diagnostics, Draft, Inputs, RunDescription, resolve},
    session::{Composed, Session, checkpoint::from_files},
    supervisor,
};

/// Arguments of `fluxbay resume`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// A run's folder, its name or a part of it, or `last`.
    ///
    /// The beginning or the end of a name below `runs` will do where it fits one run; `last` is the
    /// one that began last. With `--from` it is the run that the checkpoint lies in, unless given.
    #[arg(value_name = "RUN", required_unless_present = "from", add = ArgValueCompleter::new(completions::runs))]
    run: Option<String>,
    /// Go on from this checkpoint, not the newest.
    ///
    /// Those that are newer are removed: the run goes on without them.
    #[arg(long, value_name = "DIR")]
    from: Option<PathBuf>,
    /// Set a value: run.epochs=40.
    ///
    /// May be given several times. What changes more than how long to train, what is kept and where
    /// plugins are is refused unless --allow-other-settings is given. Environment variables set
    /// nothing here: the run is the one that was begun.
    #[arg(long, value_name = "KEY.PATH=VALUE")]
    set: Vec<String>,
    /// Go on although settings differ.
    ///
    /// From those of the checkpoint; what does not fit begins anew.
    #[arg(long)]
    allow_other_settings: bool,
    /// Go on although plugins differ from then.
    #[arg(long)]
    allow_other_plugins: bool,
    /// Go on past a stop by a callback.
    ///
    /// Such as early-stopping: without this, a run that one has ended stays ended.
    #[arg(long)]
    past_stop: bool,
    /// End the run as after SIGINT once so many steps have begun; for tests of resuming.
    #[arg(long, value_name = "STEPS", hide = true)]
    interrupt_at: Option<u64>,
    #[command(flatten)]
    shortcuts: Shortcuts,
    #[command(flatten)]
    path: PluginPath,
}

fn configuration(text: impl ToString) -> Failure {
    Failure::new(Exit::Configuration, text)
}

pub fn run(arguments: &Arguments, screen: &Screen) -> Outcome {
    let run_dir = run_dir(arguments)?;
    let directory = RunDirectory::open(&run_dir).map_err(configuration)?;
    let point = checkpoint(arguments, &run_dir, screen).map_err(configuration)?;
    let purpose = arguments.shortcuts.purpose();
    let progress = point
        .as_ref()
        .map_or(Ok(Progress::default()), Point::progress)
        .map_err(|stop| unusable(&stop))?;
    let mut diagnostics = Diagnostics::new();
    let set = arguments.shortcuts.settings(progress, &arguments.set);
    let inputs = Inputs { files: vec![directory.file(file::RESOLVED)], set, ..Inputs::default() };
    let draft = Draft::read(&inputs, &mut diagnostics);
    let mut dirs = draft.plugin_dirs();
    let lock = match &point {
        Some(point) => point.text(PLUGINS),
        None => std::fs::read_to_string(directory.file(file::PLUGINS)).unwrap_or_default(),
    };
    dirs.extend(changes::folders(&lock));
    let catalog = arguments.path.scan_without(&dirs, &draft.plugins.disable);
    let run = resolve(draft, &catalog, &mut diagnostics);
    tell(&diagnostics);
    if diagnostics.has_errors() {
        return Ok(Exit::of_problems(&diagnostics));
    }
    let limit = run.loader.limit_batches as u64;
    if limit != 0 && limit < progress.batches {
        return Err(configuration(format!(
            "the checkpoint was taken after {} batches of an epoch, but epochs are limited to {limit}: allow at least {}, or name a \
             checkpoint at the end of an epoch with `--from`",
            progress.batches, progress.batches
        )));
    }
    let other_settings = point
        .as_ref()
        .map(|point| changes::of_settings(&point.text(RESOLVED), &run.to_toml()))
        .unwrap_or_default();
    if purpose != Purpose::Try {
        allow(&other_settings, "settings", arguments.allow_other_settings)?;
    }
    // What is only tried works on a copy of the record, without its checkpoints, and leaves nothing
    // behind.
    let passing = if purpose == Purpose::Train { None } else { Some(scratch()?) };
    let directory = match &passing {
        None => directory,
        Some(passing) => copied(&directory, passing.path())?,
    };
    if point.is_none() {
        clear_loggers(&directory, &run);
    }
    let sink = Rc::new(DeferredRecord::default());
    let composed = Composed::new(Rc::new(catalog), run, surroundings(&directory, &sink, screen))
        .and_then(Composed::open);
    // A run that begins anew begins with the file that it was to start from, too.
    let opened = composed.and_then(|session| {
        if point.is_some() { Ok(session) } else { session.start_from_file().map(|_| session) }
    });
    let session = match opened {
        Ok(session) => session,
        Err(diagnostics) => {
            tell(&diagnostics);
            return Ok(Exit::of_problems(&diagnostics));
        }
    };
    if let Some(point) = &point {
        warn_of_threads(&directory, threads(session.run()));
        allow(
            &changes::of_plugins(&point.text(PLUGINS), &plugins_lock(&session)),
            "plugins",
            arguments.allow_other_plugins,
        )?;
        let lenient = !other_settings.is_empty();
        restore(&session, &point.data, lenient).map_err(|stop| unusable(&stop))?;
        if arguments.past_stop {
            session.runtime().forget_stop();
        }
    }
    if purpose == Purpose::Look {
        let path = escape::path(&run_dir);
        screen.print(
            &launch::launch(&session, threads(session.run()), &path)
                .text(screen.colors(), screen.columns()),
        );
        screen.print("\ndry run: nothing was trained, and the run is as it was");
        return Ok(Exit::Done);
    }
    let kept = if passing.is_some() { Kept::Nothing } else { Kept::Record };
    go_on(&session, directory, point.as_ref(), &sink, (kept, arguments.interrupt_at), screen)
}

fn unusable(stop: &Stop) -> Failure {
    configuration(format!("the checkpoint cannot be used: {stop}"))
}

/// A copy of all that a run's folder holds but its checkpoints and its model, in an empty folder.
fn copied(from: &RunDirectory, into: &Path) -> Result<RunDirectory, Failure> {
    fn copy(from: &Path, into: &Path, left_out: &[&str]) -> std::io::Result<()> {
        for entry in std::fs::read_dir(from)? {
            let entry = entry?;
            let (name, kind) = (entry.file_name(), entry.file_type()?);
            let copy_of = into.join(&name);
            if left_out.iter().any(|left| name == *left) {
                continue;
            } else if kind.is_dir() {
                std::fs::create_dir(&copy_of)?;
                copy(&entry.path(), &copy_of, &[])?;
            } else if kind.is_file() {
                std::fs::copy(entry.path(), copy_of)?;
            }
        }
        Ok(())
    }
    copy(from.path(), into, &[file::CHECKPOINTS, file::MODEL, ".lock"]).map_err(|error| {
        let help = "make room, or set TMPDIR to a folder that can be written to";
        Failure::new(
            Exit::Failed,
            format!(
                "{} cannot be copied for the time of the run: {error}; {help}",
                escape::path(from.path())
            ),
        )
    })?;
    RunDirectory::open(into).map_err(configuration)
}

/// Where the run goes on.
struct Point {
    path: PathBuf,
    data: CheckpointData,
}

impl Point {
    /// How far the run had come.
    fn progress(&self) -> Flow<Progress> {
        let snapshot = from_files(&self.data.files)?;
        Ok(Progress {
            epochs: snapshot.epochs,
            batches: snapshot.in_epoch.map_or(0, |epoch| epoch.step),
        })
    }

    fn text(&self, name: &str) -> String {
        self.data
            .files
            .get(name)
            .map(|content| String::from_utf8_lossy(&content.bytes()).into_owned())
            .unwrap_or_default()
    }
}

/// Sums over several threads differ in their last bits with the number of threads.
fn warn_of_threads(directory: &RunDirectory, now: usize) {
    let environment =
        std::fs::read_to_string(directory.file(file::ENVIRONMENT)).unwrap_or_default();
    let environment: serde_json::Value = serde_json::from_str(&environment).unwrap_or_default();
    if let Some(then) = environment["threads"].as_u64().filter(|then| *then != now as u64) {
        log::warn!(
            "the run began with {then} threads and goes on with {now}: the last bits may differ; `--threads {then}` keeps them"
        );
    }
}

/// Removes what the loggers of a run that begins anew had written.
fn clear_loggers(directory: &RunDirectory, run: &RunDescription) {
    for logger in &run.loggers {
        // Where there is nothing, nothing has to go.
        let _ = std::fs::remove_dir_all(directory.file(&logger.id));
    }
}

fn go_on(
    session: &Session,
    directory: RunDirectory,
    point: Option<&Point>,
    sink: &Rc<DeferredRecord>,
    (kept, interrupt_at): (Kept, Option<u64>),
    screen: &Screen,
) -> Outcome {
    let failed = |error: RecordError| Failure::new(Exit::Failed, error);
    supervisor::worker::record_in(directory.path());
    let plugins = plugins_lock(session);
    let record = match point {
        None => {
            with_given(session, |given| RunRecord::restart(directory, given)).map_err(failed)?
        }
        Some(point) => {
            let marks: Marks = serde_json::from_str(&point.text(MARKS)).map_err(|error| {
                configuration(format!("the checkpoint's `{MARKS}` cannot be used: {error}"))
            })?;
            atomic::replace(&directory.file(file::RESOLVED), session.run().to_toml().as_bytes())
                .map_err(failed)?;
            atomic::replace(&directory.file(file::PLUGINS), plugins.as_bytes()).map_err(failed)?;
            let folder = directory.file(file::CHECKPOINTS);
            let record = RunRecord::resume(directory, Some(&marks)).map_err(failed)?;
            // The record ends where this checkpoint was taken: those after it belong to nothing any
            // more.
            for newer in checkpoint::newer_than(&folder, &point.path) {
                if checkpoint::verify(&newer).is_ok() {
                    log::warn!(
                        "removing the checkpoint {}: the run goes on from an older one",
                        escape::path(&newer)
                    );
                    checkpoint::remove(&newer);
                } else {
                    checkpoint::set_aside(&newer);
                }
            }
            record
        }
    };
    sink.begin(record);
    fit(&Ready { session, sink, kept, interrupt_at, plugins }, screen)
}

/// Puts the checkpoint back; into a changed run what fits, and the rest is named.
fn restore(session: &Session, data: &CheckpointData, lenient: bool) -> Flow {
    if !lenient {
        return session.restore(&data.files);
    }
    for misfit in session.restore_what_fits(&data.files)? {
        log::warn!("{}; it begins anew or is left out", escape::text(&misfit));
    }
    Ok(())
}

/// Refuses changes that were not allowed, all of them named.
fn allow(changes: &[String], what: &str, allowed: bool) -> Result<(), Failure> {
    if changes.is_empty() {
        return Ok(());
    }
    let list =
        changes.iter().map(|change| format!("\n  {}", escape::text(change))).collect::<String>();
    if !allowed {
        return Err(configuration(format!(
            "the run is not the one that the checkpoint belongs to, its {what} differ:{list}\nUndo the changes, or go on with \
             `--allow-other-{what}`"
        )));
    }
    log::warn!("going on although {what} differ:{list}");
    Ok(())
}

fn run_dir(arguments: &Arguments) -> Result<PathBuf, Failure> {
    if let Some(run) = &arguments.run {
        return RunIndex::read(RUNS.as_ref())
            .find(run)
            .map(|entry| entry.path)
            .map_err(configuration);
    }
    let from = arguments.from.clone().unwrap_or_default();
    let full = std::path::absolute(&from).unwrap_or(from.clone());
    match full.parent().and_then(Path::parent) {
        Some(run_dir) => Ok(run_dir.to_owned()),
        None => Err(configuration(format!(
            "{} lies in no run directory: name that as well",
            escape::path(&from)
        ))),
    }
}

/// The checkpoint to go on from; none where the run stopped before its first. Damaged ones that are
/// passed over are named.
fn checkpoint(
    arguments: &Arguments,
    run_dir: &Path,
    screen: &Screen,
) -> Result<Option<Point>, String> {
    let folder = run_dir.join(file::CHECKPOINTS);
    if let Some(path) = &arguments.from {
        return read(path).map(|data| Some(Point { path: path.clone(), data })).map_err(|damage| {
            let help = match newest(&folder).0 {
                Some((whole, _)) => format!(
                    "{} is whole: go on from it with `--from {}`",
                    escape::path(&whole),
                    escape::path(&whole)
                ),
                None => format!("{} has no whole one", escape::path(&folder)),
            };
            format!("the checkpoint {} cannot be used: {damage}; {help}", escape::path(path))
        });
    }
    let (found, passed) = newest(&folder);
    for (path, damage) in &passed {
        log::warn!("the checkpoint {} is passed over: {damage}", escape::path(path));
    }
    match found {
        Some((path, data)) => {
            screen.print(&format!("going on from {}", escape::path(&path)));
            Ok(Some(Point { path, data }))
        }
        None if passed.is_empty() && run_dir.join(file::RESOLVED).exists() => {
            screen.print("the run stopped before its first checkpoint: it begins anew");
            Ok(None)
        }
        None => Err(format!(
            "{} has no whole checkpoint ({} damaged): begin anew with `fluxbay train {}`",
            escape::path(&folder),
            passed.len(),
            escape::path(&run_dir.join(file::RUN))
        )),
    }
}
