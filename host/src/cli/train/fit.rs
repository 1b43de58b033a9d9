//! Trains a session whose record has begun: launch banner, signals, checkpoints, end of the record,
//! summary, exit code. Called by `train` and `resume`.

use std::{path::Path, rc::Rc, time::Duration};

use super::{deadline::Deadline, launch, signals};
use crate::{
    bundle,
    cli::outcome::{Exit, Failure, Outcome},
    display::{Conclusion, HostLog, Screen, Summary, number},
    durable::{CheckpointSaver, DeferredRecord, profile},
    learner::{Ending, FitReport, TIME_IS_UP, ports::PhaseKind, profile::Work},
    library::escape,
    record::{RunEnd, RunEntry, RunRecord, Status, atomic, checkpoint, file, tensors},
    session::{Session, checkpoint::MODEL},
};

/// How long a run's record lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lifetime {
    /// It stays.
    Kept,
    /// It is removed at the end, because the run is only tried.
    Temporary,
}

/// Arguments about the fit itself, of the commands that train.
#[derive(Debug, clap::Args)]
pub(super) struct FitArguments {
    /// Save and continue on a signal: usr1, usr2, hup.
    ///
    /// May be given several times; usr1 unless given. All other signals end the run.
    #[arg(
        long,
        value_enum,
        value_name = "SIGNAL",
        hide_possible_values = true,
        hide_short_help = true
    )]
    save_on: Vec<signals::SaveSignal>,
    /// Interrupt the run as SIGINT does when so many steps have begun; for tests of resuming.
    #[arg(long, value_name = "STEPS", hide = true)]
    interrupt_at: Option<u64>,
}

/// A session whose record has begun.
pub(super) struct Ready<'a> {
    pub(super) session: &'a Session,
    pub(super) sink: &'a Rc<DeferredRecord>,
    pub(super) lifetime: Lifetime,
    pub(super) arguments: &'a FitArguments,
    /// Text of the run's `plugins.lock`.
    pub(super) plugins: String,
}

/// Trains the remaining epochs and ends the record.
pub(super) fn fit(ready: &Ready<'_>, screen: &Screen) -> Outcome {
    let session = ready.session;
    let Some(record) = ready.sink.get() else {
        return Err(Failure::new(Exit::Failed, "the record has not begun"));
    };
    HostLog::open_file(&record.path().join(file::LOG))
        .map_err(|error| Failure::new(Exit::Failed, error))?;
    let interrupt = session.interrupt();
    let listening = signals::listen(interrupt.clone(), &ready.arguments.save_on, screen.clone())
        .map_err(|error| {
            Failure::new(Exit::Failed, format!("cannot listen for signals: {error}"))
        })?;
    let path = match ready.lifetime {
        Lifetime::Kept => record.shown().to_string_lossy().into_owned(),
        Lifetime::Temporary => String::new(),
    };
    screen.print(&format!("{}\n", launch::text(session, &path, screen)));

    let saver = CheckpointSaver::begin(
        session,
        ready.sink,
        ready.plugins.clone(),
        ready.arguments.interrupt_at,
    )
    .map_err(|error| Failure::new(Exit::Failed, format!("cannot write checkpoints: {error}")))?;
    let deadline =
        Deadline::begin(interrupt.clone(), session.run().run.max_time).map_err(|error| {
            Failure::new(Exit::Failed, format!("cannot start the timer of run.max-time: {error}"))
        })?;
    let report = session.fit_rest();
    drop(deadline);
    let signal = Some(interrupt.signal()).filter(|signal| *signal != 0);
    let outcome = FitOutcome { report, signal };
    let mut problems = Vec::new();
    let mut note = |problem: Option<String>| problems.extend(problem);
    let saved = saver.as_ref().map_or(Ok(false), |saver| saver.finish());
    let resumable = saved.as_ref().is_ok_and(|saved| *saved)
        && !matches!(outcome.report.ending, Ending::Finished);
    note(saved.err());
    note(session.finish().err().map(|stop| stop.to_string()));
    let best = saver.as_ref().filter(|_| outcome.ends_the_run());
    if let Some((path, metric, value)) = best.and_then(|saver| saver.best_to_restore()) {
        match restore_model(session, &path) {
            Ok(()) => screen.print(&format!(
                "{} is the model of {}: {metric} {}",
                file::MODEL,
                escape::path(&path),
                number(value)
            )),
            Err(text) => note(Some(text)),
        }
    }
    note(write_model(session, record).err());
    note(profile::write(session.runtime(), record).err().map(|error| error.to_string()));
    note(HostLog::close_file().err().map(|error| error.to_string()));
    let (conclusion, ended) = outcome.conclude(!problems.is_empty());
    problems.extend(record.end(&ended).err().map(|error| error.to_string()));
    if ready.lifetime == Lifetime::Kept && problems.is_empty() && outcome.ends_the_run() {
        problems.extend(write_bundle(session, record).err());
    }
    drop(listening);

    let summary = Summary {
        conclusion,
        epochs: outcome.report.epochs,
        elapsed: record.elapsed(),
        figures: record.epoch_metrics(),
        times: record.times(),
        callbacks: callback_times(session),
        resume: if resumable && ready.lifetime == Lifetime::Kept {
            format!("fluxbay resume {path}")
        } else {
            String::new()
        },
        evaluate: if ready.lifetime == Lifetime::Kept
            && problems.is_empty()
            && has_validation(session)
        {
            format!("fluxbay evaluate {path}")
        } else {
            String::new()
        },
        directory: path,
    };
    screen.print(&format!("\n{}", summary.text(screen.colors())));
    outcome.exit(&problems)
}

