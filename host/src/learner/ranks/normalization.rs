//! Batch normalisation over the samples of all ranks (`run.sync-batch-norm`).
//!
//! The tensor engine asks for the numbers of all ranks in the middle of a forward or backward pass. So
//! every rank runs one block, and each has samples in every batch.

use std::rc::Rc;

use super::Ranks;
use super::meeting::Doing;
use crate::learner::control::{Flow, Stop};
use crate::learner::runtime::Runtime;

impl Runtime {
    /// Lets batch normalisation use the statistics of all ranks.
    pub fn normalize_across_ranks(&self) {
        let Some(runtime) = self.me.upgrade() else { return };
        let me = Rc::downgrade(&runtime);
        let across = move |own: &[f64]| {
            let runtime = me.upgrade().ok_or("the run has ended")?;
            let ranks = runtime.others().ok_or("the run has no other ranks")?;
            ranks.numbers_of_all(own).map_err(|stop| {
                let text = stop.to_string();
                // What a model returns for it would name the model.
                ranks.cause.replace(Some(stop));
                text
            })
        };
        self.engine.borrow_mut().normalize_across(Box::new(across));
        if let Some(ranks) = self.others() {
            ranks.synchronises.set(true);
        }
    }
}

impl Ranks {
    /// The numbers of each rank.
    fn numbers_of_all(&self, own: &[f64]) -> Flow<Vec<Vec<f64>>> {
        let met = self.meet(Doing::Normalization, 0, bytemuck::cast_slice(own))?;
        Ok(met.messages.iter().map(|message| bytemuck::pod_collect_to_vec(message)).collect())
    }

    /// Whether some ranks would have no samples of a batch although all have to run the model.
    pub(super) fn lacks_samples(&self, rows: usize) -> bool {
        self.synchronises.get() && rows < self.ranks
    }

    /// The outcome of a step, of which a failure of the exchange of statistics is the cause.
    pub(super) fn caused(&self, flow: Flow) -> Flow {
        match (flow, self.cause.take()) {
            (Err(_), Some(cause)) => Err::<(), Stop>(cause),
            (flow, _) => flow,
        }
    }
}
