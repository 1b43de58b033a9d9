//! When checkpoints of a run are taken, and what a run directory adds to a session's own files.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    fs::File,
    rc::Rc,
    time::{Duration, Instant},
};

use super::late::Record;
use crate::{
    learner::{
        Flow, Runtime, Stop,
        saving::{Moment, Wish},
        snapshot::Snapshot,
    },
    record::{
        Better, RecordError, RunRecord,
        checkpoint::{About, Best, CheckpointData, Keep, Keeper, Produce, Retention},
        file,
    },
    run_file::CheckpointSettings,
    session::{Session, checkpoint::to_files},
};

/// File of a checkpoint: how far the record's growing files had come.
pub const MARKS: &str = "record.json";
/// File of a checkpoint: the run with every default filled in.
pub const RESOLVED: &str = "resolved.toml";
/// File of a checkpoint: the plugins with their hashes.
pub const PLUGINS: &str = "plugins.lock";
/// Who asks for the checkpoints of `[checkpoints]`.
const RUN: &str = "run";

/// When the run itself wants checkpoints.
#[derive(Clone, Debug, PartialEq)]
struct Policy {
    epochs: u64,
    steps: u64,
    time: Option<Duration>,
    at_end: bool,
    on_signal: bool,
    retention: Retention,
}

impl Policy {
    fn of(settings: &CheckpointSettings) -> Policy {
        let better = match settings.better.as_str() {
            "lower" => Better::Lower,
            "higher" => Better::Higher,
            _ => Better::of(&settings.metric),
        };
        let best = Best { metric: settings.metric.clone(), better, count: settings.keep_best };
        Policy {
            epochs: settings.every_epochs,
            steps: settings.every_steps,
            time: (settings.every_minutes > 0.0).then(|| Duration::from_secs_f64(settings.every_minutes * 60.0)),
            at_end: settings.at_end,
            on_signal: settings.on_signal,
            retention: Retention { last: settings.keep_last, best: (best.count > 0).then_some(best) },
        }
    }

    /// Whether moments between steps matter.
    fn watches_steps(&self) -> bool {
        self.steps > 0 || self.time.is_some()
    }
}

/// The last checkpoint.
#[derive(Clone, Copy, Debug)]
struct Last {
    epochs: u64,
    steps: u64,
    /// Of a clock that nobody can set.
    time: Instant,
    /// Steps, epochs, phase, and whether it was after an epoch; where one was taken by this process.
    standing: Option<(u64, u64, usize, bool)>,
}

/// Takes checkpoints while a session trains.
pub struct Keeping {
    keeper: RefCell<Keeper>,
    record: Rc<Record>,
    policy: Policy,
    last_epoch: u64,
    last: Cell<Last>,
    keep: RefCell<Keep>,
    resolved: String,
    plugins: String,
    /// Steps after which the run is interrupted as by SIGINT, for tests of resuming.
    interrupt_at: Option<u64>,
}

/// A reason to save, and whether it waits for a checkpoint that is still being written.
struct Reason {
    text: &'static str,
    is_pressing: bool,
}

impl Keeping {
    /// Begins to watch a session whose record has begun. `plugins` are the run's plugins with their hashes.
    ///
    /// # Errors
    /// Where no thread can be started.
    pub fn begin(
        session: &Session,
        record: &Rc<Record>,
        plugins: String,
        interrupt_at: Option<u64>,
    ) -> std::io::Result<Option<Rc<Keeping>>> {
        let Some(run_record) = record.get() else { return Ok(None) };
        let policy = Policy::of(&session.run().checkpoints);
        let runtime = session.runtime();
        let keeping = Rc::new(Keeping {
            keeper: RefCell::new(Keeper::new(run_record.path().join(file::CHECKPOINTS))?),
            record: Rc::clone(record),
            last_epoch: session.run().run.epochs,
            last: Cell::new(Last { epochs: runtime.epochs_done(), steps: runtime.steps_begun(), time: Instant::now(), standing: None }),
            keep: RefCell::new(Keep::from([(RUN.to_owned(), policy.retention.clone())])),
            resolved: session.run().to_toml(),
            plugins,
            interrupt_at,
            policy,
        });
        let action = Rc::clone(&keeping);
        session.on_checkpoint(move |runtime, moment| action.at(runtime, moment));
        runtime.watch_steps(keeping.policy.watches_steps() || interrupt_at.is_some());
        Ok(Some(keeping))
    }

    fn at(&self, runtime: &Runtime, moment: Moment) -> Flow {
        let steps = runtime.steps_begun();
        if self.interrupt_at.is_some_and(|at| steps >= at) && runtime.signal() == 0 {
            runtime.interrupt().store(signal_hook::consts::SIGINT.unsigned_abs(), std::sync::atomic::Ordering::Relaxed);
        }
        let Some(record) = self.record.get() else { return Ok(()) };
        let reason = self.reason(runtime, moment, steps);
        let at_end = moment == Moment::Epoch && (runtime.at_end_of_epoch() || runtime.is_stopping());
        let is_asked = runtime.has_wishes(at_end);
        if reason.is_none() && !is_asked {
            return Ok(());
        }
        let standing = (steps, runtime.epochs_done(), runtime.next_phase(), moment == Moment::Epoch);
        let is_pressing = is_asked || reason.as_ref().is_some_and(|reason| reason.is_pressing);
        if !is_asked && self.last.get().standing == Some(standing) {
            return Ok(());
        }
        let mut keeper = self.keeper.borrow_mut();
        if is_pressing {
            keeper.wait().map_err(failed)?;
        } else if !keeper.is_free().map_err(failed)? {
            // Due as before: the next moment may find it free.
            return Ok(());
        }
        let wishes = runtime.take_wishes(at_end);
        let snapshot = runtime.snapshot()?;
        let about = about(&snapshot, reason.as_ref(), &wishes);
        let keep = self.learn(&wishes);
        log::info!("checkpoint after {} steps ({})", about.sequence, about.reason);
        let (produce, before) = self.produce(record, snapshot, about)?;
        keeper.keep(produce, before, keep).map_err(failed)?;
        let epochs = if moment == Moment::Epoch { runtime.at().epoch } else { runtime.epochs_done() };
        self.last.set(Last { epochs, steps, time: Instant::now(), standing: Some(standing) });
        Ok(())
    }

