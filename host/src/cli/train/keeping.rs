//! When checkpoints of a run are taken, and what the command adds to a session's own files.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    rc::Rc,
};

use super::late::Record;
use crate::{
    learner::{CheckpointWish, Flow, Runtime, Stop, snapshot::Snapshot},
    record::{
        Better, RunRecord,
        checkpoint::{About, Best, CheckpointData, Keeper, Kept, Retention},
        file,
    },
    session::{Session, checkpoint::to_files},
};

/// File of a checkpoint: how far the record's growing files had come.
pub(super) const MARKS: &str = "record.json";
/// File of a checkpoint: the run with every default filled in.
pub(super) const RESOLVED: &str = "resolved.toml";
/// File of a checkpoint: the plugins with their hashes.
pub(super) const PLUGINS: &str = "plugins.lock";

/// Which checkpoints a run keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::Args)]
pub struct KeepArguments {
    /// Keep a checkpoint after every N epochs; 0 for none at all.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub checkpoint_every: u64,
    /// Keep the newest N checkpoints; 0 keeps all.
    #[arg(long, value_name = "N", default_value_t = 2)]
    pub keep_checkpoints: usize,
}

/// Takes checkpoints while a session trains.
pub(super) struct Keeping {
    keeper: RefCell<Keeper>,
    record: Rc<Record>,
    every: u64,
    /// How many of the newest stay.
    last: usize,
    /// What instances asked for, each one's last wish: it decides what stays of theirs.
    wishes: RefCell<Vec<CheckpointWish>>,
    last_epoch: u64,
    kept: Cell<u64>,
    resolved: String,
    plugins: String,
}

impl Keeping {
    /// Begins; `None` where none are wanted. The last checkpoint is that of the last epoch.
    ///
    /// # Errors
    /// Where no thread can be started.
    pub(super) fn begin(
        session: &Session,
        record: &Rc<Record>,
        arguments: KeepArguments,
        plugins: String,
    ) -> std::io::Result<Option<Rc<Keeping>>> {
        let Some(run_record) = record.get().filter(|_| arguments.checkpoint_every > 0) else { return Ok(None) };
        let keeping = Rc::new(Keeping {
            keeper: RefCell::new(Keeper::new(run_record.path().join(file::CHECKPOINTS))?),
            record: Rc::clone(record),
            every: arguments.checkpoint_every,
            last: arguments.keep_checkpoints,
            wishes: RefCell::default(),
            last_epoch: session.run().run.epochs,
            kept: Cell::new(session.runtime().epochs_done.get()),
            resolved: session.run().to_toml(),
            plugins,
        });
        let action = Rc::clone(&keeping);
        session.on_checkpoint(move |runtime| action.after_phase(runtime));
        Ok(Some(keeping))
    }

    /// After an epoch of a phase: keeps a checkpoint where one is due, or where an instance asked for one. One that is due while
    /// the one before is still being written is left out, except the last and those that were asked for.
    fn after_phase(&self, runtime: &Runtime) -> Flow {
        let Some(record) = self.record.get() else { return Ok(()) };
        if !runtime.at_end_of_epoch() {
            return Ok(());
        }
        let epoch = runtime.at().epoch;
        let asked_by = self.note_wishes(runtime.take_checkpoint_wishes());
        let is_last = epoch >= self.last_epoch;
        if !is_last && asked_by.is_empty() && epoch < self.kept.get() + self.every {
            return Ok(());
        }
        let mut keeper = self.keeper.borrow_mut();
        if is_last || !asked_by.is_empty() {
            keeper.wait().map_err(failed)?;
        }
        if !keeper.is_free().map_err(failed)? {
            return Ok(());
        }
        let (mut data, before) = self.gather(record, &runtime.snapshot()?)?;
        data.about.asked_by = asked_by;
        if keeper.keep(data, before, self.retention()).map_err(failed)? == Kept::Handed {
            self.kept.set(epoch);
        }
        Ok(())
    }

    /// Takes in wishes; answers whose they are.
    fn note_wishes(&self, new: Vec<CheckpointWish>) -> Vec<String> {
        let asked_by: Vec<String> = new.iter().map(|wish| wish.by.clone()).collect();
        let mut wishes = self.wishes.borrow_mut();
        wishes.retain(|known| !asked_by.contains(&known.by));
        wishes.extend(new);
        asked_by
    }

    fn retention(&self) -> Retention {
        let best = |wish: &CheckpointWish| Best {
            asked_by: wish.by.clone(),
            metric: wish.metric.clone(),
            better: if wish.higher_is_better { Better::Higher } else { Better::Lower },
            count: wish.keep.map(|keep| usize::try_from(keep).unwrap_or(usize::MAX)),
        };
        Retention { last: self.last, best: self.wishes.borrow().iter().map(best).collect() }
    }

    fn gather(&self, record: &RunRecord, snapshot: &Snapshot) -> Flow<(CheckpointData, Vec<std::fs::File>)> {
        let (marks, before) = record.hand_over().map_err(failed)?;
        let mut files = to_files(snapshot)?;
        files.insert(MARKS.to_owned(), serde_json::to_vec_pretty(&marks).map_err(failed)?);
        files.insert(RESOLVED.to_owned(), self.resolved.clone().into_bytes());
        files.insert(PLUGINS.to_owned(), self.plugins.clone().into_bytes());
        let metrics: BTreeMap<String, f64> = snapshot
            .metrics
            .iter()
            .map(|(phase, name, bits)| (format!("{phase}/{name}"), f64::from_bits(*bits)))
            .filter(|(_, value)| value.is_finite())
            .collect();
        let about = About {
            sequence: snapshot.phase_steps.iter().map(|(_, steps)| steps).sum(),
            epochs: snapshot.epochs,
            phase: String::new(),
            step: 0,
            reason: "interval".to_owned(),
            asked_by: Vec::new(),
            metrics,
        };
        Ok((CheckpointData { about, files }, before))
    }

    /// Waits for what is being written. Answers whether there is a checkpoint to go on from.
    ///
    /// # Errors
    /// Where it could not be written.
    pub(super) fn finish(&self) -> Result<bool, String> {
        let mut keeper = self.keeper.borrow_mut();
        keeper.wait().map_err(|error| format!("the last checkpoint cannot be written: {error}"))?;
        Ok(keeper.newest().is_some())
    }
}

fn failed(error: impl std::fmt::Display) -> Stop {
    Stop::host(format!("a checkpoint cannot be written: {error}"))
}
