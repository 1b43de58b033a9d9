//! The child's side: runs the checks that need the plugin's code, one after the other, and announces
//! each before it begins.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::AsFd as _;
use std::time::{Duration, Instant};

use super::harness::Harness;
use super::report::{CheckOutcome, Found, failed, passed, skipped, warning};
use super::task::{Message, Task};
use super::{Check, Item, data, instance, log_counter, plan, resuming, training};
use crate::bridge::HOST;
use crate::library::{Catalog, Loaded, ScanOptions, SearchOrigin, SearchPath, Sha256, load};
use crate::supervisor::worker::{self, Patience};
use crate::surroundings::{Surroundings, float, process};

/// Longest and shortest time limit of one call of a plugin.
const CALL_LIMIT: (Duration, Duration) = (Duration::from_secs(20), Duration::from_secs(5));
/// Longest time of loading without a warning.
const QUICK: Duration = Duration::from_millis(200);

/// Runs the checks of `task`. The channel is the standard input.
///
/// # Errors
/// The channel is broken, because the hidden command was called by hand.
pub fn run(task: &str) -> io::Result<()> {
    let task: Task = serde_json::from_str(task)?;
    let mut channel = File::from(io::stdin().as_fd().try_clone_to_owned()?);
    rustix::stdio::dup2_stdin(File::open("/dev/null")?)?;
    log_counter::install();
    let limit = (task.budget / 4).min(CALL_LIMIT.0).max(CALL_LIMIT.1);
    worker::watch(Patience { warning: Duration::ZERO, limit })?;
    let own = std::process::id();
    let mut say = |message: &Message| -> io::Result<()> {
        if std::process::id() != own {
            // A copy of the process, which the plugin made with `fork`, must not report.
            process::end_copy();
        }
        let mut text = serde_json::to_vec(message)?;
        text.push(b'\n');
        channel.write_all(&text)
    };
    let mut path = SearchPath::new();
    path.push(&task.front, SearchOrigin::CommandLine);
    for dir in SearchPath::standard(&task.dirs, &[]).dirs() {
        path.push(&dir.path, dir.origin);
    }
    let catalog = Catalog::scan(&path, &ScanOptions::default());
    let sha256 = Sha256::from_hex(&task.sha256).ok_or(io::ErrorKind::InvalidInput)?;
    let harness = Harness::new(catalog, sha256, &task).map_err(io::Error::other)?;
    let kinds: Vec<_> = harness.components.iter().map(|component| component.kind).collect();
    let mut plugin = None;
    let surroundings = Surroundings::capture();
    // What components changed so far; a process cannot be restored.
    let mut changed = Changed { component: None, changes: Vec::new(), processes: processes() };
    let mut without_instance = task.without_instance.clone();
    for (number, item) in plan(&kinds).into_iter().enumerate() {
        // Every check needs the loaded plugin, so `loads` always runs.
        let is_wanted =
            task.only.is_empty() || task.only.iter().any(|name| name == item.check.name());
        let is_due = number >= task.from && is_wanted;
        if !is_due && item.check != Check::Loads {
            continue;
        }
        if is_due {
            say(&Message::Begin(number))?;
        }
        if changed.component != item.component {
            changed = Changed { component: item.component, changes: Vec::new(), ..changed };
        }
        let begin = Instant::now();
        let found = match (item.check, &plugin) {
            (Check::Loads, _) => load_it(&harness, sha256, &mut plugin),
            (_, None) => skipped("it does not load"),
            _ if item.component.is_some_and(|place| without_instance.contains(&place)) => {
                skipped("no instance can be created, see `created`")
            }
            _ if harness.budget.is_spent() => skipped(harness.budget.spent()),
            (Check::SurroundingsKeptInUse, _) => {
                training::use_once(&harness, item.component.unwrap_or_default());
                changed.add(&surroundings);
                changed.verdict()
            }
            (_, Some(loaded)) => apply(&harness, item, loaded),
        };
        if item.check == Check::Loads {
            say(&Message::Loaded)?;
        }
        changed.add(&surroundings);
        if item.check == Check::Created && found.0 == super::Verdict::Failed {
            without_instance.extend(item.component);
        }
        let component = item.component.map(|place| harness.components[place].id());
        let took = u64::try_from(begin.elapsed().as_millis()).unwrap_or(u64::MAX);
        if is_due {
            say(&Message::Ended(
                number,
                Box::new(CheckOutcome::new(item.check, component, found, took)),
            ))?;
        }
    }
    say(&Message::Done)
}

