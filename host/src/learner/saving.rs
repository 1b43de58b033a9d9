//! When the state of a run can be saved, which checkpoints instances asked for, and what a restored
//! run has to resume.

use std::cell::{Cell, RefCell};

use super::control::Stop;
use super::snapshot::{SavedEpoch, SavedStop, SavedValidation};

/// A moment at which the state of a run can be saved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SavePoint {
    /// After an epoch of a phase, once all callbacks of epoch-end and of checkpoint have run.
    Epoch,
    /// Between two steps. Offered only on request.
    Step,
    /// A signal ends the run here.
    Interrupt,
}

/// A checkpoint that an instance asked for, and which of its checkpoints are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckpointRequest {
    /// The instance.
    pub by: String,
    /// Metric that ranks them, as `PHASE/NAME`.
    pub metric: String,
    /// How many of the best are kept, beside the newest; `None` keeps all.
    pub keep: Option<u64>,
    /// Which values are better.
    pub higher_is_better: bool,
    /// Whether it is to be saved after the step; otherwise after the epoch of the phase that measured
    /// the metric, or at the end of the epoch of the fit.
    pub after_step: bool,
}

/// What a restored learner has still to resume.
#[derive(Debug, Default)]
pub(crate) struct Resumption {
    /// fit-begin was sent before the snapshot.
    pub fit_begun: bool,
    /// The epoch to continue.
    pub epoch: Option<SavedEpoch>,
    /// The validation within that epoch to continue.
    pub validation: Option<SavedValidation>,
    /// The fit was about to end.
    pub stop: Option<SavedStop>,
}

/// Requests for checkpoints, and what a restored run has to resume.
#[derive(Debug, Default)]
pub(crate) struct Saving {
    requests: RefCell<Vec<CheckpointRequest>>,
    watch_steps: Cell<bool>,
    /// Whether save points between steps are offered: the host watches steps, or there are
    /// requests.
    offer_steps: Cell<bool>,
    /// Most bytes of state that an instance may save; 0 for no limit.
    pub(super) state_limit: Cell<u64>,
    pub(super) resumption: RefCell<Resumption>,
    /// Whether snapshots have the optimizer states of all ranks that these are divided among.
    pub(super) collects: Cell<bool>,
    /// The stop that ends the fit after the epoch that is being saved.
    pub(super) stopping: RefCell<Option<Stop>>,
}

impl Saving {
    /// Adds a request, in place of an earlier one of the same instance.
    pub(super) fn request(&self, request: CheckpointRequest) {
        let mut requests = self.requests.borrow_mut();
        requests.retain(|known| known.by != request.by);
        requests.push(request);
        drop(requests);
        self.update_offer();
    }

    /// Takes the requests that are due.
    pub(super) fn take_requests(
        &self,
        is_due: impl Fn(&CheckpointRequest) -> bool,
    ) -> Vec<CheckpointRequest> {
        let due = self.requests.borrow_mut().extract_if(.., |request| is_due(request)).collect();
        self.update_offer();
        due
    }

    /// Whether [`Saving::take_requests`] would return any.
    pub(super) fn has_requests(&self, is_due: impl Fn(&CheckpointRequest) -> bool) -> bool {
        self.requests.borrow().iter().any(is_due)
    }

    /// Sets whether save points between steps are offered without a request.
    pub(super) fn watch_steps(&self, watch: bool) {
        self.watch_steps.set(watch);
        self.update_offer();
    }

    fn update_offer(&self) {
        let requested = self.has_requests(|request| request.after_step);
        self.offer_steps.set(self.watch_steps.get() || requested);
    }

    /// Whether save points between steps are offered.
    #[inline]
    pub(super) fn offers_steps(&self) -> bool {
        self.offer_steps.get()
    }
}
