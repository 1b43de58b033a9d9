//! The files that a run writes while it trains: `metrics.jsonl`, `metrics.csv`, `events.jsonl`,
//! `state.json`, and the model at the end.

use std::{
    cell::RefCell,
    fs::File,
    path::Path,
    time::{Duration, Instant},
};

use candle_core::Tensor;
use fluxbay_watch::{
    curve::{Point, is_of_step},
    lines::{each_line, parts},
};
use serde::{Deserialize, Serialize};

use super::{
    Directions, Environment, EpochMetric, Lines, PhaseTime, RecordError, RunDirectory, RunState,
    STATE, Status, Timestamp, atomic,
    line::{COLUMNS, event_json, metric_json, metric_row},
    summary::RunSummary,
    tensors,
};
use crate::learner::ports::{At, Scope, Sink, SinkError};

/// Names of the files of a run.
pub mod file {
    /// The run file as it was given; further layers are `run-2.toml` and so on.
    pub const RUN: &str = "run.toml";
    /// The run with every default filled in.
    pub const RESOLVED: &str = "resolved.toml";
    /// The plugins of the run, pinned by sha256.
    pub const PLUGINS: &str = "plugins.lock";
    /// Host, hardware and command line.
    pub const ENVIRONMENT: &str = "environment.json";
    /// Which values of each epoch metric are better, as far as that is declared.
    pub const DIRECTIONS: &str = "directions.json";
    /// Steps of an epoch of each phase, as far as the data tells.
    pub const PHASES: &str = "phases.json";
    /// The loop, the order of the callbacks and its reasons.
    pub const COMPOSITION: &str = "composition.json";
    /// The report that `run.report` asks for.
    pub const REPORT: &str = "report.html";
    /// Folder with more than one number of a metric: a file for each phase and metric.
    pub const DETAILS: &str = "details";
    /// One metric value per line, as JSON.
    pub const METRICS: &str = "metrics.jsonl";
    /// The same values as a table.
    pub const METRICS_TABLE: &str = "metrics.csv";
    /// One event of the run per line.
    pub const EVENTS: &str = "events.jsonl";
    /// Parameters and buffers at the end.
    pub const MODEL: &str = "model.safetensors";
    /// The log.
    pub const LOG: &str = "log.txt";
    /// Time spent, by phase and kind of work.
    pub const PROFILE: &str = "profile.json";
    /// Folder of the checkpoints.
    pub const CHECKPOINTS: &str = "checkpoints";
}

/// Shortest time between two updates of `state.json` during a run.
const STATE_INTERVAL: Duration = Duration::from_secs(1);

/// Inputs of a run, for the record.
#[derive(Clone, Copy, Debug)]
pub struct RunInputs<'a> {
    /// Texts of the run files, in the order of their layers.
    pub run_files: &'a [String],
    /// The run with every default filled in, as TOML.
    pub resolved: &'a str,
    /// The content of `plugins.lock`.
    pub plugins: &'a str,
    /// Host, hardware and command line.
    pub environment: &'a Environment,
    /// Which values of each epoch metric are better.
    pub directions: &'a Directions,
    /// Id and steps of an epoch of each phase that reads the data.
    pub phases: &'a [(String, u64)],
    /// The composition as JSON.
    pub composition: &'a serde_json::Value,
}

impl RunInputs<'_> {
    /// Writes the files about what the run uses.
    fn write(&self, directory: &RunDirectory) -> Result<(), RecordError> {
        let phases: serde_json::Map<String, serde_json::Value> =
            self.phases.iter().map(|(id, steps)| (id.clone(), (*steps).into())).collect();
        atomic::replace(&directory.file(file::PLUGINS), self.plugins.as_bytes())?;
        atomic::replace(&directory.file(file::ENVIRONMENT), &pretty(self.environment))?;
        atomic::replace(&directory.file(file::PHASES), &pretty(&phases))?;
        atomic::replace(&directory.file(file::COMPOSITION), &pretty(self.composition))?;
        atomic::replace(&directory.file(file::DIRECTIONS), &self.directions.to_json())
    }
}

