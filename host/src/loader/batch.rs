//! One batch: room for its fields, filled by the data set, checked, turned into tensors.
//!
//! Runs on the loader's threads and on the training thread; never lets a panic of a data set pass.

use std::{
    ops::Range,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex, PoisonError},
};

use candle_core::Tensor;

use super::{LoaderError, Place, Samples, samples::Column, spare::Spare};
use crate::learner::ports::{Alone, Helpers};

/// One batch.
#[derive(Clone, Debug)]
pub struct Batch {
    /// Tensors of the fields in the data set's order, `[samples, ...]` each, on the processor.
    pub fields: Vec<Tensor>,
    /// Number of samples, at least 1.
    pub samples: usize,
    /// Position in the epoch, from 0.
    pub index: usize,
    /// Indices of the samples within the data set's own split.
    pub indices: Vec<u64>,
}

/// How closely it is checked that a data set writes everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Care {
    /// Every byte. Fills twice.
    Thorough,
    /// The last bytes of every sample. Fills once, unless those bytes look untouched.
    Tails,
}

/// Bytes of a sample that [`Care::Tails`] looks at.
const TAIL: usize = 8;
/// What the room holds before the first and the second filling.
const POISON: [u8; 2] = [0xA5, 0x5A];

/// Bytes of a batch from which on it is made by several threads: handing a part over takes about as
/// long as writing so many.
const WORTH_SHARING: usize = 64 * 1024;

/// Parts in which a batch is made meanwhile: while a thread is at one, the kernels do without it.
const LITTLE: usize = 16;

/// A batch to be made.
pub(super) struct Job<'a> {
    pub(super) samples: &'a dyn Samples,
    pub(super) source: usize,
    pub(super) indices: &'a [u64],
    pub(super) care: Care,
    pub(super) spare: &'a Spare,
}

impl Job<'_> {
    fn place(&self) -> Place {
        Place {
            split: self.samples.splits()[self.source].name.clone(),
            sample: self.indices.first().copied().unwrap_or_default(),
            count: self.indices.len(),
        }
    }
}

/// Room of a batch, of which the first samples are filled.
pub(super) struct Begun {
    columns: Vec<Column>,
    filled: usize,
    looks_untouched: bool,
}

/// Room for all samples, where none is filled.
fn begin(job: &Job<'_>) -> Result<Begun, LoaderError> {
    Ok(Begun { columns: room(job)?, filled: 0, looks_untouched: false })
}

/// Fills the fields of the samples and checks them.
pub(super) fn columns(job: &Job<'_>, helpers: &dyn Helpers) -> Result<Vec<Column>, LoaderError> {
    end(job, begin(job)?, helpers)
}

/// Fills the samples that are missing and checks all.
fn end(job: &Job<'_>, begun: Begun, helpers: &dyn Helpers) -> Result<Vec<Column>, LoaderError> {
    let Begun { mut columns, filled, looks_untouched } = begun;
    let rest_does = fill(job, &mut columns, filled..job.indices.len(), POISON[0], helpers)?;
    if looks_untouched || rest_does {
        columns = fill_again(job, columns, helpers)?;
    }
    check_labels(job.samples, job.source, job.indices, &columns)?;
    Ok(columns)
}

/// Whether a byte was left alone or happens to be the poison shows when another poison lies there.
fn fill_again(
    job: &Job<'_>,
    first: Vec<Column>,
    helpers: &dyn Helpers,
) -> Result<Vec<Column>, LoaderError> {
    let &Job { samples, source, indices, care, .. } = job;
    let mut second = room(job)?;
    fill(job, &mut second, 0..indices.len(), POISON[1], helpers)?;
    for (number, field) in samples.fields().iter().enumerate() {
        let both = chunks(first[number].bytes(), field.bytes())
            .zip(chunks(second[number].bytes(), field.bytes()));
        for (sample, (a, b)) in both.enumerate() {
            let mut bytes = tail(a, care).iter().zip(tail(b, care));
            if bytes.any(|(&a, &b)| a == POISON[0] && b == POISON[1]) {
                let place = Place {
                    split: samples.splits()[source].name.clone(),
                    sample: indices[sample],
                    count: 1,
                };
                return Err(LoaderError::Unfilled { place, field: field.name.clone() });
            }
        }
    }
    Ok(second)
}

