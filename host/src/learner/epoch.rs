//! One epoch of one phase: from epoch-begin to epoch-end, and the batches in between.

use fluxbay_plugin::abi::{event, learner::BatchRaw, learner::FIELDS, status};

use super::batches::NO_BATCH;
use super::control::{Flow, Stop, StopKind, Worst};
use super::ports::PhaseKind;
use super::profile::Work;
use super::roles::PhaseSlot;
use super::runtime::Runtime;
use super::saving::SavePoint;
use super::span::Span;
use super::state::Value;
use crate::breadcrumb::Activity;
use crate::tensor::timeline::{self, Name};

impl Runtime {
    /// Runs one epoch of phase `index`, and returns what the caller must propagate.
    pub(super) fn phase_epoch(&self, index: usize, epoch: u64) -> Flow {
        let phase = self.enter_phase(index, epoch)?;
        self.epochs.begun_by_phase.set(0);
        self.epochs.is_complete.set(false);
        let begin = timeline::begin();
        let mut flow = if phase.instance.plugin_side().has_epoch() {
            let instance = &phase.instance;
            instance.call(self, Activity::Epoch, |call| call.phase_epoch())
        } else {
            self.default_epoch()
        };
        if self.epochs.is_open() {
            // The phase returned without ending its epoch.
            flow = match flow {
                Ok(()) => self.epoch_end(status::OK, ""),
                Err(stop) => self.close_epoch(Err(stop)),
            };
        }
        timeline::end(begin, "epoch", Name::Numbers(index as u64, epoch));
        let flow = self.after_epoch(flow);
        self.leave_phase(flow)
    }

    /// Offers a save point after an epoch of a phase, also if the fit ends with it.
    fn after_epoch(&self, flow: Flow) -> Flow {
        match flow {
            Ok(()) => self.checkpoint(None),
            Err(stop) if stop.kind() == StopKind::CancelFit && self.epochs.is_complete.get() => {
                match self.checkpoint(Some(&stop)) {
                    Ok(()) => Err(stop),
                    Err(other) => Err(stop.or_worse(other)),
                }
            }
            flow => flow,
        }
    }

    /// Makes a phase the running one.
    pub(super) fn enter_phase(&self, index: usize, epoch: u64) -> Flow<&PhaseSlot> {
        let Some(phase) = self.roles()?.phases.get(index) else {
            return Err(Stop::host(format!("there is no phase number {index}")));
        };
        let size = phase.split.as_deref().and_then(|split| self.data.split(split));
        self.position.change(|at| {
            at.phase = index as u32;
            at.phase_kind = phase.kind.number();
            at.epoch = epoch;
            at.step = 0;
            at.total_steps = phase.total_steps.get();
            at.steps_per_epoch = size.map_or(0, |size| size.steps);
        });
        self.position.phase_instance.set(phase.instance.number);
        self.profile.enter_phase(index as u32);
        self.position.samples_per_epoch.set(size.map_or(0, |size| size.samples));
        let mut state = self.state.borrow_mut();
        state.set(self.nodes.epoch, Value::Number(epoch as f64));
        state.set(self.nodes.phase, Value::Text(phase.instance.id.clone()));
        Ok(phase)
    }

    /// Leaves the phase. After a failure the position is kept for the message and for `error`.
    pub(super) fn leave_phase(&self, flow: Flow) -> Flow {
        if !matches!(&flow, Err(stop) if stop.kind().is_failure()) {
            self.position.leave_phase();
            self.profile.enter_phase(u32::MAX);
        }
        flow
    }

    fn default_epoch(&self) -> Flow {
        let flow = self.epoch_begin().and_then(|()| {
            loop {
                let batch = self.next_batch()?;
                if batch.field_count == 0 {
                    return Ok(());
                }
                self.phase_step(&batch)?;
            }
        });
        self.close_epoch(flow)
    }

