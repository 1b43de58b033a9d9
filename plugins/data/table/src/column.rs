//! A column while a file is read: which kind of values it holds, and its values.

use std::{ops::Range, path::Path};

use fluxbay_plugin::prelude::*;

use crate::{
    block::{self, Plan},
    config::{OnBadRow, Settings},
    hashing,
    lists::{ListForm, Lists},
    number::{Number, NumberFormat},
    rows::Raw,
    storage::{Chunks, Dictionary, Numbers},
};

/// A missing word, among the numbers of words.
pub const NO_WORD: u32 = u32::MAX;
/// A category that the training data lack.
pub const UNKNOWN_WORD: u32 = u32::MAX - 1;

/// Largest number of different whole numbers that count as classes of a target.
const MOST_CLASSES: usize = 20;

/// What a column holds.
#[derive(Clone, Debug, PartialEq)]
pub enum Kind {
    /// Follows from the values.
    Auto,
    /// Numbers.
    Numbers,
    /// Numbers that may be names of classes.
    Numerals,
    /// Words; numbers are words, too.
    Words,
    /// Words of a known list.
    Known(Vec<String>),
    /// Words by their hash, in so many buckets.
    Hashed(usize),
    /// Lists of numbers, or bytes.
    Lists(ListForm),
}

/// A place in the file with the text found there.
#[derive(Clone, Debug)]
pub struct Found {
    pub line: u64,
    pub text: String,
}

/// The values of a column.
#[derive(Debug)]
pub enum Values {
    /// No value has been read.
    Empty,
    Numbers(Numbers),
    /// Numbers of words in the dictionary, [`NO_WORD`] or [`UNKNOWN_WORD`].
    Words(Chunks<u32>, Dictionary),
    Lists(Lists),
}

/// A column while it is read.
#[derive(Debug)]
pub struct Column {
    pub name: String,
    kind: Kind,
    is_target: bool,
    pub values: Values,
    /// Values that are numbers, and others, in a column of numbers.
    numbers: u64,
    others: u64,
    first_other: Option<Found>,
    /// Values outside a known list, and the first of them.
    pub unknown: u64,
    pub first_unknown: Option<Found>,
}

/// One value of a row.
#[derive(Clone, Copy)]
pub enum Cell {
    Missing,
    Number(Number),
    /// UTF-8 text.
    Word,
    List,
}

impl Column {
    pub fn new(name: &str, kind: Kind, is_target: bool) -> Column {
        let values = match &kind {
            Kind::Numbers => Values::Numbers(Numbers::default()),
            Kind::Known(words) => Values::Words(Chunks::default(), Dictionary::of(words)),
            Kind::Words | Kind::Hashed(_) => {
                Values::Words(Chunks::default(), Dictionary::default())
            }
            Kind::Lists(form) => Values::Lists(Lists::new(*form)),
            Kind::Auto | Kind::Numerals => Values::Empty,
        };
        Column {
            name: name.to_owned(),
            kind,
            is_target,
            values,
            numbers: 0,
            others: 0,
            first_other: None,
            unknown: 0,
            first_unknown: None,
        }
    }

    /// What it holds, as far as that was known before.
    pub fn kind(&self) -> &Kind {
        &self.kind
    }

    /// The value in the row at `line`; an error describes why it is bad. `rows` rows are stored.
    pub fn cell(
        &mut self,
        raw: Raw<'_>,
        line: u64,
        rows: usize,
        format: NumberFormat,
    ) -> std::result::Result<Cell, String> {
        if let (Values::Lists(lists), false) = (&self.values, matches!(raw, Raw::Missing)) {
            return match lists.problem(raw) {
                Some(problem) => Err(format!("column `{}`: {problem}", self.name)),
                None => Ok(Cell::List),
            };
        }
        let text = match raw {
            Raw::Missing => return Ok(Cell::Missing),
            Raw::List(_) if self.is_target => {
                return Err(format!("column `{}` holds lists, which are no target", self.name));
            }
            Raw::List(_) => {
                return Err(format!("column `{}` has a list among other values", self.name));
            }
            Raw::Number(number) => {
                if matches!(self.values, Values::Empty) {
                    self.begin(true, rows);
                }
                return Ok(match self.values {
                    Values::Numbers(_) => {
                        self.numbers += 1;
                        Cell::Number(number)
                    }
                    _ => Cell::Word,
                });
            }
            Raw::Text(text) => text,
        };
        if matches!(self.values, Values::Empty) {
            self.begin(format.parse(text).is_some(), rows);
        }
        if let Values::Numbers(_) = self.values {
            if let Some(number) = format.parse(text) {
                self.numbers += 1;
                return Ok(Cell::Number(number));
            }
            return Err(self.other(text, line));
        }
        if self.kind == Kind::Numerals && format.parse(text).is_none() {
            return Err(self.other(text, line));
        }
        std::str::from_utf8(text)
            .map(|_| Cell::Word)
            .map_err(|_| format!("column `{}` is not UTF-8", self.name))
    }