    /// Why the run itself wants a checkpoint now.
    fn reason(&self, runtime: &Runtime, moment: Moment, steps: u64) -> Option<Reason> {
        let (policy, last) = (&self.policy, self.last.get());
        let at_end = moment == Moment::Epoch && runtime.at_end_of_epoch();
        let epoch = runtime.at().epoch;
        if policy.on_signal && runtime.signal() != 0 {
            return Some(Reason { text: "signal", is_pressing: true });
        }
        let ends = (at_end && epoch >= self.last_epoch) || (moment == Moment::Epoch && runtime.is_stopping());
        if policy.at_end && ends {
            return Some(Reason { text: "end", is_pressing: true });
        }
        let by_epochs = policy.epochs > 0 && at_end && epoch >= last.epochs + policy.epochs;
        let by_steps = policy.steps > 0 && steps >= last.steps + policy.steps;
        let by_time = policy.time.is_some_and(|time| last.time.elapsed() >= time);
        let text = match (by_epochs, by_steps, by_time) {
            (true, ..) => "epochs",
            (_, true, _) => "steps",
            (.., true) => "time",
            _ => return None,
        };
        Some(Reason { text, is_pressing: false })
    }

    /// Takes in what is to be kept from now on.
    fn learn(&self, wishes: &[Wish]) -> Keep {
        let mut keep = self.keep.borrow_mut();
        for wish in wishes {
            // The newest stays whatever its value is; without a number all stay.
            let best = wish.keep.map(|keep| Best {
                metric: wish.metric.clone(),
                better: if wish.higher_is_better { Better::Higher } else { Better::Lower },
                count: usize::try_from(keep).unwrap_or(usize::MAX),
            });
            keep.insert(wish.by.clone(), Retention { last: usize::from(best.is_some()), best });
        }
        keep.clone()
    }

    fn produce(&self, record: &RunRecord, snapshot: Snapshot, about: About) -> Flow<(Produce, Vec<File>)> {
        let (marks, before) = record.hand_over().map_err(failed)?;
        let marks = serde_json::to_vec_pretty(&marks).map_err(failed)?;
        let (resolved, plugins) = (self.resolved.clone(), self.plugins.clone());
        let path = record.path().join(file::CHECKPOINTS);
        let produce = move || {
            let mut files = to_files(&snapshot).map_err(|stop| RecordError::Content { path, problem: stop.to_string() })?;
            files.insert(MARKS.to_owned(), marks.into());
            files.insert(RESOLVED.to_owned(), resolved.into_bytes().into());
            files.insert(PLUGINS.to_owned(), plugins.into_bytes().into());
            Ok(CheckpointData { about, files })
        };
        Ok((Box::new(produce), before))
    }

    /// Waits for what is being written. Answers whether there is a checkpoint to go on from.
    ///
    /// # Errors
    /// Where it could not be written.
    pub fn finish(&self) -> Result<bool, String> {
        let mut keeper = self.keeper.borrow_mut();
        keeper.wait().map_err(|error| format!("the last checkpoint cannot be written: {error}"))?;
        Ok(keeper.newest().is_some())
    }
}

fn about(snapshot: &Snapshot, reason: Option<&Reason>, wishes: &[Wish]) -> About {
    let metrics: BTreeMap<String, f64> = snapshot
        .metrics
        .iter()
        .map(|(phase, name, bits)| (format!("{phase}/{name}"), f64::from_bits(*bits)))
        .filter(|(_, value)| value.is_finite())
        .collect();
    let reasons = reason.map(|reason| reason.text.to_owned()).into_iter();
    let reasons = reasons.chain(wishes.iter().map(|wish| format!("asked for by {}", wish.by)));
    let mut asked_by: Vec<String> = reason.map(|_| RUN.to_owned()).into_iter().collect();
    asked_by.extend(wishes.iter().map(|wish| wish.by.clone()));
    About {
        sequence: snapshot.phase_steps.iter().map(|(_, steps)| steps).sum(),
        epochs: snapshot.epochs,
        phase: snapshot.in_epoch.as_ref().map_or_else(String::new, |epoch| epoch.phase.clone()),
        step: snapshot.in_epoch.as_ref().map_or(0, |epoch| epoch.step),
        reason: reasons.collect::<Vec<_>>().join(", "),
        asked_by,
        metrics,
    }
}

fn failed(error: impl std::fmt::Display) -> Stop {
    Stop::host(format!("a checkpoint cannot be written: {error}"))
}
