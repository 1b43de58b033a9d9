//! A fit: epochs, each of which is every phase of the run in order. Also one epoch, or one step,
//! for embedders.

use std::borrow::Borrow;

use fluxbay_plugin::abi::event;

use super::control::{Ending, FitReport, Flow, Stop, StopKind, Worst};
use super::ports::DataBatch;
use super::runtime::Runtime;
use super::span::Span;
use crate::surroundings;

impl Runtime {
    /// Runs `epochs` more epochs of every phase.
    pub fn fit(&self, epochs: u64) -> FitReport {
        self.position.epochs.set(self.epochs_done() + epochs);
        self.position.leave_phase();
        self.intervals.reset();
        *self.surroundings.borrow_mut() = surroundings::captured();
        let begun = self.join_begin().and_then(|()| self.begin_fit());
        let flow = begun.and_then(|()| self.run_epochs(epochs));
        let ending = self.end_fit(flow);
        self.ports.display.close();
        FitReport { ending, epochs: self.epochs_done(), metrics: self.metrics.borrow().values() }
    }

    fn begin_fit(&self) -> Flow {
        if self.resume_fit() {
            return self.saved_stop();
        }
        self.spans.open(Span::Fit);
        self.record_event("fit-begin", "", "")?;
        let flow = self.dispatch(event::FIT_BEGIN);
        // A callback that failed within its rehearsal left it open.
        let restored = self.restore_after_rehearsal();
        flow.and(restored)
    }

    fn run_epochs(&self, epochs: u64) -> Flow {
        let phases = self.roles()?.phases.len();
        for _ in 0..epochs {
            for index in self.epochs.next_phase.get()..phases {
                self.pause_between_phases()?;
                let flow = self.phase_epoch(index, self.epochs_done() + 1);
                let is_complete = flow.is_ok() || self.epochs.is_complete.get();
                if is_complete && index + 1 == phases {
                    self.epochs.done.set(self.epochs_done() + 1);
                }
                flow?;
                self.epochs.next_phase.set((index + 1) % phases);
            }
        }
        Ok(())
    }

    /// Sends the outcome of the fit to the callbacks that await its end.
    fn end_fit(&self, flow: Flow) -> Ending {
        self.epochs.next_phase.set(0);
        let flow = self.join_fit(flow);
        let (ending, mut worst) = match flow {
            Ok(()) => (Ending::Finished, Worst::default()),
            Err(stop) if stop.kind() == StopKind::CancelFit => {
                let mut worst = Worst::default();
                worst.note(self.record_event("fit-cancelled", &stop.0.by, &stop.0.text));
                worst.note(self.dispatch_notice(event::FIT_CANCELLED, Span::Fit));
                (Ending::Stopped { reason: stop.0.text.clone(), by: stop.0.by.clone() }, worst)
            }
            Err(stop) => return self.fail(misplaced(stop)),
        };
        worst.note(self.dispatch_closing(event::FIT_END, Span::Fit));
        worst.note(self.record_event("fit-end", "", ""));
        self.spans.close(Span::Fit);
        match worst.flow() {
            Err(stop) if stop.kind().is_failure() => self.fail(stop),
            _ => ending,
        }
    }

    fn fail(&self, stop: Stop) -> Ending {
        Ending::Failed(self.announce_failure(stop))
    }

    /// Sends `error` to the callbacks that await an end, and closes all spans.
    fn announce_failure(&self, stop: Stop) -> Stop {
        if let Err(other) = self.record_event("error", &stop.0.by, &stop.to_string()) {
            log::error!("{other}");
        }
        if let Err(other) = self.dispatch_error() {
            log::error!("while the failure was sent to the callbacks: {other}");
        }
        self.spans.close_all();
        self.position.leave_phase();
        stop
    }

    /// Runs one epoch of phase `index` outside of a fit, such as a validation alone. A cancelled
    /// fit is returned as a stop.
    ///
    /// # Errors
    /// What cancelled the fit, or failed.
    pub fn run_epoch(&self, index: usize) -> Flow {
        let flow = self.phase_epoch(index, self.epochs_done() + 1);
        self.settle(flow)
    }

    /// Runs one step of phase `index` on a batch, outside of any epoch. The step state stays
    /// readable afterwards.
    ///
    /// # Errors
    /// What cancelled more than the step, or failed.
    pub fn run_step(&self, index: usize, batch: DataBatch) -> Flow {
        self.run_steps(index, [batch])
    }

    /// As [`Runtime::run_step`] on several batches, one after the other.
    ///
    /// # Errors
    /// What cancelled more than a step, or failed; batches after that are not taken.
    pub fn run_steps(
        &self,
        index: usize,
        batches: impl IntoIterator<Item = impl Borrow<DataBatch>>,
    ) -> Flow {
        let flow = self.enter_phase(index, self.epochs_done() + 1);
        let flow = flow
            .and_then(|_| batches.into_iter().try_for_each(|batch| self.step_on(batch.borrow())));
        let flow = self.leave_phase(flow);
        self.settle(flow)
    }

    fn settle(&self, flow: Flow) -> Flow {
        flow.map_err(
            |stop| if stop.kind().is_failure() { self.announce_failure(stop) } else { stop },
        )
    }
}

/// A cancelled step or epoch where none was running is an error.
fn misplaced(stop: Stop) -> Stop {
    match stop.kind() {
        StopKind::CancelStep => stop.outside_a_step(),
        StopKind::CancelEpoch => stop.outside_an_epoch(),
        _ => stop,
    }
}
