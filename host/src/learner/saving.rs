//! When a run can be saved, and going on from there: between two steps, after an epoch of a phase,
//! between two epochs.
//!
//! The loop offers moments; the host, or an embedder, takes a snapshot at those that it wants.
//! Nothing here is sent to plugins: a run that is saved does not differ from one that is not.

use std::sync::atomic::Ordering;

use fluxbay_plugin::abi::event;
use serde::{Deserialize, Serialize};

use super::control::{Flow, Stop, StopKind};
use super::instances::Span;
use super::ports::{BatchPosition, Batches};
use super::runtime::{Answer, Refusal, Runtime};

/// What a moment is, at which a run can be saved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// After an epoch of a phase, once every reader of epoch-end and of checkpoint has run.
    Epoch,
    /// Between two steps. Offered only where somebody asked for it.
    Step,
    /// A signal ends the run here.
    Interrupt,
}

/// A checkpoint that an instance asked for, and which of those that it asked for stay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wish {
    /// The instance.
    pub by: String,
    /// Metric that ranks them, as `PHASE/NAME`.
    pub metric: String,
    /// How many of the best stay, beside the newest; none keeps all.
    pub keep: Option<u64>,
    /// Which values are better.
    pub higher_is_better: bool,
    /// Whether it is for the moment after the step, or for the end of the epoch of the fit.
    pub after_step: bool,
}

/// An epoch of a phase that a snapshot was taken within.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct SavedEpoch {
    /// The phase, by instance id.
    pub phase: String,
    /// Steps that were begun in it.
    pub step: u64,
    /// Where its data stands.
    pub batches: BatchPosition,
}

/// An end of the fit that was decided when a snapshot was taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct SavedStop {
    /// The instance that decided it.
    pub by: String,
    /// Its component.
    pub component: String,
    /// Its plugin.
    pub plugin: String,
    /// The reason.
    pub text: String,
}

/// What a restored learner has still to take up.
#[derive(Debug, Default)]
pub(crate) struct Resumption {
    /// fit-begin has been sent.
    pub fit_begun: bool,
    /// The epoch to go on with.
    pub epoch: Option<SavedEpoch>,
    /// The fit was about to end.
    pub stop: Option<SavedStop>,
}

