//! Room of batches that are gone, for those that come: making it anew, and clearing it, takes as
//! long as filling it.

use std::sync::{Mutex, PoisonError};

use candle_core::DType;

use super::samples::Column;

/// Columns that are kept at most.
const MOST: usize = 8;

/// Columns without a use.
#[derive(Debug, Default)]
pub(super) struct Spare(Mutex<Vec<Column>>);

impl Spare {
    /// Room for `len` elements. They hold what they held before, or zeros. `None` for an element
    /// type that fields cannot have.
    pub(super) fn room(&self, dtype: DType, len: usize) -> Option<Column> {
        let mut columns = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Not one that is much too large: a small batch would keep it from a large one.
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

    /// Takes in room that nobody uses any more.
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
    fn room_that_fits_is_used_again() {
        let spare = Spare::default();
        spare.give(Column::F32(vec![1.0; 6]));
        spare.give(Column::U32(vec![7; 6]));
        assert_eq!(spare.room(DType::U32, 4), Some(Column::U32(vec![7; 4])), "cut to the length");
        assert_eq!(spare.room(DType::F32, 7), Some(Column::F32(vec![0.0; 7])), "too small");
        assert_eq!(spare.room(DType::F32, 1), Some(Column::F32(vec![0.0; 1])), "much too large");
        assert_eq!(spare.room(DType::F64, 6), Some(Column::F64(vec![0.0; 6])), "of another type");
        assert_eq!(spare.room(DType::F32, 6), Some(Column::F32(vec![1.0; 6])));
        assert_eq!(spare.room(DType::F32, 6), Some(Column::F32(vec![0.0; 6])), "given out once");
    }

    #[test]
    fn room_that_was_cut_for_the_last_batch_is_whole_again_for_the_next() {
        let spare = Spare::default();
        spare.give(Column::F32(vec![1.0; 6]));
        let last = spare.room(DType::F32, 4).expect("a type that fields have");
        let address = last.bytes().as_ptr();
        spare.give(last);
        let next = spare.room(DType::F32, 6).expect("a type that fields have");
        assert_eq!(
            (next.bytes().as_ptr(), &next),
            (address, &Column::F32(vec![1.0, 1.0, 1.0, 1.0, 0.0, 0.0]))
        );
    }

    #[test]
    fn no_more_is_kept_than_a_few_batches_need() {
        let spare = Spare::default();
        (0..50_u8).for_each(|number| spare.give(Column::U8(vec![number])));
        let kept: Vec<Column> = (0..MOST).filter_map(|_| spare.room(DType::U8, 1)).collect();
        assert!(kept.iter().all(|column| column.bytes()[0] >= 42), "{kept:?}");
        assert_eq!(spare.room(DType::U8, 1), Some(Column::U8(vec![0])));
    }
}
