//! One epoch of one phase: from epoch-begin to epoch-end, and the batches in between.

use fluxbay_plugin::abi::{event, handle::Handle, learner::BatchRaw, learner::FIELDS, status};

use super::control::{Flow, Stop, StopKind, Worst};
use super::instances::{Doing, Span};
use super::ports::Batches;
use super::profile::Work;
use super::runtime::{PhaseSlot, Runtime};
use super::saving::Moment;
use super::state::Value;

/// The data of the epoch that is running.
pub(crate) struct OpenEpoch {
    pub(super) batches: Option<Box<dyn Batches>>,
    /// Batches whose handles the host still holds.
    pub(super) held: Vec<BatchRaw>,
}

/// The batch that says: there are no more.
pub(crate) const NO_BATCH: BatchRaw =
    BatchRaw { fields: [Handle::NONE; FIELDS], field_count: 0, samples: 0, index: 0 };

impl Runtime {
    /// Runs one epoch of phase `index` and answers what goes on upwards.
    pub(super) fn phase_epoch(&self, index: usize, epoch: u64) -> Flow {
        let phase = self.enter_phase(index, epoch)?;
        self.epochs_within.set(0);
        self.epoch_complete.set(false);
        let mut flow = if phase.instance.plugin_side().has_epoch() {
            let instance = &phase.instance;
            instance.call(self, Doing::Epoch, |plugin| plugin.phase_epoch(self, instance.number))
        } else {
            self.default_epoch()
        };
        if self.open_epoch.borrow().is_some() {
            // The phase left without ending its epoch: the host does it.
            flow = match flow {
                Ok(()) => self.epoch_end(status::OK, ""),
                Err(stop) => self.close_epoch(Err(stop)),
            };
        }
        let flow = self.after_epoch(flow);
        self.leave_phase(flow)
    }

