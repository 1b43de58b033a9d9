//! One step: from step-begin to step-end, or to step-cancelled in its place.

use fluxbay_plugin::abi::{event, learner::BatchRaw, status};

use super::batches::NO_BATCH;
use super::control::{Flow, Stop, StopKind};
use super::mode::{OUTSIDE_STEPS, mode_of};
use super::ports::PhaseKind;
use super::runtime::Runtime;
use super::span::Span;
use super::state::release_dropped;
use crate::breadcrumb::Activity;

impl Runtime {
    /// Whether a step is open.
    pub(super) fn in_step(&self) -> bool {
        self.spans.is_open(Span::Step)
    }

    /// Begins a step of the running phase on a batch: sends step-begin.
    pub(crate) fn step_begin(&self, batch: &BatchRaw) -> Flow {
        if self.in_step() {
            return Err(self
                .misuse("a step begins while the one before has not ended: call step_end first"));
        }
        let roles = self.roles()?;
        let Some(phase) = roles.phases.get(self.position.get().phase as usize) else {
            return Err(Stop::host("a step begins while no phase is running"));
        };
        let fields = &batch.fields[..batch.field_count.min(batch.fields.len() as u32) as usize];
        self.empty_step_state()?;
        phase.total_steps.set(phase.total_steps.get() + 1);
        self.position.change(|at| {
            at.step += 1;
            at.total_steps = phase.total_steps.get();
        });
        self.position.samples.set(u64::from(batch.samples));
        self.step.batch.set(*batch);
        self.spans.open(Span::Step);
        self.profile.step_begins();
        self.engine.borrow_mut().set_mode(mode_of(phase.kind));
        self.data.put_batch(&self.state, &self.engine, fields).map_err(|stop| {
            self.misuse(format!("a step begins on a batch that cannot be used: {}", stop.0.text))
        })?;
        // The first steps of a phase and those that are timed.
        let is_training = phase.kind == PhaseKind::Training;
        if is_training && (phase.total_steps.get() <= 2 || self.profile.is_timing()) {
            self.memory.begin(&mut self.engine.borrow_mut(), fields);
        } else {
            self.memory.skip();
        }
        self.dispatch(event::STEP_BEGIN)
    }

    /// Ends the step with the phase's status, and returns what the caller must propagate.
    pub(crate) fn step_end(&self, code: i32, text: &str) -> Flow {
        if !self.in_step() {
            // The step has ended; its outcome still has to reach the caller.
            return if code == status::OK { Ok(()) } else { Err(self.returned(code, text)) };
        }
        let flow = if code == status::OK {
            self.dispatch(event::STEP_END)
        } else {
            Err(self.returned(code, text))
        };
        self.close_step(flow)
    }

    /// The stop behind a status that the running phase returned.
    pub(super) fn returned(&self, code: i32, text: &str) -> Stop {
        let kind = StopKind::from_status(code);
        if let Some(stop) = self.pending.take(kind) {
            return stop;
        }
        match self.running_phase() {
            Some(phase) => phase.instance.stop(self, kind, Activity::Step, text.to_owned()),
            None => {
                let mut stop = Stop::host(text);
                stop.0.kind = kind;
                stop
            }
        }
    }

    /// Sends the outcome of the step to the callbacks that await its end, and closes the step.
    pub(super) fn close_step(&self, flow: Flow) -> Flow {
        let mut flow = self.join_step(flow);
        if let Err(stop) = flow {
            flow = if stop.kind().is_failure() {
                Err(stop)
            } else {
                let recorded = self.record_event("step-cancelled", &stop.0.by, &stop.0.text);
                match recorded
                    .and_then(|()| self.dispatch_closing(event::STEP_CANCELLED, Span::Step))
                {
                    Ok(()) if stop.kind() == StopKind::CancelStep => Ok(()),
                    Ok(()) => Err(stop),
                    Err(other)
                        if other.kind() == StopKind::CancelStep
                            && stop.kind() == StopKind::CancelStep =>
                    {
                        Ok(())
                    }
                    Err(other) => Err(stop.or_worse(other)),
                }
            };
        }
        if !matches!(&flow, Err(stop) if stop.kind().is_failure()) {
            // After a failure the span stays open until `error` is sent to those that await its end.
            self.spans.close(Span::Step);
        }
        let mut engine = self.engine.borrow_mut();
        engine.clear_tape();
        engine.set_mode(OUTSIDE_STEPS);
        drop(engine);
        self.position.samples.set(0);
        self.profile.step_ends();
        self.epochs.release(&self.engine, &self.step.batch.replace(NO_BATCH));
        flow
    }

    /// Clears the values and the gradients of the previous step.
    pub(super) fn empty_step_state(&self) -> Flow {
        self.state.borrow_mut().clear(self.nodes.step);
        release_dropped(&self.state, &self.engine).map_err(Stop::engine)?;
        self.step.has_gradients.set(false);
        self.engine.borrow_mut().clear_gradients(None);
        Ok(())
    }

    /// Runs the running phase's own step on a batch.
    pub(crate) fn phase_step(&self, batch: &BatchRaw) -> Flow {
        if self.in_step() {
            return Err(self.misuse("a step is run within a step"));
        }
        let roles = self.roles()?;
        let Some(phase) = roles.phases.get(self.position.get().phase as usize) else {
            return Err(Stop::host("a step is run while no phase is running"));
        };
        let instance = &phase.instance;
        let mut flow = instance.call_nested(self, Activity::Step, |call| call.phase_step(batch));
        if self.in_step() {
            // The phase returned without ending its step.
            flow = match flow {
                Ok(()) => self.step_end(status::OK, ""),
                Err(stop) => self.close_step(Err(stop)),
            };
        }
        flow
    }
}
