//! From the first step to the last line: the fit itself, its checkpoints, its record's end, and
//! what is said of it.

use std::{rc::Rc, sync::atomic::Ordering, time::Duration};

use super::{deadline::Deadline, launch, signals, threads};
use crate::{
    cli::{Exit, Failure, Outcome},
    display::{Conclusion, HostLog, Screen, Summary},
    durable::{CheckpointSaver, DeferredRecord, profile},
    learner::{Ending, FitReport, TIME_IS_UP, ports::PhaseKind, profile::Work},
    library::escape,
    record::{RunEnd, RunRecord, Status, file},
    session::Session,
    supervisor::worker::{self, Patience},
};

/// What is left of a run when it has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kept {
    /// Its record.
    Record,
    /// Nothing: it was only tried.
    Nothing,
}

/// A session whose record has begun.
pub(super) struct Ready<'a> {
    pub(super) session: &'a Session,
    pub(super) sink: &'a Rc<DeferredRecord>,
    pub(super) kept: Kept,
    /// Steps after which the run is interrupted as by SIGINT.
    pub(super) interrupt_at: Option<u64>,
    /// The plugins as they stand in `plugins.lock`.
    pub(super) plugins: String,
}

/// Trains what is left of the run, and ends its record.
pub(super) fn fit(ready: &Ready<'_>, screen: &Screen) -> Outcome {
    let session = ready.session;
    let Some(record) = ready.sink.get() else {
        return Err(Failure::new(Exit::Failed, "the record has not begun"));
    };
    HostLog::open_file(&record.path().join(file::LOG))
        .map_err(|error| Failure::new(Exit::Failed, error))?;
    let interrupt = session.interrupt();
    let listening = signals::listen(interrupt.clone(), screen.clone()).map_err(|error| {
        Failure::new(Exit::Failed, format!("cannot listen for signals: {error}"))
    })?;
    let path = match ready.kept {
        Kept::Record => record.path().to_string_lossy().into_owned(),
        Kept::Nothing => String::new(),
    };
    screen.print(&format!(
        "{}\n",
        launch::launch(session, threads(session.run()), &path)
            .text(screen.colors(), screen.columns())
    ));

    watch(session)?;
    let saver =
        CheckpointSaver::begin(session, ready.sink, ready.plugins.clone(), ready.interrupt_at)
            .map_err(|error| {
                Failure::new(Exit::Failed, format!("cannot keep checkpoints: {error}"))
            })?;
    let deadline =
        Deadline::begin(interrupt.clone(), session.run().run.max_time).map_err(|error| {
            Failure::new(Exit::Failed, format!("the time of the run cannot be watched: {error}"))
        })?;
    let report = session.fit_rest();
    drop(deadline);
    let signal = Some(interrupt.load(Ordering::Relaxed)).filter(|signal| *signal != 0);
    let outcome = Outcomes { report, signal };
    let mut problems = Vec::new();
    let mut note = |problem: Option<String>| problems.extend(problem);
    let kept = saver.as_ref().map_or(Ok(false), |saver| saver.finish());
    let resumable =
        kept.as_ref().is_ok_and(|kept| *kept) && !matches!(outcome.report.ending, Ending::Finished);
    note(kept.err());
    note(session.finish().err().map(|stop| stop.to_string()));
    note(write_model(session, record).err());
    note(profile::write(session.runtime(), record).err().map(|error| error.to_string()));
    note(HostLog::close_file().err().map(|error| error.to_string()));
    let (conclusion, ended) = outcome.conclude(!problems.is_empty());
    problems.extend(record.end(&ended).err().map(|error| error.to_string()));
    drop(listening);

    let summary = Summary {
        conclusion,
        epochs: outcome.report.epochs,
        elapsed: record.elapsed(),
        figures: record.epoch_metrics(),
        times: record.times(),
        callbacks: callback_times(session),
        resume: if resumable && ready.kept == Kept::Record {
            format!("fluxbay resume {path}")
        } else {
            String::new()
        },
        evaluate: if ready.kept == Kept::Record && problems.is_empty() && has_validation(session) {
            format!("fluxbay evaluate {path}")
        } else {
            String::new()
        },
        directory: path,
    };
    screen.print(&format!("\n{}", summary.text(screen.colors())));
    outcome.exit(&problems)
}

/// Whether there is a phase that `fluxbay evaluate` could run.
fn has_validation(session: &Session) -> bool {
    session
        .runtime()
        .parts()
        .is_ok_and(|parts| parts.phases.iter().any(|phase| phase.kind == PhaseKind::Validation))
}

/// The time of each callback at all events, scaled up from what was timed.
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

/// Has calls that do not return told, and ended where the run says so.
fn watch(session: &Session) -> Result<(), Failure> {
    let settings = &session.run().run;
    let patience = Patience {
        warning: seconds(settings.handler_warning),
        limit: seconds(settings.handler_limit),
    };
    worker::watch(patience).map_err(|error| {
        Failure::new(Exit::Failed, format!("calls of plugins cannot be watched: {error}"))
    })
}

fn seconds(number: f64) -> Duration {
    Duration::try_from_secs_f64(number).unwrap_or(Duration::ZERO)
}

fn write_model(session: &Session, record: &RunRecord) -> Result<(), String> {
    let tensors =
        session.model_tensors().map_err(|error| format!("the model cannot be copied: {error}"))?;
    record.write_model(&tensors).map_err(|error| error.to_string())
}

/// A fit that has ended, and the signal that came, if any.
struct Outcomes {
    report: FitReport,
    signal: Option<u32>,
}

impl Outcomes {
    /// How it ended, for the person and for `state.json`; `spoiled` where the record could not be
    /// completed.
    fn conclude(&self, spoiled: bool) -> (Conclusion, RunEnd) {
        let ended = |status, reason: &str, by: &str, exit: Exit| {
            let exit = if spoiled { Exit::Failed } else { exit };
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

    /// What the command answers; `problems` came up after the fit.
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
