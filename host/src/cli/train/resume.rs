//! `fluxbay resume`: continues a run from its newest intact checkpoint, with the same result as if
//! it had never stopped.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
    rc::Rc,
};

use clap_complete::engine::ArgValueCompleter;

use super::{
    fit::{FitArguments, Lifetime, Ready, fit},
    launch,
    opening::{open, read_saved, scratch, surroundings},
    provenance::{plugins_lock, with_given},
    rank,
    shortcuts::{Progress, Purpose, Shortcuts},
    watched,
};
use crate::{
    cli::{
        candidates,
        outcome::{Exit, Failure, Outcome},
        plugin_path::PluginPath,
        run_lookup,
    },
    display::Screen,
    durable::{DeferredRecord, MARKS, PLUGINS, RESOLVED, changes},
    learner::{Flow, Stop},
    library::{Catalog, escape},
    record::{
        Marks, RecordError, RunDirectory, RunRecord, atomic,
        checkpoint::{self, CheckpointData, newest, read},
        file,
    },
    run_file::{Diagnostics, Draft, Inputs, RunDescription, resolve},
    session::{DATA, DATA_STATE, DataState, SavedData, Session, checkpoint::from_files},
    supervisor,
};

/// Arguments of `fluxbay resume`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// A run's folder, its name or a part of it, or `last`.
    ///
    /// The beginning or the end of a name below `runs` is enough if only one run matches; `last` is
    /// the run that was started last. By default with `--from`, the run that contains the
    /// checkpoint.
    #[arg(value_name = "RUN", required_unless_present = "from", add = ArgValueCompleter::new(candidates::runs))]
    run: Option<OsString>,
    /// Continue from this checkpoint, not the newest.
    ///
    /// Newer checkpoints are removed.
    #[arg(long, value_name = "DIR")]
    from: Option<PathBuf>,
    /// Set a value: run.epochs=40.
    ///
    /// May be given several times. Other settings than how long to train, what to keep and where
    /// plugins are require --allow-other-settings. Environment variables set nothing here, so that
    /// the run is the one that was started.
    #[arg(long, value_name = "KEY.PATH=VALUE")]
    set: Vec<String>,
    /// Continue although settings differ.
    ///
    /// From those of the checkpoint. State that does not fit starts from its initial value.
    #[arg(long)]
    allow_other_settings: bool,
    /// Continue although plugins have changed.
    #[arg(long)]
    allow_other_plugins: bool,
    /// Continue although the data has changed.
    ///
    /// Its fields, or its division into splits.
    #[arg(long)]
    allow_other_data: bool,
    /// Continue after a stop by a callback.
    ///
    /// Without it, a run that a callback such as early-stopping has ended stays ended.
    #[arg(long)]
    past_stop: bool,
    #[command(flatten)]
    fit: FitArguments,
    #[command(flatten)]
    shortcuts: Shortcuts,
    #[command(flatten)]
    path: PluginPath,
}

impl Arguments {
    /// Where the record is, if the run is to be watched.
    pub(in crate::cli) fn watched(&self) -> Option<watched::Place> {
        let folder = run_dir(self).ok().filter(|_| self.fit.watch)?;
        Some(watched::Place::Folder(folder))
    }

    /// Number of processes to start.
    pub(in crate::cli) fn ranks(&self) -> Option<usize> {
        self.fit.ranks
    }
}

fn configuration(text: impl ToString) -> Failure {
    Failure::new(Exit::Configuration, text)
}

