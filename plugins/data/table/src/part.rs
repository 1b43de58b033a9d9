//! Rows of one split in memory: features row by row in 32-bit cells, targets beside them.

use std::slice::ChunksExactMut;

use crate::{
    column::{Column, Kind, NO_WORD, UNKNOWN_WORD, Values},
    lists::{Element, Lists},
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
    /// The list `at` of [`Part::lists`].
    List { at: usize },
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
    /// A list, which lies elsewhere.
    List,
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
            Slot::List { .. } => Value::List,
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
    /// Cells of [`BLOCK`] rows each.
    blocks: Vec<Vec<u32>>,
    /// Class, or the bits of an `f32`.
    pub targets: Vec<u32>,
    /// Columns of lists.
    pub lists: Vec<Lists>,
}

/// What a column was found to hold.
#[derive(Clone, Debug)]
pub enum Content {
    Numbers,
    /// Sorted categories.
    Categories(Vec<String>),
    /// Words by their hash, in so many buckets.
    Buckets(usize),
    /// The list `at` of [`Part::lists`].
    Lists {
        at: usize,
    },
}

/// Rows per list of cells. They stay in the processor's cache while they are written column by column, and
/// are small enough for the allocator to put them where the columns of earlier rows were.
const BLOCK: usize = 1024;

/// The values of a column in a chunk of rows.
enum Taken {
    Scaled(Vec<i32>),
    Wide(Vec<f64>),
    Words(Vec<u32>),
    /// Lists, or nothing.
    Other,
}

impl Taken {
    fn from(column: &mut Column, chunk: usize) -> Taken {
        match &mut column.values {
            Values::Numbers(Numbers::Scaled { values, .. }) => Taken::Scaled(values.take(chunk)),
            Values::Numbers(Numbers::Wide(values)) => Taken::Wide(values.take(chunk)),
            Values::Words(words, _) => Taken::Words(words.take(chunk)),
            Values::Empty | Values::Lists(_) => Taken::Other,
        }
    }

    /// Writes the values from row `first` of the chunk on into their cells of `rows`; categories by their
    /// position in `order`.
    fn write(&self, slot: Slot, order: &[u32], first: usize, rows: ChunksExactMut<'_, u32>) {
        match (self, slot) {
            (Taken::Scaled(values), Slot::Scaled { at, .. }) => {
                for (row, value) in rows.zip(&values[first..]) {
                    row[at] = value.cast_unsigned();
                }
            }
            (Taken::Wide(values), Slot::Wide { at }) => {
                for (row, value) in rows.zip(&values[first..]) {
                    let bits = value.to_bits();
                    (row[at], row[at + 1]) = (bits as u32, (bits >> 32) as u32);
                }
            }
            (Taken::Words(words), Slot::Category { at }) => {
                for (row, id) in rows.zip(&words[first..]) {
                    row[at] = sorted(order, *id);
                }
            }
            _ => {}
        }
    }
}

/// The position of a word among the sorted ones; words that are none keep their number.
fn sorted(order: &[u32], id: u32) -> u32 {
    order.get(id as usize).copied().unwrap_or(id)
}