/// How a run ended, for `state.json`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunEnd {
    /// The final status.
    pub status: Status,
    /// The reason; empty if it finished.
    pub reason: String,
    /// Instance that ended it; empty for none.
    pub by: String,
    /// The exit code of the process.
    pub exit_code: u8,
}

/// Lengths of the growing files. A checkpoint keeps them, so that resuming neither repeats nor loses
/// a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Marks {
    /// Bytes of `metrics.jsonl`.
    pub metrics: u64,
    /// Bytes of `metrics.csv`.
    pub metrics_table: u64,
    /// Bytes of `events.jsonl`.
    pub events: u64,
}

/// The record of a run in progress. Used on the training thread.
#[derive(Debug)]
pub struct RunRecord {
    directory: RunDirectory,
    inner: RefCell<Inner>,
}

#[derive(Debug)]
struct Inner {
    metrics: Lines,
    table: Lines,
    events: Lines,
    state: RunState,
    state_written: Instant,
    summary: RunSummary,
    begun: Instant,
}

impl RunRecord {
    /// Starts the record of a new run and writes everything that is known before the first step.
    ///
    /// # Errors
    /// If a file cannot be written.
    pub fn begin(directory: RunDirectory, given: &RunInputs<'_>) -> Result<RunRecord, RecordError> {
        directory.announce(given.run_files, given.resolved)?;
        given.write(&directory)?;
        let lines = new_lines(&directory)?;
        RunRecord::with(directory, lines, RunState::begin())
    }

