//! The order of an epoch of training, where a sampler decides it.

use std::sync::{Arc, OnceLock};

use super::{LoaderError, random};
use crate::calls::sampler::PluginSampler;

/// Decides which training samples an epoch reads, and in which order. Called on the training thread.
pub trait Sampler: Send + Sync {
    /// Receives the number of training samples, and their labels and number of classes if there are
    /// any; returns the number of samples that an epoch reads.
    ///
    /// # Errors
    /// A text of the sampler's.
    fn open(&self, samples: u64, labels: Option<(&[u32], u64)>) -> Result<u64, String>;

    /// The order of an epoch of `count` samples: places among the training samples.
    ///
    /// # Errors
    /// A text of the sampler's.
    fn order(&self, epoch: u64, draw: [u64; 2], count: usize) -> Result<Vec<u64>, String>;
}

impl Sampler for PluginSampler {
    fn open(&self, samples: u64, labels: Option<(&[u32], u64)>) -> Result<u64, String> {
        let (labels, classes) =
            labels.map_or((None, 0), |(labels, classes)| (Some(labels), classes));
        PluginSampler::open(self, samples, labels, classes)
            .map_err(|error| error.reason().to_owned())
    }

    fn order(&self, epoch: u64, draw: [u64; 2], count: usize) -> Result<Vec<u64>, String> {
        PluginSampler::order(self, epoch, draw, count).map_err(|error| error.reason().to_owned())
    }
}

/// A sampler of a run.
pub struct NamedSampler {
    /// Id of its instance; its random draws depend on it.
    pub id: String,
    /// The sampler.
    pub sampler: Box<dyn Sampler>,
    /// Samples that an epoch reads, once it is open.
    count: OnceLock<usize>,
}

impl NamedSampler {
    /// A sampler that is not open yet.
    pub fn new(id: String, sampler: Box<dyn Sampler>) -> NamedSampler {
        NamedSampler { id, sampler, count: OnceLock::new() }
    }

    fn failed(&self, text: String) -> LoaderError {
        LoaderError::Sampler { id: self.id.clone(), text }
    }

    /// Passes the training samples.
    pub(super) fn open(
        &self,
        samples: usize,
        labels: Option<(&[u32], u64)>,
    ) -> Result<(), LoaderError> {
        let count = self.sampler.open(samples as u64, labels).map_err(|text| self.failed(text))?;
        // The order of an epoch is kept in memory.
        let count = usize::try_from(count).ok().filter(|count| *count <= isize::MAX as usize / 8);
        let Some(count) = count else {
            return Err(self.failed("an epoch reads more samples than fit into memory".into()));
        };
        self.count.set(count).map_err(|_| self.failed("it was opened twice".into()))
    }

    /// Samples that an epoch reads.
    pub(super) fn count(&self) -> usize {
        self.count.get().copied().unwrap_or_default()
    }

    /// The order of an epoch: indices within the data set's split, of which `training` are those of
    /// the training samples.
    pub(super) fn order(
        &self,
        seed: u64,
        epoch: u64,
        training: &[u64],
    ) -> Result<Arc<[u64]>, LoaderError> {
        let draw = random::draw(seed, &self.id, epoch, 0);
        let places =
            self.sampler.order(epoch, draw, self.count()).map_err(|text| self.failed(text))?;
        let index = |place: u64| {
            let index = usize::try_from(place).ok().and_then(|place| training.get(place));
            index.copied().ok_or_else(|| {
                let text = format!(
                    "it names training sample {place} in epoch {epoch}, but there are {}, counted \
                     from 0",
                    training.len()
                );
                self.failed(text)
            })
        };
        places.into_iter().map(index).collect()
    }
}
