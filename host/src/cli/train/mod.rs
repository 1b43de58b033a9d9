//! `fluxbay train`: composes a run, trains it, and keeps its record.

mod launch;
mod signals;

use std::{cell::OnceCell, path::PathBuf, rc::Rc, sync::atomic::Ordering};

use super::{
    Exit, Failure, Outcome,
    run_arguments::{ReadRun, RunArguments, tell},
};
use crate::{
    display::{Bars, Conclusion, HostLog, Screen, Summary},
    learner::{
        Ending, FitReport,
        ports::{At, Scope, Sink, SinkError},
    },
    library::shown,
    record::{Ended, Environment, Given, RecordError, RunDirectory, RunRecord, Status, file},
    run_file::{Diagnostics, RunDescription, SourceKind},
    session::{Composed, Session, Surroundings},
};

/// Folder of the runs' folders, where none is named.
const RUNS: &str = "runs";

/// Arguments of `fluxbay train`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    run: RunArguments,
    /// Keep the run's record in DIR, which must be empty or new; else in a fresh folder below `runs`.
    #[arg(long, value_name = "DIR")]
    run_dir: Option<PathBuf>,
}

/// A record that begins when the run stands: before that there is nothing to tell.
#[derive(Debug, Default)]
struct Record(OnceCell<RunRecord>);

impl Sink for Record {
    fn metric(&self, at: &At<'_>, scope: Scope, name: &str, value: f64) -> Result<(), SinkError> {
        self.0.get().map_or(Ok(()), |record| record.metric(at, scope, name, value))
    }

    fn event(&self, at: &At<'_>, kind: &str, by: &str, detail: &str) -> Result<(), SinkError> {
        self.0.get().map_or(Ok(()), |record| record.event(at, kind, by, detail))
    }

    fn flush(&self) -> Result<(), SinkError> {
        self.0.get().map_or(Ok(()), Sink::flush)
    }
}

pub(super) fn run(arguments: &Arguments, screen: &Screen) -> Outcome {
    let ReadRun { run, catalog, diagnostics } = arguments.run.read();
    tell(&diagnostics);
    if diagnostics.has_errors() {
        return Ok(refusal(&diagnostics));
    }
    let directory = match &arguments.run_dir {
        Some(path) => RunDirectory::at(path),
        None => RunDirectory::fresh(RUNS.as_ref(), &run.run.name),
    };
    let directory = directory.map_err(|error| Failure::new(Exit::Configuration, error))?;
    let sink = Rc::new(Record::default());
    let surroundings =
        Surroundings { sink: Rc::clone(&sink) as Rc<_>, display: Rc::new(Bars::new(screen.clone())), run_dir: absolute(&directory) };
    match Composed::new(Rc::new(catalog), run, surroundings).and_then(Composed::open) {
        Ok(session) => train(&session, directory, &sink, screen),
        Err(diagnostics) => {
            directory.discard();
            tell(&diagnostics);
            Ok(refusal(&diagnostics))
        }
    }
}

/// The exit code of a run that cannot begin.
fn refusal(diagnostics: &Diagnostics) -> Exit {
    if diagnostics.iter().any(|one| one.code == "plugin-refused") { Exit::PluginRefused } else { Exit::Configuration }
}

/// Instances that keep files may change the working folder, or tell others of it.
fn absolute(directory: &RunDirectory) -> String {
    let path = std::path::absolute(directory.path());
    path.as_deref().unwrap_or(directory.path()).to_string_lossy().into_owned()
}

fn train(session: &Session, directory: RunDirectory, sink: &Record, screen: &Screen) -> Outcome {
    let record = begin(session, directory).map_err(|error| Failure::new(Exit::Failed, error))?;
    let record = sink.0.get_or_init(|| record);
    HostLog::open_file(&record.path().join(file::LOG)).map_err(|error| Failure::new(Exit::Failed, error))?;
    let interrupt = session.interrupt();
    let listening = signals::listen(interrupt.clone(), screen.clone())
        .map_err(|error| Failure::new(Exit::Failed, format!("cannot listen for signals: {error}")))?;
    let path = record.path().to_string_lossy().into_owned();
    screen.print(&format!("{}\n", launch::launch(session, threads(session.run()), &path).text(screen.colors())));

    let report = session.fit();
    let signal = Some(interrupt.load(Ordering::Relaxed)).filter(|signal| *signal != 0);
    let outcome = Outcomes { report, signal };
    let mut problems = Vec::new();
    let mut note = |problem: Option<String>| problems.extend(problem);
    note(session.finish().err().map(|stop| stop.to_string()));
    note(write_model(session, record).err());
    note(HostLog::close_file().err().map(|error| error.to_string()));
    let (conclusion, ended) = outcome.conclude(!problems.is_empty());
    problems.extend(record.end(&ended).err().map(|error| error.to_string()));
    drop(listening);

    let summary = Summary {
        conclusion,
        epochs: outcome.report.epochs,
        elapsed: record.elapsed(),
        figures: record.figures(),
        times: record.times(),
        directory: path,
        resume: String::new(),
    };
    screen.print(&format!("\n{}", summary.text(screen.colors())));
    outcome.exit(&problems)
}

