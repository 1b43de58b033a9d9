//! Takes the checkpoints of a session: asks the policy at each save point of the learner, and hands
//! snapshots to the writer thread.
//!
//! Training waits for the writer if the previous checkpoint is not written yet. So no checkpoint is
//! left out, and those that are kept do not depend on the speed of the disk.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    fs::File,
    path::{Path, PathBuf},
    rc::Rc,
    time::Instant,
};

use super::{
    checkpoint_policy::{BestValues, Cause, CheckpointPolicy, LastCheckpoint, Occasion, Position},
    deferred_record::DeferredRecord,
};
use crate::{
    learner::{
        Flow, Runtime, Stop,
        saving::{CheckpointRequest, SavePoint},
        snapshot::Snapshot,
    },
    record::{
        Better, RecordError, RunRecord,
        checkpoint::{
            self, CheckpointData, CheckpointInfo, KeepBest, Produce, Retention, Retentions,
            WriterThread,
        },
        file,
    },
    session::{SavedData, Session, checkpoint::to_files},
};

/// File of a checkpoint: lengths of the record's growing files.
pub const MARKS: &str = "record.json";
/// File of a checkpoint: the run with all defaults.
pub const RESOLVED: &str = "resolved.toml";
/// File of a checkpoint: the plugins with their hashes.
pub const PLUGINS: &str = "plugins.lock";
/// Requester of the checkpoints of `[checkpoints]`.
const RUN: &str = "run";

/// Takes checkpoints while a session trains.
pub struct CheckpointSaver {
    writer: RefCell<WriterThread>,
    record: Rc<DeferredRecord>,
    policy: CheckpointPolicy,
    last_epoch: u64,
    last: Cell<LastCheckpoint>,
    keep: RefCell<Retentions>,
    /// Values of the ranking metric of the best checkpoints; `None` without ranking.
    best: RefCell<Option<BestValues>>,
    data: Option<SavedData>,
    resolved: String,
    plugins: String,
    /// Steps after which the run is interrupted as by SIGINT, for tests of resuming.
    interrupt_at: Option<u64>,
}

impl CheckpointSaver {
    /// Attaches to a session whose record has begun. `plugins` is the content of the run's
    /// `plugins.lock`. Returns `None` without a record.
    ///
    /// # Errors
    /// If the writer thread cannot be started.
    pub fn begin(
        session: &Session,
        record: &Rc<DeferredRecord>,
        plugins: String,
        interrupt_at: Option<u64>,
    ) -> std::io::Result<Option<Rc<CheckpointSaver>>> {
        let Some(run_record) = record.get() else { return Ok(None) };
        let folder = run_record.path().join(file::CHECKPOINTS);
        let policy = CheckpointPolicy::of(&session.run().checkpoints, session.composed().ranking());
        let runtime = session.runtime();
        let saver = Rc::new(CheckpointSaver {
            writer: RefCell::new(WriterThread::new(folder.clone())?),
            record: Rc::clone(record),
            last_epoch: session.run().run.epochs,
            last: Cell::new(LastCheckpoint {
                epochs: runtime.epochs_done(),
                steps: runtime.steps_begun(),
                time: Instant::now(),
                position: None,
            }),
            keep: RefCell::new(Retentions::from([(RUN.to_owned(), policy.retention.clone())])),
            best: RefCell::new(known_best(&folder, &policy)),
            data: session.saved_data().cloned(),
            resolved: session.run().to_toml(),
            plugins,
            interrupt_at,
            policy,
        });
        let action = Rc::clone(&saver);
        session.on_checkpoint(move |runtime, moment| action.at(runtime, moment));
        runtime.watch_steps(saver.policy.watches_steps() || interrupt_at.is_some());
        Ok(Some(saver))
    }

