//! Values of one column in some rows, for formats whose columns lie apart: a reader decodes columns on
//! several threads, and the table takes whole pieces where they are regular.

use std::collections::HashMap;

use crate::{
    block::{Digits, Plan, Spans, Values},
    column::NO_WORD,
    number::{Number, NumberFormat},
    rows::Raw,
    storage::Exact,
};

/// How the columns of a table take pieces.
#[derive(Clone, Debug, PartialEq)]
pub struct PiecePlans {
    pub(crate) plans: Vec<Plan>,
    pub(crate) missing: Vec<String>,
}

impl PiecePlans {
    /// A builder of pieces of a column, by its place among those that are read.
    pub fn builder(&self, column: usize) -> PieceBuilder {
        let plan = self.plans[column];
        PieceBuilder {
            plan,
            missing: self.missing.clone(),
            exact: Exact::default(),
            texts: HashMap::new(),
            piece: Piece::of(plan),
        }
    }
}

/// Values of a column.
#[derive(Debug)]
pub struct Piece {
    pub(crate) values: Values,
    /// The words, one after the other.
    pub(crate) text: Vec<u8>,
    rows: usize,
    /// Whether words are those of numbers.
    numbers: bool,
    /// Rows without a value.
    gaps: usize,
    /// Rows whose value the column cannot take, and that value.
    odd: Vec<(usize, Vec<u8>)>,
}

impl Piece {
    fn of(plan: Plan) -> Piece {
        let values = match plan {
            Plan::Numbers { .. } => Values::Numbers(Digits::default()),
            Plan::Words { .. } => Values::Words(Spans::default()),
        };
        Piece { values, text: Vec::new(), rows: 0, numbers: false, gaps: 0, odd: Vec::new() }
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Whether a column with this plan takes all values at once.
    pub(crate) fn is_regular(&self, plan: Plan) -> bool {
        let (Plan::Numbers { missing } | Plan::Words { missing }) = plan;
        self.odd.is_empty() && (missing || self.gaps == 0)
    }

    /// The value of a row.
    pub(crate) fn raw(&self, row: usize) -> Raw<'_> {
        if let Ok(at) = self.odd.binary_search_by_key(&row, |(row, _)| *row) {
            return Raw::Text(&self.odd[at].1);
        }
        match &self.values {
            Values::Numbers(digits) => digits.get(row).map_or(Raw::Missing, Raw::Number),
            Values::Words(spans) => match spans.words.get(spans.ids[row] as usize) {
                None => Raw::Missing,
                Some((range, ..)) => {
                    let text = &self.text[range.clone()];
                    let number = NumberFormat::PLAIN.parse(text).filter(|_| self.numbers);
                    number.map_or(Raw::Text(text), Raw::Number)
                }
            },
        }
    }
}

/// Builds pieces of a column, on any thread.
#[derive(Debug)]
pub struct PieceBuilder {
    plan: Plan,
    missing: Vec<String>,
    exact: Exact,
    /// Numbers of the words of this piece.
    texts: HashMap<Vec<u8>, u32>,
    piece: Piece,
}

impl PieceBuilder {
    /// Appends the value of the next row.
    #[inline]
    pub fn push(&mut self, value: Raw<'_>) {
        match (value, &mut self.piece.values) {
            (Raw::Number(number), Values::Numbers(digits)) => {
                let exact = number.exact.or_else(|| self.exact.of(number.value));
                digits.push_exact(Number { exact, ..number });
            }
            (Raw::Number(number), Values::Words(_)) => {
                self.piece.numbers = true;
                self.word(number.text().as_bytes());
            }
            (Raw::Text(text), _) if self.missing.iter().any(|word| word.as_bytes() == text) => {
                self.gap();
            }
            (Raw::Text(text), Values::Words(_)) if std::str::from_utf8(text).is_ok() => {
                self.word(text);
            }
            (Raw::Text(text), _) => {
                self.piece.odd.push((self.piece.rows, text.to_vec()));
                self.blank();
            }
            // Columns of lists are read row by row.
            (Raw::Missing | Raw::List(_), _) => self.gap(),
        }
        self.piece.rows += 1;
    }

    fn gap(&mut self) {
        self.piece.gaps += 1;
        self.blank();
    }

    fn blank(&mut self) {
        match &mut self.piece.values {
            Values::Numbers(digits) => digits.push_missing(),
            Values::Words(spans) => spans.ids.push(NO_WORD),
        }
    }

    fn word(&mut self, text: &[u8]) {
        let Piece { values: Values::Words(spans), text: all, rows, .. } = &mut self.piece else {
            return;
        };
        let id = match self.texts.get(text) {
            Some(id) => *id,
            None => {
                let (id, start) = (spans.words.len() as u32, all.len());
                all.extend_from_slice(text);
                spans.words.push((start..all.len(), 0, *rows));
                self.texts.insert(text.to_vec(), id);
                id
            }
        };
        spans.words[id as usize].1 += 1;
        spans.ids.push(id);
    }

    /// The values since the last call.
    pub fn finish(&mut self) -> Piece {
        self.texts.clear();
        std::mem::replace(&mut self.piece, Piece::of(self.plan))
    }
}
