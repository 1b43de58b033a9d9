//! One epoch: an iterator over its batches that knows where it is.

use std::{
    cell::OnceCell,
    ops::Range,
    sync::{Arc, atomic::Ordering},
    time::Instant,
};

use serde::{Deserialize, Serialize};

use super::{
    Batch, Habit, LoaderError,
    batch::{Care, Plan},
    meanwhile::Meanwhile,
    prefetch::{Ahead, Pool},
    random::fnv1a,
};
use crate::learner::ports::{Alone, Helpers};

/// Where an epoch stands: enough to go on from there, see
/// [`Loader::resume`](super::Loader::resume).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// The split.
    pub split: String,
    /// The epoch whose order it is.
    pub epoch: u64,
    /// The next batch, from 0.
    pub next: usize,
    /// Fingerprint of the samples' order and the batch size.
    pub fingerprint: u64,
}

/// The batches of one epoch, in order. Ends after the first error.
pub struct Epoch {
    pub(super) plan: Arc<Plan>,
    split: String,
    epoch: u64,
    next: usize,
    end: usize,
    habit: Arc<Habit>,
    threads: Option<(Arc<Pool>, usize)>,
    pub(super) ahead: Option<Ahead>,
    /// The next batch, where no thread of the loader makes it.
    meanwhile: Option<Meanwhile>,
    failed: bool,
    fingerprint: OnceCell<u64>,
}

impl Epoch {
    pub(super) fn new(
        plan: Arc<Plan>,
        split: String,
        epoch: u64,
        batches: Range<usize>,
        habit: Arc<Habit>,
        threads: Option<(Arc<Pool>, usize)>,
    ) -> Epoch {
        let Range { start, end } = batches;
        let fingerprint = OnceCell::new();
        let mut this = Epoch {
            plan,
            split,
            epoch,
            next: start,
            end,
            habit,
            threads,
            ahead: None,
            meanwhile: None,
            failed: false,
            fingerprint,
        };
        this.look_ahead();
        this
    }

    /// Batches of the whole epoch.
    pub fn batches(&self) -> usize {
        self.end
    }

    /// The order in which samples are read: indices within the data set's own split.
    pub fn order(&self) -> &[u64] {
        &self.plan.order
    }

    /// Where it stands.
    pub fn position(&self) -> Position {
        let fingerprint = *self.fingerprint.get_or_init(|| {
            let mut bytes: Vec<u8> =
                self.plan.order.iter().flat_map(|index| index.to_le_bytes()).collect();
            bytes.extend_from_slice(&(self.plan.batch_size as u64).to_le_bytes());
            fnv1a(&bytes)
        });
        Position { split: self.split.clone(), epoch: self.epoch, next: self.next, fingerprint }
    }

    /// Lets the threads begin where batches are known to take long enough.
    fn look_ahead(&mut self) {
        if self.ahead.is_some() || self.habit.worth_a_thread() != Some(true) {
            return;
        }
        if let Some((pool, depth)) = &self.threads {
            self.ahead = Some(Ahead::new(
                Arc::clone(pool),
                Arc::clone(&self.plan),
                self.next,
                self.end,
                *depth,
            ));
        }
    }

    fn make(&mut self, helpers: &dyn Helpers) -> Result<Batch, LoaderError> {
        if !self.habit.proven.load(Ordering::Relaxed) {
            let batch = self.plan.make(self.next, Care::Thorough, &Alone)?;
            self.habit.proven.store(true, Ordering::Relaxed);
            return Ok(batch);
        }
        self.look_ahead();
        if let Some(ahead) = &mut self.ahead {
            return ahead.take(self.next);
        }
        let begun = self.meanwhile.take().and_then(|begun| begun.take(helpers));
        let batch = match begun {
            Some(batch) => batch?,
            None => {
                let begin = Instant::now();
                let batch = self.plan.make(self.next, Care::Tails, helpers)?;
                self.habit.record(u64::try_from(begin.elapsed().as_nanos()).unwrap_or(u64::MAX));
                batch
            }
        };
        if self.threads.is_some()
            && self.next + 1 < self.end
            && self.habit.worth_a_thread() == Some(false)
        {
            self.meanwhile = Some(Meanwhile::begin(Arc::clone(&self.plan), self.next + 1, helpers));
        }
        Ok(batch)
    }

    /// The next batch, made with the help of `helpers` where it is made here.
    pub fn next_with(&mut self, helpers: &dyn Helpers) -> Option<Result<Batch, LoaderError>> {
        if self.failed || self.next >= self.end {
            return None;
        }
        let batch = self.make(helpers);
        match &batch {
            Ok(_) => self.next += 1,
            Err(_) => {
                self.failed = true;
                self.ahead = None;
            }
        }
        Some(batch)
    }
}

impl Iterator for Epoch {
    type Item = Result<Batch, LoaderError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_with(&Alone)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = if self.failed { 0 } else { self.end - self.next };
        (left, Some(left))
    }
}
