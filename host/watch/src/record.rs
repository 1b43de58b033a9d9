//! The record of a run as the dashboard needs it, read again and again while it grows.

use std::{
    collections::{BTreeMap, VecDeque},
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant, SystemTime},
};

use serde::Deserialize;
use serde_json::Value as Json;

use crate::{
    curve::{Curves, Point},
    pace::{Pace, Timeline},
    tail::{Change, Tail},
    text,
};

/// Bytes that are read between two looks at the clock.
const PART: usize = 1 << 20;
/// Bytes of the log that are read at first.
const LOG: u64 = 1 << 16;
/// Messages that are kept.
const MESSAGES: usize = 400;
/// Largest size of a file that is read as a whole.
const WHOLE: u64 = 16 << 20;

/// A run.
#[derive(Debug)]
pub struct Record {
    /// Name of its folder.
    pub id: String,
    /// Its folder.
    pub folder: PathBuf,
    /// Curves of all metrics.
    pub curves: Curves,
    /// Lines of `metrics.jsonl` that are no records.
    pub damaged: u64,
    /// Why a file cannot be read.
    pub problem: Option<String>,
    /// What `state.json` says; none if it is missing or damaged.
    pub state: Option<State>,
    /// What the run is set to.
    pub settings: Settings,
    /// Last and best value of each epoch metric.
    pub figures: Vec<Figure>,
    /// Where the run is, and how long its parts take.
    pub timeline: Timeline,
    /// Steps per second.
    pub pace: Pace,
    /// Lines of the log, and events other than epochs, by time.
    pub messages: VecDeque<Message>,
    /// What `profile.json` says, once it is written.
    pub profile: Profile,
    /// Time of the last line that was read, in seconds since 1970.
    pub latest: f64,
    better: BTreeMap<String, String>,
    metrics: Tail,
    events: Tail,
    log: Tail,
    small: Small,
    /// Whether the next metric tells if a replaced file continues the former one.
    replaced: bool,
    last_epoch: u64,
}

/// The content of `state.json`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct State {
    /// Status of the run.
    pub status: String,
    /// Reason of the end.
    pub reason: String,
    /// Instance that ended it.
    pub by: String,
    /// Current epoch.
    pub epoch: u64,
    /// Start of the run.
    pub started: String,
    /// Time of the last update.
    pub updated: String,
    /// Process id of the command.
    pub process: u32,
    /// Number of times it was resumed.
    pub resumed: u32,
}

/// Settings of a run, from `resolved.toml`.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// Epochs of the fit; 0 if unknown.
    pub epochs: u64,
    /// Samples of a batch; 0 if unknown.
    pub batch_size: u64,
    /// Learning rate at the start, if there is a single optimizer.
    pub learning_rate: Option<f64>,
}

/// Last and best value of a metric in a phase.
#[derive(Clone, Debug)]
pub struct Figure {
    /// The phase.
    pub phase: String,
    /// The metric.
    pub name: String,
    /// Last value.
    pub last: f64,
    /// Best value and its epoch; none if it is unknown which values are better.
    pub best: Option<(f64, u64)>,
}

/// A line of the log, or an event.
#[derive(Clone, Debug, PartialEq)]
pub struct Message {
    /// Seconds since 1970.
    pub time: f64,
    /// The text, on one line.
    pub text: String,
    /// How it is shown.
    pub level: Level,
}

/// Importance of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// Information and events.
    Plain,
    /// A warning.
    Warning,
    /// An error.
    Error,
}

/// Times of a finished process of the run.
#[derive(Clone, Debug, Default)]
pub struct Profile {
    /// Seconds of each callback, the longest first.
    pub callbacks: Vec<(String, f64)>,
    /// Seconds of each kind of work of each phase, the longest first.
    pub work: Vec<(String, f64)>,
    /// Largest resident memory in bytes.
    pub peak_memory: Option<u64>,
}

/// Result of [`Record::update`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Updated {
    /// Whether anything was read.
    pub changed: bool,
    /// Whether there is more to read at once.
    pub more: bool,
}

