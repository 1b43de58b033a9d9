//! Rows of one split in memory: features row by row in 32-bit cells, targets beside them.

use crate::{
    column::{NO_WORD, UNKNOWN_WORD, Values},
    number::NumberFormat,
    rows::Columns,
    storage::{CHUNK, Numbers, unscaled},
};

/// How a feature is stored in the cells of a row.
#[derive(Clone, Copy, Debug, PartialEq)]
#[expect(missing_docs, reason = "the variants describe their numbers")]
pub enum Slot {
    /// `i32 / 10^decimals` in the cell `at`.
    Scaled { at: usize, decimals: u32 },
    /// `f64` in the cells `at` and `at + 1`.
    Wide { at: usize },
    /// Position of a category in the cell `at`, `NO_WORD` or `UNKNOWN_WORD`.
    Category { at: usize },
}

/// A value of a feature.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value {
    /// None.
    Missing,
    /// A number.
    Number(f64),
    /// Position in the list of categories.
    Category(usize),
    /// A category outside the list.
    Unknown,
}

impl Slot {
    /// The value in the cells of a row.
    #[inline]
    pub fn value(self, row: &[u32]) -> Value {
        let number = |number: Option<f64>| number.map_or(Value::Missing, Value::Number);
        match self {
            Slot::Scaled { at, decimals } => number(unscaled(row[at].cast_signed(), decimals)),
            Slot::Wide { at } => {
                let bits = u64::from(row[at]) | u64::from(row[at + 1]) << 32;
                number(Some(f64::from_bits(bits)).filter(|value| !value.is_nan()))
            }
            Slot::Category { at } => match row[at] {
                NO_WORD => Value::Missing,
                UNKNOWN_WORD => Value::Unknown,
                position => Value::Category(position as usize),
            },
        }
    }
}

/// The rows of a split.
#[derive(Debug, Default)]
pub struct Part {
    /// Name of the split.
    pub name: &'static str,
    /// How each feature is stored.
    pub slots: Vec<Slot>,
    /// Cells per row.
    width: usize,
    chunks: Vec<Vec<u32>>,
    /// Class, or the bits of an `f32`.
    pub targets: Vec<u32>,
}

/// Sorted categories of each column; `None` for numbers.
pub type Categories = Vec<Option<Vec<String>>>;

impl Part {
    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.targets.len()
    }

    /// Cells of a row.
    #[inline]
    pub fn row(&self, index: usize) -> &[u32] {
        &self.chunks[index / CHUNK][index % CHUNK * self.width..][..self.width]
    }

    /// Moves the columns of a file into rows, chunk by chunk. Returns the categories of the
    /// features and the target, too.
    pub(crate) fn new(
        name: &'static str,
        mut read: Columns,
        known: Option<Categories>,
        format: NumberFormat,
    ) -> (Part, Categories) {
        let mut part = Part { name, ..Part::default() };
        let mut categories = Vec::new();
        let mut positions = Vec::new();
        for (at, column) in read.columns.iter().enumerate() {
            let (sorted, order) = match &column.values {
                Values::Words(_, dictionary) => match known.as_ref().map(|known| &known[at]) {
                    // A known list keeps its order.
                    Some(Some(list)) => (Some(list.clone()), (0..list.len() as u32).collect()),
                    _ => {
                        let (sorted, order) = dictionary.sorted(format);
                        (Some(sorted), order)
                    }
                },
                _ => (None, Vec::new()),
            };
            categories.push(sorted);
            positions.push(order);
        }
        let features = read.columns.len() - 1;
        for column in &read.columns[..features] {
            let at = part.width;
            let slot = match &column.values {
                Values::Numbers(Numbers::Scaled { decimals, .. }) => {
                    Slot::Scaled { at, decimals: *decimals }
                }
                Values::Numbers(Numbers::Wide(_)) => Slot::Wide { at },
                Values::Words(..) | Values::Empty => Slot::Category { at },
            };
            part.width += if matches!(slot, Slot::Wide { .. }) { 2 } else { 1 };
            part.slots.push(slot);
        }
        let sorted = |order: &[u32], id: u32| order.get(id as usize).copied().unwrap_or(id);
        part.targets.reserve_exact(read.rows);
        for chunk in 0..read.rows.div_ceil(CHUNK) {
            let rows = CHUNK.min(read.rows - chunk * CHUNK);
            let mut cells = vec![0; rows * part.width];
            for ((column, slot), order) in read.columns.iter_mut().zip(&part.slots).zip(&positions)
            {
                match (&mut column.values, *slot) {
                    (Values::Numbers(Numbers::Scaled { values, .. }), Slot::Scaled { at, .. }) => {
                        let values = values.take(chunk);
                        for (row, value) in cells.chunks_exact_mut(part.width).zip(values) {
                            row[at] = value.cast_unsigned();
                        }
                    }
                    (Values::Numbers(Numbers::Wide(values)), Slot::Wide { at }) => {
                        let values = values.take(chunk);
                        for (row, value) in cells.chunks_exact_mut(part.width).zip(values) {
                            let bits = value.to_bits();
                            (row[at], row[at + 1]) = (bits as u32, (bits >> 32) as u32);
                        }
                    }
                    (Values::Words(words, _), Slot::Category { at }) => {
                        let words = words.take(chunk);
                        for (row, id) in cells.chunks_exact_mut(part.width).zip(words) {
                            row[at] = sorted(order, id);
                        }
                    }
                    _ => {}
                }
            }
            part.chunks.push(cells);
            let as_f32 = |value: f64| (value as f32).to_bits();
            match &mut read.columns[features].values {
                Values::Numbers(Numbers::Scaled { values, decimals, .. }) => {
                    let decimals = *decimals;
                    let values = values.take(chunk).into_iter();
                    part.targets.extend(
                        values.map(|value| as_f32(unscaled(value, decimals).unwrap_or(f64::NAN))),
                    );
                }
                Values::Numbers(Numbers::Wide(values)) => {
                    part.targets.extend(values.take(chunk).into_iter().map(as_f32));
                }
                Values::Words(words, _) => {
                    let words = words.take(chunk).into_iter();
                    part.targets.extend(words.map(|id| sorted(&positions[features], id)));
                }
                Values::Empty => {}
            }
        }
        (part, categories)
    }
}
