//! Makes one batch: buffers for its fields, filled by the data set, verified, turned into tensors.
//!
//! Called on the loader's threads, on idle kernel threads and on the training thread. A panic of
//! the data set becomes a [`LoaderError`].

use std::{
    ops::Range,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex, PoisonError},
};

use candle_core::Tensor;

use super::{
    LoaderError, SampleRange, Samples, Share,
    buffer_pool::BufferPool,
    error::panic_message,
    left_out::LeftOut,
    ragged::{self, Fitting},
    samples::{Column, Occasion, Remarks, Request},
};
use crate::learner::ports::{Alone, DataBatch, Helpers};

/// Which bytes are checked for being written by the data set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verification {
    /// Every byte.
    Full,
    /// The last bytes of every sample.
    Tails,
}

/// Bytes of a sample that [`Verification::Tails`] checks.
const TAIL: usize = 8;
/// Patterns that the buffers hold before the first and the second fill.
const POISON: [u8; 2] = [0xA5, 0x5A];

/// Bytes behind each buffer that the data set must not write, and their value.
const GUARD: usize = 8;
const GUARD_VALUE: u8 = 0xC3;

/// Bytes of a batch from which several threads fill it. Handing a part to a thread takes about as
/// long as writing this many bytes.
const WORTH_SHARING: usize = 64 * 1024;

/// Number of pieces in which idle threads fill a batch. While a thread fills a piece, the kernels
/// cannot use it.
const IDLE_PIECES: usize = 16;

/// The samples to fill and how to verify them.
pub(super) struct Job<'a> {
    pub(super) samples: &'a dyn Samples,
    pub(super) source: usize,
    pub(super) indices: &'a [u64],
    pub(super) occasion: Occasion,
    pub(super) verification: Verification,
    pub(super) buffers: &'a BufferPool,
}

impl Job<'_> {
    fn range(&self) -> SampleRange {
        SampleRange {
            split: self.samples.splits()[self.source].name.clone(),
            sample: self.indices.first().copied().unwrap_or_default(),
            count: self.indices.len(),
        }
    }
}

/// Buffers of a batch whose first samples are filled.
pub(super) struct PartialBatch {
    columns: Vec<Column>,
    notes: Notes,
    filled: usize,
    looks_untouched: bool,
}

/// What the data set said of the samples of a batch.
pub(super) struct Notes {
    /// One byte per sample: 1 for one that the data set leaves out.
    pub(super) left_out: Vec<u8>,
    /// For each sample one number per dimension that differs.
    pub(super) lengths: Vec<u64>,
}

impl Notes {
    fn new(job: &Job<'_>) -> Notes {
        let count = job.indices.len();
        Notes { left_out: vec![0; count], lengths: ragged::maxima(job.samples).repeat(count) }
    }

    /// Removes the lengths of the samples that are left out.
    fn compact(&mut self) {
        let numbers = self.lengths.len() / self.left_out.len().max(1);
        let kept = self.lengths.chunks(numbers.max(1)).zip(&self.left_out);
        let kept = kept.filter(|(_, out)| **out == 0).flat_map(|(lengths, _)| lengths);
        self.lengths = kept.copied().collect();
    }
}

/// Takes buffers for all samples; none is filled yet.
fn allocate(job: &Job<'_>) -> Result<PartialBatch, LoaderError> {
    let notes = Notes::new(job);
    Ok(PartialBatch { columns: buffers(job)?, notes, filled: 0, looks_untouched: false })
}

/// Fills and verifies the fields of the samples; samples that the data set leaves out hold zeros.
/// Returns the columns, and what the data set said of the samples.
pub(super) fn columns(
    job: &Job<'_>,
    helpers: &dyn Helpers,
) -> Result<(Vec<Column>, Notes), LoaderError> {
    finish(job, allocate(job)?, helpers)
}

/// Fills the missing samples and verifies all of them.
fn finish(
    job: &Job<'_>,
    partial: PartialBatch,
    helpers: &dyn Helpers,
) -> Result<(Vec<Column>, Notes), LoaderError> {
    let PartialBatch { mut columns, mut notes, filled, looks_untouched } = partial;
    let wanted = filled..job.indices.len();
    let rest_does = fill(job, &mut columns, &mut notes, wanted, POISON[0], helpers)?;
    remove_guards(job, &mut columns)?;
    if looks_untouched || rest_does {
        notes = Notes::new(job);
        columns = fill_again(job, columns, &mut notes, helpers)?;
    }
    check_labels(job.samples, job.source, job.indices, &columns)?;
    Ok((columns, notes))
}

