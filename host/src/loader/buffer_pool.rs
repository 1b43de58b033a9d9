//! Reuses the buffers of finished batches: allocating and clearing a new one takes as long as
//! filling it.

use std::sync::{Mutex, PoisonError};

use candle_core::DType;

use super::samples::Column;

/// Most buffers that are kept.
const MOST: usize = 8;

/// Buffers that no batch uses.
#[derive(Debug, Default)]
pub(super) struct BufferPool(Mutex<Vec<Column>>);

impl BufferPool {
    /// A buffer of `len` elements, with old content or zeros. `None` for an element type that
    /// fields cannot have.
    pub(super) fn take(&self, dtype: DType, len: usize) -> Option<Column> {
        let mut columns = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // A much larger buffer stays in the pool for a larger batch.
        let fits = |column: &Column| {
            column.dtype() == dtype && (len..=len.saturating_mul(4)).contains(&column.capacity())
        };
        let found = columns.iter().position(fits).map(|at| columns.swap_remove(at));
        drop(columns);
        match found {
            Some(mut column) => {
                column.resize(len);
                Some(column)
            }
            None => Column::zeros(dtype, len),
        }
    }

    /// Returns a buffer to the pool; the oldest one is freed where the pool is full.
    pub(super) fn give(&self, column: Column) {
        let mut columns = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if columns.len() == MOST {
            columns.remove(0);
        }
        columns.push(column);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_that_fits_is_reused() {
        let pool = BufferPool::default();
        pool.give(Column::F32(vec![1.0; 6]));
        pool.give(Column::U32(vec![7; 6]));
        assert_eq!(pool.take(DType::U32, 4), Some(Column::U32(vec![7; 4])), "cut to the length");
        assert_eq!(pool.take(DType::F32, 7), Some(Column::F32(vec![0.0; 7])), "too small");
        assert_eq!(pool.take(DType::F32, 1), Some(Column::F32(vec![0.0; 1])), "much too large");
        assert_eq!(pool.take(DType::F64, 6), Some(Column::F64(vec![0.0; 6])), "of another type");
        assert_eq!(pool.take(DType::F32, 6), Some(Column::F32(vec![1.0; 6])));
        assert_eq!(pool.take(DType::F32, 6), Some(Column::F32(vec![0.0; 6])), "taken once");
    }

    #[test]
    fn a_buffer_that_was_cut_for_the_last_batch_has_its_full_length_for_the_next() {
        let pool = BufferPool::default();
        pool.give(Column::F32(vec![1.0; 6]));
        let last = pool.take(DType::F32, 4).expect("a type that fields have");
        let address = last.bytes().as_ptr();
        pool.give(last);
        let next = pool.take(DType::F32, 6).expect("a type that fields have");
        assert_eq!(
            (next.bytes().as_ptr(), &next),
            (address, &Column::F32(vec![1.0, 1.0, 1.0, 1.0, 0.0, 0.0]))
        );
    }

    #[test]
    fn no_more_is_kept_than_a_few_batches_need() {
        let pool = BufferPool::default();
        (0..50_u8).for_each(|number| pool.give(Column::U8(vec![number])));
        let kept: Vec<Column> = (0..MOST).filter_map(|_| pool.take(DType::U8, 1)).collect();
        assert!(kept.iter().all(|column| column.bytes()[0] >= 42), "{kept:?}");
        assert_eq!(pool.take(DType::U8, 1), Some(Column::U8(vec![0])));
    }
}