impl Record {
    /// The record in a folder. Nothing is read yet.
    pub fn new(id: &str, folder: &Path) -> Record {
        Record {
            id: text::line(id),
            folder: folder.to_owned(),
            curves: Curves::default(),
            damaged: 0,
            problem: None,
            state: None,
            settings: Settings::default(),
            figures: Vec::new(),
            timeline: Timeline::default(),
            pace: Pace::default(),
            messages: VecDeque::new(),
            profile: Profile::default(),
            latest: 0.0,
            better: BTreeMap::new(),
            metrics: Tail::whole(folder.join("metrics.jsonl")),
            events: Tail::whole(folder.join("events.jsonl")),
            log: Tail::end(folder.join("log.txt"), LOG),
            small: Small::default(),
            replaced: false,
            last_epoch: 0,
        }
    }

    /// Reads what was written since the last call, for at most about `budget`.
    pub fn update(&mut self, budget: Duration) -> Updated {
        let began = Instant::now();
        self.problem = None;
        let mut updated = Updated { changed: self.small(), more: false };
        for read in [Record::read_events, Record::read_log, Record::read_metrics] {
            match read(self, began, budget) {
                Ok(one) => {
                    updated.changed |= one.changed;
                    updated.more |= one.more;
                }
                Err(problem) => {
                    updated.changed |= self.problem.as_ref() != Some(&problem);
                    self.problem = Some(problem);
                }
            }
        }
        updated
    }

    /// Share of the metrics that was read, from 0 to 1.
    pub fn share(&self) -> f64 {
        self.metrics.share()
    }