/// Fills once more over the other pattern: a byte that equals the pattern both times was not
/// written.
fn fill_again(
    job: &Job<'_>,
    first: Vec<Column>,
    notes: &mut Notes,
    helpers: &dyn Helpers,
) -> Result<Vec<Column>, LoaderError> {
    let &Job { samples, source, indices, verification, .. } = job;
    let mut second = buffers(job)?;
    fill(job, &mut second, notes, 0..indices.len(), POISON[1], helpers)?;
    remove_guards(job, &mut second)?;
    for (number, field) in samples.fields().iter().enumerate() {
        let both = chunks(first[number].bytes(), field.bytes())
            .zip(chunks(second[number].bytes(), field.bytes()));
        for (sample, (a, b)) in both.enumerate() {
            let mut bytes = checked(a, verification).iter().zip(checked(b, verification));
            if bytes.any(|(&a, &b)| a == POISON[0] && b == POISON[1]) {
                let at = SampleRange {
                    split: samples.splits()[source].name.clone(),
                    sample: indices[sample],
                    count: 1,
                };
                return Err(LoaderError::Unfilled { at, field: field.name.clone() });
            }
        }
    }
    Ok(second)
}

fn buffers(job: &Job<'_>) -> Result<Vec<Column>, LoaderError> {
    let fields = job.samples.fields().iter();
    let columns = fields.map(|field| {
        let len = job.indices.len() * field.elements();
        let guard = GUARD / field.dtype.size_in_bytes().max(1);
        let mut buffer = job.buffers.take(field.dtype, len + guard).ok_or_else(|| {
            LoaderError::ElementType { field: field.name.clone(), dtype: field.dtype.as_str() }
        })?;
        buffer.bytes_mut()[job.indices.len() * field.bytes()..].fill(GUARD_VALUE);
        Ok(buffer)
    });
    columns.collect()
}

/// Checks and removes the guards behind the buffers.
fn remove_guards(job: &Job<'_>, columns: &mut [Column]) -> Result<(), LoaderError> {
    for (column, field) in columns.iter_mut().zip(job.samples.fields()) {
        let guard = &column.bytes()[job.indices.len() * field.bytes()..];
        if guard.iter().any(|&byte| byte != GUARD_VALUE) {
            return Err(LoaderError::Overrun { at: job.range(), field: field.name.clone() });
        }
        column.resize(job.indices.len() * field.elements());
    }
    Ok(())
}

fn chunks(bytes: &[u8], sample: usize) -> impl Iterator<Item = &[u8]> {
    bytes.chunks_exact(sample.max(1))
}

/// The bytes of a sample that are checked.
fn checked(sample: &[u8], verification: Verification) -> &[u8] {
    match verification {
        Verification::Full => sample,
        Verification::Tails => &sample[sample.len().saturating_sub(TAIL)..],
    }
}

fn poison(bytes: &mut [u8], sample: usize, value: u8, verification: Verification) {
    match verification {
        Verification::Full => bytes.fill(value),
        Verification::Tails => {
            for sample in bytes.chunks_exact_mut(sample.max(1)) {
                let start = sample.len().saturating_sub(TAIL);
                sample[start..].fill(value);
            }
        }
    }
}

fn looks_untouched(bytes: &[u8], sample: usize, value: u8, verification: Verification) -> bool {
    match verification {
        Verification::Full => bytes.contains(&value),
        Verification::Tails => chunks(bytes, sample)
            .any(|sample| checked(sample, verification).iter().all(|&byte| byte == value)),
    }
}

/// Sets the samples that are left out to zeros.
fn clear(bytes: &mut [u8], sample: usize, left_out: &[u8]) {
    for (bytes, _) in
        bytes.chunks_exact_mut(sample.max(1)).zip(left_out).filter(|(_, out)| **out != 0)
    {
        bytes.fill(0);
    }
}

/// Removes the samples that are left out; the others keep their order.
fn compact(column: &mut Column, sample_bytes: usize, elements: usize, left_out: &[u8]) {
    let bytes = column.bytes_mut();
    let mut to = 0;
    for (from, _) in left_out.iter().enumerate().filter(|(_, out)| **out == 0) {
        bytes.copy_within(from * sample_bytes..(from + 1) * sample_bytes, to * sample_bytes);
        to += 1;
    }
    column.resize(to * elements);
}

/// Some samples of a batch and their part of each buffer.
struct Piece<'a> {
    indices: &'a [u64],
    buffers: Vec<&'a mut [u8]>,
    remarks: Remarks<'a>,
}

