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

/// Bytes of a batch from which on it is made by several threads: handing a part over takes about as long as writing so many.
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
}

/// Room for all samples, where none is filled.
fn begin(job: &Job<'_>) -> Result<Begun, LoaderError> {
    let mut columns = room(job)?;
    for (column, field) in columns.iter_mut().zip(job.samples.fields()) {
        poison(column.bytes_mut(), field.bytes(), POISON[0], job.care);
    }
    Ok(Begun { columns, filled: 0 })
}

/// Fills the fields of the samples and checks them.
pub(super) fn columns(job: &Job<'_>, helpers: &dyn Helpers) -> Result<Vec<Column>, LoaderError> {
    end(job, begin(job)?, helpers)
}

/// Fills the samples that are missing and checks all.
fn end(job: &Job<'_>, begun: Begun, helpers: &dyn Helpers) -> Result<Vec<Column>, LoaderError> {
    let &Job { samples, source, indices, care, .. } = job;
    let Begun { mut columns, filled } = begun;
    fill(job, &mut columns, filled..indices.len(), helpers)?;
    let looks_untouched = columns.iter().zip(samples.fields()).any(|(column, field)| match care {
        Care::Thorough => column.bytes().contains(&POISON[0]),
        Care::Tails => chunks(column.bytes(), field.bytes()).any(|sample| tail(sample, care).iter().all(|&byte| byte == POISON[0])),
    });
    if looks_untouched {
        columns = fill_again(job, columns, helpers)?;
    }
    check_labels(samples, source, indices, &columns)?;
    Ok(columns)
}

/// Whether a byte was left alone or happens to be the poison shows when another poison lies there.
fn fill_again(job: &Job<'_>, first: Vec<Column>, helpers: &dyn Helpers) -> Result<Vec<Column>, LoaderError> {
    let &Job { samples, source, indices, care, .. } = job;
    let mut second = room(job)?;
    for (column, field) in second.iter_mut().zip(samples.fields()) {
        poison(column.bytes_mut(), field.bytes(), POISON[1], Care::Thorough);
    }
    fill(job, &mut second, 0..indices.len(), helpers)?;
    for (number, field) in samples.fields().iter().enumerate() {
        let both = chunks(first[number].bytes(), field.bytes()).zip(chunks(second[number].bytes(), field.bytes()));
        for (sample, (a, b)) in both.enumerate() {
            let mut bytes = tail(a, care).iter().zip(tail(b, care));
            if bytes.any(|(&a, &b)| a == POISON[0] && b == POISON[1]) {
                let place = Place { split: samples.splits()[source].name.clone(), sample: indices[sample], count: 1 };
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
        room.ok_or_else(|| LoaderError::ElementType { field: field.name.clone(), dtype: field.dtype.as_str() })
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

/// Some samples of a batch, and their room in each field.
struct Piece<'a> {
    indices: &'a [u64],
    buffers: Vec<&'a mut [u8]>,
    outcome: Result<(), LoaderError>,
}

/// Lets the data set write some of the samples. Many bytes are written by all threads that help; the first part that fails tells why.
fn fill<'a>(job: &Job<'a>, columns: &mut [Column], wanted: Range<usize>, helpers: &dyn Helpers) -> Result<(), LoaderError> {
    let bytes: usize = job.samples.fields().iter().map(|field| wanted.len() * field.bytes()).sum();
    let threads = if bytes < WORTH_SHARING { 1 } else { helpers.threads().min(wanted.len()).max(1) };
    let each = wanted.len().div_ceil(threads);
    let mut rest: Vec<&mut [u8]> = columns.iter_mut().map(Column::bytes_mut).collect();
    let mut cut = |count: usize| {
        let buffers = rest.iter_mut().zip(job.samples.fields());
        buffers.map(|(rest, field)| rest.split_off_mut(..count * field.bytes()).unwrap_or_default()).collect()
    };
    let _: Vec<&mut [u8]> = cut(wanted.start);
    let piece = |indices: &'a [u64]| Mutex::new(Piece { indices, buffers: cut(indices.len()), outcome: Ok(()) });
    let pieces: Vec<Mutex<Piece<'_>>> = job.indices[wanted].chunks(each.max(1)).map(piece).collect();
    helpers.share(pieces.len(), &|number| {
        let mut piece = pieces[number].lock().unwrap_or_else(PoisonError::into_inner);
        let Piece { indices, buffers, outcome } = &mut *piece;
        *outcome = match catch_unwind(AssertUnwindSafe(|| job.samples.fill(job.source, indices, buffers))) {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(LoaderError::Samples { place: job.place(), error }),
            Err(payload) => Err(LoaderError::Panic { place: job.place(), message: panic_message(payload) }),
        };
    });
    pieces.into_iter().try_for_each(|piece| piece.into_inner().unwrap_or_else(PoisonError::into_inner).outcome)
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

fn check_labels(samples: &dyn Samples, source: usize, indices: &[u64], columns: &[Column]) -> Result<(), LoaderError> {
    for (field, column) in samples.fields().iter().zip(columns) {
        let (Some(classes), Some(labels)) = (field.classes, column.labels()) else { continue };
        if let Some(at) = labels.iter().position(|&label| label >= classes) {
            let sample = indices[at / field.elements().max(1)];
            let place = Place { split: samples.splits()[source].name.clone(), sample, count: 1 };
            return Err(LoaderError::Label { place, field: field.name.clone(), label: labels[at], classes });
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
    pub(super) fn make(&self, index: usize, care: Care, helpers: &dyn Helpers) -> Result<Batch, LoaderError> {
        self.end(index, begin(&self.job(index, care))?, care, helpers)
    }

    /// A little more of batch `index`, or its room, on this thread; whether anything is missing then.
    pub(super) fn go_on(&self, index: usize, begun: &mut Option<Begun>) -> Result<bool, LoaderError> {
        let job = self.job(index, Care::Tails);
        let Some(Begun { columns, filled }) = begun else {
            *begun = Some(begin(&job)?);
            return Ok(true);
        };
        let to = job.indices.len().min(*filled + job.indices.len().div_ceil(LITTLE));
        fill(&job, columns, *filled..to, &Alone)?;
        *filled = to;
        Ok(to < job.indices.len())
    }

    /// What is missing of batch `index`, and the batch of it.
    pub(super) fn end(&self, index: usize, begun: Begun, care: Care, helpers: &dyn Helpers) -> Result<Batch, LoaderError> {
        let job = self.job(index, care);
        let columns = end(&job, begun, helpers)?;
        let mut fields = Vec::with_capacity(columns.len());
        for (column, field) in columns.into_iter().zip(self.samples.fields()) {
            let mut shape = Vec::with_capacity(field.shape.len() + 1);
            shape.push(job.indices.len());
            shape.extend_from_slice(&field.shape);
            let tensor =
                column.into_tensor(shape).map_err(|error| LoaderError::Tensor { field: field.name.clone(), message: error.to_string() })?;
            fields.push(tensor);
        }
        Ok(Batch { fields, samples: job.indices.len(), index, indices: job.indices.to_vec() })
    }
}
