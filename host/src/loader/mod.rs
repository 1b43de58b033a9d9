//! From a data set to batches: splits, order, batches made ahead on threads, checks.
//!
//! The learner opens a [`Loader`] over a data set and asks it for one [`Epoch`] after another. What
//! a batch holds depends on seed, split, epoch and position alone: not on threads, not on what was
//! read before. The loader never trains, never moves anything to a device, and knows nothing of
//! plugins: a data set is a [`Samples`].

#![forbid(unsafe_code)]

mod batch;
mod division;
mod epoch;
mod error;
mod meanwhile;
mod ports;
mod prefetch;
mod random;
mod samples;
mod spare;

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

use prefetch::Pool;
use random::Draws;
use spare::Spare;

use crate::learner::ports::DataField;

pub use self::{
    batch::Batch,
    division::{Part, Stratify},
    epoch::{Epoch, Position},
    error::{LoaderError, Place},
    ports::element_type,
    samples::{Field, SampleError, Samples, Split},
};

/// Most fields that a batch has.
pub const FIELDS: usize = fluxbay_plugin::abi::learner::FIELDS;

/// A batch that is made faster than this, in nanoseconds, is made by the threads of the kernels:
/// handing it over from threads of the loader, and taking a core from those that compute, costs as
/// much.
const WORTH_A_THREAD: u64 = 150_000;
/// Batches that are timed before it is known how long one takes: the first find neither samples nor
/// room in the cache.
const TIMED: u64 = 5;
/// Nanoseconds that timing may take: fewer batches are timed where they take that long.
const TIMING: u64 = 20_000_000;
/// Most threads that make batches.
const MOST_THREADS: usize = 4;

/// Settings of a loader: the run file's `[loader]`.
#[derive(Clone, Debug, PartialEq)]
pub struct LoaderSettings {
    /// Samples of a batch, at least 1.
    pub batch_size: usize,
    /// Whether the split `training` is read in a new order each epoch; all others are read in their
    /// own order.
    pub shuffle: bool,
    /// Whether a last batch that is smaller than the others is left out, in the split `training`.
    /// All others are read whole.
    pub drop_last: bool,
    /// The part of `all` that is kept for validation, at least 0 and below 1.
    pub validation: f64,
    /// Whether dividing `all` keeps the classes' shares.
    pub stratify: Stratify,
    /// Batches that are made ahead; 0 makes each when it is needed.
    pub prefetch: usize,
    /// Most batches that an epoch of any split reads; 0 reads all.
    pub limit: usize,
    /// So many batches of the split `training` take the place of every split, in the same order
    /// each time; 0 for none.
    pub overfit: usize,
}

impl Default for LoaderSettings {
    fn default() -> Self {
        Self {
            batch_size: 32,
            shuffle: true,
            drop_last: false,
            validation: 0.2,
            stratify: Stratify::ByClass,
            prefetch: 2,
            limit: 0,
            overfit: 0,
        }
    }
}

/// A data set, divided into splits and ready to be read.
pub struct Loader {
    samples: Arc<dyn Samples>,
    settings: LoaderSettings,
    seed: u64,
    stated: Vec<DataField>,
    parts: Vec<Part>,
    habits: Vec<Arc<Habit>>,
    pool: Option<Arc<Pool>>,
    spare: Arc<Spare>,
}

/// What was learned about a split while reading it. Changes when and where batches are made, never
/// what they hold.
#[derive(Default)]
struct Habit {
    /// Whether a batch was checked byte by byte.
    proven: AtomicBool,
    /// Shortest time that a batch took, in nanoseconds.
    fastest: AtomicU64,
    /// How many were timed.
    timed: AtomicU64,
    /// What they took together, in nanoseconds.
    spent: AtomicU64,
}

impl Habit {
    /// Notes how long a batch took. Called by one thread at a time.
    fn record(&self, nanoseconds: u64) {
        let known = if self.timed.fetch_add(1, Ordering::Relaxed) == 0 {
            u64::MAX
        } else {
            self.fastest.load(Ordering::Relaxed)
        };
        self.fastest.store(nanoseconds.min(known), Ordering::Relaxed);
        self.spent.fetch_add(nanoseconds, Ordering::Relaxed);
    }

    /// Whether batches are worth a thread; none while that is not known.
    fn worth_a_thread(&self) -> Option<bool> {
        let known = self.timed.load(Ordering::Relaxed) >= TIMED
            || self.spent.load(Ordering::Relaxed) >= TIMING;
        known.then(|| self.fastest.load(Ordering::Relaxed) >= WORTH_A_THREAD)
    }
}

impl Loader {
    /// Checks fields and splits, divides `all`, tells the data set its training samples, and starts
    /// the threads.
    ///
    /// # Errors
    /// [`LoaderError`]; nothing was read for training then.
    pub fn open(
        samples: Arc<dyn Samples>,
        settings: LoaderSettings,
        seed: u64,
    ) -> Result<Loader, LoaderError> {
        if settings.batch_size == 0 {
            return Err(LoaderError::BatchSize);
        }
        let stated = check_fields(samples.fields(), settings.batch_size)?;
        let division = division::Division {
            validation: settings.validation,
            stratify: settings.stratify,
            seed,
        };
        let mut parts = division::parts(&*samples, &division)?;
        if settings.overfit > 0 {
            parts = only_a_few(parts, settings.overfit.saturating_mul(settings.batch_size), seed);
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
        let habits = parts.iter().map(|_| Arc::default()).collect();
        Ok(Loader { samples, settings, seed, stated, parts, habits, pool, spare: Arc::default() })
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
    /// [`LoaderError::NoSplit`] with the nearest name.
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
        if self.settings.limit == 0 { all } else { all.min(self.settings.limit) }
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
        if !self.settings.shuffle || self.settings.overfit > 0 || part.name != "training" {
            return Ok(Arc::clone(&part.indices));
        }
        let mut order = part.indices.to_vec();
        Draws::new(self.seed, &format!("order/{}", part.name), epoch).shuffle(&mut order);
        Ok(order.into())
    }

    /// One epoch of a split, from its first batch on.
    ///
    /// # Errors
    /// [`LoaderError::NoSplit`].
    pub fn epoch(&self, split: &str, epoch: u64) -> Result<Epoch, LoaderError> {
        self.epoch_from(split, epoch, 0)
    }

    /// The rest of an epoch that was left at `position`.
    ///
    /// # Errors
    /// [`LoaderError::Order`] where the samples' order is not the one that the position belongs to;
    /// [`LoaderError::NoSplit`] and [`LoaderError::Position`] where it does not fit at all.
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
            spare: Arc::clone(&self.spare),
        });
        let threads = self.pool.as_ref().map(|pool| (Arc::clone(pool), self.settings.prefetch));
        Ok(Epoch::new(
            plan,
            split.to_owned(),
            epoch,
            next..batches,
            Arc::clone(&self.habits[number]),
            threads,
        ))
    }
}

/// The first samples of a shuffled `training`, as every part.
fn only_a_few(parts: Vec<Part>, samples: usize, seed: u64) -> Vec<Part> {
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
            log::warn!("no thread for the loader, batches are made when they are needed: {error}");
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