    /// A phase has done its epoch: everything can be saved, also where the fit ends with it.
    fn after_epoch(&self, flow: Flow) -> Flow {
        match flow {
            Ok(()) => self.checkpoint(None),
            Err(stop) if stop.kind() == StopKind::CancelFit && self.epoch_complete.get() => {
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
        let Some(phase) = self.parts()?.phases.get(index) else {
            return Err(Stop::host(format!("there is no phase number {index}")));
        };
        let size = {
            let data = self.data.borrow();
            phase
                .split
                .as_deref()
                .and_then(|split| data.as_ref().and_then(|data| data.split(split)))
        };
        self.position.change(|at| {
            at.phase = index as u32;
            at.phase_kind = phase.kind.code();
            at.epoch = epoch;
            at.step = 0;
            at.total_steps = phase.total_steps.get();
            at.steps_per_epoch = size.map_or(0, |size| size.steps);
        });
        self.position.phase_instance.set(phase.instance.number);
        self.profile.enter_phase(index as u32);
        self.position.samples_per_epoch.set(size.map_or(0, |size| size.samples));
        let mut state = self.state.borrow_mut();
        state.set(self.root.epoch, Value::Number(epoch as f64));
        state.set(self.root.phase, Value::Text(phase.instance.id.clone()));
        Ok(phase)
    }

    /// After a failure the position stays, so that the message and `error` tell where.
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

    /// Begins an epoch of the running phase: fires epoch-begin.
    pub(crate) fn epoch_begin(&self) -> Flow {
        if self.open_epoch.borrow().is_some() {
            return Err(Stop::host(
                "an epoch begins while the one before has not ended: call epoch_end first",
            ));
        }
        let at = self.position.get();
        let Some(phase) = self.parts()?.phases.get(at.phase as usize) else {
            return Err(Stop::host("an epoch begins while no phase is running"));
        };
        self.epochs_within.set(self.epochs_within.get() + 1);
        if let Some(batches) =
            self.take_up_epoch(&phase.instance.id, phase.split.as_deref().unwrap_or_default())?
        {
            *self.open_epoch.borrow_mut() =
                Some(OpenEpoch { batches: Some(batches), held: Vec::with_capacity(2) });
            return Ok(());
        }
        let data = self.data.borrow().clone();
        let batches = match (&phase.split, data) {
            (Some(split), Some(data)) if data.split(split).is_some() => {
                Some(data.epoch(split, at.epoch).map_err(Stop::host)?)
            }
            _ => None,
        };
        *self.open_epoch.borrow_mut() = Some(OpenEpoch { batches, held: Vec::with_capacity(2) });
        self.spans[Span::Epoch as usize].set(self.next_serial());
        self.record_event("epoch-begin", &phase.instance.id, "")?;
        self.dispatch(event::EPOCH_BEGIN)
    }

    /// The next batch; one without fields after the last.
    pub(crate) fn next_batch(&self) -> Flow<BatchRaw> {
        self.profile.next_step();
        if (self.signal() != 0 || self.offer_steps.get()) && !self.pause_between_steps()? {
            return Ok(NO_BATCH);
        }
        // The loader may wait here; it never calls back into the learner.
        let next = {
            let mut open = self.open_epoch.borrow_mut();
            let Some(open) = open.as_mut() else {
                return Err(Stop::host(
                    "a batch is asked for outside of an epoch: call epoch_begin first",
                ));
            };
            let Some(batches) = open.batches.as_mut() else { return Err(self.no_split()) };
            let mut engine = self.engine.borrow_mut();
            while let Some(room) = engine.take_returned() {
                batches.take_back(room);
            }
            self.profile.time(Work::Data, || batches.next_batch(&*engine)).map_err(Stop::host)?
        };
        let Some(batch) = next else { return Ok(NO_BATCH) };
        if batch.fields.is_empty() || batch.fields.len() > FIELDS {
            return Err(Stop::host(format!(
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
            *field = engine.insert_lent(tensor);
        }
        drop(engine);
        if let Some(open) = self.open_epoch.borrow_mut().as_mut() {
            open.held.push(raw);
        }
        Ok(raw)
    }

    fn no_split(&self) -> Stop {
        let phase =
            self.parts.get().and_then(|parts| parts.phases.get(self.position.get().phase as usize));
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

    /// Gives back the handles of a batch that was worked on.
    pub(super) fn release_batch(&self, batch: &BatchRaw) {
        let mut open = self.open_epoch.borrow_mut();
        let Some(open) = open.as_mut() else { return };
        if let Some(place) = open.held.iter().position(|held| held.fields == batch.fields) {
            let held = open.held.swap_remove(place);
            self.release_fields(&held);
        }
    }

    fn release_fields(&self, batch: &BatchRaw) {
        let mut engine = self.engine.borrow_mut();
        for &field in &batch.fields[..batch.field_count as usize] {
            if let Err(error) = engine.release(field) {
                log::warn!("a plugin gave back a batch that it had only borrowed: {error}");
            }
        }
    }

    /// Ends the epoch that ended with `code` and answers what goes on upwards.
    pub(crate) fn epoch_end(&self, code: i32, text: &str) -> Flow {
        let mut flow = if code == status::OK { Ok(()) } else { Err(self.returned(code, text)) };
        if self.in_step() {
            flow = self.close_step(flow);
        }
        self.close_epoch(flow)
    }

    /// Tells the outcome of the epoch to those who have not heard it, and leaves it.
    pub(super) fn close_epoch(&self, flow: Flow) -> Flow {
        if self.open_epoch.borrow().is_none() {
            return flow;
        }
        self.profile.outside_steps();
        let complete = flow.is_ok();
        let flow = match flow {
            Ok(()) => self.finish_epoch(),
            Err(stop) if stop.kind() == StopKind::CancelStep => Err(outside_a_step(stop)),
            Err(stop) if stop.kind() == StopKind::CancelEpoch => self.cancel_epoch(stop),
            Err(stop) => Err(stop),
        };
        let flow = match flow {
            Err(stop) if stop.kind() == StopKind::CancelFit => self.abandon_epoch(stop, complete),
            flow => flow,
        };
        if let Some(open) = self.open_epoch.borrow_mut().take() {
            open.held.iter().for_each(|batch| self.release_fields(batch));
        }
        if !matches!(&flow, Err(stop) if stop.kind().is_failure()) {
            self.spans[Span::Epoch as usize].set(0);
        }
        flow
    }

    /// All batches were worked on: epoch-end, then checkpoint.
    fn finish_epoch(&self) -> Flow {
        self.position.change(|at| at.step = 0);
        let flow = match self.dispatch(event::EPOCH_END) {
            Err(stop) if stop.kind() == StopKind::CancelStep => Err(outside_a_step(stop)),
            // The epoch is over anyway; the others still hear its end.
            Err(stop) if stop.kind() == StopKind::CancelEpoch => {
                self.dispatch_closing(event::EPOCH_END, Span::Epoch)
            }
            flow => flow,
        };
        flow?;
        self.epoch_ended()
    }

    fn epoch_ended(&self) -> Flow {
        self.epoch_complete.set(true);
        let phase = self.with_at(|at| at.phase.to_owned());
        self.record_event("epoch-end", &phase, "")
    }

    /// Everything can be saved. `stop` is what ends the fit afterwards.
    fn checkpoint(&self, stop: Option<&Stop>) -> Flow {
        let flow = self.dispatch(event::CHECKPOINT);
        self.ports.sink.flush().map_err(|error| {
            Stop::host(format!("the record of the run cannot be written: {error}"))
        })?;
        flow?;
        *self.stopping.borrow_mut() = stop.cloned();
        let offered = self.offer(Moment::Epoch);
        *self.stopping.borrow_mut() = None;
        offered
    }

    /// The epoch was cancelled: epoch-cancelled tells so, epoch-end follows.
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

    /// The fit ends within the epoch: epoch-cancelled stands in for epoch-end.
    fn abandon_epoch(&self, stop: Stop, complete: bool) -> Flow {
        let told = self.record_event("epoch-cancelled", &stop.0.by, &stop.0.text);
        let told = told.and_then(|()| self.dispatch_closing(event::EPOCH_CANCELLED, Span::Epoch));
        // An epoch whose batches are all done can be saved, also if an epoch-end ended the fit.
        let told = if complete { told.and_then(|()| self.epoch_ended()) } else { told };
        match told {
            Err(other) => Err(stop.or_worse(other)),
            Ok(()) => Err(stop),
        }
    }
}

/// A step can be cancelled only while one runs.
pub(super) fn outside_a_step(mut stop: Stop) -> Stop {
    stop.0.kind = StopKind::Error;
    stop.0.text = format!("it cancelled a step where none was running ({})", stop.0.text);
    stop
}
