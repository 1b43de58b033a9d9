//! What a run writes while it trains: `metrics.jsonl`, `metrics.csv`, `events.jsonl`, `state.json`,
//! and its model at the end.

use std::{
    cell::RefCell,
    fs::File,
    io::{BufRead, BufReader},
    path::Path,
    time::{Duration, Instant},
};

use candle_core::Tensor;
use serde::{Deserialize, Serialize};

use super::{
    Environment, Figure, Lines, Moment, PhaseTime, RecordError, RunDirectory, RunState, STATE,
    Status, atomic, figures::Figures, tensors,
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
    /// On what it ran.
    pub const ENVIRONMENT: &str = "environment.json";
    /// One figure a line, as JSON.
    pub const METRICS: &str = "metrics.jsonl";
    /// The same as a table.
    pub const METRICS_TABLE: &str = "metrics.csv";
    /// One event in the life of the run a line.
    pub const EVENTS: &str = "events.jsonl";
    /// Parameters and buffers at the end.
    pub const MODEL: &str = "model.safetensors";
    /// Lines of the log.
    pub const LOG: &str = "log.txt";
    /// Where the time went.
    pub const PROFILE: &str = "profile.json";
    /// Folder of the checkpoints.
    pub const CHECKPOINTS: &str = "checkpoints";
}

/// Columns of `metrics.csv`, and keys of a line of `metrics.jsonl`.
const COLUMNS: &str = "time,phase,scope,epoch,step,name,value";
/// Shortest time between two replacements of `state.json` while a run goes on.
const STATE_INTERVAL: Duration = Duration::from_secs(1);

/// What a run began with.
#[derive(Clone, Copy, Debug)]
pub struct Given<'a> {
    /// Texts of the run files, in the order of their layers.
    pub run_files: &'a [String],
    /// The run with every default filled in, as TOML.
    pub resolved: &'a str,
    /// The plugins with their hashes, as they stand in `plugins.lock`.
    pub plugins: &'a str,
    /// On what it runs.
    pub environment: &'a Environment,
}

/// How a run ended, for `state.json`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// How.
    pub status: Status,
    /// Why; empty where it finished.
    pub reason: String,
    /// Instance that ended it; empty where it was none.
    pub by: String,
    /// The process' exit code.
    pub exit_code: u8,
}

/// How far the growing files had come: a checkpoint keeps it, so that resuming neither doubles nor
/// loses a line.
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

/// The record of a run that goes on. Used on the training thread.
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
    figures: Figures,
    begun: Instant,
}

impl RunRecord {
    /// Begins the record of a new run: everything that is known before the first step is on the
    /// disk afterwards.
    ///
    /// # Errors
    /// Where the system refuses.
    pub fn begin(directory: RunDirectory, given: &Given<'_>) -> Result<RunRecord, RecordError> {
        directory.announce(given.run_files, given.resolved)?;
        atomic::replace(&directory.file(file::PLUGINS), given.plugins.as_bytes())?;
        let mut environment = serde_json::to_vec_pretty(given.environment).unwrap_or_default();
        environment.push(b'\n');
        atomic::replace(&directory.file(file::ENVIRONMENT), &environment)?;
        let lines = new_lines(&directory)?;
        RunRecord::with(directory, lines, RunState::begin())
    }

