//! Save points, and the way back from a snapshot: between two steps, after an epoch of a phase,
//! between two epochs.
//!
//! The loop offers save points; the host or an embedder takes a snapshot at those that it wants.
//! Plugins are not notified: saving a run does not change it.

use fluxbay_plugin::abi::event;

use super::control::{Flow, Stop, StopKind};
use super::ports::{Batches, PhaseKind};
use super::refusal::{Answer, Refusal};
use super::runtime::Runtime;
use super::saving::{CheckpointRequest, SavePoint};
use super::snapshot::{SavedEpoch, SavedStop};
use super::span::Span;

impl Runtime {
    /// Records that an instance wants a checkpoint: after the step, or, if asked outside of steps,
    /// at the end of this epoch of the fit. Returns whether checkpoints are kept at all.
    pub(crate) fn request_checkpoint(
        &self,
        caller: u32,
        metric: &str,
        keep: u64,
        higher_is_better: bool,
    ) -> Answer<bool> {
        if !metric.contains('/') {
            return Err(Refusal::Text(format!(
                "`{metric}` is no metric of a phase: it is PHASE/NAME, such as `validation/loss`"
            )));
        }
        if self.on_save_point.borrow().is_none() {
            return Ok(false);
        }
        self.saving.request(CheckpointRequest {
            by: self.state.borrow().owner_id(caller),
            metric: metric.to_owned(),
            keep: (keep > 0).then_some(keep),
            higher_is_better,
            after_step: self.in_step(),
        });
        Ok(true)
    }

    /// Takes the checkpoint requests that are due at a save point: those for the end of a step,
    /// those whose metric has just measured the present model, and all at the end of an epoch of
    /// the fit.
    pub fn take_checkpoint_requests(&self, point: SavePoint) -> Vec<CheckpointRequest> {
        self.saving.take_requests(|request| self.is_due(request, point))
    }

    /// Whether [`Runtime::take_checkpoint_requests`] would return any.
    pub fn has_checkpoint_requests(&self, point: SavePoint) -> bool {
        self.saving.has_requests(|request| self.is_due(request, point))
    }

    fn is_due(&self, request: &CheckpointRequest, point: SavePoint) -> bool {
        let after_epoch = point == SavePoint::Epoch
            && (self.at_end_of_epoch()
                || self.is_stopping()
                || self.measured_metric(&request.metric).is_some());
        request.after_step || after_epoch
    }

    /// Sets whether save points between steps are offered even if no instance asked for one.
    pub fn watch_steps(&self, watch: bool) {
        self.saving.watch_steps(watch);
    }

    /// Sets how many bytes of state an instance may save; 0 for no limit.
    pub fn set_state_limit(&self, bytes: u64) {
        self.saving.state_limit.set(bytes);
    }

    /// The signal that ends the run; 0 for none.
    pub fn signal(&self) -> u32 {
        self.known_signal()
    }

    /// Completed epochs of the fit.
    pub fn epochs_done(&self) -> u64 {
        self.epochs.done.get()
    }

    /// Steps of all phases that were begun since the run began.
    pub fn steps_begun(&self) -> u64 {
        self.roles
            .get()
            .map_or(0, |roles| roles.phases.iter().map(|phase| phase.total_steps.get()).sum())
    }

    /// Number of the phase that is running or comes next.
    pub fn next_phase(&self) -> usize {
        match self.position.get().phase {
            u32::MAX => self.epochs.next_phase.get(),
            phase => phase as usize,
        }
    }

    /// Instance ids of the phases, in their order.
    pub fn phase_ids(&self) -> Vec<String> {
        self.roles
            .get()
            .map(|roles| roles.phases.iter().map(|phase| phase.instance.id.clone()).collect())
            .unwrap_or_default()
    }

    /// Whether an instance ends the fit after this save point.
    pub fn is_stopping(&self) -> bool {
        self.saving.stopping.borrow().is_some()
    }

    /// Offers a save point.
    pub(super) fn offer(&self, point: SavePoint) -> Flow {
        let action = self.on_save_point.borrow().clone();
        let wants_save = self.interrupt.wants_save();
        action.map_or(Ok(()), |action| action(self, point))?;
        if wants_save {
            self.interrupt.saved();
        }
        Ok(())
    }

