//! The samples that a data set left out of their batches because they cannot be read.

use std::{
    collections::BTreeSet,
    sync::{Mutex, PoisonError},
};

/// Samples that were left out, each once, by index of the data set's split and index in it.
#[derive(Debug, Default)]
pub(super) struct LeftOut(Mutex<BTreeSet<(usize, u64)>>);

impl LeftOut {
    /// Adds those of `indices` that are marked.
    pub(super) fn add(&self, split: usize, indices: &[u64], marks: &[u8]) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let marked = indices.iter().zip(marks).filter(|(_, mark)| **mark != 0);
        all.extend(marked.map(|(index, _)| (split, *index)));
    }

    /// Whether a sample was left out.
    pub(super) fn contains(&self, split: usize, index: u64) -> bool {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.contains(&(split, index))
    }

    /// Number of samples that were left out so far, of those at `indices` (ascending) of a split.
    pub(super) fn count(&self, split: usize, indices: &[u64]) -> usize {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let of_split = all.range((split, 0)..=(split, u64::MAX));
        of_split.filter(|(_, index)| indices.binary_search(index).is_ok()).count()
    }
}