    /// Begins the record anew of a run that stopped before its first checkpoint.
    ///
    /// # Errors
    /// Where the system refuses.
    pub fn restart(directory: RunDirectory, given: &Given<'_>) -> Result<RunRecord, RecordError> {
        let before = RunState::read(&directory.file(STATE))?;
        for name in [file::METRICS, file::METRICS_TABLE, file::EVENTS] {
            match std::fs::remove_file(directory.file(name)) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(RecordError::io("remove", &directory.file(name))(error));
                }
                _ => {}
            }
        }
        atomic::replace(&directory.file(file::PLUGINS), given.plugins.as_bytes())?;
        let mut environment = serde_json::to_vec_pretty(given.environment).unwrap_or_default();
        environment.push(b'\n');
        atomic::replace(&directory.file(file::ENVIRONMENT), &environment)?;
        let lines = new_lines(&directory)?;
        let state =
            RunState { started: before.started, resumed: before.resumed + 1, ..RunState::begin() };
        RunRecord::with(directory, lines, state)
    }

    /// Goes on with the record of a run that stopped: lines after `marks` are cut off, torn ones
    /// repaired.
    ///
    /// # Errors
    /// Where the files are not those that `marks` belongs to, or the system refuses.
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
        let figures = figures_so_far(&directory.file(file::METRICS))?;
        let record = RunRecord::with(directory, [metrics, table, events], state)?;
        record.inner.borrow_mut().figures = figures;
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
            figures: Figures::default(),
            begun: now,
        };
        Ok(RunRecord { directory, inner: RefCell::new(inner) })
    }

    /// The run's folder.
    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Flushes and syncs the growing files, and answers how far they have come.
    ///
    /// # Errors
    /// Where the system refuses.
    pub fn mark(&self) -> Result<Marks, RecordError> {
        let inner = &mut *self.inner.borrow_mut();
        Ok(Marks {
            metrics: inner.metrics.sync()?,
            metrics_table: inner.table.sync()?,
            events: inner.events.sync()?,
        })
    }

    /// How far the growing files have come, with handles by which another thread can sync them.
    ///
    /// # Errors
    /// Where the system refuses.
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
    /// Where a tensor cannot be written, or the system refuses.
    pub fn write_model(&self, parameters: &[(String, Tensor)]) -> Result<(), RecordError> {
        let path = self.directory.file(file::MODEL);
        let bytes = tensors::encode(parameters).map_err(|error| RecordError::Content {
            path: path.clone(),
            problem: error.to_string(),
        })?;
        atomic::replace(&path, &bytes)
    }

    /// Ends the record: everything is on the disk, `state.json` last.
    ///
    /// # Errors
    /// Where the system refuses; `state.json` is tried in any case.
    pub fn end(&self, ended: &Ended) -> Result<(), RecordError> {
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

    /// Last and best value of each epoch metric so far, in the order in which they first appeared.
    pub fn figures(&self) -> Vec<Figure> {
        self.inner.borrow().figures.figures.clone()
    }

    /// Time that each phase took so far.
    pub fn times(&self) -> Vec<PhaseTime> {
        self.inner.borrow().figures.times.clone()
    }

    /// Time since the record began.
    pub fn elapsed(&self) -> Duration {
        self.inner.borrow().begun.elapsed()
    }
}

impl Sink for RunRecord {
    fn metric(&self, at: &At<'_>, scope: Scope, name: &str, value: f64) -> Result<(), SinkError> {
        let time = Moment::now().seconds();
        let inner = &mut *self.inner.borrow_mut();
        if scope == Scope::Epoch {
            inner.figures.take(at.phase, name, at.epoch, value);
        }
        inner.metrics.push(|line| metric_json(line, time, at, scope, name, value)).map_err(loud)?;
        inner.table.push(|line| metric_row(line, time, at, scope, name, value)).map_err(loud)
    }

    fn event(&self, at: &At<'_>, kind: &str, by: &str, detail: &str) -> Result<(), SinkError> {
        let time = Moment::now().seconds();
        let inner = &mut *self.inner.borrow_mut();
        (inner.state.epoch, inner.state.step) = (inner.state.epoch.max(at.epoch), at.step);
        match kind {
            "epoch-begin" => inner.figures.epoch_begins(at.phase),
            "epoch-end" => inner.figures.epoch_ends(at.phase),
            _ => {}
        }
        let write = |line: &mut Vec<u8>| {
            begin(line, time);
            member(line, "event", kind);
            member(line, "phase", at.phase);
            member(line, "epoch", &at.epoch);
            member(line, "step", &at.step);
            member(line, "by", by);
            member(line, "detail", detail);
            line.push(b'}');
        };
        inner.events.push(write).map_err(loud)
    }

    fn flush(&self) -> Result<(), SinkError> {
        let inner = &mut *self.inner.borrow_mut();
        for lines in [&mut inner.metrics, &mut inner.table, &mut inner.events] {
            lines.flush().map_err(loud)?;
        }
        if inner.state_written.elapsed() >= STATE_INTERVAL {
            inner.state.write(&self.directory.file(STATE)).map_err(loud)?;
            inner.state_written = Instant::now();
        }
        Ok(())
    }
}

/// The growing files of a new run.
fn new_lines(directory: &RunDirectory) -> Result<[Lines; 3], RecordError> {
    Ok([
        Lines::create(&directory.file(file::METRICS), "")?,
        Lines::create(&directory.file(file::METRICS_TABLE), COLUMNS)?,
        Lines::create(&directory.file(file::EVENTS), "")?,
    ])
}

