//! One epoch: an iterator over its batches with a position that can be saved.

use std::{
    cell::OnceCell,
    ops::Range,
    sync::{Arc, atomic::Ordering},
    time::Instant,
};

use serde::{Deserialize, Serialize};

use super::{
    LoaderError,
    batch::{Plan, Verification},
    idle_fill::IdleFill,
    prefetch::{Pool, Prefetch},
    random::fnv1a,
    samples::Column,
    timings::SplitTimings,
};
use crate::learner::ports::{Alone, DataBatch, Helpers};
use crate::tensor::into_elements;

/// Position within an epoch, for [`Loader::resume`](super::Loader::resume).
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
    timings: Arc<SplitTimings>,
    threads: Option<(Arc<Pool>, usize)>,
    pub(super) prefetch: Option<Prefetch>,
    /// The next batch, if idle kernel threads fill it.
    idle_fill: Option<IdleFill>,
    failed: bool,
    fingerprint: OnceCell<u64>,
}

impl Epoch {
    pub(super) fn new(
        plan: Arc<Plan>,
        split: String,
        epoch: u64,
        batches: Range<usize>,
        timings: Arc<SplitTimings>,
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
            timings,
            threads,
            prefetch: None,
            idle_fill: None,
            failed: false,
            fingerprint,
        };
        this.start_prefetch();
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

    /// The samples of the batch that was returned last, as indices within the data set's own split; those
    /// that were left out are not among them.
    pub fn last_samples(&self) -> Vec<u64> {
        self.next.checked_sub(1).map(|last| self.plan.kept(last)).unwrap_or_default()
    }

    /// Takes the tensors of a batch that is not needed any more, so that a later batch uses their memory. Nothing
    /// else may refer to them.
    pub fn reuse(&self, batch: DataBatch) {
        for field in batch.fields {
            if let Some(column) = into_elements(field).and_then(Column::from_storage) {
                self.plan.buffers.give(column);
            }
        }
    }

    /// The current position.
    pub fn position(&self) -> Position {
        let fingerprint = *self.fingerprint.get_or_init(|| {
            let mut bytes: Vec<u8> =
                self.plan.order.iter().flat_map(|index| index.to_le_bytes()).collect();
            bytes.extend_from_slice(&(self.plan.batch_size as u64).to_le_bytes());
            let rows = self.plan.rows.iter().flat_map(|rows| rows.iter());
            rows.for_each(|start| bytes.extend_from_slice(&(*start as u64).to_le_bytes()));
            fnv1a(&bytes)
        });
        Position { split: self.split.clone(), epoch: self.epoch, next: self.next, fingerprint }
    }

    /// Starts the loader's threads if batches are known to take long enough.
    fn start_prefetch(&mut self) {
        if self.prefetch.is_some() || self.timings.worth_a_thread() != Some(true) {
            return;
        }
        if let Some((pool, depth)) = &self.threads {
            self.prefetch = Some(Prefetch::new(
                Arc::clone(pool),
                Arc::clone(&self.plan),
                self.next,
                self.end,
                *depth,
            ));
        }
    }

    fn make(&mut self, helpers: &dyn Helpers) -> Result<DataBatch, LoaderError> {
        if !self.timings.verified.load(Ordering::Relaxed) {
            let batch = self.plan.make(self.next, Verification::Full, &Alone)?;
            self.timings.verified.store(true, Ordering::Relaxed);
            return Ok(batch);
        }
        self.start_prefetch();
        if let Some(prefetch) = &mut self.prefetch {
            return prefetch.take(self.next);
        }
        let idle_filled = self.idle_fill.take().and_then(|fill| fill.take(helpers));
        let batch = match idle_filled {
            Some(batch) => batch?,
            None => {
                let begin = Instant::now();
                let batch = self.plan.make(self.next, Verification::Tails, helpers)?;
                self.timings.record(u64::try_from(begin.elapsed().as_nanos()).unwrap_or(u64::MAX));
                batch
            }
        };
        if self.threads.is_some()
            && self.next + 1 < self.end
            && self.timings.worth_a_thread() == Some(false)
        {
            self.idle_fill = Some(IdleFill::begin(Arc::clone(&self.plan), self.next + 1, helpers));
        }
        Ok(batch)
    }

    /// The next batch that has samples; of parts of batches, also one without. Without prefetching, it
    /// is filled here with the help of `helpers`.
    pub fn next_with(&mut self, helpers: &dyn Helpers) -> Option<Result<DataBatch, LoaderError>> {
        loop {
            if self.failed || self.next >= self.end {
                return None;
            }
            let batch = self.make(helpers);
            match &batch {
                Ok(batch) => {
                    self.next += 1;
                    // Every sample of it is left out.
                    if batch.samples == 0 && !self.plan.share.is_part() {
                        continue;
                    }
                }
                Err(_) => {
                    self.failed = true;
                    self.prefetch = None;
                }
            }
            return Some(batch);
        }
    }
}

impl Iterator for Epoch {
    type Item = Result<DataBatch, LoaderError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_with(&Alone)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = if self.failed { 0 } else { self.end - self.next };
        (left, Some(left))
    }
}