impl Part {
    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.targets.len()
    }

    /// Cells of a row.
    #[inline]
    pub fn row(&self, index: usize) -> &[u32] {
        &self.blocks[index / BLOCK][index % BLOCK * self.width..][..self.width]
    }

    /// Rows with their cells.
    pub(crate) fn rows_at(&self, indices: &[u64]) -> Vec<(usize, &[u32])> {
        indices.iter().map(|index| *index as usize).map(|row| (row, self.row(row))).collect()
    }

    /// Passes the numbers of a feature in some rows on, those of its lists, too, but for those that are
    /// missing. None if it holds no numbers.
    pub(crate) fn numbers(&self, slot: Slot, rows: &[(usize, &[u32])], take: impl FnMut(f64)) {
        match slot {
            Slot::Scaled { at, decimals } => rows
                .iter()
                .filter_map(|(_, row)| unscaled(row[at].cast_signed(), decimals))
                .for_each(take),
            Slot::Wide { .. } => {
                let number = |(_, row): &(usize, &[u32])| match slot.value(row) {
                    Value::Number(value) => Some(value),
                    _ => None,
                };
                rows.iter().filter_map(number).for_each(take);
            }
            Slot::List { at } if self.lists[at].of() == Element::Numbers => rows
                .iter()
                .flat_map(|(row, _)| self.lists[at].numbers(*row).map(f64::from))
                .filter(|number| !number.is_nan())
                .for_each(take),
            Slot::Category { .. } | Slot::List { .. } => {}
        }
    }

    /// Passes the positions of the categories of a feature in some rows on, but for missing and unknown
    /// ones. None if it holds no categories.
    pub(crate) fn categories(
        &self,
        slot: Slot,
        rows: &[(usize, &[u32])],
        mut take: impl FnMut(usize),
    ) {
        let Slot::Category { .. } = slot else { return };
        for (_, row) in rows {
            if let Value::Category(position) = slot.value(row) {
                take(position);
            }
        }
    }

    /// Moves the columns of a file into rows, chunk by chunk. `known` are the categories of columns
    /// that have some already. Returns what the features and the target hold, too.
    pub(crate) fn new(
        name: &'static str,
        mut read: Columns,
        known: Option<&[Option<Vec<String>>]>,
        format: NumberFormat,
    ) -> (Part, Vec<Content>) {
        let mut part = Part { name, ..Part::default() };
        let mut contents = Vec::new();
        let (mut positions, mut lists) = (Vec::new(), 0);
        for (at, column) in read.columns.iter().enumerate() {
            let (content, order) = match (&column.values, column.kind()) {
                (Values::Words(..), Kind::Hashed(buckets)) => {
                    (Content::Buckets(*buckets), Vec::new())
                }
                (Values::Words(_, dictionary), _) => match known.map(|known| &known[at]) {
                    // A known list keeps its order.
                    Some(Some(list)) => {
                        (Content::Categories(list.clone()), (0..list.len() as u32).collect())
                    }
                    _ => {
                        let (sorted, order) = dictionary.sorted(format);
                        (Content::Categories(sorted), order)
                    }
                },
                (Values::Lists(_), _) => {
                    lists += 1;
                    (Content::Lists { at: lists - 1 }, Vec::new())
                }
                _ => (Content::Numbers, Vec::new()),
            };
            contents.push(content);
            positions.push(order);
        }
        let features = read.columns.len() - 1;
        for (column, content) in read.columns[..features].iter_mut().zip(&contents) {
            let at = part.width;
            if let Content::Lists { at } = content
                && let Values::Lists(lists) = std::mem::replace(&mut column.values, Values::Empty)
            {
                part.slots.push(Slot::List { at: *at });
                part.lists.push(lists);
                continue;
            }
            let slot = match &column.values {
                Values::Numbers(Numbers::Scaled { decimals, .. }) => {
                    Slot::Scaled { at, decimals: *decimals }
                }
                Values::Numbers(Numbers::Wide(_)) => Slot::Wide { at },
                Values::Words(..) | Values::Empty | Values::Lists(_) => Slot::Category { at },
            };
            part.width += if matches!(slot, Slot::Wide { .. }) { 2 } else { 1 };
            part.slots.push(slot);
        }
        part.targets.reserve_exact(read.rows);
        for chunk in 0..read.rows.div_ceil(CHUNK) {
            let rows = CHUNK.min(read.rows - chunk * CHUNK);
            let columns = read.columns[..features].iter_mut();
            let columns: Vec<Taken> = columns.map(|column| Taken::from(column, chunk)).collect();
            for first in (0..rows).step_by(BLOCK) {
                let mut cells = vec![0; BLOCK.min(rows - first) * part.width];
                for ((column, slot), order) in columns.iter().zip(&part.slots).zip(&positions) {
                    column.write(*slot, order, first, cells.chunks_exact_mut(part.width.max(1)));
                }
                part.blocks.push(cells);
            }
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
                Values::Empty | Values::Lists(_) => {}
            }
        }
        (part, contents)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{column::Cell, number::Number, rows::Raw, skipped::Skipped};

    #[test]
    fn rows_have_their_values_across_blocks_and_chunks() {
        let rows = CHUNK + BLOCK + 3;
        let wide = |row: usize| (row as f64 + 0.1).sqrt();
        let column = |name: &str, kind, is_target| Column::new(name, kind, is_target);
        let mut columns = vec![
            column("wide", Kind::Numbers, false),
            column("words", Kind::Words, false),
            column("scaled", Kind::Numbers, false),
            column("y", Kind::Numbers, true),
        ];
        for row in 0..rows {
            let numbers = [wide(row), f64::NAN, row as f64, row as f64 / 4.0];
            for (column, number) in columns.iter_mut().zip(numbers) {
                if number.is_nan() {
                    let word = column.word(["b", "a"][row % 2].as_bytes(), 1);
                    column.push(Cell::Word, word, Raw::Missing);
                } else {
                    column.push(Cell::Number(Number::float(number)), NO_WORD, Raw::Missing);
                }
            }
        }
        let read = Columns { columns, rows, skipped: Skipped::default() };
        let (part, _) = Part::new("all", read, None, NumberFormat::PLAIN);
        assert_eq!(part.rows(), rows);
        for row in 0..rows {
            let values = part.slots.iter().map(|slot| slot.value(part.row(row)));
            let expected =
                [Value::Number(wide(row)), Value::Category(1 - row % 2), Value::Number(row as f64)];
            assert!(values.eq(expected), "{row}");
            assert_eq!(f32::from_bits(part.targets[row]), row as f32 / 4.0);
        }
        let (wide, words, scaled) = (part.slots[0], part.slots[1], part.slots[2]);
        let chosen = [CHUNK, CHUNK + BLOCK, 3];
        let rows = part.rows_at(&chosen.map(|row| row as u64));
        let (mut numbers, mut categories) = (Vec::new(), Vec::new());
        for slot in [wide, words, scaled] {
            part.numbers(slot, &rows, |value| numbers.push(value));
            part.categories(slot, &rows, |position| categories.push(position));
        }
        let expected = chosen.map(|row| (row as f64 + 0.1).sqrt());
        assert_eq!(numbers, [expected, chosen.map(|row| row as f64)].concat());
        assert_eq!(categories, chosen.map(|row| 1 - row % 2));
    }
}
