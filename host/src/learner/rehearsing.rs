//! Rehearsals: steps of a phase that leave no trace, for a learning-rate finder or a check before
//! the first epoch.
//!
//! While a step of a rehearsal runs, the run is muted: no callback receives an event, nothing is
//! recorded, shown or logged. At the end everything that the steps changed is restored from a
//! snapshot.

use std::collections::BTreeSet;

use fluxbay_plugin::abi::{entry::kind, event::phase_kind, learner::BatchRaw};

use super::batches::NO_BATCH;
use super::control::{Flow, Stop, StopKind};
use super::instance::Instance;
use super::ports::DataBatch;
use super::refusal::{Answer, Refusal, stopped};
use super::rehearsal::Rehearsal;
use super::runtime::Runtime;
use super::snapshot::Snapshot;
use super::span::Span;
use super::state::{Value, covers, release_dropped};

/// Whether a rehearsal can change an instance. It calls no callbacks, their metrics, or loggers.
fn takes_part(instance: &Instance) -> bool {
    !matches!(instance.kind(), kind::CALLBACK | kind::LOGGER | kind::METRIC)
}

impl Runtime {
    /// Begins a rehearsal of phase `index` for the calling callback.
    pub(crate) fn rehearse_begin(&self, caller: u32, index: usize) -> Answer {
        let position = self.position.get();
        if position.phase_kind != phase_kind::NONE || self.in_step() {
            return Err(Refusal::Text(
                "a rehearsal can begin only between epochs, such as at fit-begin".into(),
            ));
        }
        if self.rehearsals.current.borrow().is_some() {
            return Err(Refusal::Text(
                "a rehearsal begins while another is under way: end that one first".into(),
            ));
        }
        let phases = &stopped(self.roles())?.phases;
        let Some(phase) = phases.get(index) else {
            return Err(Refusal::Text(format!(
                "there is no phase number {index}; this run has {}",
                phases.len()
            )));
        };
        let data = self.data.source();
        let (Some(split), Some(data)) = (phase.split.clone(), data) else {
            return Err(Refusal::Text(format!(
                "phase `{}` reads no data, so none of its steps can be rehearsed",
                phase.instance.id
            )));
        };
        let snapshot = stopped(self.snapshot_of(takes_part))?;
        let epoch = self.epochs_done() + 1;
        let batches = data.epoch(&split, epoch).map_err(Refusal::Text)?;
        stopped(self.enter_phase(index, epoch))?;
        *self.rehearsals.current.borrow_mut() =
            Some(Rehearsal { caller, split, epoch, batches, snapshot, position });
        Ok(())
    }

    /// Runs one step of the caller's rehearsal.
    pub(crate) fn rehearse_step(&self, caller: u32) -> Answer {
        stopped(self.check_interrupt())?;
        let batch = self.rehearsed_batch(caller)?;
        self.rehearsals.set_muted(true);
        let flow = self.step_on(&batch);
        self.rehearsals.set_muted(false);
        // Whatever the outcome, no callback awaits the end of the step.
        self.spans.close(Span::Step);
        match flow {
            Err(stop) if !stop.kind().is_failure() => Ok(()),
            flow => stopped(flow),
        }
    }

    /// The next batch; the data starts over after its last one.
    fn rehearsed_batch(&self, caller: u32) -> Answer<DataBatch> {
        let mut open = self.rehearsals.current.borrow_mut();
        let Some(rehearsal) = open.as_mut().filter(|rehearsal| rehearsal.caller == caller) else {
            return Err(Refusal::Text(
                "a step is rehearsed outside of a rehearsal: begin one first".into(),
            ));
        };
        if let Some(batch) = stopped(self.take_batch(&mut *rehearsal.batches))? {
            return Ok(batch);
        }
        let data =
            self.data.source().ok_or_else(|| Refusal::Text("this run has no data".into()))?;
        rehearsal.epoch += 1;
        rehearsal.batches = data.epoch(&rehearsal.split, rehearsal.epoch).map_err(Refusal::Text)?;
        let first = stopped(self.take_batch(&mut *rehearsal.batches))?;
        first.ok_or_else(|| {
            Refusal::Text(format!("the data has no batch in its split `{}`", rehearsal.split))
        })
    }

    /// Runs the running phase's step on a batch that the host supplies.
    pub(super) fn step_on(&self, batch: &DataBatch) -> Flow {
        let mut raw = BatchRaw { samples: batch.samples as u32, index: batch.index, ..NO_BATCH };
        for (field, tensor) in raw.fields.iter_mut().zip(&batch.fields) {
            *field = self.engine.borrow_mut().insert(tensor.clone()).map_err(Stop::engine)?;
            raw.field_count += 1;
        }
        let flow = self.phase_step(&raw);
        for &field in &raw.fields[..raw.field_count as usize] {
            self.engine.borrow_mut().release(field).map_err(Stop::engine)?;
        }
        flow
    }

    /// Ends the caller's rehearsal.
    pub(crate) fn rehearse_end(&self, caller: u32) -> Answer {
        match &*self.rehearsals.current.borrow() {
            Some(rehearsal) if rehearsal.caller == caller => {}
            _ => return Err(Refusal::Text("a rehearsal ends that has not begun".into())),
        }
        stopped(self.restore_after_rehearsal())
    }

    /// Restores what the rehearsal changed, if one is under way. Also called if a callback returned
    /// without ending its rehearsal.
    pub(super) fn restore_after_rehearsal(&self) -> Flow {
        let Some(Rehearsal { snapshot, position, .. }) =
            self.rehearsals.current.borrow_mut().take()
        else {
            return Ok(());
        };
        // The caller may have handled the failure of a rehearsed step; an end of the fit is passed
        // on.
        let ends_fit = self.pending.take(StopKind::CancelFit);
        self.pending.clear();
        self.empty_step_state()?;
        self.clear_values_not_in(&snapshot)?;
        // Only instances that take part were saved; the others have not changed.
        self.restore_state(&snapshot)?;
        self.position.leave_phase();
        self.position.change(|at| *at = position);
        if let Some(stop) = ends_fit {
            self.leave_pending(stop);
        }
        Ok(())
    }

    /// Clears the values of the state tree that were written first after the snapshot.
    fn clear_values_not_in(&self, snapshot: &Snapshot) -> Flow {
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
            let node = state.node(&path).map_err(Stop::engine)?;
            state.set(node, Value::Absent);
        }
        drop(state);
        release_dropped(&self.state, &self.engine).map_err(Stop::engine)
    }
}
