//! Values of one column in some rows, for formats whose columns lie apart: a reader decodes columns on
//! several threads, and the table takes whole pieces where they are regular.

use std::collections::HashMap;

use crate::{
    block::{Digits, Plan, Spans, Values},
    column::NO_WORD,
    number::{Number, NumberFormat},
    rows::Raw,
    storage::{Exact, has_digits},
};

/// Most different whole numbers whose words are looked up in a list.
const CLASSES: u64 = 4096;

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
            Values::Scaled { digits, decimals } => {
                let number = Number::decimal(i64::from(digits[row]), *decimals);
                number.map_or(Raw::Missing, Raw::Number)
            }
            Values::Floats(floats) => Raw::Number(Number::float(floats[row])),
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
            (Raw::Number(number), _) => {
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
            // Pieces that are built at once, not value by value.
            Values::Scaled { .. } | Values::Floats(_) => {}
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

    /// A piece of these floats alone, of which none is missing. None if they have to be appended one by one:
    /// the column holds words, a float is not finite, or some have other decimals than those before.
    pub fn floats(&mut self, values: &[f64]) -> Option<Piece> {
        if matches!(self.plan, Plan::Words { .. }) {
            return None;
        }
        let found = match self.exact.all(values) {
            Some((digits, decimals)) => Values::Scaled { digits, decimals },
            None if self.exact.gave_up() && values.iter().all(|value| value.is_finite()) => {
                Values::Floats(values.to_vec())
            }
            None => return None,
        };
        Some(Piece { values: found, rows: values.len(), ..Piece::of(self.plan) })
    }

    /// A piece of the numbers `value / 10^decimals` alone, of which none is missing. None if they have to be
    /// appended one by one: a number needs more than 32 bits, or the column holds words that have decimals or
    /// may be too many.
    pub fn wholes(&mut self, values: &[i64], decimals: u32) -> Option<Piece> {
        let (&least, &most) = (values.iter().min()?, values.iter().max()?);
        match self.plan {
            Plan::Words { .. } if decimals == 0 && most.abs_diff(least) < CLASSES => {
                Some(classes(values, least))
            }
            Plan::Words { .. } => None,
            Plan::Numbers { .. } => {
                Number::decimal(0, decimals)?;
                i32::try_from(most).ok()?;
                i32::try_from(least).ok().filter(|least| has_digits(*least))?;
                let digits = values.iter().map(|value| *value as i32).collect();
                let found = Values::Scaled { digits, decimals };
                Some(Piece { values: found, rows: values.len(), ..Piece::of(self.plan) })
            }
        }
    }

    /// The values since the last call.
    pub fn finish(&mut self) -> Piece {
        self.texts.clear();
        std::mem::replace(&mut self.piece, Piece::of(self.plan))
    }
}