impl Runtime {
    /// Notes that an instance wants a checkpoint: after the step, or, asked for outside of steps,
    /// at the end of this epoch of the fit. Answers whether anybody keeps checkpoints.
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
        if self.on_checkpoint.borrow().is_none() {
            return Ok(false);
        }
        let (by, after_step) = (self.state.borrow().owner_id(caller), self.in_step());
        let wish = Wish {
            by,
            metric: metric.to_owned(),
            keep: (keep > 0).then_some(keep),
            higher_is_better,
            after_step,
        };
        let mut wishes = self.wishes.borrow_mut();
        wishes.retain(|known| known.by != wish.by);
        wishes.push(wish);
        drop(wishes);
        self.offer_steps_if_wanted();
        Ok(true)
    }

    /// Takes the wishes that are due: all at the end of an epoch of the fit, else those that are
    /// for the moment after a step.
    pub fn take_wishes(&self, at_end_of_epoch: bool) -> Vec<Wish> {
        let due: Vec<Wish> = self
            .wishes
            .borrow_mut()
            .extract_if(.., |wish| at_end_of_epoch || wish.after_step)
            .collect();
        self.offer_steps_if_wanted();
        due
    }

    /// Whether there are wishes that [`Runtime::take_wishes`] would give.
    pub fn has_wishes(&self, at_end_of_epoch: bool) -> bool {
        self.wishes.borrow().iter().any(|wish| at_end_of_epoch || wish.after_step)
    }

    fn offer_steps_if_wanted(&self) {
        self.offer_steps.set(self.watch_steps.get() || self.has_wishes(false));
    }

    /// Whether moments between steps are offered also where no instance asked.
    pub fn watch_steps(&self, watch: bool) {
        self.watch_steps.set(watch);
        self.offer_steps_if_wanted();
    }

    /// The signal that ends the run; 0 for none.
    pub fn signal(&self) -> u32 {
        self.interrupt.load(Ordering::Relaxed)
    }

    /// Epochs of the fit that are completed.
    pub fn epochs_done(&self) -> u64 {
        self.epochs_done.get()
    }

    /// Steps that all phases have begun since the run began.
    pub fn steps_begun(&self) -> u64 {
        self.parts
            .get()
            .map_or(0, |parts| parts.phases.iter().map(|phase| phase.total_steps.get()).sum())
    }

    /// The phase that is running or comes next, by its number.
    pub fn next_phase(&self) -> usize {
        match self.position.get().phase {
            u32::MAX => self.next_phase.get(),
            phase => phase as usize,
        }
    }

    /// Instance ids of the phases, in their order.
    pub fn phase_ids(&self) -> Vec<String> {
        self.parts
            .get()
            .map(|parts| parts.phases.iter().map(|phase| phase.instance.id.clone()).collect())
            .unwrap_or_default()
    }

    /// Whether the fit ends after this moment because an instance wants so.
    pub fn is_stopping(&self) -> bool {
        self.stopping.borrow().is_some()
    }

    /// Offers a moment.
    pub(super) fn offer(&self, moment: Moment) -> Flow {
        let action = self.on_checkpoint.borrow().clone();
        action.map_or(Ok(()), |action| action(self, moment))
    }

    /// Before the next batch is taken: somebody wants to save, or a signal came. False where the
    /// epoch's batches are all done, so that the epoch should rather come to its end.
    pub(super) fn pause_between_steps(&self) -> Flow<bool> {
        let signal = self.signal();
        match self.position_in_epoch() {
            Some(_) => self.offer(if signal == 0 { Moment::Step } else { Moment::Interrupt })?,
            None if signal != 0 && self.all_batches_done() => return Ok(false),
            None => {}
        }
        self.check_interrupt().map(|()| true)
    }

    /// Between phases and epochs: a signal ends the fit, and is the last moment to save.
    pub(super) fn pause_between_phases(&self) -> Flow {
        if self.signal() != 0 {
            self.offer(Moment::Interrupt)?;
        }
        self.check_interrupt()
    }

    fn all_batches_done(&self) -> bool {
        let open = self.open_epoch.borrow();
        open.as_ref()
            .is_some_and(|open| open.batches.as_ref().is_some_and(|batches| batches.is_done()))
    }

    /// Where the open epoch stands, if it can be taken up again from here: no step is open, no
    /// batch is held by the phase, and it is the first epoch that the phase began since it was
    /// called.
    pub(super) fn position_in_epoch(&self) -> Option<SavedEpoch> {
        let open = self.open_epoch.borrow();
        let open = open.as_ref()?;
        if self.in_step() || !open.held.is_empty() || self.epochs_within.get() != 1 {
            return None;
        }
        let at = self.position.get();
        let phase = self.parts.get()?.phases.get(at.phase as usize)?.instance.id.clone();
        Some(SavedEpoch { phase, step: at.step, batches: open.batches.as_ref()?.position()? })
    }

    /// Takes up the epoch that a snapshot was taken within, if there is one: who heard its begin
    /// hears its end.
    pub(super) fn take_up_epoch(&self, phase: &str, split: &str) -> Flow<Option<Box<dyn Batches>>> {
        let saved = self.resumption.borrow_mut().epoch.take();
        let Some(saved) = saved else { return Ok(None) };
        if saved.phase != phase {
            return Err(Stop::host(format!(
                "the checkpoint was taken in an epoch of phase `{}`, but `{phase}` goes on",
                saved.phase
            )));
        }
        let data = self.data.borrow().clone();
        let data = data.ok_or_else(|| {
            Stop::host("the checkpoint was taken within an epoch, but this run has no data")
        })?;
        let batches =
            data.resume(split, self.position.get().epoch, &saved.batches).map_err(Stop::host)?;
        self.position.change(|at| at.step = saved.step);
        self.take_up(Span::Epoch, event::EPOCH_BEGIN);
        Ok(Some(batches))
    }

    /// Takes up the fit; false where it has to begin.
    pub(super) fn take_up_fit(&self) -> bool {
        let begun = std::mem::take(&mut self.resumption.borrow_mut().fit_begun);
        if begun {
            self.take_up(Span::Fit, event::FIT_BEGIN);
        }
        begun
    }

    fn take_up(&self, span: Span, begin: u32) {
        let serial = self.next_serial();
        self.spans[span as usize].set(serial);
        let lists = std::rc::Rc::clone(&self.lists.borrow());
        for subscriber in lists.of(self.position.get().phase, begin).unwrap_or_default() {
            subscriber.instance.mark(span.begin(), serial);
        }
    }

    /// Trains on where the snapshot that was put back was about to end the fit.
    pub fn forget_stop(&self) {
        self.resumption.borrow_mut().stop = None;
    }

    /// The end that was decided when the snapshot was taken.
    pub(super) fn decided_stop(&self) -> Flow {
        match self.resumption.borrow_mut().stop.take() {
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