    /// Begins an epoch of the running phase: sends epoch-begin.
    pub(crate) fn epoch_begin(&self) -> Flow {
        if self.epochs.is_open() {
            return Err(self.misuse(
                "an epoch begins while the one before has not ended: call epoch_end first",
            ));
        }
        let at = self.position.get();
        let Some(phase) = self.roles()?.phases.get(at.phase as usize) else {
            return Err(Stop::host("an epoch begins while no phase is running"));
        };
        self.epochs.begun_by_phase.set(self.epochs.begun_by_phase.get() + 1);
        if let Some(batches) =
            self.resume_epoch(&phase.instance.id, phase.split.as_deref().unwrap_or_default())?
        {
            self.epochs.begin(Some(batches));
            return Ok(());
        }
        let data = self.data.source();
        let batches = match (&phase.split, data) {
            (Some(split), Some(data)) if data.split(split).is_some() => {
                Some(data.epoch(split, at.epoch).map_err(Stop::host)?)
            }
            _ => None,
        };
        self.epochs.begin(batches);
        if at.phase_kind == PhaseKind::Training.number() {
            self.intervals.validated.set(0);
        }
        self.measured.begin_epoch();
        self.spans.open(Span::Epoch);
        self.record_event("epoch-begin", &phase.instance.id, "")?;
        self.dispatch(event::EPOCH_BEGIN)
    }

    /// The next batch; one without fields after the last.
    pub(crate) fn next_batch(&self) -> Flow<BatchRaw> {
        self.validate_if_due()?;
        self.profile.next_step();
        let pauses =
            self.is_interrupted() || self.saving.offers_steps() || self.sharing().is_some();
        if pauses && !self.pause_between_steps()? {
            return Ok(NO_BATCH);
        }
        // May wait for the loader, which never calls back into the learner.
        let next = {
            let mut open = self.epochs.open.borrow_mut();
            let Some(open) = open.as_mut() else {
                return Err(
                    self.misuse("a batch is asked for outside of an epoch: call epoch_begin first")
                );
            };
            let Some(batches) = open.batches.as_mut() else { return Err(self.no_split()) };
            while let Some(buffer) = self.engine.borrow_mut().take_returned() {
                batches.take_back(buffer);
            }
            self.profile.time(Work::Data, || self.take_batch(&mut **batches))
        };
        let Some(batch) = next? else { return Ok(NO_BATCH) };
        if batch.fields.is_empty() || batch.fields.len() > FIELDS {
            return Err(self.data_failed(format!(
                "a batch has {} fields; 1 to {FIELDS} are possible",
                batch.fields.len()
            )));
        }
        let mut raw = BatchRaw {
            samples: batch.samples as u32,
            index: batch.index,
            field_count: batch.fields.len() as u32,
            ..NO_BATCH
        };
        let mut engine = self.engine.borrow_mut();
        for (field, tensor) in raw.fields.iter_mut().zip(batch.fields) {
            *field = engine.insert_lent(tensor).map_err(Stop::engine)?;
        }
        drop(engine);
        self.epochs.hold(raw);
        Ok(raw)
    }

    fn no_split(&self) -> Stop {
        let phase =
            self.roles.get().and_then(|roles| roles.phases.get(self.position.get().phase as usize));
        let (id, split) =
            phase.map_or(("", None), |phase| (phase.instance.id.as_str(), phase.split.as_deref()));
        Stop::host(match split {
            Some(split) => format!(
                "phase `{id}` asks for batches, but the data has no samples in its split `{split}`: give the data one, set `[loader] \
                 validation` to a fraction, or set `data` of the phase to another split"
            ),
            None => format!(
                "phase `{id}` asks for batches, but reads no split: set its `data` to `training` or `validation`"
            ),
        })
    }

    /// Ends the epoch with the phase's status, and returns what the caller must propagate.
    pub(crate) fn epoch_end(&self, code: i32, text: &str) -> Flow {
        let mut flow = if code == status::OK { Ok(()) } else { Err(self.returned(code, text)) };
        if self.in_step() {
            flow = self.close_step(flow);
        }
        self.close_epoch(flow)
    }

