//! The child's side: the checks that run the plugin, one after the other, each announced before it
//! begins.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::AsFd as _;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use log::{Log, Metadata, Record};
use serde::{Deserialize, Serialize};

use super::bench::Bench;
use super::report::{Found, Outcome, failed, passed, skipped, warning};
use super::{Check, Item, data, instance, plan, resuming, training};
use crate::bridge::HOST;
use crate::library::{Catalog, Loaded, Origin, ScanOptions, SearchPath, Sha256, load};
use crate::supervisor::worker::{self, Patience};

/// One call of a plugin may take this long.
const PATIENCE: Duration = Duration::from_secs(20);
/// Loading may take this long.
const QUICK: Duration = Duration::from_millis(200);

/// What the child is started with, as JSON.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Task {
    /// Folder with nothing but the plugin's copy.
    pub front: PathBuf,
    /// Further folders of the search path.
    pub dirs: Vec<PathBuf>,
    /// Hash of the plugin.
    pub sha256: String,
    /// What everything made up follows from.
    pub seed: u64,
    /// Run files of the author's.
    pub runs: Vec<PathBuf>,
    /// First item of the plan that is due.
    pub from: usize,
    /// Only checks with these names; all where empty.
    pub only: Vec<String>,
    /// A folder for what trainings write.
    pub scratch: PathBuf,
}

/// What goes over the channel, one JSON text a line.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Message {
    /// An item of the plan begins.
    Begin(usize),
    /// It has ended.
    Ended(usize, Box<Outcome>),
    /// All are done.
    Done,
}

/// Counts lines by plugin.
struct Counter(Mutex<BTreeMap<String, usize>>);

static LINES: Counter = Counter(Mutex::new(BTreeMap::new()));

impl Log for Counter {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        let plugin =
            record.target().strip_prefix("plugin::").and_then(|rest| rest.split("::").next());
        if let Some(plugin) = plugin {
            *self
                .0
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .entry(plugin.to_owned())
                .or_default() += 1;
        }
    }

    fn flush(&self) {}
}

/// Lines that a plugin has logged.
pub(super) fn lines(plugin: &str) -> usize {
    LINES.0.lock().unwrap_or_else(PoisonError::into_inner).get(plugin).copied().unwrap_or(0)
}

/// Runs the checks of `task`. The channel is this process' standard input.
///
/// # Errors
/// The channel is broken: somebody called the hidden command by hand.
pub fn run(task: &str) -> io::Result<()> {
    let task: Task = serde_json::from_str(task)?;
    let mut channel = File::from(io::stdin().as_fd().try_clone_to_owned()?);
    rustix::stdio::dup2_stdin(File::open("/dev/null")?)?;
    if log::set_logger(&LINES).is_ok() {
        log::set_max_level(log::LevelFilter::Info);
    }
    worker::watch(Patience { warning: Duration::ZERO, limit: PATIENCE })?;
    let mut say = |message: &Message| -> io::Result<()> {
        let mut text = serde_json::to_vec(message)?;
        text.push(b'\n');
        channel.write_all(&text)
    };
    let mut path = SearchPath::new();
    path.push(&task.front, Origin::CommandLine);
    for dir in SearchPath::standard(&task.dirs, &[]).dirs() {
        path.push(&dir.path, dir.origin);
    }
    let catalog = Catalog::scan(&path, &ScanOptions::default());
    let sha256 = Sha256::from_hex(&task.sha256).ok_or(io::ErrorKind::InvalidInput)?;
    let bench = Bench::new(catalog, sha256, task.seed, task.runs.clone(), &task.scratch)
        .map_err(io::Error::other)?;
    let kinds: Vec<_> = bench.components.iter().map(|component| component.kind).collect();
    let mut plugin = None;
    // Components of which there is no instance: everything else would say the same again.
    let mut hopeless = BTreeSet::new();
    for (number, item) in plan(&kinds).into_iter().enumerate() {
        // Whatever is checked, the plugin has to be there first.
        let is_wanted =
            task.only.is_empty() || task.only.iter().any(|name| name == item.check.name());
        let is_due = number >= task.from && is_wanted;
        if !is_due && item.check != Check::Loads {
            continue;
        }
        if is_due {
            say(&Message::Begin(number))?;
        }
        let begin = Instant::now();
        let found = match (item.check, &plugin) {
            (Check::Loads, _) => load_it(&bench, sha256, &mut plugin),
            (_, None) => skipped("it does not load"),
            _ if hopeless.contains(&item.component) => {
                skipped("no instance can be created, see `created`")
            }
            (_, Some(loaded)) => apply(&bench, item, loaded),
        };
        if item.check == Check::Created && found.0 == super::Verdict::Failed {
            hopeless.insert(item.component);
        }
        let component = item.component.map(|place| bench.components[place].id());
        let took = u64::try_from(begin.elapsed().as_millis()).unwrap_or(u64::MAX);
        if is_due {
            say(&Message::Ended(
                number,
                Box::new(Outcome::new(item.check, component, found, took)),
            ))?;
        }
    }
    say(&Message::Done)
}

