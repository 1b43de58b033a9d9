//! Reads a CSV file into columns in one pass, and decides which columns hold numbers.

use std::path::Path;

use ::csv::ByteRecord;
use fluxbay_plugin::prelude::*;

use super::{
    Config, Missing, OnBadRow,
    column::{Chunks, Dictionary, Numbers},
    header::{Chosen, Header},
    number::{Number, NumberFormat},
    quotes::{QuoteError, Quotes},
};
use crate::source::Source;

/// A missing word, among the numbers of words.
pub const NO_WORD: u32 = u32::MAX;
/// A category that the training data lack.
pub const UNKNOWN_WORD: u32 = u32::MAX - 1;

/// Largest number of different whole numbers that count as classes of a target.
const MOST_CLASSES: usize = 20;
/// Number of skipped rows that are described.
const DESCRIBED: usize = 5;

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
}

/// A place in the file with the text found there.
#[derive(Clone, Debug)]
struct Found {
    line: u64,
    text: String,
}

/// The values of a column.
#[derive(Debug)]
pub enum Values {
    /// No value has been read.
    Empty,
    Numbers(Numbers),
    /// Numbers of words in the dictionary, [`NO_WORD`] or [`UNKNOWN_WORD`].
    Words(Chunks<u32>, Dictionary),
}

/// A column while it is read.
#[derive(Debug)]
pub struct Column {
    pub name: String,
    index: usize,
    kind: Kind,
    is_target: bool,
    pub values: Values,
    /// Values that are numbers, and others, in a column of numbers.
    numbers: u64,
    others: u64,
    first_other: Option<Found>,
    /// Values outside a known list, and the first of them.
    unknown: u64,
    first_unknown: Option<Found>,
}

/// One value of a row.
#[derive(Clone, Copy)]
enum Cell {
    Missing,
    Number(Number),
    /// UTF-8 text.
    Word,
}

/// A value of the row without white space around it.
fn value(record: &ByteRecord, index: usize) -> &[u8] {
    let text = record[index].trim_ascii();
    if text.is_ascii() {
        return text;
    }
    std::str::from_utf8(text).map_or(text, |text| text.trim().as_bytes())
}

