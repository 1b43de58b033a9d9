//! Trains a session whose record has begun: launch banner, signals, checkpoints, end of the record,
//! summary, exit code. Called by `train` and `resume`.

use std::{path::Path, rc::Rc, time::Duration};

use serde_json::{Map, Value as Json, json};

use super::{deadline::Deadline, launch, rank::RankFile, signals};
use crate::{
    bundle,
    cli::outcome::{Exit, Failure, Outcome},
    display::{Conclusion, HostLog, Screen, Summary, bytes, number},
    durable::{CheckpointSaver, DeferredRecord, profile, trace},
    learner::{Ending, FitReport, TIME_IS_UP, ports::PhaseKind, profile::Work},
    library::escape,
    record::{
        RankState, RecordError, RunEnd, RunEntry, RunRecord, Status, atomic, checkpoint, file,
        tensors,
    },
    report,
    session::{CONFIG, Session, WrittenModel, checkpoint::MODEL},
};

/// How long a run's record lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lifetime {
    /// It stays.
    Kept,
    /// It is removed at the end, because the run is only tried.
    Temporary,
    /// It is removed at the end, because rank 0 keeps the record of the run.
    OfAnotherRank,
}

impl Lifetime {
    /// The lifetime of the record of a rank, in a temporary folder or not.
    pub(super) fn of(rank: usize, temporary: bool) -> Lifetime {
        match (rank, temporary) {
            (1.., _) => Lifetime::OfAnotherRank,
            (0, true) => Lifetime::Temporary,
            (0, false) => Lifetime::Kept,
        }
    }
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
    /// Write a trace of the first steps for Perfetto or Chrome.
    ///
    /// Phases, steps, callbacks and operations of every thread over time. At most 200,000 spans are
    /// kept; the run trains more slowly meanwhile.
    #[arg(long, value_name = "FILE", hide_short_help = true)]
    trace: Option<std::path::PathBuf>,
    /// Show the run in a dashboard, as `fluxbay watch` does, instead of a bar.
    ///
    /// It closes when the run ends. Leaving it with `q` does not end the run; Ctrl-C does.
    #[arg(long, hide_short_help = true)]
    pub(super) watch: bool,
    /// Train on N processes of this machine, over MPI.
    ///
    /// Starts the command with the launcher of Open MPI or MPICH. On several machines, use the launcher
    /// itself.
    #[arg(long, value_name = "N", conflicts_with = "watch", hide_short_help = true)]
    pub(super) ranks: Option<usize>,
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
    /// The signals to this process.
    pub(super) listening: signals::Listening,
}

impl FitArguments {
    /// Starts to handle signals, before plugins and data are loaded.
    pub(super) fn listen(&self, screen: &Screen) -> Result<signals::Listening, Failure> {
        signals::listen(&self.save_on, screen.clone()).map_err(|error| {
            Failure::new(Exit::Failed, format!("cannot listen for signals: {error}"))
        })
    }
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
    ready.listening.attach(interrupt.clone());
    let path = match ready.lifetime {
        Lifetime::Kept => record.shown().to_string_lossy().into_owned(),
        Lifetime::Temporary | Lifetime::OfAnotherRank => String::new(),
    };
    screen.print(&format!("{}\n", launch::text(session, &path, screen)));

    let mut rank_file = RankFile::begin(session, record.path());
    let keeps = ready.lifetime != Lifetime::OfAnotherRank;
    let saver = if keeps {
        let (plugins, interrupt_at) = (ready.plugins.clone(), ready.arguments.interrupt_at);
        CheckpointSaver::begin(session, ready.sink, plugins, interrupt_at)
    } else {
        Ok(None)
    };
    let saver = saver.map_err(|error| {
        Failure::new(Exit::Failed, format!("cannot write checkpoints: {error}"))
    })?;
    let deadline =
        Deadline::begin(interrupt.clone(), session.run().run.max_time).map_err(|error| {
            Failure::new(Exit::Failed, format!("cannot start the timer of run.max-time: {error}"))
        })?;
    if ready.arguments.trace.is_some() {
        crate::tensor::timeline::start(trace::MOST);
    }
    let report = session.fit_rest();
    drop(deadline);
    let traced = ready.arguments.trace.as_deref().map(|file| write_trace(session, file, screen));
    let signal = Some(interrupt.signal()).filter(|signal| *signal != 0);
    let mut outcome = FitOutcome { report, signal, blamed: String::new() };
    if let Some(other) = rank_file.as_mut().and_then(RankFile::failure) {
        outcome.blame(&other);
    }
    let mut problems = Vec::new();
    let mut note = |problem: Option<String>| problems.extend(problem);
    note(traced.and_then(Result::err));
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
    let missing = left_out(session);
    for (split, samples, count) in &missing {
        screen.print(&format!(
            "{count} of {samples} {} samples were left out because they cannot be read",
            escape::text(split)
        ));
    }
    note(write_left_out(record, &missing).err());
    if keeps {
        note(write_model(session, record).err());
    }
    note(profile::write(session.runtime(), record).err().map(|error| error.to_string()));
    note(HostLog::close_file().err().map(|error| error.to_string()));
    let (conclusion, ended) = outcome.conclude(!problems.is_empty());
    problems.extend(record.end(&ended).err().map(|error| error.to_string()));
    if let Some(file) = rank_file {
        file.end(&ended);
    }
    if ready.lifetime == Lifetime::Kept && problems.is_empty() && outcome.ends_the_run() {
        // The record is complete without it, and `fluxbay export` writes it again.
        if let Err(text) = write_bundle(session, record) {
            log::warn!("the run has no bundle: {}", escape::paragraph(&text));
        }
    }
    if session.run().run.report && ready.lifetime == Lifetime::Kept {
        match write_report(record) {
            Ok(()) => screen.print(&format!(
                "\n{} shows the run",
                escape::path(&record.shown().join(file::REPORT))
            )),
            // The record is complete, and `fluxbay report` can write it at any time.
            Err(error) => screen.print(&format!("\nwarning: the report was not written: {error}")),
        }
    }