impl Piece<'_> {
    /// Poisons the buffers with `value`, calls the data set's `fill`, and returns whether `value`
    /// may still be there. All on one thread, so that the buffers stay in its cache.
    fn fill(&mut self, job: &Job<'_>, value: u8) -> Result<bool, LoaderError> {
        let Piece { indices, buffers, remarks } = self;
        for (buffer, field) in buffers.iter_mut().zip(job.samples.fields()) {
            poison(buffer, field.bytes(), value, job.verification);
        }
        let request = Request { occasion: job.occasion, split: job.source, indices };
        let filled = || job.samples.fill(&request, buffers, remarks);
        match catch_unwind(AssertUnwindSafe(filled)) {
            Ok(Ok(())) => {
                let own = (job.source, &**indices);
                ragged::finish(job.samples, own, buffers, remarks.lengths)?;
                for (buffer, field) in buffers.iter_mut().zip(job.samples.fields()) {
                    clear(buffer, field.bytes(), remarks.left_out);
                }
                let mut fields = buffers.iter().zip(job.samples.fields());
                Ok(fields.any(|(buffer, field)| {
                    looks_untouched(buffer, field.bytes(), value, job.verification)
                }))
            }
            Ok(Err(error)) => Err(LoaderError::Samples { at: job.range(), error }),
            Err(payload) => {
                Err(LoaderError::Panic { at: job.range(), message: panic_message(payload) })
            }
        }
    }
}

/// Fills the samples `wanted` as [`Piece::fill`] does, a large range on all threads of `helpers`.
/// With several errors, returns that of the first piece.
fn fill<'a>(
    job: &Job<'a>,
    columns: &mut [Column],
    notes: &mut Notes,
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
    let numbers = ragged::per_sample(job.samples.ragged());
    let mut marks = &mut notes.left_out[wanted.clone()];
    let mut lengths = &mut notes.lengths[wanted.start * numbers..];
    let mut piece = |indices: &'a [u64]| Piece {
        indices,
        buffers: cut(indices.len()),
        remarks: Remarks {
            left_out: marks.split_off_mut(..indices.len()).unwrap_or_default(),
            lengths: lengths.split_off_mut(..indices.len() * numbers).unwrap_or_default(),
        },
    };
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
            let at_sample =
                SampleRange { split: samples.splits()[source].name.clone(), sample, count: 1 };
            return Err(LoaderError::Label {
                at: at_sample,
                field: field.name.clone(),
                label: labels[at],
                classes,
            });
        }
    }
    Ok(())
}

/// Everything needed to make any batch of an epoch, on any thread.
pub(super) struct Plan {
    pub(super) samples: Arc<dyn Samples>,
    pub(super) source: usize,
    pub(super) order: Arc<[u64]>,
    /// Where the rows of the order begin, and the last one ends, if samples are packed.
    pub(super) rows: Option<Arc<[usize]>>,
    /// Samples of a batch, or rows.
    pub(super) batch_size: usize,
    pub(super) fitting: Fitting,
    pub(super) occasion: Occasion,
    pub(super) buffers: Arc<BufferPool>,
    pub(super) left_out: Arc<LeftOut>,
    pub(super) share: Share,
}

