//! Reads a data set in batches: splits, order, prefetching, verification.
//!
//! The session opens a [`Loader`] over a data set; the learner reads one [`Epoch`] after another
//! from it. The content of a batch depends on seed, split, epoch and position alone, not on threads
//! or on what was read before. The loader never trains, never moves anything to a device, and does
//! not know plugins: a data set is a [`Samples`].
//!
//! | file | content |
//! |---|---|
//! | `samples` | the trait of a data set, and typed buffers |
//! | `summary` | fields and splits, to recognise other data |
//! | `division` | which samples belong to which split |
//! | `epoch` | the batches of one epoch in order, with a position to resume from |
//! | `batch` | one batch: buffers, fill, verification, tensors |
//! | `prefetch` | threads that make batches ahead |
//! | `idle_fill` | fills the next batch on kernel threads that are idle |
//! | `timings` | decides between the two by the time that batches take |
//! | `buffer_pool` | reuses the buffers of finished batches |
//! | `ports` | the learner's traits, implemented for the loader |

#![forbid(unsafe_code)]

mod batch;
mod buffer_pool;
mod division;
mod epoch;
mod error;
mod idle_fill;
mod plugin_samples;
mod ports;
mod prefetch;
mod random;
mod samples;
mod summary;
mod timings;

use std::sync::Arc;

use buffer_pool::BufferPool;
use prefetch::Pool;
use random::Draws;
use timings::SplitTimings;

use crate::learner::ports::DataField;
use crate::run_file::LoaderSettings;

pub use self::{
    batch::batch_of_first,
    division::Part,
    epoch::{Epoch, Position},
    error::{LoaderError, SampleRange},
    plugin_samples::PluginSamples,
    ports::{element_code, element_type},
    samples::{Field, SampleError, Samples, Split},
    summary::{DataSummary, FieldSummary, SplitSummary},
};

/// Most fields that a batch has.
pub const FIELDS: usize = fluxbay_plugin::abi::learner::FIELDS;

/// Most threads that make batches.
const MOST_THREADS: usize = 4;

/// A data set, divided into splits and ready to be read.
pub struct Loader {
    samples: Arc<dyn Samples>,
    settings: LoaderSettings,
    seed: u64,
    stated: Vec<DataField>,
    parts: Vec<Part>,
    timings: Vec<Arc<SplitTimings>>,
    pool: Option<Arc<Pool>>,
    buffers: Arc<BufferPool>,
}

impl Loader {
    /// Checks fields and splits, divides `all`, calls the data set's `prepare` with the training
    /// samples, and starts the threads.
    ///
    /// # Errors
    /// [`LoaderError`]; then no sample was read for training.
    pub fn open(
        samples: Arc<dyn Samples>,
        settings: LoaderSettings,
        seed: u64,
    ) -> Result<Loader, LoaderError> {
        if settings.batch_size == 0 {
            return Err(LoaderError::BatchSize);
        }
        let stated = check_fields(samples.fields(), settings.batch_size)?;
        let division = division::Division { validation: settings.validation, seed };
        let mut parts = division::parts(&*samples, &division)?;
        if settings.overfit_batches > 0 {
            let samples = settings.overfit_batches.saturating_mul(settings.batch_size);
            parts = overfit_parts(parts, samples, seed);
        }
        for part in &parts {
            let dropped = settings.drop_last && part.name == "training";
            if part.samples() < settings.batch_size && dropped {
                let split = part.name.clone();
                return Err(LoaderError::NoBatch {
                    split,
                    samples: part.samples(),
                    batch_size: settings.batch_size,
                });
            }
        }
        let pool = if settings.prefetch == 0 { None } else { start(settings.prefetch) };
        let timings = parts.iter().map(|_| Arc::default()).collect();
        let buffers = Arc::default();
        Ok(Loader { samples, settings, seed, stated, parts, timings, pool, buffers })
    }

    /// The fields of a sample.
    pub fn fields(&self) -> &[Field] {
        self.samples.fields()
    }

    /// The splits as phases read them.
    pub fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// The settings.
    pub fn settings(&self) -> &LoaderSettings {
        &self.settings
    }

    /// The split called `name`.
    ///
    /// # Errors
    /// [`LoaderError::NoSplit`], with the nearest name.
    pub fn part(&self, name: &str) -> Result<&Part, LoaderError> {
        self.find(name).map(|index| &self.parts[index])
    }

    fn find(&self, name: &str) -> Result<usize, LoaderError> {
        self.parts.iter().position(|part| part.name == name).ok_or_else(|| LoaderError::NoSplit {
            wanted: name.to_owned(),
            found: self.parts.iter().map(|part| part.name.clone()).collect(),
        })
    }

    /// Batches of an epoch of a split.
    pub fn batches(&self, part: &Part) -> usize {
        let drop_last = self.settings.drop_last && part.name == "training";
        let all = if drop_last {
            part.samples() / self.settings.batch_size
        } else {
            part.samples().div_ceil(self.settings.batch_size)
        };
        match self.settings.limit_batches {
            0 => all,
            limit => all.min(limit),
        }
    }

