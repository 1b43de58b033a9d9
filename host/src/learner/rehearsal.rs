//! Rehearsals: steps of a phase that leave no trace, for a learning-rate finder or a check before
//! the first epoch.
//!
//! While a step of a rehearsal runs, the runtime is muted: no callback hears an event, nothing is
//! recorded, shown or logged. When the rehearsal ends, everything that its steps changed is put
//! back from a snapshot.

use std::collections::BTreeSet;

use fluxbay_plugin::abi::{entry::kind, event::EventRaw, event::phase_kind, learner::BatchRaw};

use super::control::{Flow, StopKind};
use super::instances::{Instance, Span};
use super::ports::{Batches, DataBatch};
use super::runtime::{Answer, Refusal, Runtime, stopped};
use super::snapshot::Snapshot;
use super::state::{Value, covers};
use super::step::engine_error;

/// A rehearsal that is under way.
pub(super) struct Rehearsal {
    caller: u32,
    split: String,
    /// Epoch whose order the batches have.
    epoch: u64,
    batches: Box<dyn Batches>,
    before: Before,
}

/// What is put back.
struct Before {
    snapshot: Snapshot,
    position: EventRaw,
}

/// Whether a rehearsal can change an instance. Callbacks and their metrics are not called by it,
/// loggers neither.
fn takes_part(instance: &Instance) -> bool {
    !matches!(instance.kind(), kind::CALLBACK | kind::LOGGER | kind::METRIC)
}

impl Runtime {
    /// Whether a step of a rehearsal runs.
    pub(crate) fn is_muted(&self) -> bool {
        self.muted.get()
    }

    /// Begins a rehearsal of phase `index` for the calling callback.
    pub(crate) fn rehearse_begin(&self, caller: u32, index: usize) -> Answer {
        let position = self.position.get();
        if position.phase_kind != phase_kind::NONE || self.in_step() {
            return Err(Refusal::Text(
                "a rehearsal can begin only between epochs, such as at fit-begin".into(),
            ));
        }
        if self.rehearsal.borrow().is_some() {
            return Err(Refusal::Text(
                "a rehearsal begins while another is under way: end that one first".into(),
            ));
        }
        let phases = &stopped(self.parts())?.phases;
        let Some(phase) = phases.get(index) else {
            return Err(Refusal::Text(format!(
                "there is no phase number {index}; this run has {}",
                phases.len()
            )));
        };
        let data = self.data.borrow().clone();
        let (Some(split), Some(data)) = (phase.split.clone(), data) else {
            return Err(Refusal::Text(format!(
                "phase `{}` reads no data, so none of its steps can be rehearsed",
                phase.instance.id
            )));
        };
        let before = Before { snapshot: stopped(self.snapshot_of(takes_part))?, position };
        let epoch = self.epochs_done.get() + 1;
        let batches = data.epoch(&split, epoch).map_err(Refusal::Text)?;
        stopped(self.enter_phase(index, epoch))?;
        *self.rehearsal.borrow_mut() = Some(Rehearsal { caller, split, epoch, batches, before });
        Ok(())
    }

    /// Runs one step of the caller's rehearsal.
    pub(crate) fn rehearse_step(&self, caller: u32) -> Answer {
        stopped(self.check_interrupt())?;
        let batch = self.rehearsed_batch(caller)?;
        self.muted.set(true);
        let flow = self.step_on(&batch);
        self.muted.set(false);
        // The step is over, however it ended; nobody is owed an end.
        self.spans[Span::Step as usize].set(0);
        match flow {
            Err(stop) if stop.kind() <= StopKind::CancelFit => Ok(()),
            flow => stopped(flow),
        }
    }

    /// The next batch; the data begins anew after its last one.
    fn rehearsed_batch(&self, caller: u32) -> Answer<DataBatch> {
        let mut open = self.rehearsal.borrow_mut();
        let Some(rehearsal) = open.as_mut().filter(|rehearsal| rehearsal.caller == caller) else {
            return Err(Refusal::Text(
                "a step is rehearsed outside of a rehearsal: begin one first".into(),
            ));
        };
        if let Some(batch) =
            rehearsal.batches.next_batch(&*self.engine.borrow()).map_err(Refusal::Text)?
        {
            return Ok(batch);
        }
        let data = self
            .data
            .borrow()
            .clone()
            .ok_or_else(|| Refusal::Text("this run has no data".into()))?;
        rehearsal.epoch += 1;
        rehearsal.batches = data.epoch(&rehearsal.split, rehearsal.epoch).map_err(Refusal::Text)?;
        let first = rehearsal.batches.next_batch(&*self.engine.borrow()).map_err(Refusal::Text)?;
        first.ok_or_else(|| {
            Refusal::Text(format!("the data has no batch in its split `{}`", rehearsal.split))
        })
    }

    /// Runs the running phase's step on a batch of the host's own.
    pub(super) fn step_on(&self, batch: &DataBatch) -> Flow {
        let mut raw = BatchRaw {
            samples: batch.samples as u32,
            index: batch.index,
            ..super::epoch::NO_BATCH
        };
        for (field, tensor) in raw.fields.iter_mut().zip(&batch.fields) {
            *field = self.engine.borrow_mut().insert(tensor.clone());
            raw.field_count += 1;
        }
        let flow = self.phase_step(&raw);
        for &field in &raw.fields[..raw.field_count as usize] {
            self.engine.borrow_mut().release(field).map_err(engine_error)?;
        }
        flow
    }

    /// Ends the caller's rehearsal.
    pub(crate) fn rehearse_end(&self, caller: u32) -> Answer {
        match &*self.rehearsal.borrow() {
            Some(rehearsal) if rehearsal.caller == caller => {}
            _ => return Err(Refusal::Text("a rehearsal ends that has not begun".into())),
        }
        stopped(self.put_back_after_rehearsal())
    }

    /// Puts back what the rehearsal changed, if one is under way: also called where a callback left
    /// without ending its own.
    pub(super) fn put_back_after_rehearsal(&self) -> Flow {
        let Some(Rehearsal { before, .. }) = self.rehearsal.borrow_mut().take() else {
            return Ok(());
        };
        // A failure of a rehearsed step was for the caller alone, who may have dealt with it; an
        // end of the fit is for all.
        let ends_fit = self.take_pending(StopKind::CancelFit);
        self.forget_pending();
        self.empty_step_state()?;
        self.forget_what_is_not_in(&before.snapshot)?;
        // Only what takes part was saved; the others have not changed.
        self.restore_state(&before.snapshot)?;
        self.position.leave_phase();
        self.position.change(|at| *at = before.position);
        if let Some(stop) = ends_fit {
            self.leave_pending(stop);
        }
        Ok(())
    }

    /// Takes values away that came into the state tree since the snapshot.
    fn forget_what_is_not_in(&self, snapshot: &Snapshot) -> Flow {
        let tensors = snapshot.tensors.iter().map(|(path, _)| path.as_str());
        let known: BTreeSet<&str> =
            snapshot.values.iter().map(|(path, _)| path.as_str()).chain(tensors).collect();
        let mut state = self.state.borrow_mut();
        let new: Vec<String> = state
            .values()
            .filter(|(path, value)| {
                !value.is_hosted() && !covers("step", path) && !known.contains(path)
            })
            .map(|(path, _)| path.to_owned())
            .collect();
        for path in new {
            let node = state.node(&path).map_err(engine_error)?;
            state.set(node, Value::Absent);
        }
        drop(state);
        self.release_dropped().map_err(engine_error)
    }
}
