//! All samples of a split in order, as the data set writes them: for files of ready samples.

use std::{num::NonZero, sync::Arc};

use super::{
    Loader, LoaderError, Occasion, Samples, Split,
    batch::{self, Job, Notes, Verification},
    buffer_pool::BufferPool,
    error::panic_message,
    ragged,
    samples::Column,
};
use crate::learner::ports::Alone;

/// Bytes that one thread reads at a time.
const PIECE: usize = 4 << 20;
/// Most threads.
const MOST_THREADS: usize = 16;

/// Some samples that follow each other.
pub struct Piece {
    /// Index of the first one.
    pub first: u64,
    columns: Vec<Column>,
    notes: Notes,
}

impl Piece {
    /// Number of samples.
    pub fn len(&self) -> usize {
        self.notes.left_out.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether the data set cannot read a sample.
    pub fn is_left_out(&self, sample: usize) -> bool {
        self.notes.left_out[sample] != 0
    }

    /// The sizes of a sample along the dimensions that differ, field by field.
    pub fn lengths(&self, sample: usize) -> &[u64] {
        let numbers = self.notes.lengths.len() / self.len().max(1);
        &self.notes.lengths[sample * numbers..(sample + 1) * numbers]
    }
}

impl Loader {
    /// The data set that it reads.
    pub fn samples(&self) -> &Arc<dyn Samples> {
        &self.samples
    }

    /// The splits of the data set, before the loader divides them.
    pub fn splits(&self) -> &[Split] {
        self.samples.splits()
    }

    /// Reads all samples of one of those splits on several threads, and passes them to `f` in order.
    ///
    /// # Errors
    /// A sample that cannot be read, or one of `f`.
    pub fn each_piece<E: From<LoaderError>>(
        &self,
        split: usize,
        mut f: impl FnMut(&Piece) -> Result<(), E>,
    ) -> Result<(), E> {
        let samples = &*self.samples;
        let bytes: usize = samples.fields().iter().map(super::Field::bytes).sum();
        let each = (PIECE / bytes.max(1)).clamp(1, 4096) as u64;
        let threads = std::thread::available_parallelism().map_or(1, NonZero::get);
        let buffers = BufferPool::default();
        let all = samples.splits()[split].samples;
        let read = |first: u64| -> Result<Piece, LoaderError> {
            let indices: Vec<u64> = (first..all.min(first + each)).collect();
            let job = Job {
                samples,
                source: split,
                indices: &indices,
                occasion: Occasion { seed: self.seed, ..Occasion::default() },
                verification: Verification::Full,
                buffers: &buffers,
            };
            let (columns, notes) = batch::columns(&job, &Alone)?;
            Ok(Piece { first, columns, notes })
        };
        let read = &read;
        let starts: Vec<u64> = (0..all).step_by(each as usize).collect();
        for starts in starts.chunks(threads.min(MOST_THREADS)) {
            let pieces: Vec<Result<Piece, LoaderError>> = std::thread::scope(|scope| {
                let work = |&first: &u64| scope.spawn(move || read(first));
                let threads: Vec<_> = starts.iter().map(work).collect();
                let ended = threads.into_iter().zip(starts).map(|(thread, &first)| {
                    thread.join().unwrap_or_else(|payload| {
                        let split = samples.splits()[split].name.clone();
                        let at = super::SampleRange { split, sample: first, count: 1 };
                        Err(LoaderError::Panic { at, message: panic_message(payload) })
                    })
                });
                ended.collect()
            });
            for piece in pieces {
                let piece = piece?;
                f(&piece)?;
                piece.columns.into_iter().for_each(|column| buffers.give(column));
            }
        }
        Ok(())
    }

    /// The bytes of field `field` of a sample of a piece, without what is behind its end.
    pub fn bytes_of(&self, piece: &Piece, field: usize, sample: usize) -> Vec<u8> {
        ragged::trimmed(&*self.samples, &piece.columns[field], field, sample, piece.lengths(sample))
    }
}