impl Column {
    fn new(name: &str, index: usize, kind: Kind, is_target: bool) -> Column {
        let values = match &kind {
            Kind::Numbers => Values::Numbers(Numbers::default()),
            Kind::Known(words) => Values::Words(Chunks::default(), Dictionary::of(words)),
            Kind::Words => Values::Words(Chunks::default(), Dictionary::default()),
            Kind::Auto | Kind::Numerals => Values::Empty,
        };
        Column {
            name: name.to_owned(),
            index,
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

    /// The value in the row at `line`; an error describes why it is bad. `rows` rows are stored.
    fn cell(
        &mut self,
        text: &[u8],
        line: u64,
        rows: usize,
        format: NumberFormat,
    ) -> std::result::Result<Cell, String> {
        if matches!(self.values, Values::Empty) {
            self.begin(text, rows, format);
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

    /// Counts a value that is not a number and describes it.
    fn other(&mut self, text: &[u8], line: u64) -> String {
        let text = String::from_utf8_lossy(text).into_owned();
        let reason = format!("column `{}`: {text:?} is not a number", self.name);
        self.others += 1;
        self.first_other.get_or_insert(Found { line, text });
        reason
    }

    /// The first value decides how the column is stored. A target begins as words.
    fn begin(&mut self, text: &[u8], rows: usize, format: NumberFormat) {
        if !self.is_target && format.parse(text).is_some() {
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
    fn word(&mut self, word: &[u8], line: u64) -> u32 {
        let Values::Words(_, dictionary) = &mut self.values else { return NO_WORD };
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

    fn push(&mut self, cell: Cell, word: u32) {
        match (&mut self.values, cell) {
            (Values::Numbers(numbers), Cell::Number(number)) => numbers.push(Some(number)),
            (Values::Numbers(numbers), _) => numbers.push(None),
            (Values::Words(words, _), _) => words.push(word),
            (Values::Empty, _) => {}
        }
    }

    /// Whether an undecided target has turned out to be a number: all values so far are numbers,
    /// and `value` has a fraction or is one too many for classes.
    fn becomes_number(&self, value: &Number, format: NumberFormat) -> bool {
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
    fn make_numbers(&mut self, format: NumberFormat) {
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
    fn judge(&self, config: &Config, path: &Path) -> std::result::Result<Option<Kind>, Mixed> {
        let format = config.format();
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
struct Mixed {
    line: u64,
    text: String,
}

/// Rows that were left out because they could not be read.
#[derive(Clone, Debug, Default)]
pub struct Skipped {
    pub rows: u64,
    /// Line and reason of the first ones.
    pub described: Vec<(u64, String)>,
}

impl Skipped {
    fn add(&mut self, line: u64, reason: &str) {
        self.rows += 1;
        if self.described.len() < DESCRIBED {
            self.described.push((line, reason.to_owned()));
        }
    }
}

/// The columns of a file: features in their order, then the target.
#[derive(Debug)]
pub struct Columns {
    pub columns: Vec<Column>,
    /// Rows that are stored.
    pub rows: usize,
    pub skipped: Skipped,
}

/// A file at its first row.
pub struct Rows<'a> {
    config: &'a Config,
    path: &'a Path,
    reader: ::csv::Reader<Quotes<Source>>,
    pub header: Header,
    first: Option<ByteRecord>,
}

impl<'a> Rows<'a> {
    /// Reads the header.
    ///
    /// # Errors
    /// A file without rows, a header that is not UTF-8, a quote that is not closed.
    pub fn open(config: &'a Config, path: &'a Path, source: Source) -> Result<Rows<'a>> {
        let delimiter = config.delimiter.as_bytes()[0];
        let source = Quotes::new(source, delimiter, config.quotes);
        let mut reader = ::csv::ReaderBuilder::new()
            .delimiter(delimiter)
            .quoting(config.quotes)
            .has_headers(config.header)
            .flexible(true)
            .buffer_capacity(1 << 16)
            .from_reader(source);
        let mut names = Vec::new();
        if config.header {
            let header = reader.headers().map_err(|error| unreadable(path, &error))?;
            names = header.iter().map(|name| name.trim().to_owned()).collect();
        }
        let mut first = ByteRecord::new();
        let any = reader.read_byte_record(&mut first).map_err(|error| unreadable(path, &error))?;
        if !any {
            bail!("{}: the file has no rows", path.display());
        }
        if !config.header {
            names = (0..first.len()).map(|index| index.to_string()).collect();
        }
        Ok(Rows { config, path, reader, header: Header { names }, first: Some(first) })
    }

    fn next(&mut self, record: &mut ByteRecord) -> Result<bool> {
        if let Some(first) = self.first.take() {
            *record = first;
            return Ok(true);
        }
        self.reader.read_byte_record(record).map_err(|error| unreadable(self.path, &error))
    }

    /// Reads all rows. Returns the kinds to read the columns as if they differ from `kinds`, which
    /// has one for each feature and one for the target.
    ///
    /// # Errors
    /// Rows that cannot be read or that lack a value, as far as the configuration does not leave
    /// them out.
    pub fn read(
        mut self,
        chosen: &Chosen,
        kinds: &[Kind],
    ) -> Result<std::result::Result<Columns, Vec<Kind>>> {
        let (config, path, format) = (self.config, self.path, self.config.format());
        let missing_words = MissingWords::new(&config.missing_values);
        let positions = chosen.features.iter().chain([&chosen.target]);
        let mut columns: Vec<Column> = positions
            .zip(kinds)
            .enumerate()
            .map(|(at, (&index, kind))| {
                let is_target = at == chosen.features.len();
                Column::new(&self.header.names[index], index, kind.clone(), is_target)
            })
            .collect();
        let mut skipped = Skipped::default();
        let mut rows = 0;
        let (mut record, width) = (ByteRecord::new(), self.header.names.len());
        let (mut cells, mut words) = (Vec::new(), Vec::new());
        while self.next(&mut record)? {
            let line = record.position().map_or(0, ::csv::Position::line);
            if record.len() != width {
                let reason = format!("{} values instead of {width}", record.len());
                if config.on_bad_row == OnBadRow::Error {
                    bail!(
                        "{}:{line}: {reason}: correct the row, or set on-bad-row = \"skip\"",
                        path.display()
                    );
                }
                skipped.add(line, &reason);
                continue;
            }
            let (mut bad, mut gap) = (None, None);
            cells.clear();
            for (at, column) in columns.iter_mut().enumerate() {
                let text = value(&record, column.index);
                if missing_words.contains(text) {
                    gap = gap.or(Some(at));
                    cells.push(Cell::Missing);
                    continue;
                }
                match column.cell(text, line, rows, format) {
                    Ok(cell) => cells.push(cell),
                    Err(reason) => {
                        bad.get_or_insert(reason);
                    }
                }
            }
            if let Some(reason) = bad {
                skipped.add(line, &reason);
                continue;
            }
            words.clear();
            for (column, cell) in columns.iter_mut().zip(&cells) {
                words.push(match cell {
                    Cell::Word => column.word(value(&record, column.index), line),
                    Cell::Missing | Cell::Number(_) => NO_WORD,
                });
            }
            if let Some(at) = gap {
                let column = &columns[at];
                match config.missing {
                    Missing::Error => bail!(
                        "{}:{line}: column `{}` has no value ({:?}): set missing = \"drop\" or \"fill\", or leave the column out with `ignore`",
                        path.display(),
                        column.name,
                        String::from_utf8_lossy(value(&record, column.index))
                    ),
                    Missing::Drop => continue,
                    Missing::Fill if matches!(cells.last(), Some(Cell::Missing)) => continue,
                    Missing::Fill => {}
                }
            }
            for ((column, cell), word) in columns.iter_mut().zip(&cells).zip(&words) {
                column.push(*cell, *word);
            }
            rows += 1;
            if let (Some(Cell::Word), Some(target)) = (cells.last(), columns.last_mut())
                && let Some(number) = format.parse(value(&record, target.index))
                && target.becomes_number(&number, format)
            {
                target.make_numbers(format);
            }
        }
        finish(config, path, Columns { columns, rows, skipped }, kinds)
    }
}

/// Checks the columns after the last row.
fn finish(
    config: &Config,
    path: &Path,
    read: Columns,
    kinds: &[Kind],
) -> Result<std::result::Result<Columns, Vec<Kind>>> {
    let mut changed = kinds.to_vec();
    let mut mixed: Option<Mixed> = None;
    for (column, kind) in read.columns.iter().zip(&mut changed) {
        match column.judge(config, path) {
            Ok(None) => {}
            Ok(Some(other)) => *kind = other,
            Err(found) if mixed.as_ref().is_none_or(|first| found.line < first.line) => {
                mixed = Some(found);
            }
            Err(_) => {}
        }
    }
    if let Some(mixed) = mixed {
        return Err(Error::new(mixed.text));
    }
    if changed != kinds {
        return Ok(Err(changed));
    }
    if let Some(empty) = read.columns.iter().find(|column| matches!(column.values, Values::Empty)) {
        bail!(
            "{}: column `{}` has no values: leave it out with `ignore`",
            path.display(),
            empty.name
        );
    }
    let Some((target, features)) = read.columns.split_last() else {
        bail!("{}: no column is read", path.display());
    };
    if let Some(found) = &target.first_unknown {
        bail!(
            "{}:{}: class {:?} of column `{}` does not occur in the training data",
            path.display(),
            found.line,
            found.text,
            target.name
        );
    }
    for column in features {
        if let Some(found) = &column.first_unknown {
            log::warn!(
                "{}:{}: category {:?} of column `{}` does not occur in the training data; {} such values are encoded as zeros",
                path.display(),
                found.line,
                found.text,
                column.name,
                column.unknown
            );
        }
    }
    if read.rows == 0 {
        bail!("{}: every row misses a value or is skipped", path.display());
    }
    Ok(Ok(read))
}

/// An error of the CSV parser or of the file.
fn unreadable(path: &Path, error: &::csv::Error) -> Error {
    if let ::csv::ErrorKind::Io(io) = error.kind() {
        let quote = io.get_ref().and_then(|inner| inner.downcast_ref::<QuoteError>());
        return match quote {
            Some(quote) => Error::new(format!("{}:{}: {quote}", path.display(), quote.opened)),
            None => Error::new(format!("{}: {io}", path.display())),
        };
    }
    Error::new(format!("{}: {error}", path.display()))
}

/// The words that mean that a value is missing.
struct MissingWords<'a> {
    words: &'a [String],
    /// Whether a word begins with this byte.
    begins: [bool; 256],
    empty: bool,
}

impl MissingWords<'_> {
    fn new(words: &[String]) -> MissingWords<'_> {
        let mut begins = [false; 256];
        for word in words {
            if let Some(first) = word.as_bytes().first() {
                begins[usize::from(*first)] = true;
            }
        }
        MissingWords { words, begins, empty: words.iter().any(String::is_empty) }
    }

    fn contains(&self, text: &[u8]) -> bool {
        match text.first() {
            None => self.empty,
            Some(first) => {
                self.begins[usize::from(*first)]
                    && self.words.iter().any(|word| word.as_bytes() == text)
            }
        }
    }
}