/// The loaded plugin and what loading did.
struct Present {
    loaded: Loaded,
    took: Duration,
    disturbed: Vec<String>,
}

/// What a plugin has no business with.
#[derive(Debug, PartialEq, Eq)]
struct Surroundings {
    folder: Option<PathBuf>,
    handlers: String,
    threads: usize,
    environment: usize,
}

impl Surroundings {
    fn now() -> Self {
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        Self {
            folder: std::env::current_dir().ok(),
            handlers: status
                .lines()
                .filter(|line| line.starts_with("SigCgt") || line.starts_with("SigIgn"))
                .collect(),
            threads: std::fs::read_dir("/proc/self/task").map_or(0, Iterator::count),
            environment: std::env::vars_os().count(),
        }
    }

    fn differences(&self, after: &Self) -> Vec<String> {
        let mut found = Vec::new();
        let mut note = |differs: bool, what: &str| {
            if differs {
                found.push(what.to_owned());
            }
        };
        note(self.folder != after.folder, "the working folder was changed");
        note(self.handlers != after.handlers, "handlers of signals were changed");
        note(self.threads < after.threads, "threads were started");
        note(self.environment != after.environment, "environment variables were added or removed");
        found
    }
}

fn load_it(bench: &Bench, sha256: Sha256, place: &mut Option<Present>) -> Found {
    let Some(entry) = bench.catalog.plugins().iter().find(|plugin| plugin.sha256() == sha256)
    else {
        return failed("it is not found");
    };
    let before = Surroundings::now();
    let begin = Instant::now();
    match load(entry, &HOST) {
        Ok(loaded) => {
            let took = begin.elapsed();
            *place =
                Some(Present { loaded, took, disturbed: before.differences(&Surroundings::now()) });
            passed()
        }
        Err(error) => failed(error.refusal.to_string()),
    }
}

fn apply(bench: &Bench, item: Item, present: &Present) -> Found {
    let place = item.component.unwrap_or_default();
    let check: fn(&Bench, usize) -> Found = match item.check {
        Check::LoadsQuickly => {
            let text = format!("it took {} ms", present.took.as_millis());
            return if present.took < QUICK {
                (super::Verdict::Passed, text)
            } else {
                warning(text)
            };
        }
        Check::InitTwice => {
            return present
                .loaded
                .init_again(&HOST)
                .map_or_else(|refusal| failed(refusal.message), |()| passed());
        }
        Check::UnknownExtension => {
            let answers =
                present.loaded.offers("fluxbay.nobody-has-this/1") || present.loaded.offers("");
            return if answers {
                failed("it answers with a table where it has none")
            } else {
                passed()
            };
        }
        Check::LogLevels => {
            present.loaded.try_log_levels();
            return passed();
        }
        Check::SurroundingsKept if present.disturbed.is_empty() => return passed(),
        Check::SurroundingsKept => return failed(present.disturbed.join("; ")),
        Check::Created => instance::created,
        Check::CreatedOften => instance::created_often,
        Check::MemoryGivenBack => instance::memory,
        Check::ThreadsEnded => instance::threads,
        Check::DescriptorsClosed => instance::descriptors,
        Check::AccessUsed => instance::access_used,
        Check::AccessRefused => instance::access_refused,
        Check::SettingsFuzzed => instance::settings_fuzzed,
        Check::SettingsHostile => instance::settings_hostile,
        Check::StateRoundTrip => instance::state_round_trip,
        Check::StateRandomRefused => instance::state_random,
        Check::StateEmptyRefused => instance::state_empty,
        Check::Trains => training::trains,
        Check::TrainsTwiceTheSame => training::twice,
        Check::ResumesTheSame => resuming::between_epochs,
        Check::VerifyResume => resuming::within_epochs,
        Check::StepCancelled => training::step_cancelled,
        Check::EpochCancelled => training::epoch_cancelled,
        Check::FitCancelled => training::fit_cancelled,
        Check::Interrupted => training::interrupted,
        Check::ErrorElsewhere => training::error_elsewhere,
        Check::NotANumber => training::not_a_number,
        Check::EmptyEpoch => training::empty_epoch,
        Check::SmallBatches => training::small_batches,
        Check::TensorsGivenBack => training::tensors,
        Check::TimePerStep => training::time_per_step,
        Check::LogsLittle => training::logs_little,
        Check::GradientsReachAll => training::gradients,
        Check::LossLowered => training::loss_lowered,
        Check::SamplesSameAgain => data::same_again,
        Check::SamplesInAnyOrder => data::any_order,
        Check::SamplesOnThreads => data::on_threads,
        Check::SamplesBeyondRefused => data::beyond,
        Check::ScheduleSameAgain => data::schedule_again,
        Check::ScheduleFinite => data::schedule_finite,
        Check::MetricForgets => data::metric_forgets,
        other => return (super::Verdict::Skipped, format!("`{}` is not made here", other.name())),
    };
    check(bench, place)
}