    /// Samples that an epoch of a split reads.
    pub fn samples_read(&self, part: &Part) -> usize {
        part.samples().min(self.batches(part) * self.settings.batch_size)
    }

    /// The order in which an epoch reads a split: indices within the data set's own split.
    ///
    /// # Errors
    /// [`LoaderError::NoSplit`].
    pub fn order(&self, split: &str, epoch: u64) -> Result<Arc<[u64]>, LoaderError> {
        let part = self.part(split)?;
        if !self.settings.shuffle || self.settings.overfit_batches > 0 || part.name != "training" {
            return Ok(Arc::clone(&part.indices));
        }
        let mut order = part.indices.to_vec();
        Draws::new(self.seed, &format!("order/{}", part.name), epoch).shuffle(&mut order);
        Ok(order.into())
    }

    /// One epoch of a split, from its first batch.
    ///
    /// # Errors
    /// [`LoaderError::NoSplit`].
    pub fn epoch(&self, split: &str, epoch: u64) -> Result<Epoch, LoaderError> {
        self.epoch_from(split, epoch, 0)
    }

    /// The rest of an epoch, from `position`.
    ///
    /// # Errors
    /// [`LoaderError::Order`] if the samples' order is not the one of the position;
    /// [`LoaderError::NoSplit`] or [`LoaderError::Position`] if there is no such split or batch.
    pub fn resume(&self, position: &Position) -> Result<Epoch, LoaderError> {
        let epoch = self.epoch_from(&position.split, position.epoch, position.next)?;
        let now = epoch.position().fingerprint;
        if now != position.fingerprint {
            let Position { split, epoch, fingerprint: saved, .. } = position.clone();
            return Err(LoaderError::Order { split, epoch, saved, now });
        }
        Ok(epoch)
    }

    fn epoch_from(&self, split: &str, epoch: u64, next: usize) -> Result<Epoch, LoaderError> {
        let number = self.find(split)?;
        let part = &self.parts[number];
        let batches = self.batches(part);
        if next > batches {
            return Err(LoaderError::Position { split: split.to_owned(), position: next, batches });
        }
        let plan = Arc::new(batch::Plan {
            samples: Arc::clone(&self.samples),
            source: part.source,
            order: self.order(split, epoch)?,
            batch_size: self.settings.batch_size,
            buffers: Arc::clone(&self.buffers),
        });
        let threads = self.pool.as_ref().map(|pool| (Arc::clone(pool), self.settings.prefetch));
        Ok(Epoch::new(
            plan,
            split.to_owned(),
            epoch,
            next..batches,
            Arc::clone(&self.timings[number]),
            threads,
        ))
    }
}

/// Replaces every part by the same few samples of `training`, drawn at random.
fn overfit_parts(parts: Vec<Part>, samples: usize, seed: u64) -> Vec<Part> {
    let Some(training) = parts.iter().find(|part| part.name == "training").cloned() else {
        return parts;
    };
    let mut indices = training.indices.to_vec();
    Draws::new(seed, "overfit", 0).shuffle(&mut indices);
    indices.truncate(samples);
    indices.sort_unstable();
    let few: Arc<[u64]> = indices.into();
    parts
        .into_iter()
        .map(|part| Part { name: part.name, source: training.source, indices: Arc::clone(&few) })
        .collect()
}

fn start(prefetch: usize) -> Option<Arc<Pool>> {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    match Pool::new(prefetch.min(processors / 2).min(MOST_THREADS)) {
        Ok(pool) => Some(Arc::new(pool)),
        Err(error) => {
            log::warn!(
                "the loader cannot start a thread and makes each batch when it is needed: {error}"
            );
            None
        }
    }
}

fn check_fields(fields: &[Field], batch_size: usize) -> Result<Vec<DataField>, LoaderError> {
    let mut stated = Vec::with_capacity(fields.len());
    if fields.is_empty() {
        return Err(LoaderError::NoFields);
    }
    if fields.len() > FIELDS {
        return Err(LoaderError::TooManyFields { found: fields.len(), most: FIELDS });
    }
    for (index, field) in fields.iter().enumerate() {
        if fields[..index].iter().any(|other| other.name == field.name) {
            return Err(LoaderError::TwoFields(field.name.clone()));
        }
        let Some(field_stated) = field.stated() else {
            return Err(LoaderError::ElementType {
                field: field.name.clone(),
                dtype: field.dtype.as_str(),
            });
        };
        stated.push(field_stated);
        if field.classes.is_some() && field.dtype != candle_core::DType::U32 {
            return Err(LoaderError::LabelType {
                field: field.name.clone(),
                dtype: field.dtype.as_str(),
            });
        }
        let mut sizes =
            field.shape.iter().copied().chain([batch_size, field.dtype.size_in_bytes()]);
        let bytes = sizes.try_fold(1_usize, usize::checked_mul);
        if bytes.is_none_or(|bytes| bytes > isize::MAX as usize) {
            let field = field.clone();
            return Err(LoaderError::TooLarge {
                field: field.name,
                shape: field.shape,
                samples: batch_size,
            });
        }
    }
    Ok(stated)
}

#[cfg(test)]
mod tests;