/// The loaded plugin, and the effects of loading it.
struct LoadedPlugin {
    loaded: Loaded,
    took: Duration,
    disturbed: Vec<String>,
}

/// What a component changed in the process.
struct Changed {
    component: Option<usize>,
    changes: Vec<String>,
    processes: BTreeSet<String>,
}

impl Changed {
    /// Restores the surroundings after a check, and adds what differed.
    fn add(&mut self, surroundings: &Surroundings) {
        self.changes.extend(surroundings.restore().iter().map(ToString::to_string));
        let of_calls = float::take_restored().into_iter();
        self.changes.extend(
            of_calls.map(|change| format!("a call changed the floating-point control ({change})")),
        );
        let now = processes();
        if now.difference(&self.processes).next().is_some() {
            self.changes.push("a process was started and left behind".to_owned());
        }
        self.processes = now;
    }

    fn verdict(&mut self) -> Found {
        self.changes.dedup();
        if self.changes.is_empty() { passed() } else { failed(self.changes.join("; ")) }
    }
}

/// Numbers of the processes that this one has started and that have not been waited for.
fn processes() -> BTreeSet<String> {
    let tasks = std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let children =
        tasks.filter_map(|task| std::fs::read_to_string(task.path().join("children")).ok());
    children
        .flat_map(|text| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
        .collect()
}

fn threads() -> usize {
    std::fs::read_dir("/proc/self/task").map_or(0, Iterator::count)
}

fn load_it(harness: &Harness, sha256: Sha256, place: &mut Option<LoadedPlugin>) -> Found {
    let Some(entry) = harness.catalog.plugins().iter().find(|plugin| plugin.sha256() == sha256)
    else {
        return failed("it is not found");
    };
    let (before, threads) = (Surroundings::capture(), threads());
    let begin = Instant::now();
    match load(entry, &HOST) {
        Ok(loaded) => {
            let took = begin.elapsed();
            let mut disturbed: Vec<String> =
                before.restore().iter().map(ToString::to_string).collect();
            if self::threads() > threads {
                disturbed.push("threads were started".to_owned());
            }
            *place = Some(LoadedPlugin { loaded, took, disturbed });
            passed()
        }
        Err(error) => failed(error.refusal.to_string()),
    }
}

fn apply(harness: &Harness, item: Item, plugin: &LoadedPlugin) -> Found {
    let place = item.component.unwrap_or_default();
    let check: fn(&Harness, usize) -> Found = match item.check {
        Check::LoadsQuickly => {
            let text = format!("it took {} ms", plugin.took.as_millis());
            return if plugin.took < QUICK {
                (super::Verdict::Passed, text)
            } else {
                warning(text)
            };
        }
        Check::InitTwice => {
            return plugin
                .loaded
                .init_again(&HOST)
                .map_or_else(|refusal| failed(refusal.message), |()| passed());
        }
        Check::UnknownExtension => {
            let answers =
                plugin.loaded.offers("fluxbay.nobody-has-this/1") || plugin.loaded.offers("");
            return if answers {
                failed("it answers with a table where it has none")
            } else {
                passed()
            };
        }
        Check::LogLevels => {
            plugin.loaded.try_log_levels();
            return passed();
        }
        Check::SurroundingsKept if plugin.disturbed.is_empty() => return passed(),
        Check::SurroundingsKept => return failed(plugin.disturbed.join("; ")),
        Check::ThreadsOfTrainingEnded => instance::threads_of_training,
        Check::DetailsAreJson => data::details_are_json,
        Check::ConflictsResolved => instance::conflicts_resolved,
        Check::RecordsWritten => training::records_written,
        Check::ParametersFinite => training::parameters_finite,
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
        Check::TransformSameAgain => data::transform_again,
        Check::OrderSameAgain => data::order_again,
        Check::MetricForgets => data::metric_forgets,
        other => return (super::Verdict::Skipped, format!("`{}` is not made here", other.name())),
    };
    check(harness, place)
}
