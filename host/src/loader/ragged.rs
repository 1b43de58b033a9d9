//! Samples that differ in size: what is behind their ends, cutting, buckets and packs.
//!
//! A data set writes samples as if all had the maximum, and states their lengths. Behind the end of a
//! sample the loader writes the field's padding. A batch is then cut to its longest sample (`pad`), holds
//! samples of similar lengths (`bucket`), or several samples in each of its rows (`pack`).

use std::num::NonZero;
use std::sync::Arc;

use candle_core::DType;

use super::{
    Field, LoaderError, Occasion, Part, Ragged, Remarks, Request, SampleRange, Samples,
    buffer_pool::BufferPool, error::panic_message, random::Draws, samples::Column,
};
use crate::run_file::{LoaderSettings, RaggedRule};

/// Samples whose lengths are asked for at a time.
const CHUNK: usize = 256;
/// Batches that a bucket has: the order of an epoch is sorted by length within that many.
const BUCKET: usize = 50;
/// Names of the fields that a pack adds.
const SEGMENTS: &str = "segments";
const POSITIONS: &str = "positions";

/// Numbers per sample in `lengths`.
pub(super) fn per_sample(ragged: &[Ragged]) -> usize {
    ragged.iter().map(|one| one.dimensions.len()).sum()
}

/// The maxima of one sample, field by field.
pub(super) fn maxima(samples: &dyn Samples) -> Vec<u64> {
    let fields = samples.fields();
    let of = |one: &Ragged| -> Vec<u64> {
        one.dimensions.iter().map(|at| fields[one.field].shape[*at] as u64).collect()
    };
    samples.ragged().iter().flat_map(of).collect()
}

/// What the loader does with the samples of a data set that differ in size.
#[derive(Clone, Debug)]
pub(super) enum Fitting {
    /// Batches are cut to their longest sample, rounded up to a multiple.
    Pad { multiple: usize },
    /// Samples are put into rows of this length.
    Pack { length: usize },
}

impl Fitting {
    /// How the settings say, and the fields of a batch.
    ///
    /// # Errors
    /// The settings do not go with the fields.
    pub(super) fn new(
        samples: &dyn Samples,
        settings: &LoaderSettings,
    ) -> Result<(Fitting, Vec<Field>), LoaderError> {
        let mut fields = samples.fields().to_vec();
        check(samples)?;
        if settings.ragged != RaggedRule::Pack {
            return Ok((Fitting::Pad { multiple: settings.pad_multiple.max(1) }, fields));
        }
        let refused = |reason: String| LoaderError::Ragged(reason);
        let mut most = None;
        for (number, field) in fields.iter().enumerate() {
            let differs = samples.ragged().iter().find(|one| one.field == number);
            if differs.is_none_or(|one| one.dimensions != [0]) {
                return Err(refused(format!(
                    "`ragged = \"pack\"` joins samples along their first dimension, but that of field \
                     `{}` is the same for all: use \"pad\" or \"bucket\"",
                    field.name
                )));
            }
            let length = field.shape[0];
            if *most.get_or_insert(length) != length {
                return Err(refused(format!(
                    "`ragged = \"pack\"` needs fields of one maximal length, but {} and {length} \
                     elements are the most of two fields",
                    most.unwrap_or(0)
                )));
            }
        }
        let length = match settings.pack_length {
            0 => most.unwrap_or(1),
            length => length,
        };
        for field in &mut fields {
            field.shape[0] = length;
        }
        for name in [SEGMENTS, POSITIONS] {
            fields.push(Field {
                name: name.to_owned(),
                dtype: DType::U32,
                shape: vec![length],
                classes: None,
            });
        }
        Ok((Fitting::Pack { length }, fields))
    }
}