impl Plan {
    fn job(&self, index: usize, verification: Verification) -> Job<'_> {
        let start = index * self.batch_size;
        let all = match self.rows_of(index) {
            Some(rows) => &self.order[rows[0]..rows[rows.len() - 1]],
            None => &self.order[start..self.order.len().min(start + self.batch_size)],
        };
        let indices = &all[self.share.of(all.len())];
        Job {
            samples: &*self.samples,
            source: self.source,
            indices,
            occasion: self.occasion,
            verification,
            buffers: &self.buffers,
        }
    }

    /// Where the rows of batch `index` begin in the order, and the last one ends.
    fn rows_of(&self, index: usize) -> Option<&[usize]> {
        let rows = self.rows.as_ref()?;
        let start = index * self.batch_size;
        Some(&rows[start..rows.len().min(start + self.batch_size + 1)])
    }

    /// The samples of batch `index` that were not left out when it was made.
    pub(super) fn kept(&self, index: usize) -> Vec<u64> {
        let indices = self.job(index, Verification::Tails).indices.iter().copied();
        indices.filter(|sample| !self.left_out.contains(self.source, *sample)).collect()
    }

    /// Makes batch `index` of the epoch.
    pub(super) fn make(
        &self,
        index: usize,
        verification: Verification,
        helpers: &dyn Helpers,
    ) -> Result<DataBatch, LoaderError> {
        self.finish(index, allocate(&self.job(index, verification))?, verification, helpers)
    }

    /// Fills one more piece of batch `index` on this thread; the first call only takes the
    /// buffers. Returns whether samples are still missing.
    pub(super) fn fill_piece(
        &self,
        index: usize,
        partial: &mut Option<PartialBatch>,
    ) -> Result<bool, LoaderError> {
        let job = self.job(index, Verification::Tails);
        let Some(PartialBatch { columns, notes, filled, looks_untouched }) = partial else {
            *partial = Some(allocate(&job)?);
            return Ok(true);
        };
        let to = job.indices.len().min(*filled + job.indices.len().div_ceil(IDLE_PIECES));
        *looks_untouched |= fill(&job, columns, notes, *filled..to, POISON[0], &Alone)?;
        *filled = to;
        Ok(to < job.indices.len())
    }

    /// Fills the missing samples of batch `index` and makes its tensors. A batch of which every sample
    /// is left out has no tensors.
    pub(super) fn finish(
        &self,
        index: usize,
        partial: PartialBatch,
        verification: Verification,
        helpers: &dyn Helpers,
    ) -> Result<DataBatch, LoaderError> {
        let job = self.job(index, verification);
        let (mut columns, mut notes) = finish(&job, partial, helpers)?;
        let samples = notes.left_out.iter().filter(|out| **out == 0).count();
        if samples < job.indices.len() {
            self.left_out.add(self.source, job.indices, &notes.left_out);
        }
        if samples == 0 {
            columns.into_iter().for_each(|column| self.buffers.give(column));
            return Ok(DataBatch { fields: Vec::new(), samples, index: index as u64 });
        }
        let multiple = match self.fitting {
            Fitting::Pad { multiple } => multiple,
            Fitting::Pack { length } => return self.pack(&job, index, (columns, &notes), length),
        };
        if samples < job.indices.len() {
            for (column, field) in columns.iter_mut().zip(self.samples.fields()) {
                compact(column, field.bytes(), field.elements(), &notes.left_out);
            }
            notes.compact();
        }
        tensors(&job, columns, &notes.lengths, (samples, multiple), index as u64)
    }

    /// The batch of packed samples.
    fn pack(
        &self,
        job: &Job<'_>,
        index: usize,
        (columns, notes): (Vec<Column>, &Notes),
        length: usize,
    ) -> Result<DataBatch, LoaderError> {
        let rows = self.rows_of(index).unwrap_or_default();
        let rows: Vec<usize> = rows.iter().map(|start| start - rows[0]).collect();
        let own = (job.source, job.indices);
        let of_samples = (&columns[..], &notes.lengths[..], &notes.left_out[..]);
        let (packed, samples) = ragged::pack(job.samples, own, of_samples, &rows, length)?;
        columns.into_iter().for_each(|column| self.buffers.give(column));
        let inner = job.samples.fields().iter().map(|field| &field.shape[1..]);
        let names = job.samples.fields().iter().map(|field| field.name.as_str());
        let shapes = inner.chain([&[][..]; 2]);
        let mut fields = Vec::with_capacity(packed.len());
        for ((column, inner), name) in
            packed.into_iter().zip(shapes).zip(names.chain(["segments", "positions"]))
        {
            let shape = [&[samples, length], inner].concat();
            fields.push(tensor(column, shape, name)?);
        }
        Ok(DataBatch { fields, samples, index: index as u64 })
    }
}

/// The batch of filled and verified fields, cut to the longest sample rounded up to `multiple`.
fn tensors(
    job: &Job<'_>,
    mut columns: Vec<Column>,
    lengths: &[u64],
    (samples, multiple): (usize, usize),
    index: u64,
) -> Result<DataBatch, LoaderError> {
    let shapes = ragged::cut(job.samples, &mut columns, lengths, multiple, job.buffers);
    let mut fields = Vec::with_capacity(columns.len());
    for ((column, field), shape) in columns.into_iter().zip(job.samples.fields()).zip(shapes) {
        let shape = [&[samples], &shape[..]].concat();
        fields.push(tensor(column, shape, &field.name)?);
    }
    Ok(DataBatch { fields, samples, index })
}

fn tensor(column: Column, shape: Vec<usize>, field: &str) -> Result<Tensor, LoaderError> {
    column.into_tensor(shape).map_err(|error| LoaderError::Tensor {
        field: field.to_owned(),
        message: error.to_string(),
    })
}

/// The first `count` samples of the first split as one batch: those that a data set has read to
/// predict from. Also returns which of them are in it, without those that the data set leaves out.
///
/// # Errors
/// The data set cannot write them, or leaves bytes out.
pub fn batch_of_first(
    samples: &dyn Samples,
    count: usize,
    helpers: &dyn Helpers,
) -> Result<(DataBatch, Vec<usize>), LoaderError> {
    let indices: Vec<u64> = (0..count as u64).collect();
    let buffers = BufferPool::default();
    let job = Job {
        samples,
        source: 0,
        indices: &indices,
        occasion: Occasion::default(),
        verification: Verification::Tails,
        buffers: &buffers,
    };
    let (mut columns, mut notes) = columns(&job, helpers)?;
    let kept: Vec<usize> = (0..count).filter(|place| notes.left_out[*place] == 0).collect();
    if kept.len() < count {
        for (column, field) in columns.iter_mut().zip(samples.fields()) {
            compact(column, field.bytes(), field.elements(), &notes.left_out);
        }
        notes.compact();
    }
    let batch = tensors(&job, columns, &notes.lengths, (kept.len(), 1), 0)?;
    Ok((batch, kept))
}