    /// Restarts the record of a run that stopped before its first checkpoint.
    ///
    /// # Errors
    /// If a file cannot be written.
    pub fn restart(
        directory: RunDirectory,
        given: &RunInputs<'_>,
    ) -> Result<RunRecord, RecordError> {
        let before = RunState::read(&directory.file(STATE))?;
        let names = [file::METRICS, file::METRICS_TABLE, file::EVENTS];
        for path in names.iter().flat_map(|name| parts(&directory.file(name))) {
            match std::fs::remove_file(&path) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(RecordError::io("remove", &path)(error));
                }
                _ => {}
            }
        }
        given.write(&directory)?;
        let lines = new_lines(&directory)?;
        let state =
            RunState { started: before.started, resumed: before.resumed + 1, ..RunState::begin() };
        RunRecord::with(directory, lines, state)
    }

    /// Continues the record of a run that stopped: removes lines after `marks` and incomplete lines.
    ///
    /// # Errors
    /// If the files are shorter than `marks`, or cannot be written.
    pub fn resume(
        directory: RunDirectory,
        marks: Option<&Marks>,
    ) -> Result<RunRecord, RecordError> {
        let metrics =
            Lines::reopen(&directory.file(file::METRICS), marks.map(|marks| marks.metrics))?;
        let table = Lines::reopen(
            &directory.file(file::METRICS_TABLE),
            marks.map(|marks| marks.metrics_table),
        )?;
        let events = Lines::reopen(&directory.file(file::EVENTS), marks.map(|marks| marks.events))?;
        let before = RunState::read(&directory.file(STATE))?;
        let state =
            RunState { started: before.started, resumed: before.resumed + 1, ..RunState::begin() };
        let summary = checked_summary(directory.path())?;
        let record = RunRecord::with(directory, [metrics, table, events], state)?;
        record.inner.borrow_mut().summary = summary;
        Ok(record)
    }

    fn with(
        directory: RunDirectory,
        [metrics, table, events]: [Lines; 3],
        mut state: RunState,
    ) -> Result<RunRecord, RecordError> {
        state.write(&directory.file(STATE))?;
        let now = Instant::now();
        let inner = Inner {
            metrics,
            table,
            events,
            state,
            state_written: now,
            summary: RunSummary::new(Directions::read(&directory.file(file::DIRECTIONS))),
            begun: now,
        };
        Ok(RunRecord { directory, inner: RefCell::new(inner) })
    }

    /// The run's folder.
    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// The run's folder as it was given, for messages.
    pub fn shown(&self) -> &Path {
        self.directory.shown()
    }

    /// Flushes and syncs the growing files, and returns their lengths.
    ///
    /// # Errors
    /// If a file cannot be written.
    pub fn mark(&self) -> Result<Marks, RecordError> {
        let inner = &mut *self.inner.borrow_mut();
        Ok(Marks {
            metrics: inner.metrics.sync()?,
            metrics_table: inner.table.sync()?,
            events: inner.events.sync()?,
        })
    }

    /// Flushes the growing files, and returns their lengths and handles for another thread to sync.
    ///
    /// # Errors
    /// If a file cannot be written.
    pub fn hand_over(&self) -> Result<(Marks, Vec<File>), RecordError> {
        let inner = &mut *self.inner.borrow_mut();
        let (metrics, metrics_file) = inner.metrics.hand_over()?;
        let (metrics_table, table_file) = inner.table.hand_over()?;
        let (events, events_file) = inner.events.hand_over()?;
        Ok((Marks { metrics, metrics_table, events }, vec![metrics_file, table_file, events_file]))
    }

    /// Writes `model.safetensors`: parameters and buffers as `MODEL.PATH`.
    ///
    /// # Errors
    /// If a tensor or the file cannot be written.
    pub fn write_model(&self, parameters: &[(String, Tensor)]) -> Result<(), RecordError> {
        let path = self.directory.file(file::MODEL);
        let bytes = tensors::encode(parameters).map_err(|error| RecordError::Content {
            path: path.clone(),
            problem: error.to_string(),
        })?;
        atomic::replace(&path, &bytes)
    }

    /// Ends the record: syncs all files, and writes `state.json` last.
    ///
    /// # Errors
    /// If a file cannot be written; `state.json` is written in any case.
    pub fn end(&self, ended: &RunEnd) -> Result<(), RecordError> {
        let synced = self.mark();
        let inner = &mut *self.inner.borrow_mut();
        inner.state.status = ended.status;
        inner.state.reason.clone_from(&ended.reason);
        inner.state.by.clone_from(&ended.by);
        inner.state.exit_code = Some(ended.exit_code);
        let state = inner.state.write(&self.directory.file(STATE));
        synced?;
        state
    }

    /// Last and best value of each epoch metric so far, in order of first appearance.
    pub fn epoch_metrics(&self) -> Vec<EpochMetric> {
        self.inner.borrow().summary.epoch_metrics.clone()
    }

    /// Time that each phase took so far.
    pub fn times(&self) -> Vec<PhaseTime> {
        self.inner.borrow().summary.times.clone()
    }

    /// Time since the start of the record.
    pub fn elapsed(&self) -> Duration {
        self.inner.borrow().begun.elapsed()
    }
}

impl Sink for RunRecord {
    fn metric(&self, at: &At<'_>, scope: Scope, name: &str, value: f64) -> Result<(), SinkError> {
        let time = Timestamp::now().seconds();
        let inner = &mut *self.inner.borrow_mut();
        if scope == Scope::Epoch {
            inner.summary.add(at.phase, name, at.epoch, value);
        }
        inner
            .metrics
            .push(|line| metric_json(line, time, at, scope, name, value))
            .map_err(sink_error)?;
        inner.table.push(|line| metric_row(line, time, at, scope, name, value)).map_err(sink_error)
    }

    fn event(&self, at: &At<'_>, kind: &str, by: &str, detail: &str) -> Result<(), SinkError> {
        let time = Timestamp::now().seconds();
        let inner = &mut *self.inner.borrow_mut();
        (inner.state.epoch, inner.state.step) = (inner.state.epoch.max(at.epoch), at.step);
        match kind {
            "epoch-begin" => inner.summary.epoch_begins(at.phase),
            "epoch-end" => inner.summary.epoch_ends(at.phase),
            _ => {}
        }
        inner.events.push(|line| event_json(line, time, at, kind, by, detail)).map_err(sink_error)
    }

