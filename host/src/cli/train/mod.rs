//! `fluxbay train`: composes a run, trains it, and keeps its record. `fluxbay resume` goes on with
//! it.

mod deadline;
pub mod evaluate;
mod fit;
mod launch;
pub mod resume;
mod shortcuts;
mod signals;
pub mod verify;

use std::{path::PathBuf, rc::Rc};

use fit::{Kept, Ready, fit};
use shortcuts::{Progress, Purpose, Shortcuts};

use super::{
    Exit, Failure, Outcome, RUNS,
    run_arguments::{ReadRun, RunArguments, tell},
};
use crate::{
    display::{Bars, Screen},
    durable::DeferredRecord,
    library::escape,
    record::{Environment, RunDirectory, RunInputs, RunRecord},
    run_file::{RunDescription, SourceKind},
    session::{Composed, Session, Surroundings},
    supervisor,
};

/// Arguments of `fluxbay train`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    run: RunArguments,
    /// Keep the record in DIR, which must be empty or new.
    ///
    /// Without it, in a fresh folder below `runs`.
    #[arg(long, value_name = "DIR")]
    run_dir: Option<PathBuf>,
    /// End the run as after SIGINT once so many steps have begun; for tests of resuming.
    #[arg(long, value_name = "STEPS", hide = true)]
    interrupt_at: Option<u64>,
    #[command(flatten)]
    shortcuts: Shortcuts,
}

impl Arguments {
    /// The run with the settings that the options stand for.
    fn described(&self) -> RunArguments {
        let set = self.shortcuts.settings(Progress::default(), &self.run.set);
        RunArguments { set, ..self.run.clone() }
    }
}

pub(super) fn run(arguments: &Arguments, screen: &Screen) -> Outcome {
    let purpose = arguments.shortcuts.purpose();
    let ReadRun { run, catalog, diagnostics } = arguments.described().read();
    tell(&diagnostics);
    if diagnostics.has_errors() {
        return Ok(Exit::of_problems(&diagnostics));
    }
    // What is only tried leaves nothing behind; instances that keep files need a folder all the
    // same.
    let passing = match (purpose, &arguments.run_dir) {
        (Purpose::Train, _) | (Purpose::Try, Some(_)) => None,
        _ => Some(scratch()?),
    };
    let directory = match (&passing, &arguments.run_dir) {
        (Some(passing), _) => RunDirectory::at(passing.path()),
        (None, Some(path)) => RunDirectory::at(path),
        (None, None) => RunDirectory::fresh(RUNS.as_ref(), &run.run.name),
    };
    let directory = directory.map_err(|error| Failure::new(Exit::Configuration, error))?;
    directory
        .announce(&run_files(&run), &run.to_toml())
        .map_err(|error| Failure::new(Exit::Failed, error))?;
    let sink = Rc::new(DeferredRecord::default());
    let surroundings = surroundings(&directory, &sink, screen);
    let opened = Composed::new(Rc::new(catalog), run, surroundings).and_then(Composed::open);
    let started = opened.and_then(|session| Ok((session.start_from_file()?, session)));
    match started {
        Ok((report, session)) => {
            if let Some(report) = report {
                screen.print(&format!(
                    "fine-tuning from {}: {}",
                    escape::text(&session.run().fine_tuning.from),
                    report.text()
                ));
            }
            if purpose == Purpose::Look {
                screen.print(
                    &launch::launch(&session, threads(session.run()), "")
                        .text(screen.colors(), screen.columns()),
                );
                screen.print("\ndry run: nothing was trained and nothing is kept");
                return Ok(Exit::Done);
            }
            supervisor::worker::record_in(directory.path());
            let record = with_given(&session, |given| RunRecord::begin(directory, given))
                .map_err(|error| Failure::new(Exit::Failed, error))?;
            sink.begin(record);
            let kept = if passing.is_some() { Kept::Nothing } else { Kept::Record };
            let (interrupt_at, plugins) = (arguments.interrupt_at, plugins_lock(&session));
            fit(&Ready { session: &session, sink: &sink, kept, interrupt_at, plugins }, screen)
        }
        Err(diagnostics) => {
            directory.discard();
            tell(&diagnostics);
            Ok(Exit::of_problems(&diagnostics))
        }
    }
}

/// A folder for what is only tried; it goes with the value.
fn scratch() -> Result<tempfile::TempDir, Failure> {
    tempfile::Builder::new().prefix("fluxbay-run-").tempdir().map_err(|error| {
        let help = "make room, or set TMPDIR to a folder that can be written to";
        Failure::new(
            Exit::Failed,
            format!("no folder can be made for the time of the run: {error}; {help}"),
        )
    })
}

/// What surrounds a session that keeps its record in a folder.
fn surroundings(
    directory: &RunDirectory,
    sink: &Rc<DeferredRecord>,
    screen: &Screen,
) -> Surroundings {
    // Absolute: instances that keep files may change the working folder, or tell others of it.
    let path = std::path::absolute(directory.path());
    let run_dir = path.as_deref().unwrap_or(directory.path()).to_string_lossy().into_owned();
    Surroundings {
        sink: Rc::clone(sink) as Rc<_>,
        display: Rc::new(Bars::new(screen.clone())),
        run_dir,
    }
}

/// Texts of the run's files, in the order of their layers.
fn run_files(run: &RunDescription) -> Vec<String> {
    let given = run
        .sources
        .iter()
        .filter(|(_, source)| matches!(source.kind, SourceKind::File | SourceKind::BuiltIn));
    given.map(|(_, source)| source.text.clone()).collect()
}

/// Begins a record: everything that is known before the first step is written.
fn with_given<T>(session: &Session, begin: impl FnOnce(&RunInputs<'_>) -> T) -> T {
    let run = session.run();
    let environment =
        Environment::gather(threads(run), &String::from(run.run.device), run.run.seed);
    let (run_files, resolved, plugins) = (run_files(run), run.to_toml(), plugins_lock(session));
    begin(&RunInputs {
        run_files: &run_files,
        resolved: &resolved,
        plugins: &plugins,
        environment: &environment,
    })
}

/// The plugins of the run as TOML.
fn plugins_lock(session: &Session) -> String {
    let mut text = String::from("# The plugins of this run.\n");
    for plugin in launch::plugins(session) {
        let quoted = |text: &str| toml::Value::from(text).to_string();
        let (name, version, sha256) =
            (quoted(&plugin.name), quoted(&plugin.version), quoted(&plugin.sha256));
        text.push_str(&format!(
            "\n[[plugin]]\nname = {name}\nversion = {version}\nsha256 = {sha256}\n"
        ));
        // Where it was found, so that the run can be resumed without naming the folder again.
        text.push_str(&format!("path = {}\n", quoted(&plugin.path)));
    }
    text
}

fn threads(run: &RunDescription) -> usize {
    match run.run.threads {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        threads => threads,
    }
}