    /// Called before the next batch is taken if save points between steps are offered, a signal or a
    /// request to save came, or all ranks have to come to save points. False if all batches of the epoch are done, so that the epoch should be ended first.
    pub(super) fn pause_between_steps(&self) -> Flow<bool> {
        let signal = self.signal();
        let wanted = self.is_interrupted() || self.saving.offers_steps();
        match self.position_in_epoch() {
            Some(_) => {
                let point = if signal == 0 { SavePoint::Step } else { SavePoint::Interrupt };
                self.reach_save_point(wanted, point)?;
            }
            None if signal != 0 && self.epochs.all_batches_taken() => return Ok(false),
            None => {}
        }
        self.check_interrupt().map(|()| true)
    }

    /// Called between phases and epochs: a signal ends the fit here, after a last save point.
    pub(super) fn pause_between_phases(&self) -> Flow {
        self.join_pause()?;
        let point = if self.signal() == 0 { SavePoint::Step } else { SavePoint::Interrupt };
        self.reach_save_point(self.is_interrupted(), point)?;
        self.check_interrupt()
    }

    /// The position in the open epoch, if the epoch can be resumed from here: no step is open, the
    /// phase holds no batch, and it is the first epoch that the phase began since it was called.
    pub(super) fn position_in_epoch(&self) -> Option<SavedEpoch> {
        if self.in_step() || self.epochs.holds_batches() || self.epochs.begun_by_phase.get() != 1 {
            return None;
        }
        let open = self.epochs.open.borrow();
        let batches = open.as_ref()?.batches.as_ref()?.position()?;
        let at = self.position.get();
        let phase = self.roles.get()?.phases.get(at.phase as usize)?.instance.id.clone();
        let parameters_set = self.measured.were_set();
        let validated = match at.phase_kind == PhaseKind::Training.number() {
            true => self.intervals.validated.get(),
            false => 0,
        };
        Some(SavedEpoch { phase, step: at.step, batches, parameters_set, validated })
    }

    /// Resumes the epoch within which the restored snapshot was taken, if there is one: instances
    /// that handle its begin will receive its end.
    pub(super) fn resume_epoch(&self, phase: &str, split: &str) -> Flow<Option<Box<dyn Batches>>> {
        let saved = self.saving.resumption.borrow_mut().epoch.take();
        let Some(saved) = saved else { return Ok(None) };
        if saved.phase != phase {
            return Err(Stop::host(format!(
                "the checkpoint was taken in an epoch of phase `{}`, but `{phase}` is the phase that runs",
                saved.phase
            )));
        }
        let data = self.data.source().ok_or_else(|| {
            Stop::host("the checkpoint was taken within an epoch, but this run has no data")
        })?;
        let batches =
            data.resume(split, self.position.get().epoch, &saved.batches).map_err(Stop::host)?;
        self.position.change(|at| at.step = saved.step);
        self.measured.resume_epoch(saved.parameters_set);
        if self.position.get().phase_kind == PhaseKind::Training.number() {
            self.intervals.validated.set(saved.validated);
        }
        self.resume_span(Span::Epoch, event::EPOCH_BEGIN);
        Ok(Some(batches))
    }

    /// Resumes the fit; false if it has to begin.
    pub(super) fn resume_fit(&self) -> bool {
        let begun = std::mem::take(&mut self.saving.resumption.borrow_mut().fit_begun);
        if begun {
            self.resume_span(Span::Fit, event::FIT_BEGIN);
        }
        begun
    }

    fn resume_span(&self, span: Span, begin: u32) {
        let serial = self.spans.open(span);
        let lists = self.members.lists();
        for subscriber in lists.of(self.position.get().phase, begin).unwrap_or_default() {
            subscriber.instance.mark(span.begin(), serial);
        }
    }

    /// Continues training although the fit was about to end when the restored snapshot was taken.
    pub fn forget_stop(&self) {
        self.saving.resumption.borrow_mut().stop = None;
    }

    /// The end of the fit that was decided when the snapshot was taken.
    pub(super) fn saved_stop(&self) -> Flow {
        match self.saving.resumption.borrow_mut().stop.take() {
            None => Ok(()),
            Some(SavedStop { by, component, plugin, text }) => {
                let mut stop = Stop::host(text);
                stop.0.kind = StopKind::CancelFit;
                (stop.0.by, stop.0.component, stop.0.plugin) = (by, component, plugin);
                Err(stop)
            }
        }
    }
}