    warn_of_memory(session);
    let summary = Summary {
        conclusion,
        epochs: outcome.report.epochs,
        elapsed: record.elapsed(),
        figures: record.epoch_metrics(),
        times: record.times(),
        memory: session.runtime().memory_use(),
        ranks: session.runtime().ranks().filter(|ranks| ranks.are_several()).map(|ranks| {
            (ranks.ranks(), ranks.waited(), ranks.communicated().saturating_sub(ranks.waited()))
        }),
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

/// Ends the trace of the fit and writes it.
fn write_trace(session: &Session, file: &Path, screen: &Screen) -> Result<(), String> {
    let Some(trace) = crate::tensor::timeline::finish() else { return Ok(()) };
    trace::write(&trace, session.runtime(), file)
        .map_err(|error| format!("cannot write the trace {}: {error}", escape::path(file)))?;
    let more = if trace.is_full { ", then it was full" } else { "" };
    screen.print(&format!("trace of {} spans{more}: {}", trace.spans.len(), escape::path(file)));
    Ok(())
}

/// File of the record with the number of samples that were left out; only if there are any.
const LEFT_OUT: &str = "left-out.json";

/// Name, samples, and samples that were left out of their batches, of each split that has such.
fn left_out(session: &Session) -> Vec<(String, usize, usize)> {
    let Some(loader) = session.loader() else { return Vec::new() };
    let parts = loader.parts().iter();
    let counts = parts.map(|part| (part.name.clone(), part.samples(), loader.left_out(part)));
    counts.filter(|(_, _, count)| *count > 0).collect()
}

fn write_left_out(record: &RunRecord, missing: &[(String, usize, usize)]) -> Result<(), String> {
    if missing.is_empty() {
        return Ok(());
    }
    let split = |(name, samples, count): &(String, usize, usize)| {
        (name.clone(), json!({ "samples": samples, "left-out": count }))
    };
    let splits: Map<String, Json> = missing.iter().map(split).collect();
    let text = format!("{:#}\n", Json::Object(splits));
    atomic::replace(&record.path().join(LEFT_OUT), text.as_bytes())
        .map_err(|error| format!("{LEFT_OUT} cannot be written: {error}"))
}

/// Writes the report on the run into its folder.
fn write_report(record: &RunRecord) -> Result<(), RecordError> {
    let runs: Vec<RunEntry> = RunEntry::read(record.shown()).into_iter().collect();
    atomic::replace(&record.path().join(file::REPORT), report::page(&runs)?.as_bytes())
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

/// Says that the tensors took more than `run.memory` allows.
fn warn_of_memory(session: &Session) {
    let (limit, most) = (session.run().run.memory.0, session.runtime().memory_use());
    if let (Some(limit), Some(most)) = (limit, most)
        && most.peak > limit
    {
        log::warn!(
            "the tensors took {}, more than run.memory = {}: the models have no further block that \
             could be computed again; use smaller batches, or more gradient accumulation",
            bytes(most.peak),
            bytes(limit)
        );
    }
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
    let WrittenModel { tensors, config, adapter } = session.written_model()?;
    record.write_model(&tensors).map_err(|error| error.to_string())?;
    let mut files = Vec::new();
    files.extend(config.map(|config| (CONFIG, config.into_bytes())));
    if let Some((tensors, config)) = adapter {
        let bytes = tensors::encode(&tensors).map_err(|error| error.to_string())?;
        files.push(("adapter_model.safetensors", bytes));
        files.push(("adapter_config.json", config.into_bytes()));
    }
    for (name, bytes) in files {
        atomic::replace(&record.path().join(name), &bytes).map_err(|error| error.to_string())?;
    }
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
    /// The instance of another rank that caused a failure; empty for none.
    blamed: String,
}

impl FitOutcome {
    /// Names the failure of another rank as the cause.
    fn blame(&mut self, other: &RankState) {
        if let Ending::Failed(stop) = &mut self.report.ending {
            stop.0.text = format!("{}; rank {}: {}", stop.0.text, other.rank, other.reason);
            self.blamed.clone_from(&other.by);
        }
    }

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
                ended(
                    Status::Failed,
                    &stop.to_string(),
                    if stop.0.by.is_empty() { &self.blamed } else { &stop.0.by },
                    Exit::Failed,
                ),
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