fn room(job: &Job<'_>) -> Result<Vec<Column>, LoaderError> {
    let fields = job.samples.fields().iter();
    let columns = fields.map(|field| {
        let room = job.spare.room(field.dtype, job.indices.len() * field.elements());
        room.ok_or_else(|| LoaderError::ElementType {
            field: field.name.clone(),
            dtype: field.dtype.as_str(),
        })
    });
    columns.collect()
}

fn chunks(bytes: &[u8], sample: usize) -> impl Iterator<Item = &[u8]> {
    bytes.chunks_exact(sample.max(1))
}

fn tail(sample: &[u8], care: Care) -> &[u8] {
    match care {
        Care::Thorough => sample,
        Care::Tails => &sample[sample.len().saturating_sub(TAIL)..],
    }
}

fn poison(bytes: &mut [u8], sample: usize, value: u8, care: Care) {
    match care {
        Care::Thorough => bytes.fill(value),
        Care::Tails => {
            for sample in bytes.chunks_exact_mut(sample.max(1)) {
                let start = sample.len().saturating_sub(TAIL);
                sample[start..].fill(value);
            }
        }
    }
}

fn looks_untouched(bytes: &[u8], sample: usize, value: u8, care: Care) -> bool {
    match care {
        Care::Thorough => bytes.contains(&value),
        Care::Tails => {
            chunks(bytes, sample).any(|sample| tail(sample, care).iter().all(|&byte| byte == value))
        }
    }
}

/// Some samples of a batch, and their room in each field.
struct Piece<'a> {
    indices: &'a [u64],
    buffers: Vec<&'a mut [u8]>,
}

impl Piece<'_> {
    /// Lets the data set write the samples over `value`; whether some of it still seems to lie
    /// there. Marked and looked at by the thread that fills, in the cache of whose core it lies
    /// then.
    fn fill(&mut self, job: &Job<'_>, value: u8) -> Result<bool, LoaderError> {
        let Piece { indices, buffers } = self;
        for (buffer, field) in buffers.iter_mut().zip(job.samples.fields()) {
            poison(buffer, field.bytes(), value, job.care);
        }
        match catch_unwind(AssertUnwindSafe(|| job.samples.fill(job.source, indices, buffers))) {
            Ok(Ok(())) => {
                let mut fields = buffers.iter().zip(job.samples.fields());
                Ok(fields
                    .any(|(buffer, field)| looks_untouched(buffer, field.bytes(), value, job.care)))
            }
            Ok(Err(error)) => Err(LoaderError::Samples { place: job.place(), error }),
            Err(payload) => {
                Err(LoaderError::Panic { place: job.place(), message: panic_message(payload) })
            }
        }
    }
}

/// Lets the data set write some of the samples, over `value`; whether some of it still seems to lie
/// there. Many bytes are written by all threads that help; the first part that fails tells why.
fn fill<'a>(
    job: &Job<'a>,
    columns: &mut [Column],
    wanted: Range<usize>,
    value: u8,
    helpers: &dyn Helpers,
) -> Result<bool, LoaderError> {
    if wanted.is_empty() {
        return Ok(false);
    }
    let bytes: usize = job.samples.fields().iter().map(|field| wanted.len() * field.bytes()).sum();
    let threads =
        if bytes < WORTH_SHARING { 1 } else { helpers.threads().min(wanted.len()).max(1) };
    let mut rest: Vec<&mut [u8]> = columns
        .iter_mut()
        .zip(job.samples.fields())
        .map(|(column, field)| &mut column.bytes_mut()[wanted.start * field.bytes()..])
        .collect();
    let mut cut = |count: usize| {
        let buffers = rest.iter_mut().zip(job.samples.fields());
        buffers
            .map(|(rest, field)| rest.split_off_mut(..count * field.bytes()).unwrap_or_default())
            .collect()
    };
    let mut piece = |indices: &'a [u64]| Piece { indices, buffers: cut(indices.len()) };
    let indices = &job.indices[wanted];
    if threads == 1 {
        return piece(indices).fill(job, value);
    }
    let pieces: Vec<_> = indices
        .chunks(indices.len().div_ceil(threads))
        .map(|part| Mutex::new((piece(part), Ok(false))))
        .collect();
    helpers.share(pieces.len(), &|number| {
        let (piece, outcome) = &mut *pieces[number].lock().unwrap_or_else(PoisonError::into_inner);
        *outcome = piece.fill(job, value);
    });
    pieces.into_iter().try_fold(false, |before, piece| {
        let (_, outcome) = piece.into_inner().unwrap_or_else(PoisonError::into_inner);
        Ok(before | outcome?)
    })
}