    fn read_metrics(&mut self, began: Instant, budget: Duration) -> Result<Updated, String> {
        let failed = |error| format!("metrics.jsonl cannot be read: {error}");
        match self.metrics.look().map_err(failed)? {
            Change::None => {}
            Change::Restarted => self.forget_metrics(),
            Change::Replaced => self.replaced = true,
        }
        let mut updated = Updated { changed: false, more: false };
        let mut lines = Vec::new();
        loop {
            lines.clear();
            updated.more = self
                .metrics
                .read(PART, &mut |line| {
                    lines.extend_from_slice(line);
                    lines.push(b'\n');
                })
                .map_err(failed)?;
            updated.changed |= !lines.is_empty();
            for line in lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
                match Point::parse(line) {
                    Some(point) => self.take(&point),
                    None => self.damaged += 1,
                }
            }
            // Something is read each time, however little time there is.
            if !updated.more || began.elapsed() >= budget {
                return Ok(updated);
            }
        }
    }

    fn take(&mut self, point: &Point<'_>) {
        // A run that starts again in its folder writes new files; a rotated file goes on.
        if std::mem::take(&mut self.replaced) && point.epoch < self.last_epoch.max(2) {
            self.forget_metrics();
        }
        self.last_epoch = point.epoch;
        self.latest = self.latest.max(point.time);
        if point.scope == "step" {
            self.pace.take(&point.phase, point.epoch, point.step, point.time);
        } else {
            self.figure(point);
        }
        self.curves.take(point);
    }

    fn figure(&mut self, point: &Point<'_>) {
        let declared = self.better.get(&format!("{}/{}", point.phase, point.name));
        let higher = match declared.map(String::as_str) {
            Some("higher") => Some(true),
            Some(_) => Some(false),
            None => (point.name == "loss").then_some(false),
        };
        let found = self
            .figures
            .iter_mut()
            .find(|figure| figure.phase == point.phase && figure.name == point.name);
        let figure = match found {
            Some(figure) => figure,
            None => {
                self.figures.push(Figure {
                    phase: point.phase.clone().into_owned(),
                    name: point.name.clone().into_owned(),
                    last: f64::NAN,
                    best: None,
                });
                let last = self.figures.len() - 1;
                &mut self.figures[last]
            }
        };
        figure.last = point.value;
        let Some(higher) = higher.filter(|_| point.value.is_finite()) else { return };
        let beats = |best: f64| if higher { point.value > best } else { point.value < best };
        if figure.best.is_none_or(|best| beats(best.0)) {
            figure.best = Some((point.value, point.epoch));
        }
    }

    fn forget_metrics(&mut self) {
        self.curves = Curves::default();
        self.curves.set_steps(self.timeline.steps_of_first_phase());
        self.figures.clear();
        self.pace = Pace::default();
        self.damaged = 0;
    }

    fn read_events(&mut self, began: Instant, budget: Duration) -> Result<Updated, String> {
        #[derive(Deserialize)]
        #[serde(default)]
        struct Event {
            time: f64,
            event: String,
            phase: String,
            epoch: u64,
            by: String,
            detail: String,
        }
        impl Default for Event {
            fn default() -> Event {
                let empty = String::new;
                Event {
                    time: 0.0,
                    event: empty(),
                    phase: empty(),
                    epoch: 0,
                    by: empty(),
                    detail: empty(),
                }
            }
        }
        let failed = |error| format!("events.jsonl cannot be read: {error}");
        if self.events.look().map_err(failed)? != Change::None {
            self.timeline = self.timeline.restarted();
        }
        let mut updated = Updated { changed: false, more: false };
        loop {
            let mut events = Vec::new();
            updated.more = self
                .events
                .read(PART, &mut |line| events.extend(serde_json::from_slice::<Event>(line)))
                .map_err(failed)?;
            updated.changed |= !events.is_empty();
            for event in events {
                self.latest = self.latest.max(event.time);
                if self.timeline.take(&event.event, &event.phase, event.epoch, event.time) {
                    continue;
                }
                let mut said = event.event;
                for part in [&event.phase, &event.detail] {
                    if !part.is_empty() {
                        said = format!("{said} {part}");
                    }
                }
                if !event.by.is_empty() && event.by != event.phase {
                    said = format!("{said} (by {})", event.by);
                }
                self.message(Message {
                    time: event.time,
                    text: text::line(&said),
                    level: Level::Plain,
                });
            }
            if !updated.more || began.elapsed() >= budget {
                return Ok(updated);
            }
        }
    }

    fn read_log(&mut self, began: Instant, budget: Duration) -> Result<Updated, String> {
        let failed = |error| format!("log.txt cannot be read: {error}");
        self.log.look().map_err(failed)?;
        let mut updated = Updated { changed: false, more: false };
        loop {
            let mut lines = Vec::new();
            updated.more = self
                .log
                .read(PART, &mut |line| lines.push(String::from_utf8_lossy(line).into_owned()))
                .map_err(failed)?;
            updated.changed |= !lines.is_empty();
            lines.iter().filter_map(|line| log_line(line)).for_each(|line| self.message(line));
            if !updated.more || began.elapsed() >= budget {
                return Ok(updated);
            }
        }
    }

    fn message(&mut self, message: Message) {
        let later = self.messages.iter().rev().take_while(|other| other.time > message.time);
        let place = self.messages.len() - later.count();
        if self.messages.get(place.wrapping_sub(1)) == Some(&message) {
            return;
        }
        self.messages.insert(place, message);
        if self.messages.len() > MESSAGES {
            self.messages.pop_front();
        }
    }

    /// Reads the small files that have changed.
    fn small(&mut self) -> bool {
        let mut changed = false;
        if let Some(bytes) = self.small.read(&self.folder, "state.json") {
            self.state = serde_json::from_slice(&bytes).ok();
            changed = true;
        }
        if let Some(bytes) = self.small.read(&self.folder, "directions.json") {
            self.better = serde_json::from_slice(&bytes).unwrap_or_default();
        }
        if let Some(bytes) = self.small.read(&self.folder, "resolved.toml") {
            let table = String::from_utf8_lossy(&bytes).parse::<toml::Table>().unwrap_or_default();
            self.settings = Settings::of(&table);
            self.timeline.set_phases(phases(&table));
            changed = true;
        }
        if let Some(bytes) = self.small.read(&self.folder, "phases.json") {
            self.timeline.set_steps(serde_json::from_slice(&bytes).unwrap_or_default());
            self.curves.set_steps(self.timeline.steps_of_first_phase());
            changed = true;
        }
        if let Some(bytes) = self.small.read(&self.folder, "profile.json") {
            self.profile = Profile::of(&serde_json::from_slice(&bytes).unwrap_or_default());
            changed = true;
        }
        changed
    }
}

/// A line `TIME LEVEL TARGET: TEXT` of the log.
fn log_line(line: &str) -> Option<Message> {
    let (time, rest) = line.split_once(' ')?;
    let (level, rest) = rest.split_once(' ')?;
    let (target, said) = rest.trim_start().split_once(": ")?;
    let plugin = target.strip_prefix("plugin::").and_then(|rest| rest.split("::").next());
    let said = plugin.map_or_else(|| said.to_owned(), |plugin| format!("[{plugin}] {said}"));
    let level = match level {
        "error" => Level::Error,
        "warn" => Level::Warning,
        _ => Level::Plain,
    };
    Some(Message { time: text::seconds(time)?, text: text::line(&said), level })
}

