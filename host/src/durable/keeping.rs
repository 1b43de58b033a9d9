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
            time: (settings.every_minutes > 0.0)
                .then(|| Duration::from_secs_f64(settings.every_minutes * 60.0)),
            at_end: settings.at_end,
            on_signal: settings.on_signal,
            retention: Retention {
                last: settings.keep_last,
                best: (best.count > 0).then_some(best),
            },
        }
    }

    /// Whether moments between steps matter.
    fn watches_steps(&self) -> bool {
        self.steps > 0 || self.time.is_some()
    }

    /// Why a checkpoint is due, if one is.
    fn due(&self, now: &Now, last: &Last) -> Option<Reason> {
        if self.on_signal && now.is_signalled {
            return Some(Reason { text: "signal", is_pressing: true });
        }
        if self.at_end && now.ends {
            return Some(Reason { text: "end", is_pressing: true });
        }
        let by_epochs =
            self.epochs > 0 && now.epoch.is_some_and(|epoch| epoch >= last.epochs + self.epochs);
        let by_steps = self.steps > 0 && now.steps >= last.steps + self.steps;
        let by_time =
            self.time.is_some_and(|time| now.time.saturating_duration_since(last.time) >= time);
        let text = match (by_epochs, by_steps, by_time) {
            (true, ..) => "epochs",
            (_, true, _) => "steps",
            (.., true) => "time",
            _ => return None,
        };
        Some(Reason { text, is_pressing: false })
    }
}

/// A moment at which everything could be saved.
#[derive(Clone, Copy, Debug)]
struct Now {
    is_signalled: bool,
    /// Nothing will follow.
    ends: bool,
    /// The epoch that has just ended for all phases, if one has.
    epoch: Option<u64>,
    steps: u64,
    /// Of a clock that nobody can set.
    time: Instant,
}

/// The last checkpoint.
#[derive(Clone, Copy, Debug)]
struct Last {
    epochs: u64,
    steps: u64,
    /// Of a clock that nobody can set.
    time: Instant,
    /// Steps, epochs, phase, and whether it was after an epoch; where one was taken by this
    /// process.
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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Reason {
    text: &'static str,
    is_pressing: bool,
}

impl Keeping {
    /// Begins to watch a session whose record has begun. `plugins` are the run's plugins with their
    /// hashes.
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
            last: Cell::new(Last {
                epochs: runtime.epochs_done(),
                steps: runtime.steps_begun(),
                time: Instant::now(),
                standing: None,
            }),
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
            runtime.interrupt().store(
                signal_hook::consts::SIGINT.unsigned_abs(),
                std::sync::atomic::Ordering::Relaxed,
            );
        }
        let Some(record) = self.record.get() else { return Ok(()) };
        let reason = self.reason(runtime, moment, steps);
        let at_end =
            moment == Moment::Epoch && (runtime.at_end_of_epoch() || runtime.is_stopping());
        let is_asked = runtime.has_wishes(at_end);
        if reason.is_none() && !is_asked {
            return Ok(());
        }
        let standing =
            (steps, runtime.epochs_done(), runtime.next_phase(), moment == Moment::Epoch);
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
        let epochs =
            if moment == Moment::Epoch { runtime.at().epoch } else { runtime.epochs_done() };
        self.last.set(Last { epochs, steps, time: Instant::now(), standing: Some(standing) });
        Ok(())
    }

    /// Why the run itself wants a checkpoint now.
    fn reason(&self, runtime: &Runtime, moment: Moment, steps: u64) -> Option<Reason> {
        let at_end = moment == Moment::Epoch && runtime.at_end_of_epoch();
        let epoch = runtime.at().epoch;
        let ends = (at_end && epoch >= self.last_epoch)
            || (moment == Moment::Epoch && runtime.is_stopping());
        let now = Now {
            is_signalled: runtime.signal() != 0,
            ends,
            epoch: at_end.then_some(epoch),
            steps,
            time: Instant::now(),
        };
        self.policy.due(&now, &self.last.get())
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

    fn produce(
        &self,
        record: &RunRecord,
        snapshot: Snapshot,
        about: About,
    ) -> Flow<(Produce, Vec<File>)> {
        let (marks, before) = record.hand_over().map_err(failed)?;
        let marks = serde_json::to_vec_pretty(&marks).map_err(failed)?;
        let (resolved, plugins) = (self.resolved.clone(), self.plugins.clone());
        let path = record.path().join(file::CHECKPOINTS);
        let produce = move || {
            let mut files = to_files(&snapshot)
                .map_err(|stop| RecordError::Content { path, problem: stop.to_string() })?;
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

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> CheckpointSettings {
        CheckpointSettings {
            every_epochs: 0,
            every_steps: 0,
            every_minutes: 0.0,
            at_end: true,
            on_signal: true,
            keep_last: 2,
            keep_best: 0,
            metric: "validation/loss".to_owned(),
            better: "auto".to_owned(),
        }
    }

    /// The reasons at moments so many steps and seconds after the last checkpoint.
    fn reasons(policy: &Policy, moments: &[(u64, f64)]) -> Vec<Option<&'static str>> {
        let begin = Instant::now();
        let last = Last { epochs: 0, steps: 0, time: begin, standing: None };
        let at = |&(steps, seconds): &(u64, f64)| {
            let now = Now {
                is_signalled: false,
                ends: false,
                epoch: None,
                steps,
                time: begin + Duration::from_secs_f64(seconds),
            };
            policy.due(&now, &last).map(|reason| reason.text)
        };
        moments.iter().map(at).collect()
    }

    #[test]
    fn minutes_are_counted_from_the_last_checkpoint_by_a_clock_of_their_own() {
        let policy = Policy::of(&CheckpointSettings { every_minutes: 1.5, ..settings() });
        assert!(policy.watches_steps());
        assert_eq!(
            reasons(&policy, &[(1, 0.0), (1000, 89.9), (1001, 90.0), (1002, 1e6)]),
            [None, None, Some("time"), Some("time")]
        );
        // A last checkpoint in the future, as a clock that was set back would make of it, is none
        // that is overdue.
        let begin = Instant::now();
        let last =
            Last { epochs: 0, steps: 0, time: begin + Duration::from_secs(3600), standing: None };
        let now = Now { is_signalled: false, ends: false, epoch: None, steps: 5, time: begin };
        assert_eq!(policy.due(&now, &last), None);
    }

    #[test]
    fn epochs_steps_the_end_and_signals_are_reasons_of_their_own() {
        let policy =
            Policy::of(&CheckpointSettings { every_epochs: 2, every_steps: 10, ..settings() });
        assert_eq!(reasons(&policy, &[(9, 1e6), (10, 0.0)]), [None, Some("steps")]);
        let time = Instant::now();
        let last = Last { epochs: 3, steps: 100, time, standing: None };
        let now = Now { is_signalled: false, ends: false, epoch: Some(4), steps: 101, time };
        assert_eq!(policy.due(&now, &last), None);
        let due =
            |now: &Now| policy.due(now, &last).map(|reason| (reason.text, reason.is_pressing));
        assert_eq!(due(&Now { epoch: Some(5), ..now }), Some(("epochs", false)));
        assert_eq!(due(&Now { ends: true, ..now }), Some(("end", true)));
        assert_eq!(due(&Now { ends: true, is_signalled: true, ..now }), Some(("signal", true)));
    }
}