    /// Takes a checkpoint if one is due or requested.
    fn at(&self, runtime: &Runtime, point: SavePoint) -> Flow {
        let steps = runtime.steps_begun();
        if self.interrupt_at.is_some_and(|at| steps >= at) && runtime.signal() == 0 {
            runtime.interrupt().end(signal_hook::consts::SIGINT.unsigned_abs());
        }
        let Some(record) = self.record.get() else { return Ok(()) };
        let cause = self.cause(runtime, point, steps);
        let is_requested = runtime.has_checkpoint_requests(point);
        if cause.is_none() && !is_requested {
            return Ok(());
        }
        let position = Position {
            steps,
            epochs: runtime.epochs_done(),
            phase: runtime.next_phase(),
            after_epoch: point == SavePoint::Epoch,
        };
        if !is_requested && self.last.get().position == Some(position) {
            return Ok(());
        }
        let mut writer = self.writer.borrow_mut();
        let waits = is_requested || cause.is_some_and(|cause| cause.waits);
        if !waits && !writer.is_free().map_err(failed)? {
            // Stays due: the writer may be free at the next moment.
            return Ok(());
        }
        // Before the snapshot, so that a second copy of the state is never held.
        writer.wait().map_err(failed)?;
        let requests = runtime.take_checkpoint_requests(point);
        let mut snapshot = runtime.snapshot()?;
        let metrics = self.metrics_of_model(&mut snapshot, &requests);
        let about = about(&snapshot, cause, &requests, metrics);
        self.add_to_best(&about);
        let keep = self.retentions(&requests);
        let why = reasons(cause.map(|cause| cause.phrase), &requests);
        log::info!("checkpoint after {} steps: {why}", about.sequence);
        let (produce, before) = self.produce(record, snapshot, about)?;
        writer.submit(produce, before, keep).map_err(failed)?;
        let epochs =
            if point == SavePoint::Epoch { runtime.at().epoch } else { runtime.epochs_done() };
        let position = Some(position);
        self.last.set(LastCheckpoint { epochs, steps, time: Instant::now(), position });
        Ok(())
    }

    /// Why the run's settings make a checkpoint due now.
    fn cause(&self, runtime: &Runtime, point: SavePoint, steps: u64) -> Option<Cause> {
        let at_end = point == SavePoint::Epoch && runtime.at_end_of_epoch();
        let epoch = runtime.at().epoch;
        let ends = (at_end && epoch >= self.last_epoch)
            || (point == SavePoint::Epoch && runtime.is_stopping());
        let now = Occasion {
            is_signalled: runtime.signal() != 0,
            save_requested: runtime.interrupt().wants_save(),
            is_best: point == SavePoint::Epoch && self.ranks_among_the_best(runtime),
            ends,
            epoch: at_end.then_some(epoch),
            steps,
            time: Instant::now(),
        };
        self.policy.due(&now, &self.last.get())
    }

    /// Whether the ranking metric measured the present model, with a value among the best.
    fn ranks_among_the_best(&self, runtime: &Runtime) -> bool {
        let best = self.best.borrow();
        let (Some(values), Some(best)) = (&*best, &self.policy.retention.best) else {
            return false;
        };
        runtime.measured_metric(&best.metric).is_some_and(|value| values.accepts(value))
    }

    fn add_to_best(&self, about: &CheckpointInfo) {
        let best = &self.policy.retention.best;
        let value = best.as_ref().and_then(|best| about.metrics.get(&best.metric));
        if let (Some(values), Some(value)) = (&mut *self.best.borrow_mut(), value)
            && about.asked_by.iter().any(|by| by == RUN)
        {
            values.add(*value);
        }
    }

    /// The metrics of the model that the checkpoint will hold, by `PHASE/NAME`. That is the model
    /// that was measured last, unless all rankings are by other phases.
    fn metrics_of_model(
        &self,
        snapshot: &mut Snapshot,
        requests: &[CheckpointRequest],
    ) -> BTreeMap<String, f64> {
        let of_run = self.policy.retention.best.as_ref().map(|best| &best.metric);
        let of_requests = requests.iter().filter(|request| request.keep.is_some());
        let rankings: Vec<&String> =
            of_run.into_iter().chain(of_requests.map(|request| &request.metric)).collect();
        let measured_by = snapshot.measured.as_ref().map(|measured| measured.phase.clone());
        let is_of = |metric: &str, phase: &str| metric.split('/').next() == Some(phase);
        let drops_measured = measured_by.as_ref().is_some_and(|phase| {
            !rankings.is_empty() && !rankings.iter().any(|metric| is_of(metric, phase))
        });
        let of_model = |phase: &str| match &measured_by {
            None => true,
            Some(measured_by) => (phase == measured_by) != drops_measured,
        };
        let metrics = snapshot
            .measured_metrics()
            .filter(|(phase, _, value)| value.is_finite() && of_model(phase))
            .map(|(phase, name, value)| (format!("{phase}/{name}"), value))
            .collect();
        if drops_measured {
            snapshot.measured = None;
        }
        metrics
    }

    /// The best checkpoint and the value of its ranking metric, if its model is to become the final
    /// one.
    pub fn best_to_restore(&self) -> Option<(PathBuf, String, f64)> {
        let best = self.policy.retention.best.as_ref().filter(|_| self.policy.restore_best)?;
        let folder = self.record.get()?.path().join(file::CHECKPOINTS);
        let found = checkpoint::scan(&folder);
        let (path, value) = checkpoint::best(&found, RUN, best)?;
        Some((path.clone(), best.metric.clone(), value))
    }