impl Settings {
    fn of(table: &toml::Table) -> Settings {
        let number = |section: &str, key: &str| {
            let value = table.get(section)?.get(key)?;
            value.as_integer().and_then(|value| u64::try_from(value).ok())
        };
        let rate = || table.get("optimizer")?.get("learning-rate")?.as_float();
        Settings {
            epochs: number("run", "epochs").unwrap_or(0),
            batch_size: number("loader", "batch-size").unwrap_or(0),
            learning_rate: rate(),
        }
    }
}

/// Ids of the phases of an epoch, in their order.
fn phases(table: &toml::Table) -> Vec<String> {
    let phases = table.get("phase").and_then(toml::Value::as_array).into_iter().flatten();
    let id = |phase: &toml::Value| {
        let id = phase.get("id").or_else(|| phase.get("component"))?.as_str()?;
        Some(id.to_owned())
    };
    phases.filter_map(id).collect()
}

impl Profile {
    fn of(json: &Json) -> Profile {
        let rows = |key: &str| json[key].as_array().into_iter().flatten();
        let mut callbacks: Vec<(String, f64)> = Vec::new();
        for row in rows("callbacks") {
            let id = text::line(row["callback"].as_str().unwrap_or_default());
            let seconds = row["seconds"].as_f64().unwrap_or(0.0);
            match callbacks.iter_mut().find(|(known, _)| *known == id) {
                Some((_, sum)) => *sum += seconds,
                None => callbacks.push((id, seconds)),
            }
        }
        let mut work: Vec<(String, f64)> = rows("phases")
            .flat_map(|row| {
                let phase = text::line(row["phase"].as_str().unwrap_or_default());
                let kinds = row["work"].as_object().into_iter().flatten();
                kinds.filter(|(kind, _)| *kind != "step").map(move |(kind, seconds)| {
                    (format!("{phase} {}", text::line(kind)), seconds.as_f64().unwrap_or(0.0))
                })
            })
            .collect();
        for list in [&mut callbacks, &mut work] {
            list.sort_by(|one, other| other.1.total_cmp(&one.1));
        }
        Profile { callbacks, work, peak_memory: json["peak-memory"].as_u64() }
    }
}

