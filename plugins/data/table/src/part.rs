//! Rows of one split in memory: features row by row in 32-bit cells, targets beside them.

use crate::{
    column::{Kind, NO_WORD, UNKNOWN_WORD, Values},
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
    chunks: Vec<Vec<u32>>,
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

    /// Passes the numbers of a list on, but for those that are missing. None if it holds no numbers.
    pub(crate) fn numbers(&self, slot: Slot, row: u64, mut take: impl FnMut(f64)) {
        let Slot::List { at } = slot else { return };
        let lists = &self.lists[at];
        if lists.of() == Element::Numbers {
            let numbers = lists.numbers(row as usize).map(f64::from);
            numbers.filter(|number| !number.is_nan()).for_each(&mut take);
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
                Values::Empty | Values::Lists(_) => {}
            }
        }
        (part, contents)
    }
}