/// The text of a panic. The payload is forgotten: dropping a stranger's payload may panic again.
pub(super) fn panic_message(payload: Box<dyn std::any::Any + Send>) -> String {
    let message = payload
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| payload.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "(no message)".to_owned());
    std::mem::forget(payload);
    message
}

fn check_labels(
    samples: &dyn Samples,
    source: usize,
    indices: &[u64],
    columns: &[Column],
) -> Result<(), LoaderError> {
    for (field, column) in samples.fields().iter().zip(columns) {
        let (Some(classes), Some(labels)) = (field.classes, column.labels()) else { continue };
        if let Some(at) = labels.iter().position(|&label| label >= classes) {
            let sample = indices[at / field.elements().max(1)];
            let place = Place { split: samples.splits()[source].name.clone(), sample, count: 1 };
            return Err(LoaderError::Label {
                place,
                field: field.name.clone(),
                label: labels[at],
                classes,
            });
        }
    }
    Ok(())
}

/// All that is needed to make any batch of an epoch, on any thread.
pub(super) struct Plan {
    pub(super) samples: Arc<dyn Samples>,
    pub(super) source: usize,
    pub(super) order: Arc<[u64]>,
    pub(super) batch_size: usize,
    pub(super) spare: Arc<Spare>,
}

impl Plan {
    fn job(&self, index: usize, care: Care) -> Job<'_> {
        let start = index * self.batch_size;
        let indices = &self.order[start..self.order.len().min(start + self.batch_size)];
        Job { samples: &*self.samples, source: self.source, indices, care, spare: &self.spare }
    }

    /// Makes batch `index` of the epoch.
    pub(super) fn make(
        &self,
        index: usize,
        care: Care,
        helpers: &dyn Helpers,
    ) -> Result<Batch, LoaderError> {
        self.end(index, begin(&self.job(index, care))?, care, helpers)
    }

    /// A little more of batch `index`, or its room, on this thread; whether anything is missing
    /// then.
    pub(super) fn go_on(
        &self,
        index: usize,
        begun: &mut Option<Begun>,
    ) -> Result<bool, LoaderError> {
        let job = self.job(index, Care::Tails);
        let Some(Begun { columns, filled, looks_untouched }) = begun else {
            *begun = Some(begin(&job)?);
            return Ok(true);
        };
        let to = job.indices.len().min(*filled + job.indices.len().div_ceil(LITTLE));
        *looks_untouched |= fill(&job, columns, *filled..to, POISON[0], &Alone)?;
        *filled = to;
        Ok(to < job.indices.len())
    }

    /// What is missing of batch `index`, and the batch of it.
    pub(super) fn end(
        &self,
        index: usize,
        begun: Begun,
        care: Care,
        helpers: &dyn Helpers,
    ) -> Result<Batch, LoaderError> {
        let job = self.job(index, care);
        let columns = end(&job, begun, helpers)?;
        let mut fields = Vec::with_capacity(columns.len());
        for (column, field) in columns.into_iter().zip(self.samples.fields()) {
            let mut shape = Vec::with_capacity(field.shape.len() + 1);
            shape.push(job.indices.len());
            shape.extend_from_slice(&field.shape);
            let tensor = column.into_tensor(shape).map_err(|error| LoaderError::Tensor {
                field: field.name.clone(),
                message: error.to_string(),
            })?;
            fields.push(tensor);
        }
        Ok(Batch { fields, samples: job.indices.len(), index, indices: job.indices.to_vec() })
    }
}
