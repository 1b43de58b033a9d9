//! The next batch, made a little at a time by threads of the kernels that have nothing else to do.
//!
//! A step leaves them gaps: between two kernels, while callbacks run, while the optimizer is
//! called. What they come round to is there when the batch is asked for; whoever asks makes the
//! rest. So a batch costs less time, and no thread takes a core from the kernels.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};

use super::{
    Batch, LoaderError,
    batch::{Begun, Care, Plan},
};
use crate::learner::ports::Helpers;
use crate::tensor::Left;

/// A batch under way.
struct Work {
    plan: Arc<Plan>,
    index: usize,
    /// None where nobody has come round to it.
    begun: Result<Option<Begun>, LoaderError>,
}

/// One batch that is made meanwhile.
pub(super) struct Meanwhile(Arc<Mutex<Option<Work>>>);

fn lock(work: &Mutex<Option<Work>>) -> MutexGuard<'_, Option<Work>> {
    // The data set's panics are caught where it is called.
    work.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Meanwhile {
    /// Offers batch `index` to the threads.
    pub(super) fn begin(plan: Arc<Plan>, index: usize, helpers: &dyn Helpers) -> Meanwhile {
        let work = Arc::new(Mutex::new(Some(Work { plan, index, begun: Ok(None) })));
        let theirs = Arc::clone(&work);
        helpers.idle(Arc::new(move || piece(&theirs)));
        Meanwhile(work)
    }

    /// The batch, once what is missing of it was made with the help of `helpers`.
    pub(super) fn take(self, helpers: &dyn Helpers) -> Option<Result<Batch, LoaderError>> {
        let Work { plan, index, begun } = lock(&self.0).take()?;
        Some(begun.and_then(|begun| match begun {
            Some(begun) => plan.end(index, begun, Care::Tails, helpers),
            None => plan.make(index, Care::Tails, helpers),
        }))
    }
}

impl Drop for Meanwhile {
    fn drop(&mut self) {
        // The threads keep the task until they get another one; the data set must not live that
        // long.
        lock(&self.0).take();
    }
}

/// A little of the batch, on a thread of the kernels.
fn piece(work: &Mutex<Option<Work>>) -> Left {
    let mut work = match work.try_lock() {
        Ok(work) => work,
        Err(TryLockError::WouldBlock) => return Left::Elsewhere,
        Err(TryLockError::Poisoned(_)) => return Left::Nothing,
    };
    let Some(Work { plan, index, begun }) = &mut *work else { return Left::Nothing };
    let Ok(so_far) = begun else { return Left::Nothing };
    match plan.go_on(*index, so_far) {
        Ok(true) => Left::More,
        Ok(false) => Left::Nothing,
        Err(error) => {
            *begun = Err(error);
            Left::Nothing
        }
    }
}