    /// Whether a value that is bad does not show in the end, when the column is judged.
    pub fn is_refused(&self, raw: Raw<'_>) -> bool {
        matches!(raw, Raw::List(_)) || matches!(self.values, Values::Lists(_))
    }

    /// Counts a value that is not a number and describes it.
    fn other(&mut self, text: &[u8], line: u64) -> String {
        let text = String::from_utf8_lossy(text).into_owned();
        let reason = format!("column `{}`: {text:?} is not a number", self.name);
        self.others += 1;
        self.first_other.get_or_insert(Found { line, text });
        reason
    }

    /// The first value decides how the column is stored. A target begins as words.
    fn begin(&mut self, is_number: bool, rows: usize) {
        if !self.is_target && is_number {
            let mut numbers = Numbers::default();
            (0..rows).for_each(|_| numbers.push(None));
            self.values = Values::Numbers(numbers);
        } else {
            let mut words = Chunks::default();
            (0..rows).for_each(|_| words.push(NO_WORD));
            self.values = Values::Words(words, Dictionary::default());
        }
    }

    /// The number of a word; new ones enter the dictionary unless the list is fixed.
    pub fn word(&mut self, word: &[u8], line: u64) -> u32 {
        let Values::Words(_, dictionary) = &mut self.values else { return NO_WORD };
        if let Kind::Hashed(buckets) = self.kind {
            return hashing::bucket(word, buckets);
        }
        let word = std::str::from_utf8(word).unwrap_or_default();
        if !matches!(self.kind, Kind::Known(_)) {
            return dictionary.add(word, line);
        }
        dictionary.find(word).unwrap_or_else(|| {
            self.unknown += 1;
            self.first_unknown.get_or_insert_with(|| Found { line, text: word.to_owned() });
            UNKNOWN_WORD
        })
    }

    /// How blocks of its values are parsed. None as long as its first value, or all of its values, have
    /// to be looked at one by one. `missing` says whether values may be missing.
    pub fn plan(&self, missing: bool) -> Option<Plan> {
        match &self.values {
            Values::Empty | Values::Lists(_) => None,
            Values::Numbers(_) => Some(Plan::Numbers { missing }),
            Values::Words(..) if self.kind == Kind::Numerals => None,
            Values::Words(..) => Some(Plan::Words { missing }),
        }
    }

    /// Whether [`Column::merge`] can take these values: a target that may turn out to be a number has no
    /// new word among them, and a known list has them all.
    pub fn takes(&self, block: &block::Values, text: &[u8]) -> bool {
        let (Values::Words(_, dictionary), block::Values::Words(spans)) = (&self.values, block)
        else {
            return true;
        };
        let fixed = match self.kind {
            Kind::Known(_) => true,
            Kind::Auto => self.is_target,
            _ => false,
        };
        let known = |range: &Range<usize>| {
            let word = std::str::from_utf8(&text[range.clone()]).unwrap_or_default();
            dictionary.find(word).is_some()
        };
        !fixed || spans.words.iter().all(|(range, _, _)| known(range))
    }

    /// Appends the values of a block whose first row is in `line`.
    pub fn merge(&mut self, block: &block::Values, text: &[u8], line: u64) {
        match (&mut self.values, block) {
            (Values::Numbers(numbers), block::Values::Numbers(digits)) => {
                self.numbers += digits.numbers();
                numbers.extend(digits);
            }
            (Values::Numbers(numbers), block::Values::Scaled { digits, decimals }) => {
                self.numbers += digits.len() as u64;
                numbers.extend_scaled(digits, *decimals);
            }
            (Values::Numbers(numbers), block::Values::Floats(floats)) => {
                self.numbers += floats.len() as u64;
                numbers.extend_floats(floats);
            }
            (Values::Words(words, dictionary), block::Values::Words(spans)) => {
                let ids: Vec<u32> = spans
                    .words
                    .iter()
                    .map(|(range, count, row)| {
                        let word = std::str::from_utf8(&text[range.clone()]).unwrap_or_default();
                        match self.kind {
                            Kind::Known(_) => dictionary.find(word).unwrap_or(UNKNOWN_WORD),
                            Kind::Hashed(buckets) => hashing::bucket(word.as_bytes(), buckets),
                            _ => dictionary.add_times(word, line + *row as u64, *count),
                        }
                    })
                    .collect();
                let id = |id: &u32| ids.get(*id as usize).copied().unwrap_or(NO_WORD);
                words.extend(&spans.ids.iter().map(id).collect::<Vec<_>>());
            }
            _ => {}
        }
    }