/// The epoch metrics that the lines of a file tell of.
pub(super) fn figures_so_far(path: &Path) -> Result<Figures, RecordError> {
    #[derive(Deserialize)]
    struct Line {
        phase: String,
        scope: String,
        epoch: u64,
        name: String,
        value: serde_json::Value,
    }
    let mut figures = Figures::default();
    let lines = BufReader::new(File::open(path).map_err(RecordError::io("open", path))?).lines();
    for (number, line) in lines.enumerate() {
        let line = line.map_err(RecordError::io("read", path))?;
        let line: Line = serde_json::from_str(&line).map_err(|error| RecordError::Content {
            path: path.to_owned(),
            problem: format!("line {} is no line of metrics: {error}", number + 1),
        })?;
        if line.scope == Scope::Epoch.name() {
            let value = line
                .value
                .as_f64()
                .or_else(|| line.value.as_str()?.parse().ok())
                .unwrap_or(f64::NAN);
            figures.take(&line.phase, &line.name, line.epoch, value);
        }
    }
    Ok(figures)
}

fn loud(error: RecordError) -> SinkError {
    SinkError(error.to_string())
}

fn metric_json(line: &mut Vec<u8>, time: f64, at: &At<'_>, scope: Scope, name: &str, value: f64) {
    begin(line, time);
    member(line, "phase", at.phase);
    member(line, "scope", scope.name());
    member(line, "epoch", &at.epoch);
    member(line, "step", &at.step);
    member(line, "name", name);
    if value.is_finite() {
        member(line, "value", &value)
    } else {
        member(line, "value", &value.to_string())
    }
    line.push(b'}');
}

fn metric_row(line: &mut Vec<u8>, time: f64, at: &At<'_>, scope: Scope, name: &str, value: f64) {
    seconds(line, time);
    line.push(b',');
    cell(line, at.phase);
    line.push(b',');
    line.extend_from_slice(scope.name().as_bytes());
    line.push(b',');
    json(line, &at.epoch);
    line.push(b',');
    json(line, &at.step);
    line.push(b',');
    cell(line, name);
    line.push(b',');
    if value.is_finite() {
        json(line, &value)
    } else {
        line.extend_from_slice(value.to_string().as_bytes())
    }
}

/// A time to the microsecond. Every step writes some: formatting a float to so many digits takes as
/// long as all the rest of a line.
fn seconds(line: &mut Vec<u8>, seconds: f64) {
    let micros = (seconds * 1e6).round() as u64;
    json(line, &(micros / 1_000_000));
    let from = line.len();
    // The leading 1 keeps the zeros after the point, which takes its place.
    json(line, &(1_000_000 + micros % 1_000_000));
    line[from] = b'.';
}

/// The first member of an object that is one line.
fn begin(line: &mut Vec<u8>, time: f64) {
    line.extend_from_slice(b"{\"time\":");
    seconds(line, time);
}

/// A further member; `name` needs no escapes.
fn member(line: &mut Vec<u8>, name: &str, value: &(impl Serialize + ?Sized)) {
    line.extend_from_slice(b",\"");
    line.extend_from_slice(name.as_bytes());
    line.extend_from_slice(b"\":");
    json(line, value);
}

/// A text or a number as JSON.
fn json(line: &mut Vec<u8>, value: &(impl Serialize + ?Sized)) {
    // Writing to memory does not fail.
    let _ = serde_json::to_writer(line, value);
}

/// A text as a cell of a table, quoted where it has to be (RFC 4180); line breaks become spaces,
/// for one record is one line.
fn cell(line: &mut Vec<u8>, text: &str) {
    if !text.contains([',', '"', '\n', '\r']) {
        line.extend_from_slice(text.as_bytes());
        return;
    }
    line.push(b'"');
    for byte in text.bytes() {
        match byte {
            b'"' => line.extend_from_slice(b"\"\""),
            b'\n' | b'\r' => line.push(b' '),
            byte => line.push(byte),
        }
    }
    line.push(b'"');
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
        let given = Given {
            run_files: &["[run]\n".to_owned()],
            resolved: "seed = 42\n",
            plugins: "",
            environment: &environment,
        };
        RunRecord::begin(RunDirectory::at(folder).unwrap(), &given).unwrap()
    }

    #[test]
    fn times_are_written_to_the_microsecond() {
        let written = |time| {
            let mut line = Vec::new();
            seconds(&mut line, time);
            String::from_utf8(line).unwrap()
        };
        for time in [0.0, 0.5, 1.000_123, 2.999_999_6, 1_795_448_473.805_196] {
            assert_eq!(written(time), format!("{time:.6}"));
        }
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
            .end(&Ended {
                status: Status::Finished,
                reason: String::new(),
                by: String::new(),
                exit_code: 0,
            })
            .unwrap();
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
        assert_eq!(record.figures()[0].best, Some((0.5, 1)));
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
        let ended = Ended {
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
        assert_eq!(again.figures()[0].last, (f64::INFINITY, 1));
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
