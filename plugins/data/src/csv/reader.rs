//! Reads a CSV file into columns in one pass.

use std::path::Path;

use ::csv::ByteRecord;
use fluxbay_plugin::prelude::*;

use super::{
    column::{Cell, Column, Kind, Mixed, NO_WORD, Values},
    config::{Config, Missing, OnBadRow},
    header::{Chosen, Header},
    quotes::{QuoteError, Quotes},
};
use crate::source::Source;

/// Number of skipped rows that are described.
const DESCRIBED: usize = 5;

/// A value of the row without white space around it.
pub fn value(record: &ByteRecord, index: usize) -> &[u8] {
    let text = record[index].trim_ascii();
    if text.is_ascii() {
        return text;
    }
    std::str::from_utf8(text).map_or(text, |text| text.trim().as_bytes())
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

/// The parser of a file.
pub type Parser = ::csv::Reader<Quotes<Source>>;

/// A parser of `source` with the separators of the configuration.
pub fn parser(config: &Config, source: Source) -> Parser {
    let delimiter = config.delimiter.as_bytes()[0];
    ::csv::ReaderBuilder::new()
        .delimiter(delimiter)
        .quoting(config.quotes)
        .has_headers(config.header)
        .flexible(true)
        .buffer_capacity(1 << 16)
        .from_reader(Quotes::new(source, delimiter, config.quotes))
}

/// Names of the columns in the header.
///
/// # Errors
/// A header that is not UTF-8, a quote that is not closed.
pub fn header_names(reader: &mut Parser, path: &Path) -> Result<Vec<String>> {
    let header = reader.headers().map_err(|error| unreadable(path, &error))?;
    Ok(header.iter().map(|name| name.trim().to_owned()).collect())
}

/// A file at its first row.
pub struct Rows<'a> {
    config: &'a Config,
    path: &'a Path,
    reader: Parser,
    pub header: Header,
    first: Option<ByteRecord>,
}

impl<'a> Rows<'a> {
    /// Reads the header.
    ///
    /// # Errors
    /// A file without rows, a header that is not UTF-8, a quote that is not closed.
    pub fn open(config: &'a Config, path: &'a Path, source: Source) -> Result<Rows<'a>> {
        let mut reader = parser(config, source);
        let mut names = Vec::new();
        if config.header {
            names = header_names(&mut reader, path)?;
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
pub fn unreadable(path: &Path, error: &::csv::Error) -> Error {
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
pub struct MissingWords<'a> {
    words: &'a [String],
    /// Whether a word begins with this byte.
    begins: [bool; 256],
    empty: bool,
}

impl MissingWords<'_> {
    pub fn new(words: &[String]) -> MissingWords<'_> {
        let mut begins = [false; 256];
        for word in words {
            if let Some(first) = word.as_bytes().first() {
                begins[usize::from(*first)] = true;
            }
        }
        MissingWords { words, begins, empty: words.iter().any(String::is_empty) }
    }

    pub fn contains(&self, text: &[u8]) -> bool {
        match text.first() {
            None => self.empty,
            Some(first) => {
                self.begins[usize::from(*first)]
                    && self.words.iter().any(|word| word.as_bytes() == text)
            }
        }
    }
}