pub fn run(arguments: &Arguments, screen: &Screen) -> Outcome {
    let listening = arguments.fit.listen(screen)?;
    let run_dir = run_dir(arguments)?;
    let quiet = rank::screen(rank::of_environment());
    let point_screen = quiet.as_ref().unwrap_or(screen);
    // Other ranks than the first read the folder that the first one locks.
    let locked = match rank::of_environment() {
        0 => Some(RunDirectory::open(&run_dir).map_err(configuration)?),
        _ => None,
    };
    let point = checkpoint(arguments, &run_dir, point_screen).map_err(configuration)?;
    let purpose = arguments.shortcuts.purpose();
    let progress = point
        .as_ref()
        .map_or(Ok(Progress::default()), Point::progress)
        .map_err(|stop| unusable(&stop))?;
    let set = arguments.shortcuts.settings(progress, &arguments.set);
    let lock = match &point {
        Some(point) => point.text(PLUGINS),
        None => std::fs::read_to_string(run_dir.join(file::PLUGINS)).unwrap_or_default(),
    };
    let read = read_saved(&run_dir, &lock, set, Vec::new(), &arguments.path, |_, _| {});
    let (run, catalog) = read.accept()?;
    let rank = rank::of(&run);
    let quiet = rank::screen(rank);
    let screen = quiet.as_ref().unwrap_or(screen);
    let limit = run.loader.limit_batches as u64;
    if limit != 0 && limit < progress.batches {
        return Err(configuration(format!(
            "the checkpoint was written after {} batches of an epoch, but epochs are limited to {limit}: allow at least {}, or choose a \
             checkpoint at the end of an epoch with `--from`",
            progress.batches, progress.batches
        )));
    }
    let other_settings = point
        .as_ref()
        .map(|point| changes::of_settings(&point.resolved(&catalog), &run.to_toml()))
        .unwrap_or_default();
    if purpose != Purpose::Try {
        allow(&other_settings, "settings", arguments.allow_other_settings)?;
    }
    // A run that is only tried, and every rank but one, works on a copy of the record without its
    // checkpoints.
    let keeps = purpose == Purpose::Train && rank == 0;
    let temporary = if keeps { None } else { Some(scratch()?) };
    let directory = match (&temporary, locked) {
        (None, Some(directory)) => directory,
        (None, None) => RunDirectory::open(&run_dir).map_err(configuration)?,
        (Some(temporary), _) => copied(&run_dir, temporary.path())?,
    };
    if point.is_none() {
        clear_loggers(&directory, &run);
    }
    let sink = Rc::new(DeferredRecord::default());
    let saved_data = point
        .as_ref()
        .map_or(Ok(None), |point| SavedData::of_checkpoint(&point.data))
        .map_err(configuration)?;
    let data = match (&point, &saved_data) {
        (None, _) => DataState::New,
        (Some(_), Some(saved)) => DataState::Saved(saved.clone()),
        // Of a release whose data sets learnt again.
        (Some(_), None) => DataState::Refit,
    };
    let session = open(run, catalog, surroundings(&directory, &sink, screen), &data)?;
    if point.is_none() {
        // Without a checkpoint the run starts again, from its fine-tuning file if it has one.
        session.start_from_file().map_err(Failure::problems)?;
    }
    if let Some(point) = &point {
        allow(
            &changes::of_plugins(&point.text(PLUGINS), &plugins_lock(&session)),
            "plugins",
            arguments.allow_other_plugins,
        )?;
        let other_data = data_changes(saved_data.as_ref(), &session);
        // Other settings may divide the data in another way.
        let allow_data = arguments.allow_other_data || !other_settings.is_empty();
        allow(&other_data, "data", allow_data)?;
        let restored = if other_settings.is_empty() {
            session.restore(&point.data.files)
        } else {
            restore_what_fits(&session, &point.data)
        };
        restored.map_err(|stop| unusable(&stop))?;
        if arguments.past_stop {
            session.runtime().forget_stop();
        }
    }
    if purpose == Purpose::Look {
        screen.print(&launch::text(&session, &escape::path(&run_dir), screen));
        screen.print("\ndry run: nothing was trained, and the run is unchanged");
        return Ok(Exit::Done);
    }
    let lifetime = Lifetime::of(rank, temporary.is_some());
    let plugins = plugins_lock(&session);
    sink.begin(record(&session, directory, point.as_ref(), &plugins, rank)?);
    let arguments = &arguments.fit;
    let ready = Ready { session: &session, sink: &sink, lifetime, arguments, plugins, listening };
    fit(&ready, screen)
}

/// What differs between the data of the checkpoint and that of the session.
fn data_changes(saved: Option<&SavedData>, session: &Session) -> Vec<String> {
    match (saved, session.saved_data()) {
        (Some(saved), Some(now)) => saved.summary.differences(&now.summary),
        _ => Vec::new(),
    }
}

fn unusable(stop: &Stop) -> Failure {
    configuration(format!("the checkpoint cannot be used: {stop}"))
}

/// Copies a run folder, without its checkpoints and its model, into an empty folder.
fn copied(from: &Path, into: &Path) -> Result<RunDirectory, Failure> {
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
    copy(from, into, &[file::CHECKPOINTS, file::MODEL, DATA, DATA_STATE, ".lock"]).map_err(
        |error| {
            let help = "free some space, or set TMPDIR to a folder that can be written to";
            Failure::new(
                Exit::Failed,
                format!(
                    "cannot copy {} to a temporary folder: {error}; {help}",
                    escape::path(from)
                ),
            )
        },
    )?;
    RunDirectory::open(into).map_err(configuration)
}

/// The checkpoint that the run continues from.
struct Point {
    path: PathBuf,
    data: CheckpointData,
}

impl Point {
    /// How much of the run is done.
    fn progress(&self) -> Flow<Progress> {
        let snapshot = from_files(&self.data.files)?;
        Ok(Progress {
            epochs: snapshot.epochs,
            batches: snapshot.in_epoch.map_or(0, |epoch| epoch.step),
        })
    }

    /// Content of a text file of the checkpoint; empty if there is none.
    /// The run of the checkpoint with the defaults of this release, so that settings that its
    /// release did not have are no change.
    fn resolved(&self, catalog: &Catalog) -> String {
        let inputs = Inputs { files: vec![self.path.join(RESOLVED)], ..Inputs::default() };
        let mut diagnostics = Diagnostics::new();
        let draft = Draft::read(&inputs, &mut diagnostics);
        let run = resolve(draft, catalog, &mut diagnostics);
        if diagnostics.has_errors() { self.text(RESOLVED) } else { run.to_toml() }
    }