    /// Appends a value: a number, the number of a word, or the list of `raw`.
    pub fn push(&mut self, cell: Cell, word: u32, raw: Raw<'_>) {
        match (&mut self.values, cell) {
            (Values::Numbers(numbers), Cell::Number(number)) => numbers.push(Some(number)),
            (Values::Numbers(numbers), _) => numbers.push(None),
            (Values::Words(words, _), _) => words.push(word),
            (Values::Lists(lists), Cell::Missing) => lists.push(Raw::Missing),
            (Values::Lists(lists), _) => lists.push(raw),
            (Values::Empty, _) => {}
        }
    }

    /// Whether an undecided target has turned out to be a number: all values so far are numbers,
    /// and `value` has a fraction or is one too many for classes.
    pub fn becomes_number(&self, value: &Number, format: NumberFormat) -> bool {
        match &self.values {
            Values::Words(_, dictionary)
                if matches!(self.kind, Kind::Auto | Kind::Numerals) && self.is_target =>
            {
                (value.value.fract() != 0.0 || dictionary.entries.len() > MOST_CLASSES)
                    && dictionary
                        .entries
                        .iter()
                        .all(|entry| format.parse(entry.text.as_bytes()).is_some())
            }
            _ => false,
        }
    }

    /// Turns the words of a target into numbers.
    pub fn make_numbers(&mut self, format: NumberFormat) {
        if let Values::Words(words, dictionary) = &mut self.values {
            let parsed: Vec<Option<Number>> = dictionary
                .entries
                .iter()
                .map(|entry| format.parse(entry.text.as_bytes()))
                .collect();
            self.numbers = dictionary.entries.iter().map(|entry| entry.count).sum();
            let mut numbers = Numbers::default();
            for chunk in 0.. {
                let ids = words.take(chunk);
                if ids.is_empty() {
                    break;
                }
                ids.iter().for_each(|id| numbers.push(parsed.get(*id as usize).copied().flatten()));
            }
            self.values = Values::Numbers(numbers);
        }
    }

    /// What the values say against the way in which the column was read: the kind to read it as
    /// instead, or an error.
    pub fn judge(
        &self,
        config: &Settings,
        path: &Path,
    ) -> std::result::Result<Option<Kind>, Mixed> {
        let format = config.format;
        let (numbers, others, first_other) = match &self.values {
            Values::Numbers(_) => (self.numbers, self.others, self.first_other.clone()),
            Values::Words(_, dictionary) if self.kind == Kind::Auto => {
                let is_number = |text: &str| format.parse(text.as_bytes()).is_some();
                let (mut numbers, mut others, mut first) = (0, 0, None);
                for entry in &dictionary.entries {
                    if is_number(&entry.text) {
                        numbers += entry.count;
                    } else {
                        others += entry.count;
                        first.get_or_insert(Found { line: entry.line, text: entry.text.clone() });
                    }
                }
                (numbers, others, first)
            }
            _ => return Ok(None),
        };
        let Some(first_other) = first_other.filter(|_| numbers > 0 || self.kind == Kind::Numbers)
        else {
            return Ok(None);
        };
        let as_words = matches!(self.values, Values::Words(..));
        if self.kind == Kind::Auto && others > numbers {
            if !as_words {
                return Ok(Some(Kind::Words));
            }
            log::warn!(
                "{}: column `{}` holds {others} words and {numbers} numbers, all are read as categories: list it in `categorical` if that is right",
                path.display(),
                self.name
            );
            return Ok(None);
        }
        if config.on_bad_row == OnBadRow::Skip {
            let numbers = if self.is_target { Kind::Numerals } else { Kind::Numbers };
            return Ok(as_words.then_some(numbers));
        }
        let meant = if self.is_target { "task = \"classification\"" } else { "`categorical`" };
        Err(Mixed {
            line: first_other.line,
            text: format!(
                "{}:{}: column `{}` holds numbers, but {:?} is none ({others} such values): add it to `missing-values`, set `decimal` and `thousands`, use {meant} if the values are names, or set on-bad-row = \"skip\"",
                path.display(),
                first_other.line,
                self.name,
                first_other.text
            ),
        })
    }
}

/// A column of numbers with other values.
pub struct Mixed {
    pub line: u64,
    pub text: String,
}
