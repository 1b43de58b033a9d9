//! `fluxbay train`: composes a run, trains it, and keeps its record.
//!
//! `resume`, `evaluate`, `verify-resume` and `--watch` are in files of their own. What they share: [`opening`]
//! makes a session, [`fit`] trains it to the end of its record.

pub mod compare_models;
mod deadline;
pub mod evaluate;
pub mod export;
mod fit;
pub mod generate;
mod launch;
pub(in crate::cli) mod local_ranks;
mod opening;
pub mod predict;
mod provenance;
mod rank;
mod ranked;
pub mod resume;
pub(in crate::cli) mod shortcuts;
mod signals;
pub mod verify;
pub(in crate::cli) mod watched;

use std::{path::PathBuf, rc::Rc};

use fit::{FitArguments, Lifetime, Ready, fit};
use opening::{open, scratch, surroundings};
use provenance::{plugins_lock, run_files, with_given};
use shortcuts::{Progress, Purpose, Shortcuts};

use super::{
    outcome::{Exit, Failure, Outcome},
    run_arguments::RunArguments,
    run_lookup::RUNS,
};
use crate::{
    display::Screen,
    durable::DeferredRecord,
    library::escape,
    record::{RunDirectory, RunRecord},
    session::DataState,
    supervisor,
};

/// Arguments of `fluxbay train`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    run: RunArguments,
    /// Keep the record in DIR, which must be empty or new.
    ///
    /// Without it, in a new folder below `runs`.
    #[arg(long, value_name = "DIR")]
    run_dir: Option<PathBuf>,
    /// Train fold K of N of a cross-validation: 2/5.
    ///
    /// Sets loader.fold and loader.folds. `fluxbay runs folds` shows the metrics over the folds.
    #[arg(long, value_name = "K/N", value_parser = fold)]
    fold: Option<(usize, usize)>,
    #[command(flatten)]
    fit: FitArguments,
    #[command(flatten)]
    shortcuts: Shortcuts,
}

impl Arguments {
    /// Where the record appears, if the run is to be watched.
    pub(in crate::cli) fn watched(&self) -> Option<watched::Place> {
        let place = match &self.run_dir {
            Some(folder) => watched::Place::Folder(folder.clone()),
            None => watched::Place::Below(RUNS.into()),
        };
        self.fit.watch.then_some(place)
    }

    /// Number of processes to start.
    pub(in crate::cli) fn ranks(&self) -> Option<usize> {
        self.fit.ranks
    }

    /// The run arguments with the settings that the shortcuts stand for.
    fn with_shortcuts(&self) -> RunArguments {
        let fold = self
            .fold
            .map(|(fold, folds)| [format!("loader.fold={fold}"), format!("loader.folds={folds}")]);
        let mut set: Vec<String> = fold.into_iter().flatten().collect();
        set.extend(self.shortcuts.settings(Progress::default(), &self.run.set));
        RunArguments { set, ..self.run.clone() }
    }
}

/// `2/5`: the second of five folds.
fn fold(text: &str) -> Result<(usize, usize), String> {
    let numbers = text
        .split_once('/')
        .and_then(|(fold, folds)| Some((fold.trim().parse().ok()?, folds.trim().parse().ok()?)));
    numbers
        .filter(|(fold, folds)| (1..=*folds).contains(fold) && *folds >= 2)
        .ok_or_else(|| "a fold is K/N with K from 1 to N, such as 2/5".to_owned())
}

pub(super) fn run(arguments: &Arguments, screen: &Screen) -> Outcome {
    let listening = arguments.fit.listen(screen)?;
    let purpose = arguments.shortcuts.purpose();
    let (run, catalog) = arguments.with_shortcuts().read().accept()?;
    let rank = rank::of(&run);
    let quiet = rank::screen(rank);
    let screen = quiet.as_ref().unwrap_or(screen);
    // A run that is only tried leaves nothing behind, but its instances may need a folder.
    let temporary = match (purpose, &arguments.run_dir) {
        _ if rank > 0 => Some(scratch()?),
        (Purpose::Train, _) | (Purpose::Try, Some(_)) => None,
        _ => Some(scratch()?),
    };
    let directory = match (&temporary, &arguments.run_dir) {
        (Some(temporary), _) => RunDirectory::at(temporary.path()),
        // Plugins get the path as text.
        (None, Some(path)) if path.to_str().is_none() => {
            let text = format!(
                "the name of the run folder {} is not valid UTF-8: choose another one",
                escape::path(path)
            );
            return Err(Failure::new(Exit::Configuration, text));
        }
        (None, Some(path)) => RunDirectory::at(path),
        (None, None) => {
            let name = match run.loader.folds {
                0 => run.run.name.clone(),
                folds => format!("{}-fold-{}-of-{folds}", run.run.name, run.loader.fold),
            };
            RunDirectory::fresh(RUNS.as_ref(), &name)
        }
    };
    let directory = directory.map_err(|error| Failure::new(Exit::Configuration, error))?;
    directory
        .announce(&run_files(&run), &run.to_toml())
        .map_err(|error| Failure::new(Exit::Failed, error))?;
    // From here on the record says that the run is running: the supervisor closes it after a crash.
    if purpose != Purpose::Look && rank == 0 {
        supervisor::worker::record_in(directory.path());
    }
    let sink = Rc::new(DeferredRecord::default());
    let surroundings = surroundings(&directory, &sink, screen);
    let opened = open(run, catalog, surroundings, &DataState::New);
    let started = opened.and_then(|session| {
        let reports = session.start_from_file().map_err(Failure::problems)?;
        Ok((session, reports))
    });
    let (session, reports) = match started {
        Ok(started) => started,
        Err(failure) => {
            directory.discard();
            return Err(failure);
        }
    };
    for report in reports {
        screen.print(&format!("weights from {}: {}", escape::text(&report.from), report.text()));
    }
    if purpose == Purpose::Look {
        screen.print(&launch::text(&session, "", screen));
        screen.print("\ndry run: nothing was trained or kept");
        return Ok(Exit::Done);
    }
    let record = with_given(&session, |given| RunRecord::begin(directory, given))
        .map_err(|error| Failure::new(Exit::Failed, error))?;
    sink.begin(record);
    let lifetime = Lifetime::of(rank, temporary.is_some());
    let (arguments, plugins) = (&arguments.fit, plugins_lock(&session));
    fit(&Ready { session: &session, sink: &sink, lifetime, arguments, plugins, listening }, screen)
}