    fn text(&self, name: &str) -> String {
        self.data
            .files
            .get(name)
            .map(|content| String::from_utf8_lossy(&content.bytes()).into_owned())
            .unwrap_or_default()
    }
}

/// Removes what the loggers of a run have written, before the run starts again.
fn clear_loggers(directory: &RunDirectory, run: &RunDescription) {
    for logger in &run.loggers {
        // Fails if there is nothing to remove.
        let _ = std::fs::remove_dir_all(directory.file(&logger.id));
    }
}

/// The record that the run continues: cut back to the checkpoint, or started again without one.
fn record(
    session: &Session,
    directory: RunDirectory,
    point: Option<&Point>,
    plugins: &str,
    rank: usize,
) -> Result<RunRecord, Failure> {
    let failed = |error: RecordError| Failure::new(Exit::Failed, error);
    if rank == 0 {
        supervisor::worker::record_in(directory.path());
    }
    let Some(point) = point else {
        return with_given(session, |given| RunRecord::restart(directory, given)).map_err(failed);
    };
    let marks: Marks = serde_json::from_str(&point.text(MARKS)).map_err(|error| {
        configuration(format!("cannot use `{MARKS}` of the checkpoint: {error}"))
    })?;
    atomic::replace(&directory.file(file::RESOLVED), session.run().to_toml().as_bytes())
        .map_err(failed)?;
    atomic::replace(&directory.file(file::PLUGINS), plugins.as_bytes()).map_err(failed)?;
    let directions = session.composed().directions().to_json();
    atomic::replace(&directory.file(file::DIRECTIONS), &directions).map_err(failed)?;
    let folder = directory.file(file::CHECKPOINTS);
    let record = RunRecord::resume(directory, Some(&marks)).map_err(failed)?;
    // Newer checkpoints are not part of the run any more.
    for newer in checkpoint::newer_than(&folder, &point.path) {
        if checkpoint::verify(&newer).is_ok() {
            log::warn!(
                "removing the checkpoint {}: the run continues from an older one",
                escape::path(&newer)
            );
            checkpoint::remove(&newer);
        } else {
            checkpoint::set_aside(&newer);
        }
    }
    Ok(record)
}

/// Restores what fits of a checkpoint into a run whose settings have changed, and warns about the
/// rest.
fn restore_what_fits(session: &Session, data: &CheckpointData) -> Flow {
    for misfit in session.restore_what_fits(&data.files)? {
        log::warn!("{}; it is left out or starts from its initial value", escape::text(&misfit));
    }
    Ok(())
}

/// Fails and lists the changes, unless they are allowed; then it warns.
fn allow(changes: &[String], what: &str, allowed: bool) -> Result<(), Failure> {
    if changes.is_empty() {
        return Ok(());
    }
    let list =
        changes.iter().map(|change| format!("\n  {}", escape::text(change))).collect::<String>();
    if !allowed {
        return Err(configuration(format!(
            "the checkpoint belongs to a run with other {what}:{list}\nUndo the changes, or continue with `--allow-other-{what}`"
        )));
    }
    log::warn!("continuing although {what} differ:{list}");
    Ok(())
}

fn run_dir(arguments: &Arguments) -> Result<PathBuf, Failure> {
    if let Some(run) = &arguments.run {
        return run_lookup::find(run).map(|entry| entry.path);
    }
    let from = arguments.from.clone().unwrap_or_default();
    let full = std::path::absolute(&from).unwrap_or(from.clone());
    match full.parent().and_then(Path::parent) {
        Some(run_dir) => Ok(run_dir.to_owned()),
        None => Err(configuration(format!(
            "{} is not in a run folder: name the run as well",
            escape::path(&from)
        ))),
    }
}

/// The checkpoint to continue from; none if the run stopped before its first one. Warns about
/// damaged checkpoints that are skipped.
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
                    "{} is intact: continue from it with `--from {}`",
                    escape::path(&whole),
                    escape::path(&whole)
                ),
                None => format!("{} has no intact one", escape::path(&folder)),
            };
            format!("the checkpoint {} cannot be used: {damage}; {help}", escape::path(path))
        });
    }
    let (found, passed) = newest(&folder);
    for (path, damage) in &passed {
        log::warn!("skipping the checkpoint {}: {damage}", escape::path(path));
    }
    match found {
        Some((path, data)) => {
            screen.print(&format!("resuming from {}", escape::path(&path)));
            Ok(Some(Point { path, data }))
        }
        None if passed.is_empty() && run_dir.join(file::RESOLVED).exists() => {
            screen.print("the run stopped before its first checkpoint: it starts again");
            Ok(None)
        }
        None => Err(format!(
            "{} has no intact checkpoint ({} damaged): start again with `fluxbay train {}`",
            escape::path(&folder),
            passed.len(),
            escape::path(&run_dir.join(file::RUN))
        )),
    }
}