/// Checks what the data set says of its fields.
fn check(samples: &dyn Samples) -> Result<(), LoaderError> {
    for one in samples.ragged() {
        let field = &samples.fields()[one.field];
        let whole = one.padding.fract() == 0.0;
        let most = match (field.classes, field.dtype) {
            (Some(classes), _) => f64::from(classes) - 1.0,
            (None, DType::U8) => f64::from(u8::MAX),
            (None, DType::U32) => f64::from(u32::MAX),
            (None, DType::I64) => (1_u64 << 53) as f64,
            _ => continue,
        };
        let least = if field.dtype == DType::I64 { -most } else { 0.0 };
        if !whole || !(least..=most).contains(&one.padding) {
            return Err(LoaderError::Ragged(format!(
                "the data set pads field `{}` with {}, which is none of its values (whole numbers from {least} \
                 to {most})",
                field.name, one.padding
            )));
        }
    }
    Ok(())
}

/// The bytes of one element of a field.
fn element(dtype: DType, value: f64) -> Vec<u8> {
    match dtype {
        DType::U8 => vec![value as u8],
        DType::U32 => (value as u32).to_ne_bytes().to_vec(),
        DType::I64 => (value as i64).to_ne_bytes().to_vec(),
        DType::BF16 => half::bf16::from_f64(value).to_ne_bytes().to_vec(),
        DType::F16 => half::f16::from_f64(value).to_ne_bytes().to_vec(),
        DType::F32 => (value as f32).to_ne_bytes().to_vec(),
        _ => value.to_ne_bytes().to_vec(),
    }
}

/// The size of a sample along each dimension of its field.
fn extents(shape: &[usize], one: &Ragged, lengths: &[u64]) -> Vec<usize> {
    let mut all = shape.to_vec();
    for (dimension, length) in one.dimensions.iter().zip(lengths) {
        all[*dimension] = *length as usize;
    }
    all
}

/// Writes `padding` into all elements of a sample of `shape` that are not within `used`.
fn pad(sample: &mut [u8], shape: &[usize], used: &[usize], padding: &[u8]) {
    let (Some((&size, inner)), Some((&kept, used))) = (shape.split_first(), used.split_first())
    else {
        return;
    };
    let stride = inner.iter().product::<usize>() * padding.len();
    if inner != used {
        for part in sample[..kept * stride].chunks_exact_mut(stride.max(1)) {
            pad(part, inner, used, padding);
        }
    }
    for place in sample[kept * stride..size * stride].chunks_exact_mut(padding.len()) {
        place.copy_from_slice(padding);
    }
}

/// Copies the elements within `used` from a sample of shape `from` to one of shape `to`.
fn copy(
    (source, from): (&[u8], &[usize]),
    (target, to): (&mut [u8], &[usize]),
    used: &[usize],
    bytes: usize,
) {
    let Some((&count, used)) = used.split_first() else {
        target[..bytes].copy_from_slice(&source[..bytes]);
        return;
    };
    let stride = |shape: &[usize]| shape[1..].iter().product::<usize>() * bytes;
    let (step, wide) = (stride(from), stride(to));
    if from[1..] == to[1..] {
        target[..count * step].copy_from_slice(&source[..count * step]);
        return;
    }
    for at in 0..count {
        let part = (&source[at * step..(at + 1) * step], &from[1..]);
        copy(part, (&mut target[at * wide..(at + 1) * wide], &to[1..]), used, bytes);
    }
}

/// Checks the lengths that a data set stated, and writes the padding behind the end of each sample.
///
/// # Errors
/// A length above the maximum.
pub(super) fn finish(
    samples: &dyn Samples,
    (source, indices): (usize, &[u64]),
    buffers: &mut [&mut [u8]],
    lengths: &[u64],
) -> Result<(), LoaderError> {
    let ragged = samples.ragged();
    let numbers = per_sample(ragged);
    if numbers == 0 {
        return Ok(());
    }
    let mut first = 0;
    for one in ragged {
        let field = &samples.fields()[one.field];
        let padding = element(field.dtype, one.padding);
        let own = first..first + one.dimensions.len();
        first = own.end;
        let places = buffers[one.field].chunks_exact_mut(field.bytes().max(1));
        for ((place, lengths), index) in places.zip(lengths.chunks_exact(numbers)).zip(indices) {
            let lengths = &lengths[own.clone()];
            for (dimension, length) in one.dimensions.iter().zip(lengths) {
                if *length > field.shape[*dimension] as u64 {
                    return Err(LoaderError::Length {
                        at: SampleRange {
                            split: samples.splits()[source].name.clone(),
                            sample: *index,
                            count: 1,
                        },
                        field: field.name.clone(),
                        length: *length,
                        most: field.shape[*dimension],
                    });
                }
            }
            let used = extents(&field.shape, one, lengths);
            pad(place, &field.shape, &used, &padding);
        }
    }
    Ok(())
}

