//! Fills the next batch piece by piece on kernel threads that are idle.
//!
//! Kernel threads have gaps during a step: between two kernels, while callbacks run, while the
//! optimizer is called. What they have filled is ready when the batch is asked for; the caller
//! fills the rest. No thread takes a core from the kernels for this.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};

use super::{
    LoaderError,
    batch::{PartialBatch, Plan, Verification},
};
use crate::learner::ports::{DataBatch, Helpers};
use crate::tensor::Left;

/// The state that the kernel threads and the caller share.
struct Work {
    plan: Arc<Plan>,
    index: usize,
    /// `None` until the first piece is made.
    partial: Result<Option<PartialBatch>, LoaderError>,
}

/// A batch that is being filled by idle threads.
pub(super) struct IdleFill(Arc<Mutex<Option<Work>>>);

fn lock(work: &Mutex<Option<Work>>) -> MutexGuard<'_, Option<Work>> {
    // The lock is never poisoned halfway: panics of the data set are caught where it is called.
    work.lock().unwrap_or_else(PoisonError::into_inner)
}

impl IdleFill {
    /// Offers batch `index` to the idle threads.
    pub(super) fn begin(plan: Arc<Plan>, index: usize, helpers: &dyn Helpers) -> IdleFill {
        let work = Arc::new(Mutex::new(Some(Work { plan, index, partial: Ok(None) })));
        let shared = Arc::clone(&work);
        helpers.idle(Arc::new(move || piece(&shared)));
        IdleFill(work)
    }

    /// Fills what is missing with the help of `helpers` and returns the batch.
    pub(super) fn take(self, helpers: &dyn Helpers) -> Option<Result<DataBatch, LoaderError>> {
        let Work { plan, index, partial } = lock(&self.0).take()?;
        Some(partial.and_then(|partial| match partial {
            Some(partial) => plan.finish(index, partial, Verification::Tails, helpers),
            None => plan.make(index, Verification::Tails, helpers),
        }))
    }
}

impl Drop for IdleFill {
    fn drop(&mut self) {
        // The threads keep the closure until they get another one; the data set must not live that
        // long.
        lock(&self.0).take();
    }
}

/// One piece of the batch, on a kernel thread.
fn piece(work: &Mutex<Option<Work>>) -> Left {
    let mut work = match work.try_lock() {
        Ok(work) => work,
        Err(TryLockError::WouldBlock) => return Left::Elsewhere,
        Err(TryLockError::Poisoned(_)) => return Left::Nothing,
    };
    let Some(Work { plan, index, partial }) = &mut *work else { return Left::Nothing };
    let Ok(so_far) = partial else { return Left::Nothing };
    match plan.fill_piece(*index, so_far) {
        Ok(true) => Left::More,
        Ok(false) => Left::Nothing,
        Err(error) => {
            *partial = Err(error);
            Left::Nothing
        }
    }
}