/// A piece of the words of whole numbers. `least` is the least of them, and the others are less than
/// [`CLASSES`] above it.
fn classes(values: &[i64], least: i64) -> Piece {
    let (mut spans, mut text) = (Spans::default(), Vec::new());
    let mut ids = vec![NO_WORD; CLASSES as usize];
    for (row, value) in values.iter().enumerate() {
        let id = &mut ids[value.abs_diff(least) as usize];
        if *id == NO_WORD {
            *id = spans.words.len() as u32;
            let start = text.len();
            text.extend_from_slice(value.to_string().as_bytes());
            spans.words.push((start..text.len(), 0, row));
        }
        spans.words[*id as usize].1 += 1;
        spans.ids.push(*id);
    }
    let (rows, values) = (values.len(), Values::Words(spans));
    Piece { values, text, rows, numbers: true, gaps: 0, odd: Vec::new() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::column::{Column, Kind};

    fn builder(kind: Kind) -> (Column, PieceBuilder) {
        let column = Column::new("x", kind, false);
        let plans = vec![column.plan(true).unwrap()];
        (column, PiecePlans { plans, missing: Vec::new() }.builder(0))
    }

    fn one_by_one(builder: &mut PieceBuilder, numbers: impl Iterator<Item = Number>) -> Piece {
        numbers.for_each(|number| builder.push(Raw::Number(number)));
        builder.finish()
    }

    /// What a column of numbers holds after these pieces, and how many of them `at_once` has built.
    fn stored<T>(
        pieces: &[Vec<T>],
        at_once: impl Fn(&mut PieceBuilder, &[T]) -> Option<Piece>,
        number: impl Fn(&T) -> Number,
    ) -> (String, usize) {
        let (mut column, mut builder) = builder(Kind::Numbers);
        let mut count = 0;
        for values in pieces {
            let piece = at_once(&mut builder, values);
            count += usize::from(piece.is_some());
            let piece =
                piece.unwrap_or_else(|| one_by_one(&mut builder, values.iter().map(&number)));
            assert_eq!(piece.rows(), values.len());
            for (row, value) in values.iter().enumerate() {
                let Raw::Number(found) = piece.raw(row) else { panic!("row {row} of {piece:?}") };
                assert_eq!(found.value.to_bits(), number(value).value.to_bits());
            }
            column.merge(&piece.values, &piece.text, 1);
        }
        (format!("{column:?}"), count)
    }

    #[test]
    fn floats_are_stored_alike_at_once_and_one_by_one() {
        let short = |from: i64| (from..from + 9).map(|digits| digits as f64 / 100.0).collect();
        let long =
            |from: i64| (from..from + 400).map(|digits| (digits as f64 + 0.1).sqrt()).collect();
        let pieces: Vec<(usize, Vec<Vec<f64>>)> = vec![
            (3, vec![short(101), short(-4), short(900), vec![1.0, 2.0]]),
            (1, vec![short(101), vec![1.0, -0.0], vec![0.125], vec![7.5]]),
            (1, vec![long(2), long(401)]),
            (2, vec![long(2), long(401), vec![-0.0, 1.0]]),
            (2, vec![vec![3.0, -4.0], vec![5e9], vec![2.0]]),
            (1, vec![vec![3.0, -4.0], long(2), vec![0.1 + 0.2]]),
        ];
        for (expected, pieces) in pieces {
            let number = |value: &f64| Number::float(*value);
            let (alone, _) = stored(&pieces, |_, _| None, number);
            let (found, count) = stored(&pieces, PieceBuilder::floats, number);
            assert_eq!(found, alone, "{pieces:?}");
            assert_eq!(count, expected, "{pieces:?}");
        }
        let (_, mut builder) = builder(Kind::Words);
        assert!(builder.floats(&[1.0]).is_none(), "words");
        let (_, mut builder) = self::builder(Kind::Numbers);
        one_by_one(
            &mut builder,
            (2..400).map(|digits| Number::float((f64::from(digits) + 0.1).sqrt())),
        );
        assert!(builder.floats(&[0.1 + 0.2]).is_some());
        for odd in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            assert!(builder.floats(&[0.1 + 0.2, odd]).is_none(), "{odd}");
        }
    }

    #[test]
    fn whole_numbers_are_stored_alike_at_once_and_one_by_one() {
        let limit = i64::from(i32::MAX);
        for (expected, decimals, pieces) in [
            (2, 0, vec![vec![3, -4, 0], vec![limit, 1 - limit]]),
            (1, 0, vec![vec![3, -4, 0], vec![-limit], vec![limit + 1], vec![-limit - 1]]),
            (2, 2, vec![vec![150, -25, 0], vec![7, 100]]),
            (0, 23, vec![vec![150, -25, 0]]),
        ] {
            let number = |value: &i64| {
                let float = Number::float(*value as f64 / 10_f64.powi(decimals as i32));
                Number::decimal(*value, decimals).unwrap_or(float)
            };
            let (alone, _) = stored(&pieces, |_, _| None, number);
            let (found, count) =
                stored(&pieces, |builder, values| builder.wholes(values, decimals), number);
            assert_eq!(found, alone, "{pieces:?}");
            assert_eq!(count, expected, "{pieces:?}");
        }
    }

    #[test]
    fn whole_numbers_are_words_alike_at_once_and_one_by_one() {
        let (_, mut builder) = builder(Kind::Words);
        for values in [vec![2, -1, 2, 0, 4094, -1], vec![7], vec![-9000, -4905]] {
            let found = builder.wholes(&values, 0).unwrap();
            let numbers = values.iter().map(|value| Number::decimal(*value, 0).unwrap());
            assert_eq!(format!("{found:?}"), format!("{:?}", one_by_one(&mut builder, numbers)));
            assert!(builder.wholes(&values, 1).is_none(), "decimals");
        }
        for values in [vec![0, 4096], vec![i64::MIN, i64::MAX]] {
            assert!(builder.wholes(&values, 0).is_none(), "{values:?}");
        }
    }
}