/// Cuts the fields of a batch to its longest sample. Returns the shapes of a sample.
pub(super) fn cut(
    samples: &dyn Samples,
    columns: &mut [Column],
    lengths: &[u64],
    multiple: usize,
    buffers: &BufferPool,
) -> Vec<Vec<usize>> {
    let mut shapes: Vec<Vec<usize>> =
        samples.fields().iter().map(|field| field.shape.clone()).collect();
    let ragged = samples.ragged();
    let numbers = per_sample(ragged);
    let mut first = 0;
    for one in ragged {
        let field = &samples.fields()[one.field];
        let mut to = field.shape.clone();
        for (place, dimension) in one.dimensions.iter().enumerate() {
            let of_samples = lengths.iter().skip(first + place).step_by(numbers);
            let longest = of_samples.copied().max().unwrap_or(0) as usize;
            let most = field.shape[*dimension];
            to[*dimension] = longest.max(1).div_ceil(multiple).saturating_mul(multiple).min(most);
        }
        first += one.dimensions.len();
        let count = lengths.len() / numbers;
        let elements: usize = to.iter().product();
        if to == field.shape {
            continue;
        }
        let Some(mut target) = buffers.take(field.dtype, count * elements) else { continue };
        let bytes = field.dtype.size_in_bytes();
        let sources = columns[one.field].bytes().chunks_exact(field.bytes().max(1));
        let targets = target.bytes_mut().chunks_exact_mut((elements * bytes).max(1));
        for (source, target) in sources.zip(targets) {
            copy((source, &field.shape), (target, &to), &to, bytes);
        }
        buffers.give(std::mem::replace(&mut columns[one.field], target));
        shapes[one.field] = to;
    }
    shapes
}

/// The bytes of one sample of a field, without those behind its end.
pub(super) fn trimmed(
    samples: &dyn Samples,
    column: &Column,
    number: usize,
    sample: usize,
    lengths: &[u64],
) -> Vec<u8> {
    let field = &samples.fields()[number];
    let whole = &column.bytes()[sample * field.bytes()..(sample + 1) * field.bytes()];
    let mut first = 0;
    for one in samples.ragged() {
        let own = first..first + one.dimensions.len();
        first = own.end;
        if one.field == number {
            let used = extents(&field.shape, one, &lengths[own]);
            let bytes = field.dtype.size_in_bytes();
            let mut trimmed = vec![0; used.iter().product::<usize>() * bytes];
            copy((whole, &field.shape), (&mut trimmed, &used), &used, bytes);
            return trimmed;
        }
    }
    whole.to_vec()
}

