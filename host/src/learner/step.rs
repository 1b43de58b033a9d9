//! One step: from step-begin to step-end, or to step-cancelled in its place.

use fluxbay_plugin::abi::{event, handle::Handle, learner::BatchRaw, status};

use super::control::{Flow, Stop, StopKind};
use super::instances::{Doing, Span};
use super::ports::PhaseKind;
use super::runtime::Runtime;
use super::state::{NodeId, Value};
use crate::tensor::{Behaviour, Mode, Recording};

/// No recording, evaluation: the mode outside steps.
pub(super) const QUIET: Mode = Mode { recording: Recording::Off, behaviour: Behaviour::Evaluation };

fn mode_of(kind: PhaseKind) -> Mode {
    match kind {
        PhaseKind::Training => Mode { recording: Recording::On, behaviour: Behaviour::Training },
        PhaseKind::Validation | PhaseKind::Other => QUIET,
    }
}

/// An engine's error where the loop itself asked.
#[cold]
#[inline(never)]
pub(super) fn engine_error(error: impl std::fmt::Display) -> Stop {
    Stop::host(error.to_string())
}

impl Runtime {
    /// Whether a step is open.
    pub(super) fn in_step(&self) -> bool {
        self.spans[Span::Step as usize].get() != 0
    }

    /// Begins a step of the running phase on a batch: fires step-begin.
    pub(crate) fn step_begin(&self, batch: &BatchRaw) -> Flow {
        if self.in_step() {
            return Err(Stop::host(
                "a step begins while the one before has not ended: call step_end first",
            ));
        }
        let parts = self.parts()?;
        let Some(phase) = parts.phases.get(self.position.get().phase as usize) else {
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
        self.batch.set(*batch);
        self.spans[Span::Step as usize].set(self.next_serial());
        self.profile.step_begins();
        self.engine.borrow_mut().set_mode(mode_of(phase.kind));
        self.put_fields(fields)?;
        self.dispatch(event::STEP_BEGIN)
    }

    /// Puts a batch's tensors under their names: `step.xs`, `step.ys`.
    fn put_fields(&self, fields: &[Handle]) -> Flow {
        for (index, &handle) in fields.iter().enumerate() {
            self.engine.borrow_mut().retain(handle).map_err(engine_error)?;
            let node = self.field_node(index)?;
            self.state.borrow_mut().set(node, Value::Tensor(handle));
        }
        Ok(())
    }

    fn field_node(&self, index: usize) -> Flow<NodeId> {
        let mut known = self.field_nodes.borrow_mut();
        while known.len() <= index {
            let node = self
                .state
                .borrow_mut()
                .node(&self.field_path(known.len()))
                .map_err(engine_error)?;
            known.push(node);
        }
        Ok(known[index])
    }

    fn field_path(&self, index: usize) -> std::borrow::Cow<'static, str> {
        let data = self.data.borrow();
        let name = data
            .as_ref()
            .and_then(|data| data.fields().get(index))
            .map(|field| field.name.as_str());
        match (name, index) {
            (Some("xs"), _) | (None, 0) => "step.xs".into(),
            (Some("ys"), _) | (None, 1) => "step.ys".into(),
            (Some(name), _) => format!("step.{name}").into(),
            (None, index) => format!("step.field{index}").into(),
        }
    }

    /// Ends the step that ended with `status` and answers what goes on upwards.
    pub(crate) fn step_end(&self, code: i32, text: &str) -> Flow {
        if !self.in_step() {
            // The step is over already; its outcome still has to reach the caller.
            return if code == status::OK { Ok(()) } else { Err(self.returned(code, text)) };
        }
        let flow = if code == status::OK {
            self.dispatch(event::STEP_END)
        } else {
            Err(self.returned(code, text))
        };
        self.close_step(flow)
    }

    /// The stop behind a status that a plugin hands on.
    pub(super) fn returned(&self, code: i32, text: &str) -> Stop {
        let kind = StopKind::from_status(code);
        if let Some(stop) = self.take_pending(kind) {
            return stop;
        }
        let phase =
            self.parts.get().and_then(|parts| parts.phases.get(self.position.get().phase as usize));
        let mut stop = Stop::host(text);
        stop.0.kind = kind;
        if let Some(phase) = phase {
            stop.0.by = phase.instance.id.clone();
            stop.0.component = phase.instance.component.clone();
            stop.0.plugin = phase.instance.plugin.clone();
            stop.0.doing = self.describe(Doing::Step);
        }
        stop
    }

    /// Tells the outcome of the step to those who have not heard it, and leaves it.
    pub(super) fn close_step(&self, mut flow: Flow) -> Flow {
        if let Err(stop) = flow {
            flow = if stop.kind().is_failure() {
                Err(stop)
            } else {
                let told = self.record_event("step-cancelled", &stop.0.by, &stop.0.text);
                match told.and_then(|()| self.dispatch_closing(event::STEP_CANCELLED, Span::Step)) {
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
            // After a failure the span stays open until `error` was sent to those who are owed an
            // end.
            self.spans[Span::Step as usize].set(0);
        }
        let mut engine = self.engine.borrow_mut();
        engine.clear_tape();
        engine.set_mode(QUIET);
        drop(engine);
        self.position.samples.set(0);
        self.profile.step_ends();
        self.release_batch(&self.batch.replace(super::epoch::NO_BATCH));
        flow
    }

    /// Forgets the values of the step before, and its gradients.
    pub(super) fn empty_step_state(&self) -> Flow {
        self.state.borrow_mut().clear(self.root.step);
        self.release_dropped().map_err(engine_error)?;
        self.grads_ready.set(false);
        self.engine.borrow_mut().clear_gradients(None);
        Ok(())
    }

    /// Runs the running phase's own step on a batch.
    pub(crate) fn phase_step(&self, batch: &BatchRaw) -> Flow {
        if self.in_step() {
            return Err(Stop::host("a step is run within a step"));
        }
        let parts = self.parts()?;
        let Some(phase) = parts.phases.get(self.position.get().phase as usize) else {
            return Err(Stop::host("a step is run while no phase is running"));
        };
        let instance = &phase.instance;
        let mut flow = instance.call_again(self, Doing::Step, |plugin| {
            plugin.phase_step(self, instance.number, batch)
        });
        if self.in_step() {
            // The phase left without ending its step: the host does it.
            flow = match flow {
                Ok(()) => self.step_end(status::OK, ""),
                Err(stop) => self.close_step(Err(stop)),
            };
        }
        flow
    }
}