    fn flush(&self) -> Result<(), SinkError> {
        let inner = &mut *self.inner.borrow_mut();
        for lines in [&mut inner.metrics, &mut inner.table, &mut inner.events] {
            lines.flush().map_err(sink_error)?;
        }
        if inner.state_written.elapsed() >= STATE_INTERVAL {
            inner.state.write(&self.directory.file(STATE)).map_err(sink_error)?;
            inner.state_written = Instant::now();
        }
        Ok(())
    }
}

/// A value as the content of a JSON file.
fn pretty(value: &impl Serialize) -> Vec<u8> {
    let mut text = serde_json::to_vec_pretty(value).unwrap_or_default();
    text.push(b'\n');
    text
}

/// The growing files of a new run.
fn new_lines(directory: &RunDirectory) -> Result<[Lines; 3], RecordError> {
    Ok([
        Lines::create(&directory.file(file::METRICS), "")?,
        Lines::create(&directory.file(file::METRICS_TABLE), COLUMNS)?,
        Lines::create(&directory.file(file::EVENTS), "")?,
    ])
}

/// Reads the epoch metrics of a `metrics.jsonl` and its rotated parts. Lines that are no metrics are left
/// out, as is a last one that is still being written.
///
/// # Errors
/// The file cannot be read.
pub(super) fn read_summary(folder: &Path) -> Result<RunSummary, RecordError> {
    summary_of(folder, is_of_step, &mut |_| ())
}

/// Reads the epoch metrics, and refuses lines that are no metrics.
///
/// # Errors
/// The file cannot be read, or has such a line.
fn checked_summary(folder: &Path) -> Result<RunSummary, RecordError> {
    let mut damaged = None;
    let summary = summary_of(folder, |_| false, &mut |number| {
        damaged.get_or_insert(number);
    })?;
    match damaged {
        None => Ok(summary),
        Some(number) => {
            let problem = format!("line {number} is no metric");
            Err(RecordError::Content { path: folder.join(file::METRICS), problem })
        }
    }
}

/// The epoch metrics of the lines that `skips` does not leave out; `damaged` is called with the numbers
/// of those that are no metrics.
fn summary_of(
    folder: &Path,
    skips: fn(&[u8]) -> bool,
    damaged: &mut dyn FnMut(usize),
) -> Result<RunSummary, RecordError> {
    let path = &folder.join(file::METRICS);
    let mut summary = RunSummary::new(Directions::read(&folder.join(file::DIRECTIONS)));
    let mut number = 0;
    let read = each_line(path, |line| {
        number += 1;
        if skips(line) {
            return;
        }
        match Point::parse(line) {
            Some(point) if point.scope == Scope::Epoch.name() => {
                summary.add(&point.phase, &point.name, point.epoch, point.value);
            }
            Some(_) => {}
            None => damaged(number),
        }
    });
    read.map_err(RecordError::io("read", path))?;
    Ok(summary)
}