/// Remembers which version of a small file was read.
#[derive(Debug, Default)]
struct Small(BTreeMap<&'static str, (Option<SystemTime>, u64)>);

impl Small {
    /// The content of a file that is new or has changed since the last call.
    fn read(&mut self, folder: &Path, name: &'static str) -> Option<Vec<u8>> {
        let path = folder.join(name);
        let about = fs::metadata(&path).ok()?;
        let version = (about.modified().ok(), about.len());
        if about.len() > WHOLE || self.0.get(name) == Some(&version) {
            return None;
        }
        let bytes = fs::read(&path).ok()?;
        self.0.insert(name, version);
        Some(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    const SOON: Duration = Duration::from_secs(10);

    fn write(folder: &Path, name: &str, content: &str) {
        fs::write(folder.join(name), content).unwrap();
    }

    fn metric(epoch: u64, step: u64, scope: &str, name: &str, value: &str) -> String {
        format!(
            "{{\"time\":{}.5,\"phase\":\"validation\",\"scope\":{scope:?},\"epoch\":{epoch},\"step\":{step},\"name\":{name:?},\"value\":{value}}}\n",
            100 + epoch * 10 + step
        )
    }

    #[test]
    fn a_folder_without_files_and_damaged_files_are_no_problem() {
        let folder = tempfile::tempdir().unwrap();
        let mut record = Record::new("run\x1b[31m", folder.path());
        assert_eq!(record.update(SOON), Updated { changed: false, more: false });
        assert!(record.state.is_none() && record.id.starts_with("run\u{fffd}"));
        write(folder.path(), "state.json", "{\"status\": \"runn");
        write(folder.path(), "resolved.toml", "[run\n");
        write(folder.path(), "metrics.jsonl", "nonsense\n{\"time\": 1\n");
        write(folder.path(), "events.jsonl", "nonsense\n");
        write(folder.path(), "log.txt", "nonsense\n");
        record.update(SOON);
        assert!(record.state.is_none() && record.problem.is_none());
        assert_eq!(record.damaged, 2);
        // A file whose content can only partly be read is named.
        fs::remove_file(folder.path().join("events.jsonl")).unwrap();
        fs::create_dir(folder.path().join("events.jsonl")).unwrap();
        record.update(SOON);
        assert!(record.problem.as_ref().is_some_and(|text| text.contains("events.jsonl")));
    }

    #[test]
    fn best_values_follow_their_direction_and_a_cut_back_file_is_read_anew() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), "directions.json", "{\"validation/accuracy\": \"higher\"}");
        let mut lines = String::new();
        for (epoch, loss, accuracy) in
            [(1, "0.5", "0.7"), (2, "0.25", "0.9"), (3, "\"NaN\"", "0.8")]
        {
            lines += &metric(epoch, 4, "epoch", "loss", loss);
            lines += &metric(epoch, 4, "epoch", "accuracy", accuracy);
            lines += &metric(epoch, 4, "epoch", "unknown", accuracy);
        }
        write(folder.path(), "metrics.jsonl", &lines);
        let mut record = Record::new("run", folder.path());
        assert!(record.update(SOON).changed);
        let best: Vec<_> = record.figures.iter().map(|figure| figure.best).collect();
        assert_eq!(best, [Some((0.25, 2)), Some((0.9, 2)), None]);
        assert!(record.figures[0].last.is_nan());
        let cut: usize = lines.lines().take(3).map(|line| line.len() + 1).sum();
        write(folder.path(), "metrics.jsonl", &lines[..cut]);
        record.update(SOON);
        assert_eq!(record.figures[1].best, Some((0.7, 1)));
        assert_eq!(record.curves.all()[1].count, 1);
    }

    #[test]
    fn a_rotated_file_goes_on_and_one_of_a_new_start_begins_anew() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("metrics.jsonl");
        let step = |epoch| metric(epoch, 1, "step", "loss", "1");
        write(folder.path(), "metrics.jsonl", &(step(1) + &step(2)));
        let mut record = Record::new("run", folder.path());
        record.update(SOON);
        fs::rename(&path, folder.path().join("metrics.jsonl.1")).unwrap();
        record.update(SOON);
        write(folder.path(), "metrics.jsonl", &step(3));
        record.update(SOON);
        assert_eq!(record.curves.all()[0].count, 3);
        fs::rename(&path, folder.path().join("metrics.jsonl.2")).unwrap();
        write(folder.path(), "metrics.jsonl", &step(1));
        record.update(SOON);
        assert_eq!(record.curves.all()[0].count, 1);
    }

    #[test]
    fn a_large_file_is_read_in_parts() {
        let folder = tempfile::tempdir().unwrap();
        let mut file = fs::File::create(folder.path().join("metrics.jsonl")).unwrap();
        let lines: String = (1..=20_000).map(|step| metric(1, step, "step", "loss", "1")).collect();
        file.write_all(lines.as_bytes()).unwrap();
        let mut record = Record::new("run", folder.path());
        let mut updates = 0;
        while record.update(Duration::ZERO).more {
            updates += 1;
            assert!(updates < 100 && record.share() < 1.0);
        }
        assert!(updates > 0, "in one part");
        assert_eq!(record.curves.all()[0].count, 20_000);
    }

    #[test]
    fn messages_of_log_and_events_are_in_order_of_time() {
        let folder = tempfile::tempdir().unwrap();
        write(
            folder.path(),
            "events.jsonl",
            "{\"time\":20,\"event\":\"epoch-cancelled\",\"phase\":\"training\",\"epoch\":2,\"step\":2,\"by\":\"\",\"detail\":\"interrupted by signal 2\"}\n\
             {\"time\":21,\"event\":\"epoch-begin\",\"phase\":\"training\",\"epoch\":3,\"step\":0,\"by\":\"training\",\"detail\":\"\"}\n",
        );
        write(
            folder.path(),
            "log.txt",
            "1970-01-01T00:00:10.000Z warn  plugin::mean::module: low\n1970-01-01T00:00:30.000Z info  fluxbay::durable: saved\n",
        );
        let mut record = Record::new("run", folder.path());
        record.update(SOON);
        let said: Vec<_> = record.messages.iter().map(|message| message.text.as_str()).collect();
        assert_eq!(
            said,
            ["[mean] low", "epoch-cancelled training interrupted by signal 2", "saved"]
        );
        assert_eq!(record.messages[0].level, Level::Warning);
    }
}