/// Puts the samples of a batch into rows of `length`, those at `rows[n]..rows[n + 1]` into row `n`. Returns
/// the fields with their segments and positions, and the number of rows; a row of which every sample is
/// left out does not come.
///
/// # Errors
/// The fields of a sample have different lengths.
pub(super) fn pack(
    samples: &dyn Samples,
    (source, indices): (usize, &[u64]),
    (columns, lengths, left_out): (&[Column], &[u64], &[u8]),
    rows: &[usize],
    length: usize,
) -> Result<(Vec<Column>, usize), LoaderError> {
    let numbers = per_sample(samples.ragged());
    let kept = |row: &[usize]| -> Vec<usize> {
        (row[0]..row[1]).filter(|place| left_out[*place] == 0).collect()
    };
    let rows: Vec<Vec<usize>> = rows.windows(2).map(kept).filter(|row| !row.is_empty()).collect();
    let mut packed = Vec::with_capacity(columns.len() + 2);
    for (one, column) in samples.ragged().iter().zip(columns) {
        let field = &samples.fields()[one.field];
        let step = field.bytes() / field.shape[0].max(1);
        let padding = element(field.dtype, one.padding);
        let elements = rows.len() * length * (field.elements() / field.shape[0].max(1));
        let Some(mut target) = Column::zeros(field.dtype, elements) else { continue };
        let targets = target.bytes_mut().chunks_exact_mut((length * step).max(1));
        for (target, row) in targets.zip(&rows) {
            let mut end = 0;
            for &place in row {
                let bytes = lengths[place * numbers] as usize * step;
                let sample = &column.bytes()[place * field.bytes()..][..bytes];
                target[end..end + bytes].copy_from_slice(sample);
                end += bytes;
            }
            for place in target[end..].chunks_exact_mut(padding.len()) {
                place.copy_from_slice(&padding);
            }
        }
        packed.push(target);
    }
    let (mut segments, mut positions) =
        (vec![0_u32; rows.len() * length], vec![0_u32; rows.len() * length]);
    for (number, row) in rows.iter().enumerate() {
        let mut end = number * length;
        for (segment, &place) in row.iter().enumerate() {
            let own = &lengths[place * numbers..(place + 1) * numbers];
            if own.iter().any(|other| *other != own[0]) {
                let text = format!("`ragged = \"pack\"`: the lengths {own:?} of its fields differ");
                let split = samples.splits()[source].name.clone();
                let at = SampleRange { split, sample: indices[place], count: 1 };
                return Err(LoaderError::Samples { at, error: super::SampleError(text) });
            }
            let count = own[0] as usize;
            segments[end..end + count].fill(segment as u32 + 1);
            let places = positions[end..end + count].iter_mut();
            places.zip(0..).for_each(|(place, position)| *place = position);
            end += count;
        }
    }
    packed.push(Column::U32(segments));
    packed.push(Column::U32(positions));
    Ok((packed, rows.len()))
}

/// The longest length of each sample of a split, read on several threads.
///
/// # Errors
/// A sample that cannot be read.
pub(super) fn lengths(samples: &dyn Samples, part: &Part) -> Result<Vec<u64>, LoaderError> {
    let (numbers, maxima) = (per_sample(samples.ragged()), maxima(samples));
    let mut all = vec![0; part.indices.len()];
    let read = |(indices, longest): (&[u64], &mut [u64])| {
        let mut buffers: Vec<&mut [u8]> = samples.fields().iter().map(|_| &mut [][..]).collect();
        let (mut left_out, mut lengths) = (vec![0; indices.len()], maxima.repeat(indices.len()));
        let request = Request { occasion: Occasion::default(), split: part.source, indices };
        let mut remarks = Remarks { left_out: &mut left_out, lengths: &mut lengths };
        samples.fill(&request, &mut buffers, &mut remarks).map_err(|error| {
            let at =
                SampleRange { split: part.name.clone(), sample: indices[0], count: indices.len() };
            LoaderError::Samples { at, error }
        })?;
        for (longest, own) in longest.iter_mut().zip(lengths.chunks_exact(numbers)) {
            *longest = own.iter().copied().max().unwrap_or(0);
        }
        Ok(())
    };
    let threads = std::thread::available_parallelism().map_or(1, NonZero::get).min(8);
    let each = part.indices.len().div_ceil(threads).max(1);
    let parts = part.indices.chunks(each).zip(all.chunks_mut(each));
    let read = &read;
    std::thread::scope(|scope| {
        let work = |(indices, longest): (&[u64], &mut [u64])| {
            indices.chunks(CHUNK).zip(longest.chunks_mut(CHUNK)).try_for_each(read)
        };
        let threads: Vec<_> = parts.map(|part| scope.spawn(move || work(part))).collect();
        threads.into_iter().try_for_each(|thread| {
            thread.join().unwrap_or_else(|payload| {
                let at =
                    SampleRange { split: part.name.clone(), sample: part.indices[0], count: 1 };
                Err(LoaderError::Panic { at, message: panic_message(payload) })
            })
        })
    })?;
    Ok(all)
}