/// Writes everything that is known before the first step.
fn begin(session: &Session, directory: RunDirectory) -> Result<RunRecord, RecordError> {
    let run = session.run();
    let given = run.sources.iter().filter(|(_, source)| matches!(source.kind, SourceKind::File | SourceKind::BuiltIn));
    let run_files: Vec<String> = given.map(|(_, source)| source.text.clone()).collect();
    let environment = Environment::gather(threads(run), &String::from(run.run.device), run.run.seed);
    let given = Given { run_files: &run_files, resolved: &run.to_toml(), plugins: &plugins_lock(session), environment: &environment };
    RunRecord::begin(directory, &given)
}

/// The plugins of the run as TOML.
fn plugins_lock(session: &Session) -> String {
    let mut text = String::from("# The plugins of this run.\n");
    for plugin in launch::plugins(session) {
        let quoted = |text: &str| toml::Value::from(text).to_string();
        let (name, version, sha256) = (quoted(&plugin.name), quoted(&plugin.version), quoted(&plugin.sha256));
        text.push_str(&format!("\n[[plugin]]\nname = {name}\nversion = {version}\nsha256 = {sha256}\n"));
    }
    text
}

fn threads(run: &RunDescription) -> usize {
    match run.run.threads {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        threads => threads,
    }
}

fn write_model(session: &Session, record: &RunRecord) -> Result<(), String> {
    let tensors = session.model_tensors().map_err(|error| format!("the model cannot be copied: {error}"))?;
    record.write_model(&tensors).map_err(|error| error.to_string())
}

/// A fit that has ended, and the signal that came, if any.
struct Outcomes {
    report: FitReport,
    signal: Option<u32>,
}

impl Outcomes {
    /// How it ended, for the person and for `state.json`; `spoiled` where the record could not be completed.
    fn conclude(&self, spoiled: bool) -> (Conclusion, Ended) {
        let ended = |status, reason: &str, by: &str, exit: Exit| {
            let exit = if spoiled { Exit::Failed } else { exit };
            Ended { status, reason: reason.to_owned(), by: by.to_owned(), exit_code: exit.code() }
        };
        match &self.report.ending {
            Ending::Finished => (Conclusion::Finished, ended(Status::Finished, "", "", Exit::Done)),
            Ending::Stopped { reason, by } => match self.signal.filter(|_| by.is_empty()) {
                Some(signal) => {
                    let name = signals::name(signal);
                    let conclusion = Conclusion::Interrupted { signal: name.to_owned() };
                    (conclusion, ended(Status::Interrupted, name, "", signals::exit(signal)))
                }
                None => {
                    let conclusion = Conclusion::Stopped { reason: reason.clone(), by: by.clone() };
                    (conclusion, ended(Status::Stopped, reason, by, Exit::Done))
                }
            },
            Ending::Failed(stop) => (Conclusion::Failed, ended(Status::Failed, &stop.to_string(), &stop.0.by, Exit::Failed)),
        }
    }

    /// What the command answers; `problems` came up after the fit.
    fn exit(&self, problems: &[String]) -> Outcome {
        let mut texts: Vec<String> = Vec::new();
        if let Ending::Failed(stop) = &self.report.ending {
            texts.push(stop.to_string());
        }
        texts.extend_from_slice(problems);
        if !texts.is_empty() {
            return Err(Failure::new(Exit::Failed, shown::paragraph(&texts.join("\nerror: "))));
        }
        match (&self.report.ending, self.signal) {
            (Ending::Stopped { by, .. }, Some(signal)) if by.is_empty() => Ok(signals::exit(signal)),
            _ => Ok(Exit::Done),
        }
    }
}
