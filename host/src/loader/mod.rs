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
//! | `chain` | transforms between data set and batch |
//! | `sampler` | the order of an epoch, where a sampler decides it |
//! | `ragged` | samples that differ in size: padding, buckets, packs |
//! | `whole` | all samples in order, to be written into a file |
//! | `left_out` | samples that cannot be read and were left out |
//! | `summary` | fields and splits, to recognise other data |
//! | `division` | which samples belong to which split |
//! | `folds` | folds of a cross-validation, divisions that keep groups together |
//! | `sampling` | training samples drawn by weight |
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
mod chain;
mod division;
mod epoch;
mod error;
mod folds;
mod idle_fill;
mod left_out;
mod plugin_samples;
mod ports;
mod prefetch;
mod ragged;
mod random;
mod sampler;
mod samples;
mod sampling;
mod summary;
mod timings;
mod whole;

use std::sync::Arc;

use buffer_pool::BufferPool;
use left_out::LeftOut;
use prefetch::Pool;
use ragged::{Fitting, Rows};
use random::Draws;
use sampling::Weighted;
use timings::SplitTimings;

use crate::learner::{ports::DataField, ranks::part};
use crate::run_file::{LoaderSettings, RaggedRule, Sampling};

pub use self::{
    batch::batch_of_first,
    chain::{Chained, Chains, Step, Transform},
    division::Part,
    epoch::{Epoch, Position},
    error::{LoaderError, SampleRange},
    plugin_samples::PluginSamples,
    ports::{element_code, element_type},
    sampler::{NamedSampler, Sampler},
    samples::{
        Field, Occasion, Ragged, Remarks, Request, SampleError, Samples, Split, label_field,
    },
    summary::{DataSummary, FieldSummary, SplitSummary},
    whole::Piece,
};

/// Most fields that a batch has.
pub const FIELDS: usize = fluxbay_plugin::abi::learner::FIELDS;

/// Most threads that make batches, unless the settings say otherwise.
const MOST_THREADS: usize = 4;

/// How a run reads its data, besides the settings.
#[derive(Default)]
pub struct Reading {
    /// Decides the order of an epoch of training.
    pub sampler: Option<NamedSampler>,
    /// Whether nothing is trained: also the training samples are then read as for evaluation.
    pub only_evaluates: bool,
    /// The part of each batch that is read; the whole of it where samples differ in size.
    pub share: Share,
}

/// The part of each batch that a process of several reads: consecutive samples.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    /// Number of the part.
    pub index: usize,
    /// Number of parts.
    pub count: usize,
}

impl Default for Share {
    /// The whole batch.
    fn default() -> Share {
        Share { index: 0, count: 1 }
    }
}

impl Share {
    /// Whether others read the rest.
    fn is_part(self) -> bool {
        self.count > 1
    }

    /// The samples of a batch of `all` samples.
    fn of(self, all: usize) -> std::ops::Range<usize> {
        part(all, self.index, self.count)
    }
}

/// A data set, divided into splits and ready to be read.
pub struct Loader {
    samples: Arc<dyn Samples>,
    settings: LoaderSettings,
    seed: u64,
    stated: Vec<DataField>,
    parts: Vec<Part>,
    /// How training samples are drawn; `None` if each is read once.
    weighted: Option<Weighted>,
    /// The fields of a batch.
    fields: Vec<Field>,
    fitting: Fitting,
    /// The longest length of each sample by part, where buckets need it; the rows of each part, where
    /// samples are packed.
    lengths: Vec<Vec<u64>>,
    rows: Vec<Rows>,
    timings: Vec<Arc<SplitTimings>>,
    pool: Option<Arc<Pool>>,
    buffers: Arc<BufferPool>,
    reading: Reading,
    left_out: Arc<LeftOut>,
}

impl Loader {
    /// Opens a data set without a sampler.
    ///
    /// # Errors
    /// As [`Loader::open_with`].
    pub fn open(
        samples: Arc<dyn Samples>,
        settings: LoaderSettings,
        seed: u64,
    ) -> Result<Loader, LoaderError> {
        Loader::open_with(samples, settings, seed, Reading::default())
    }