    /// What each requester keeps, updated with `requests`.
    fn retentions(&self, requests: &[CheckpointRequest]) -> Retentions {
        let mut keep = self.keep.borrow_mut();
        for request in requests {
            // With a number, the newest and the best are kept, else all.
            let best = request.keep.map(|keep| KeepBest {
                metric: request.metric.clone(),
                better: if request.higher_is_better { Better::Higher } else { Better::Lower },
                count: usize::try_from(keep).unwrap_or(usize::MAX),
            });
            keep.insert(request.by.clone(), Retention { last: usize::from(best.is_some()), best });
        }
        keep.clone()
    }

    /// The closure that builds the checkpoint's files, and the files to sync before.
    fn produce(
        &self,
        record: &RunRecord,
        snapshot: Snapshot,
        about: CheckpointInfo,
    ) -> Flow<(Produce, Vec<File>)> {
        let (marks, before) = record.hand_over().map_err(failed)?;
        let marks = serde_json::to_vec_pretty(&marks).map_err(failed)?;
        let (resolved, plugins) = (self.resolved.clone(), self.plugins.clone());
        let path = record.path().join(file::CHECKPOINTS);
        let data = self.data.clone();
        let produce = move || {
            let mut files = to_files(&snapshot)
                .map_err(|stop| RecordError::Content { path, problem: stop.to_string() })?;
            for (name, bytes) in data.iter().flat_map(SavedData::to_files) {
                files.insert(name.to_owned(), bytes.into());
            }
            files.insert(MARKS.to_owned(), marks.into());
            files.insert(RESOLVED.to_owned(), resolved.into_bytes().into());
            files.insert(PLUGINS.to_owned(), plugins.into_bytes().into());
            Ok(CheckpointData { about, files })
        };
        Ok((Box::new(produce), before))
    }

    /// Waits for the checkpoint in progress. Returns whether this process has written one.
    ///
    /// # Errors
    /// If it could not be written.
    pub fn finish(&self) -> Result<bool, String> {
        let mut writer = self.writer.borrow_mut();
        writer.wait().map_err(|error| format!("the last checkpoint cannot be written: {error}"))?;
        Ok(writer.newest().is_some())
    }
}

/// The values of the best checkpoints of a run that is resumed.
fn known_best(folder: &Path, policy: &CheckpointPolicy) -> Option<BestValues> {
    let best = policy.retention.best.as_ref()?;
    let mut values = BestValues::new(best);
    for found in checkpoint::scan(folder) {
        let about = found.about.ok().filter(|about| about.asked_by.iter().any(|by| by == RUN));
        if let Some(value) = about.and_then(|about| about.metrics.get(&best.metric).copied()) {
            values.add(value);
        }
    }
    Some(values)
}

/// The cause of a checkpoint, and who asked for it.
fn reasons(cause: Option<&str>, requests: &[CheckpointRequest]) -> String {
    let asked = requests.iter().map(|request| format!("asked for by {}", request.by));
    let all: Vec<String> = cause.map(str::to_owned).into_iter().chain(asked).collect();
    all.join(", ")
}

fn about(
    snapshot: &Snapshot,
    cause: Option<Cause>,
    requests: &[CheckpointRequest],
    metrics: BTreeMap<String, f64>,
) -> CheckpointInfo {
    let mut asked_by: Vec<String> = cause.map(|_| RUN.to_owned()).into_iter().collect();
    asked_by.extend(requests.iter().map(|request| request.by.clone()));
    CheckpointInfo {
        sequence: snapshot.phase_steps.iter().map(|(_, steps)| steps).sum(),
        epochs: snapshot.epochs,
        phase: snapshot.in_epoch.as_ref().map_or_else(String::new, |epoch| epoch.phase.clone()),
        step: snapshot.in_epoch.as_ref().map_or(0, |epoch| epoch.step),
        reason: reasons(cause.map(|cause| cause.text), requests),
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

    #[test]
    fn reasons_of_checkpoints_are_phrases_in_the_log() {
        let request = CheckpointRequest {
            by: "ema".to_owned(),
            metric: String::new(),
            keep: None,
            higher_is_better: false,
            after_step: false,
        };
        assert_eq!(
            reasons(Some(Cause::EPOCHS.phrase), &[request]),
            "end of an epoch, asked for by ema"
        );
        assert_eq!(reasons(Some(Cause::SIGNAL.phrase), &[]), "signal");
    }
}
