//! Validation within the epochs of training phases, every so many steps.
//!
//! The training epoch is suspended between two steps, the validation phases run an epoch each, and
//! the training epoch goes on as if nothing had happened: its batches, its position, and what its
//! metrics have accumulated are kept apart.

use fluxbay_plugin::abi::entry::kind;

use super::control::{Flow, Stop};
use super::intervals::{Interval, Suspended};
use super::ports::PhaseKind;
use super::runtime::Runtime;
use super::snapshot::{SavedEpoch, SavedInstance, SavedValidation};
use super::span::Span;
use super::state::Value;

impl Runtime {
    /// Sets how often validation phases run within an epoch of a training phase; `None` for only
    /// where they are listed.
    pub fn validate_every(&self, interval: Option<Interval>) {
        self.intervals.every.set(interval);
    }

    /// Runs the validation phases if they are due between the steps of a training epoch.
    #[inline]
    pub(super) fn validate_if_due(&self) -> Flow {
        match self.intervals.every.get() {
            None => Ok(()),
            Some(every) => self.validate_if_due_every(every),
        }
    }

    #[inline(never)]
    fn validate_if_due_every(&self, every: Interval) -> Flow {
        let at = self.position.get();
        if at.phase_kind != PhaseKind::Training.number() || self.intervals.is_within() {
            return Ok(());
        }
        let resumed = self.saving.resumption.borrow_mut().validation.take();
        let validated = self.intervals.validated.get();
        let passed = |step| every.passed(step, at.steps_per_epoch);
        if resumed.is_none() && passed(at.step) <= passed(validated) {
            return Ok(());
        }
        // Later, if the phase holds a batch; not at all after the last batch, where the phases that
        // follow validate.
        let Some(saved) = self.position_in_epoch() else { return Ok(()) };
        if self.epochs.all_batches_taken() {
            return Ok(());
        }
        let phases = &self.roles()?.phases;
        let is_due = |index: &usize| {
            let phase = &phases[*index];
            let first = resumed.as_ref().map_or(0, |resumed| resumed.next_phase);
            let has_data =
                phase.split.as_deref().is_some_and(|split| self.data.split(split).is_some());
            *index >= first && phase.kind == PhaseKind::Validation && has_data
        };
        let due: Vec<usize> = (0..phases.len()).filter(is_due).collect();
        if due.is_empty() {
            return Ok(());
        }
        self.intervals.validated.set(at.step);
        self.validate_within(SavedEpoch { validated: at.step, ..saved }, &due, resumed)
    }

    fn validate_within(
        &self,
        saved: SavedEpoch,
        due: &[usize],
        resumed: Option<SavedValidation>,
    ) -> Flow {
        let position = self.position.get();
        let samples = self.position.samples_per_epoch.get();
        let phase_instance = self.position.phase_instance.get();
        let parameters_set = saved.parameters_set;
        self.suspend(saved)?;
        if let Some(resumed) = resumed {
            self.load_metrics(&resumed.metrics)?;
            self.saving.resumption.borrow_mut().epoch = resumed.epoch;
        }
        let flow = due.iter().try_for_each(|&index| self.phase_epoch(index, position.epoch));
        if matches!(&flow, Err(stop) if stop.kind().is_failure()) {
            return flow;
        }
        self.position.change(|at| *at = position);
        self.position.samples_per_epoch.set(samples);
        self.position.phase_instance.set(phase_instance);
        self.measured.resume_outer(parameters_set);
        self.profile.enter_phase(position.phase);
        let restored = self.continue_suspended();
        flow.and(restored)
    }

    fn suspend(&self, saved: SavedEpoch) -> Flow {
        let metrics = self.save_metrics()?;
        let marks = self.members.callbacks().into_iter().map(|callback| {
            let marks = callback.marks();
            (callback, marks)
        });
        let marks = marks.collect();
        let suspended = Suspended {
            saved,
            phase: self.position.get().phase as usize,
            epoch: self.epochs.suspend(),
            serial: self.spans.serial(Span::Epoch),
            marks,
            metrics,
        };
        *self.intervals.suspended.borrow_mut() = Some(suspended);
        Ok(())
    }

    /// Makes the suspended epoch the open one again.
    fn continue_suspended(&self) -> Flow {
        let Some(suspended) = self.intervals.suspended.borrow_mut().take() else { return Ok(()) };
        self.epochs.resume(suspended.epoch);
        self.spans.reopen(Span::Epoch, suspended.serial);
        for (callback, marks) in &suspended.marks {
            callback.set_marks(*marks);
        }
        let epoch = self.position.get().epoch;
        let id = self.roles()?.phases[suspended.phase].instance.id.clone();
        {
            let mut state = self.state.borrow_mut();
            state.set(self.nodes.epoch, Value::Number(epoch as f64));
            state.set(self.nodes.phase, Value::Text(id));
        }
        self.load_metrics(&suspended.metrics)
    }

    /// States of all metrics that can be called.
    pub(super) fn save_metrics(&self) -> Flow<Vec<SavedInstance>> {
        let metrics = self.members.all();
        let metrics = metrics
            .iter()
            .filter(|one| one.kind() == kind::METRIC && !one.is_poisoned() && !one.is_disabled());
        metrics.map(|metric| self.save_instance(metric)).collect()
    }

    fn load_metrics(&self, metrics: &[SavedInstance]) -> Flow {
        let mut misfits = Vec::new();
        metrics.iter().try_for_each(|saved| self.load_instance(saved, &mut misfits))?;
        match misfits.first() {
            Some(misfit) => Err(Stop::host(format!("the run cannot validate here: {misfit}"))),
            None => Ok(()),
        }
    }

    /// For a snapshot: the validation within the suspended epoch that is running or comes next;
    /// `None` after its last phase.
    pub(super) fn saved_validation(&self) -> Flow<Option<SavedValidation>> {
        if !self.intervals.is_within() {
            return Ok(None);
        }
        let epoch = match self.epochs.is_open() {
            true => Some(self.position_in_epoch().ok_or_else(|| {
                Stop::host("the state of a run cannot be saved here: batches of the epoch are on their way")
            })?),
            false => None,
        };
        let running = self.position.get().phase as usize;
        let mut phases = self.roles()?.phases.iter().enumerate();
        let next_phase = match &epoch {
            Some(_) => Some(running),
            None => phases
                .find(|(index, phase)| *index > running && phase.kind == PhaseKind::Validation)
                .map(|(index, _)| index),
        };
        let Some(next_phase) = next_phase else { return Ok(None) };
        Ok(Some(SavedValidation { next_phase, epoch, metrics: self.save_metrics()? }))
    }
}