    /// Checks fields and splits, divides `all`, calls the data set's `prepare` with the training
    /// samples, and starts the threads.
    ///
    /// # Errors
    /// [`LoaderError`]; then no sample was read for training.
    pub fn open_with(
        samples: Arc<dyn Samples>,
        settings: LoaderSettings,
        seed: u64,
        reading: Reading,
    ) -> Result<Loader, LoaderError> {
        if settings.batch_size == 0 {
            return Err(LoaderError::BatchSize);
        }
        let (fitting, fields) = Fitting::new(&*samples, &settings)?;
        let stated = check_fields(&fields, settings.batch_size)?;
        let division = division::Division {
            validation: settings.validation,
            seed,
            stratify: settings.stratify,
            groups: settings.groups.clone(),
            folds: settings.folds,
            fold: settings.fold,
        };
        if reading.sampler.is_some() && settings.sampling != Sampling::Once {
            let text = "the run has a `[sampler]`, too: leave out one of them";
            return Err(LoaderError::Sampling(text.to_owned()));
        }
        let mut parts = division::parts(&*samples, &division)?;
        if settings.overfit_batches > 0 {
            let samples = settings.overfit_batches.saturating_mul(settings.batch_size);
            parts = overfit_parts(parts, samples, seed);
        }
        if let Some(sampler) = reading.sampler.as_ref().filter(|_| settings.overfit_batches == 0) {
            open_sampler(sampler, &*samples, &parts)?;
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
        let weighted = weights(&*samples, &settings, &parts)?;
        let decides = reading.sampler.is_some() || settings.sampling != Sampling::Once;
        let (mut lengths, mut rows) = (Vec::new(), Vec::new());
        if settings.ragged != RaggedRule::Pad && !samples.ragged().is_empty() {
            if decides {
                let text = "buckets and packs decide the order of an epoch, as a sampler and \
                            `sampling` do: leave out one of them";
                return Err(LoaderError::Ragged(text.to_owned()));
            }
            for part in &parts {
                let of_samples = ragged::lengths(&*samples, part)?;
                match fitting {
                    Fitting::Pad { .. } => lengths.push(of_samples),
                    Fitting::Pack { length } => {
                        rows.push(Rows::new(part, &of_samples, length, seed)?);
                    }
                }
            }
        }
        let pool = if settings.prefetch == 0 { None } else { start(&settings) };
        let timings = parts.iter().map(|_| Arc::default()).collect();
        let (buffers, left_out) = Default::default();
        Ok(Loader {
            samples,
            settings,
            seed,
            stated,
            parts,
            weighted,
            fields,
            fitting,
            lengths,
            rows,
            timings,
            pool,
            buffers,
            reading,
            left_out,
        })
    }

    /// The fields of a batch. Their shapes are those of one sample, or of one row of packed samples; along
    /// a dimension that differs by sample, they state the maximum.
    pub fn fields(&self) -> &[Field] {
        &self.fields
    }

    /// Whether batches hold rows of several samples each.
    pub fn packs(&self) -> bool {
        matches!(self.fitting, Fitting::Pack { .. })
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
        let samples = self.epoch_samples(part);
        let all = if drop_last {
            samples / self.settings.batch_size
        } else {
            samples.div_ceil(self.settings.batch_size)
        };
        match self.settings.limit_batches {
            0 => all,
            limit => all.min(limit),
        }
    }

    /// Samples, or rows of packed samples, that an epoch of a split reads.
    pub fn samples_read(&self, part: &Part) -> usize {
        self.epoch_samples(part).min(self.batches(part) * self.settings.batch_size)
    }

    /// The sampler of a split, if one decides its order.
    fn sampler_of(&self, part: &Part) -> Option<&NamedSampler> {
        let decides = self.settings.overfit_batches == 0 && part.name == "training";
        self.reading.sampler.as_ref().filter(|_| decides)
    }

    /// The rows of a split, if its samples are packed.
    fn rows_of(&self, part: &Part) -> Option<&Rows> {
        self.find(&part.name).ok().and_then(|number| self.rows.get(number))
    }

    /// Samples, or rows of packed samples, of a whole epoch of a split.
    fn epoch_samples(&self, part: &Part) -> usize {
        if let Some(rows) = self.rows_of(part) {
            return rows.count();
        }
        self.sampler_of(part).map_or(part.samples(), NamedSampler::count)
    }

    /// The class labels of the samples of a split, from field `field`; the first one of those that have
    /// several.
    ///
    /// # Errors
    /// A sample that cannot be read.
    pub fn labels(&self, part: &Part, field: usize) -> Result<Vec<u32>, LoaderError> {
        division::labels_of(&*self.samples, part.source, field, &part.indices)
    }

    /// Number of different samples of a split that were left out so far because they cannot be read.
    pub fn left_out(&self, part: &Part) -> usize {
        self.left_out.count(part.source, &part.indices)
    }

    /// The order in which an epoch reads a split: indices within the data set's own split.
    ///
    /// # Errors
    /// [`LoaderError::NoSplit`], or [`LoaderError::Sampler`].
    pub fn order(&self, split: &str, epoch: u64) -> Result<Arc<[u64]>, LoaderError> {
        Ok(self.rows_in_order(split, epoch)?.0)
    }

    /// The order of an epoch, and the rows in it if samples are packed.
    fn rows_in_order(&self, split: &str, epoch: u64) -> Result<ragged::Order, LoaderError> {
        let number = self.find(split)?;
        let part = &self.parts[number];
        let shuffles =
            self.settings.shuffle && self.settings.overfit_batches == 0 && part.name == "training";
        let draws = |purpose: &str| Draws::new(self.seed, &format!("{purpose}/{split}"), epoch);
        if let Some(rows) = self.rows.get(number) {
            return Ok(rows.order(shuffles.then(|| draws("rows"))));
        }
        let Some(lengths) = self.lengths.get(number).filter(|_| shuffles) else {
            return Ok((self.order_of(part, epoch)?, None));
        };
        let mut order = self.order_of(part, epoch)?.to_vec();
        let length =
            |index: u64| part.indices.binary_search(&index).map_or(0, |place| lengths[place]);
        ragged::bucketed(&mut order, length, self.settings.batch_size, &mut draws("buckets"));
        Ok((order.into(), None))
    }

    /// The order of the samples of an epoch, whatever their lengths.
    fn order_of(&self, part: &Part, epoch: u64) -> Result<Arc<[u64]>, LoaderError> {
        if let Some(weighted) = self.weighted.as_ref().filter(|_| part.name == "training") {
            let drawn = weighted.draw(self.seed, epoch);
            return Ok(drawn.into_iter().map(|place| part.indices[place]).collect());
        }
        if let Some(sampler) = self.sampler_of(part) {
            return sampler.order(self.seed, epoch, &part.indices);
        }
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
        let (order, rows) = self.rows_in_order(split, epoch)?;
        let plan = Arc::new(batch::Plan {
            samples: Arc::clone(&self.samples),
            source: part.source,
            order,
            rows,
            batch_size: self.settings.batch_size,
            fitting: self.fitting.clone(),
            occasion: Occasion {
                seed: self.seed,
                epoch,
                training: part.name == "training" && !self.reading.only_evaluates,
            },
            buffers: Arc::clone(&self.buffers),
            left_out: Arc::clone(&self.left_out),
            // How samples of different sizes are padded or packed depends on the whole batch.
            share: match self.samples.ragged().is_empty() {
                true => self.reading.share,
                false => Share::default(),
            },
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

/// How training samples are drawn by the settings.
fn weights(
    samples: &dyn Samples,
    settings: &LoaderSettings,
    parts: &[Part],
) -> Result<Option<Weighted>, LoaderError> {
    let training = parts.iter().find(|part| part.name == "training");
    let Some(training) = training.filter(|_| settings.overfit_batches == 0) else {
        return Ok(None);
    };
    let refused = |reason: &str| LoaderError::Sampling(reason.to_owned());
    let labels = || -> Result<Vec<u32>, LoaderError> {
        let target = label_field(samples.fields());
        let target = target.ok_or_else(|| refused("the data has no field with class labels"))?;
        let all = division::labels(samples, training.source, target)?;
        // The statistics are those of the training samples.
        division::prepare(samples, training.source, &training.indices)?;
        Ok(training.indices.iter().map(|&index| all[index as usize]).collect())
    };
    let weights = match settings.sampling {
        Sampling::Once => return Ok(None),
        Sampling::Balanced => sampling::balanced(&labels()?),
        Sampling::Weighted if !settings.sample_weights.is_empty() => {
            let (path, source) = (&settings.sample_weights, training.source);
            let lines = division::lines_per_sample(samples, source, path, "sample-weights")?;
            let number = |&index: &u64| {
                let line = &lines[index as usize];
                line.parse().map_err(|_| refused(&format!("{line:?} in {path} is no weight")))
            };
            training.indices.iter().map(number).collect::<Result<Vec<f64>, _>>()?
        }
        Sampling::Weighted if settings.class_weights.is_empty() => {
            return Err(refused("it needs `class-weights` or `sample-weights`"));
        }
        Sampling::Weighted => {
            let of_class = |label: u32| settings.class_weights.get(label as usize).copied();
            let weight = |label| {
                of_class(label)
                    .ok_or_else(|| refused(&format!("`class-weights` has none for class {label}")))
            };
            labels()?.into_iter().map(weight).collect::<Result<Vec<f64>, _>>()?
        }
    };
    let weighted = Weighted::new(&weights);
    weighted
        .map(Some)
        .ok_or_else(|| refused("weights are finite and not negative, and at least one is above 0"))
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

/// Passes the training samples to a sampler, with their labels if the data has any.
fn open_sampler(
    sampler: &NamedSampler,
    samples: &dyn Samples,
    parts: &[Part],
) -> Result<(), LoaderError> {
    let Some(training) = parts.iter().find(|part| part.name == "training") else { return Ok(()) };
    let fields = samples.fields();
    let target = label_field(fields).and_then(|number| Some((number, fields[number].classes?)));
    let labels = match target {
        Some((field, classes)) => {
            let labels = division::labels_of(samples, training.source, field, &training.indices)?;
            Some((labels, u64::from(classes)))
        }
        None => None,
    };
    let labels = labels.as_ref().map(|(labels, classes)| (&labels[..], *classes));
    sampler.open(training.samples(), labels)
}

fn start(settings: &LoaderSettings) -> Option<Arc<Pool>> {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = match settings.threads {
        0 => settings.prefetch.min(processors / 2).min(MOST_THREADS),
        threads => threads,
    };
    match Pool::new(threads) {
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