fn sink_error(error: RecordError) -> SinkError {
    SinkError(error.to_string())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use serde_json::Value;

    use super::*;

    fn at(epoch: u64, step: u64) -> At<'static> {
        At { phase: "training", kind: None, epoch, step, total_steps: step }
    }

    fn record(folder: &Path) -> RunRecord {
        let environment = Environment::gather(2, "cpu", 42);
        let given = RunInputs {
            run_files: &["[run]\n".to_owned()],
            resolved: "seed = 42\n",
            plugins: "",
            environment: &environment,
            directions: &Directions::default(),
            phases: &[("training".to_owned(), 45)],
            composition: &serde_json::json!({ "order": [] }),
        };
        RunRecord::begin(RunDirectory::at(folder).unwrap(), &given).unwrap()
    }

    #[test]
    fn metrics_are_one_object_a_line_and_the_table_says_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let record = record(folder.path());
        let values = [0.1, 1.0, 1e-300, -0.0, f64::NAN, f64::INFINITY, f64::NEG_INFINITY];
        for (step, value) in values.into_iter().enumerate() {
            record.metric(&at(1, step as u64 + 1), Scope::Step, "a \"loss\",\n", value).unwrap();
        }
        record.metric(&at(1, 0), Scope::Epoch, "loss", 0.5).unwrap();
        record
            .end(&RunEnd {
                status: Status::Finished,
                reason: String::new(),
                by: String::new(),
                exit_code: 0,
            })
            .unwrap();
        let phases = fs::read_to_string(folder.path().join(file::PHASES)).unwrap();
        assert_eq!(serde_json::from_str::<Value>(&phases).unwrap()["training"], 45);
        let lines = fs::read_to_string(folder.path().join(file::METRICS)).unwrap();
        let lines: Vec<Value> =
            lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let read: Vec<String> = lines.iter().map(|line| line["value"].to_string()).collect();
        assert_eq!(read, ["0.1", "1.0", "1e-300", "-0.0", "\"NaN\"", "\"inf\"", "\"-inf\"", "0.5"]);
        assert_eq!(lines[0]["name"], "a \"loss\",\n");
        assert_eq!(
            lines[7].as_object().unwrap().keys().collect::<Vec<_>>(),
            COLUMNS.split(',').collect::<Vec<_>>()
        );
        let mut table = csv::Reader::from_path(folder.path().join(file::METRICS_TABLE)).unwrap();
        let rows: Vec<csv::StringRecord> = table.records().map(Result::unwrap).collect();
        assert_eq!(rows.len(), 8);
        assert_eq!((&rows[3][6], &rows[4][6], &rows[5][6]), ("-0.0", "NaN", "inf"));
        assert_eq!(&rows[0][5], "a \"loss\", ");
        assert_eq!(record.epoch_metrics()[0].best, Some((0.5, 1)));
    }

    #[test]
    fn the_state_tells_how_it_ended_and_events_tell_the_way_there() {
        let folder = tempfile::tempdir().unwrap();
        let record = record(folder.path());
        let state = || RunState::read(&folder.path().join(STATE)).unwrap();
        assert_eq!((state().status, state().exit_code), (Status::Running, None));
        for kind in ["epoch-begin", "epoch-end"] {
            record.event(&at(3, 7), kind, "training", "").unwrap();
        }
        let ended = RunEnd {
            status: Status::Stopped,
            reason: "loss\nis low".to_owned(),
            by: "early-stopping".to_owned(),
            exit_code: 0,
        };
        record.end(&ended).unwrap();
        assert_eq!(
            (state().status, state().epoch, state().reason),
            (Status::Stopped, 3, "loss\nis low".to_owned())
        );
        assert_eq!(state().by, "early-stopping");
        assert_eq!(record.times()[0].epochs, 1);
        assert_eq!(
            fs::read_to_string(folder.path().join(file::EVENTS)).unwrap().lines().count(),
            2
        );
        for name in [file::RUN, file::RESOLVED, file::PLUGINS, file::ENVIRONMENT] {
            assert!(folder.path().join(name).exists(), "{name}");
        }
    }

    #[test]
    fn resuming_cuts_off_what_came_after_the_mark() {
        let folder = tempfile::tempdir().unwrap();
        let first = record(folder.path());
        first.metric(&at(1, 1), Scope::Step, "loss", 1.0).unwrap();
        first.metric(&at(1, 1), Scope::Epoch, "loss", f64::INFINITY).unwrap();
        let marks = first.mark().unwrap();
        first.metric(&at(1, 2), Scope::Step, "loss", 2.0).unwrap();
        first.flush().unwrap();
        drop(first);
        let again =
            RunRecord::resume(RunDirectory::open(folder.path()).unwrap(), Some(&marks)).unwrap();
        again.metric(&at(1, 2), Scope::Step, "loss", 3.0).unwrap();
        again.mark().unwrap();
        assert_eq!(again.epoch_metrics()[0].last, (f64::INFINITY, 1));
        let text = fs::read_to_string(folder.path().join(file::METRICS)).unwrap();
        assert!(
            text.contains("\"value\":1.0")
                && text.contains("\"value\":3.0")
                && !text.contains("\"value\":2.0"),
            "{text}"
        );
        assert_eq!(RunState::read(&folder.path().join(STATE)).unwrap().resumed, 1);
    }
}