/// The order of an epoch in buckets: batches of samples of similar lengths, in random order. A last batch
/// with fewer samples stays the last.
pub(super) fn bucketed(
    order: &mut [u64],
    length: impl Fn(u64) -> u64,
    batch_size: usize,
    draws: &mut Draws,
) {
    for bucket in order.chunks_mut(BUCKET * batch_size) {
        bucket.sort_by_cached_key(|index| std::cmp::Reverse(length(*index)));
    }
    let mut batches: Vec<Vec<u64>> = order.chunks(batch_size).map(<[u64]>::to_vec).collect();
    let last = batches.pop_if(|batch| batch.len() < batch_size);
    draws.shuffle(&mut batches);
    let all = batches.into_iter().chain(last).flatten();
    order.iter_mut().zip(all).for_each(|(place, index)| *place = index);
}

/// The rows of a split: the order of its samples, and where each row begins in it and the last one ends.
#[derive(Clone, Debug)]
pub(super) struct Rows {
    order: Vec<u64>,
    starts: Vec<usize>,
}

/// The order of an epoch, and the rows in it if samples are packed.
pub(super) type Order = (Arc<[u64]>, Option<Arc<[usize]>>);

impl Rows {
    /// Puts samples into rows of `capacity`, each into the first that has room for it, in a random order
    /// that is the same in all epochs.
    ///
    /// # Errors
    /// A sample is longer than a row.
    pub(super) fn new(
        part: &Part,
        lengths: &[u64],
        capacity: usize,
        seed: u64,
    ) -> Result<Rows, LoaderError> {
        let mut places: Vec<usize> = (0..lengths.len()).collect();
        Draws::new(seed, &format!("pack/{}", part.name), 0).shuffle(&mut places);
        let mut room = Room::new(lengths.len(), capacity as u64);
        let mut rows: Vec<Vec<u64>> = Vec::new();
        for place in places {
            let (index, length) = (part.indices[place], lengths[place]);
            let Some(row) = room.take(length) else {
                return Err(LoaderError::Ragged(format!(
                    "sample {index} of split `{}` has {length} elements, more than the rows of \
                     `pack-length = {capacity}`",
                    part.name
                )));
            };
            if row == rows.len() {
                rows.push(Vec::new());
            }
            rows[row].push(index);
        }
        Ok(Rows::of(rows.iter().map(Vec::as_slice)))
    }

    fn of<'a>(rows: impl Iterator<Item = &'a [u64]>) -> Rows {
        let (mut order, mut starts) = (Vec::new(), vec![0]);
        for row in rows {
            order.extend_from_slice(row);
            starts.push(order.len());
        }
        Rows { order, starts }
    }

    /// Number of rows.
    pub(super) fn count(&self) -> usize {
        self.starts.len() - 1
    }

    /// The order of an epoch, with the rows in another order if there are `draws`.
    pub(super) fn order(&self, draws: Option<Draws>) -> Order {
        let mut rows: Vec<&[u64]> =
            self.starts.windows(2).map(|row| &self.order[row[0]..row[1]]).collect();
        if let Some(mut draws) = draws {
            draws.shuffle(&mut rows);
        }
        let Rows { order, starts } = Rows::of(rows.into_iter());
        (order.into(), Some(starts.into()))
    }
}

/// The room that is left in rows: a tree whose nodes hold the most of the leaves below them, so that the
/// first row with enough room is found in a few steps.
struct Room {
    leaves: usize,
    most: Vec<u64>,
}

impl Room {
    fn new(rows: usize, capacity: u64) -> Room {
        let leaves = rows.max(1).next_power_of_two();
        Room { leaves, most: vec![capacity; 2 * leaves] }
    }

    /// Takes room for `length` in the first row that has it.
    fn take(&mut self, length: u64) -> Option<usize> {
        if self.most[1] < length {
            return None;
        }
        let mut at = 1;
        while at < self.leaves {
            at = if self.most[2 * at] >= length { 2 * at } else { 2 * at + 1 };
        }
        let row = at - self.leaves;
        self.most[at] -= length;
        while at > 1 {
            at /= 2;
            self.most[at] = self.most[2 * at].max(self.most[2 * at + 1]);
        }
        Some(row)
    }
}

#[cfg(test)]
mod tests;