    /// Sends the outcome of the epoch to the callbacks that await its end, and closes the epoch.
    pub(super) fn close_epoch(&self, flow: Flow) -> Flow {
        if !self.epochs.is_open() {
            return flow;
        }
        self.profile.outside_steps();
        let complete = flow.is_ok();
        let flow = match flow {
            Ok(()) => self.finish_epoch(),
            Err(stop) if stop.kind() == StopKind::CancelStep => Err(stop.outside_a_step()),
            Err(stop) if stop.kind() == StopKind::CancelEpoch => self.cancel_epoch(stop),
            Err(stop) => Err(stop),
        };
        let flow = match flow {
            Err(stop) if stop.kind() == StopKind::CancelFit => self.abandon_epoch(stop, complete),
            flow => flow,
        };
        self.epochs.close(&self.engine);
        if !matches!(&flow, Err(stop) if stop.kind().is_failure()) {
            self.spans.close(Span::Epoch);
        }
        flow
    }

    /// Sends epoch-end after the last batch.
    fn finish_epoch(&self) -> Flow {
        self.position.change(|at| at.step = 0);
        self.capture_measured()?;
        let flow = match self.dispatch(event::EPOCH_END) {
            Err(stop) if stop.kind() == StopKind::CancelStep => Err(stop.outside_a_step()),
            // The epoch is over anyway; the others still receive its end.
            Err(stop) if stop.kind() == StopKind::CancelEpoch => {
                self.dispatch_closing(event::EPOCH_END, Span::Epoch)
            }
            flow => flow,
        };
        self.restore_surroundings();
        flow?;
        self.epoch_ended()
    }

    /// Restores the surroundings of the process that plugins changed in this epoch, before the host
    /// writes files for it.
    fn restore_surroundings(&self) {
        if let Some(before) = &*self.surroundings.borrow() {
            before.restore_and_warn(|| {
                self.with_at(|at| {
                    format!("a plugin called in epoch {} of phase {}", at.epoch, at.phase)
                })
            });
        }
    }

    fn epoch_ended(&self) -> Flow {
        self.epochs.is_complete.set(true);
        let phase = self.with_at(|at| at.phase.to_owned());
        self.record_event("epoch-end", &phase, "")
    }

    /// Sends checkpoint and offers a save point. `stop` is what ends the fit afterwards.
    fn checkpoint(&self, stop: Option<&Stop>) -> Flow {
        let flow = self.dispatch(event::CHECKPOINT);
        self.flush_record()?;
        flow?;
        *self.saving.stopping.borrow_mut() = stop.cloned();
        let offered = self.reach_save_point(true, SavePoint::Epoch);
        *self.saving.stopping.borrow_mut() = None;
        offered
    }

    /// Sends epoch-cancelled, then epoch-end.
    fn cancel_epoch(&self, stop: Stop) -> Flow {
        self.position.change(|at| at.step = 0);
        self.record_event("epoch-cancelled", &stop.0.by, &stop.0.text)?;
        let mut worst = Worst::default();
        worst.note(self.dispatch_notice(event::EPOCH_CANCELLED, Span::Epoch));
        worst.note(self.dispatch_closing(event::EPOCH_END, Span::Epoch));
        match worst.flow() {
            Err(stop) if stop.kind() < StopKind::CancelFit => Ok(()),
            flow => flow,
        }?;
        self.epoch_ended()
    }

    /// The fit ends within the epoch: sends epoch-cancelled in place of epoch-end.
    fn abandon_epoch(&self, stop: Stop, complete: bool) -> Flow {
        let sent = self.record_event("epoch-cancelled", &stop.0.by, &stop.0.text);
        let sent = sent.and_then(|()| self.dispatch_closing(event::EPOCH_CANCELLED, Span::Epoch));
        // An epoch whose batches are all done can be saved, also if a callback ended the fit at epoch-end.
        let sent = if complete { sent.and_then(|()| self.epoch_ended()) } else { sent };
        match sent {
            Err(other) => Err(stop.or_worse(other)),
            Ok(()) => Err(stop),
        }
    }
}