/// Whether the run has a phase that `fluxbay evaluate` can run.
fn has_validation(session: &Session) -> bool {
    session
        .runtime()
        .roles()
        .is_ok_and(|parts| parts.phases.iter().any(|phase| phase.kind == PhaseKind::Validation))
}

/// The time that each callback took at all events, extrapolated from the timed calls.
fn callback_times(session: &Session) -> Vec<(String, Duration)> {
    let rows = session.runtime().profile.rows();
    let seconds = |number: u32| {
        rows.iter()
            .filter(|row| matches!(row.work, Work::Callback(by, _) if by == number))
            .map(|row| row.seconds)
            .sum()
    };
    let time = |number| Duration::try_from_secs_f64(seconds(number)).unwrap_or_default();
    session
        .callbacks()
        .iter()
        .map(|callback| (callback.id.clone(), time(callback.number)))
        .collect()
}

/// Gives the session the model of a checkpoint.
fn restore_model(session: &Session, path: &Path) -> Result<(), String> {
    let failed = |text: String| format!("the best model cannot be restored: {text}");
    let data = checkpoint::read(path).map_err(|damage| failed(damage.to_string()))?;
    let bytes = data.files.get(MODEL).map(|content| content.bytes()).unwrap_or_default();
    let tensors = tensors::decode(&bytes).map_err(|error| failed(error.to_string()))?;
    session.set_model_tensors(&tensors).map_err(|error| failed(error.to_string()))
}

/// Writes the final model, and beside it what is known of the run's data.
fn write_model(session: &Session, record: &RunRecord) -> Result<(), String> {
    let tensors =
        session.model_tensors().map_err(|error| format!("cannot copy the model: {error}"))?;
    record.write_model(&tensors).map_err(|error| error.to_string())?;
    for (name, bytes) in session.saved_data().map(|data| data.to_files()).unwrap_or_default() {
        atomic::replace(&record.path().join(name), &bytes).map_err(|error| error.to_string())?;
    }
    Ok(())
}

/// Writes the bundle of a run that ended by itself.
fn write_bundle(session: &Session, record: &RunRecord) -> Result<(), String> {
    let run = RunEntry::read(record.path())
        .ok_or_else(|| "the record of the run cannot be read for its bundle".to_owned())?;
    let plugins = session.composed().plugins().catalog().plugins();
    bundle::write_into_run(&run, bundle::Origin { plugins, license: "" })
}

/// How a fit ended, and the signal that arrived during it.
struct FitOutcome {
    report: FitReport,
    signal: Option<u32>,
}

impl FitOutcome {
    /// Whether the fit ended by itself, not by an error or a signal.
    fn ends_the_run(&self) -> bool {
        match &self.report.ending {
            Ending::Finished => true,
            Ending::Stopped { .. } => self.signal.is_none_or(|signal| signal == TIME_IS_UP),
            Ending::Failed(_) => false,
        }
    }

    /// How it ended, for the summary and for `state.json`. `incomplete`: the record could not be
    /// completed.
    fn conclude(&self, incomplete: bool) -> (Conclusion, RunEnd) {
        let ended = |status, reason: &str, by: &str, exit: Exit| {
            let exit = if incomplete { Exit::Failed } else { exit };
            RunEnd { status, reason: reason.to_owned(), by: by.to_owned(), exit_code: exit.code() }
        };
        match &self.report.ending {
            Ending::Finished => (Conclusion::Finished, ended(Status::Finished, "", "", Exit::Done)),
            Ending::Stopped { reason, by } => match self.signal.filter(|_| by.is_empty()) {
                Some(TIME_IS_UP) => {
                    let conclusion =
                        Conclusion::Stopped { reason: reason.clone(), by: String::new() };
                    (conclusion, ended(Status::Stopped, reason, "", Exit::Done))
                }
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
            Ending::Failed(stop) => (
                Conclusion::Failed,
                ended(Status::Failed, &stop.to_string(), &stop.0.by, Exit::Failed),
            ),
        }
    }

    /// What the command returns; `problems` are those of ending the record.
    fn exit(&self, problems: &[String]) -> Outcome {
        let mut texts: Vec<String> = Vec::new();
        if let Ending::Failed(stop) = &self.report.ending {
            texts.push(stop.to_string());
        }
        texts.extend_from_slice(problems);
        if !texts.is_empty() {
            return Err(Failure::new(Exit::Failed, escape::paragraph(&texts.join("\nerror: "))));
        }
        match (&self.report.ending, self.signal) {
            (Ending::Stopped { by, .. }, Some(signal)) if by.is_empty() && signal != TIME_IS_UP => {
                Ok(signals::exit(signal))
            }
            _ => Ok(Exit::Done),
        }
    }
}
