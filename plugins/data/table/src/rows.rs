//! Rows in, columns out.

use std::path::Path;

use fluxbay_plugin::prelude::*;

use crate::{
    block::{Block, Plan, Plans},
    column::{Cell, Column, Kind, Mixed, NO_WORD, Values},
    config::{Missing, OnBadRow, Settings},
    header::{Chosen, Header},
    lists::Element,
    number::Number,
    piece::{Piece, PiecePlans},
    skipped::Skipped,
};

/// A value as a file has it.
#[derive(Clone, Copy, Debug)]
pub enum Raw<'a> {
    /// None.
    Missing,
    /// A text without white space around it. One of the words for missing values is none, and a column
    /// of numbers parses it.
    Text(&'a [u8]),
    /// A finite number.
    Number(Number),
    /// A list of numbers; NaN for those that are missing.
    List(&'a [f64]),
}

/// The columns of a file: features in their order, then the target.
#[derive(Debug)]
pub(crate) struct Columns {
    pub columns: Vec<Column>,
    /// Rows that are stored.
    pub rows: usize,
    pub skipped: Skipped,
}

/// Takes the rows of a file one after the other.
pub struct Rows<'a> {
    config: &'a Settings,
    path: &'a Path,
    /// Position in the file of each column that is read: features in their order, then the target.
    positions: Vec<usize>,
    kinds: &'a [Kind],
    missing: MissingWords<'a>,
    read: Columns,
    cells: Vec<Cell>,
    words: Vec<u32>,
}

impl<'a> Rows<'a> {
    /// For a file with the columns of `header`, of which `chosen` are read as `kinds`.
    pub(crate) fn new(
        config: &'a Settings,
        path: &'a Path,
        header: &Header,
        chosen: &Chosen,
        kinds: &'a [Kind],
    ) -> Rows<'a> {
        let positions: Vec<usize> =
            chosen.features.iter().chain([&chosen.target]).copied().collect();
        let columns = positions.iter().zip(kinds).enumerate().map(|(at, (&index, kind))| {
            let is_target = at == chosen.features.len();
            Column::new(&header.names[index], kind.clone(), is_target)
        });
        let read = Columns { columns: columns.collect(), rows: 0, skipped: Skipped::default() };
        Rows {
            config,
            path,
            positions,
            kinds,
            missing: MissingWords::new(&config.missing_values),
            read,
            cells: Vec::new(),
            words: Vec::new(),
        }
    }

    /// Positions in the file of the columns whose values [`Rows::push`] takes, in that order.
    pub fn positions(&self) -> &[usize] {
        &self.positions
    }

    /// Whether a column is read as bytes, by its place in [`Rows::positions`].
    pub fn wants_bytes(&self, at: usize) -> bool {
        matches!(&self.read.columns[at].values, Values::Lists(lists) if lists.of() == Element::Bytes)
    }

    /// A row that cannot be read, for `reason`.
    ///
    /// # Errors
    /// The settings say that such rows are errors.
    pub fn bad(&mut self, line: u64, reason: &str) -> Result<()> {
        if self.config.on_bad_row == OnBadRow::Error {
            bail!(
                "{}:{line}: {reason}: correct the row, or set on-bad-row = \"skip\"",
                self.path.display()
            );
        }
        self.read.skipped.add(line, reason);
        Ok(())
    }

    /// The row at `line`, with the values of the columns at [`Rows::positions`].
    ///
    /// # Errors
    /// A value is missing, and the settings say that this is an error.
    pub fn push(&mut self, line: u64, values: &[Raw<'_>]) -> Result<()> {
        let format = self.config.format;
        let Columns { columns, rows, skipped } = &mut self.read;
        let (mut bad, mut gap) = (None, None);
        let fill = self.config.missing == Missing::Fill;
        self.cells.clear();
        for (at, (column, value)) in columns.iter_mut().zip(values).enumerate() {
            let value = match value {
                Raw::Text(text) if self.missing.contains(text) => Raw::Missing,
                Raw::List(list) if !fill && list.iter().any(|value| value.is_nan()) => Raw::Missing,
                value => *value,
            };
            match column.cell(value, line, *rows, format) {
                Ok(cell) => {
                    if matches!(cell, Cell::Missing) {
                        gap = gap.or(Some(at));
                    }
                    self.cells.push(cell);
                }
                Err(reason) => {
                    bad.get_or_insert((reason, column.is_refused(value)));
                }
            }
        }
        if let Some((reason, is_refused)) = bad {
            if is_refused {
                return self.bad(line, &reason);
            }
            skipped.add(line, &reason);
            return Ok(());
        }
        self.words.clear();
        for ((column, cell), value) in columns.iter_mut().zip(&self.cells).zip(values) {
            self.words.push(match (cell, value) {
                (Cell::Word, Raw::Text(text)) => column.word(text, line),
                (Cell::Word, Raw::Number(number)) => column.word(number.text().as_bytes(), line),
                _ => NO_WORD,
            });
        }
        if let Some(at) = gap {
            let column = &columns[at];
            match self.config.missing {
                Missing::Error => bail!(
                    "{}:{line}: column `{}` has no value ({}): set missing = \"drop\" or \"fill\", or leave the column out with `ignore`",
                    self.path.display(),
                    column.name,
                    match values[at] {
                        Raw::Text(text) => format!("{:?}", String::from_utf8_lossy(text)),
                        Raw::List(_) => String::from("a list with null"),
                        _ => String::from("null"),
                    }
                ),
                Missing::Drop => return Ok(()),
                Missing::Fill if matches!(self.cells.last(), Some(Cell::Missing)) => return Ok(()),
                Missing::Fill => {}
            }
        }
        let cells = self.cells.iter().zip(&self.words).zip(values);
        for (column, ((cell, word), value)) in columns.iter_mut().zip(cells) {
            column.push(*cell, *word, *value);
        }
        *rows += 1;
        if let (Some(Cell::Word), Some(target), Some(value)) =
            (self.cells.last(), columns.last_mut(), values.last())
            && let Some(number) = match value {
                Raw::Text(text) => format.parse(text),
                Raw::Number(number) => Some(*number),
                Raw::Missing | Raw::List(_) => None,
            }
            && target.becomes_number(&number, format)
        {
            target.make_numbers(format);
        }
        Ok(())
    }

    /// How blocks of regular rows can be parsed, for a text with this delimiter and number of columns.
    /// None if rows have to be looked at one by one, such as before the first row has shown what the
    /// columns hold.
    pub fn plans(&self, delimiter: u8, width: usize) -> Option<Plans> {
        let format = self.config.format;
        // Numbers are not compared with the words for missing values.
        let is_number = |word: &String| format.parse(word.as_bytes()).is_some();
        if self.config.missing_values.iter().any(is_number) {
            return None;
        }
        let mut places = vec![None; width];
        self.positions.iter().enumerate().for_each(|(at, index)| places[*index] = Some(at));
        Some(Plans {
            places,
            plans: self.column_plans()?,
            format,
            missing: self.config.missing_values.clone(),
            delimiter,
        })
    }

    fn column_plans(&self) -> Option<Vec<Plan>> {
        let last = self.read.columns.len() - 1;
        let fill = self.config.missing == Missing::Fill;
        let columns = self.read.columns.iter().enumerate();
        columns.map(|(at, column)| column.plan(fill && at < last)).collect()
    }

    /// Takes a block of rows that was parsed from `text` with `plans`, the first of them in `line`.
    /// Returns false, and takes nothing, if its rows have to be looked at one by one.
    pub fn merge(&mut self, block: &Block, plans: &Plans, text: &[u8], line: u64) -> bool {
        if self.column_plans().as_ref() != Some(&plans.plans) {
            return false;
        }
        let columns = &mut self.read.columns;
        if !columns.iter().zip(&block.values).all(|(column, values)| column.takes(values, text)) {
            return false;
        }
        for (column, values) in columns.iter_mut().zip(&block.values) {
            column.merge(values, text, line);
        }
        self.read.rows += block.rows;
        true
    }

    /// How the columns take pieces; none as long as rows have to be looked at one by one.
    pub fn piece_plans(&self) -> Option<PiecePlans> {
        let missing = self.config.missing_values.clone();
        Some(PiecePlans { plans: self.column_plans()?, missing })
    }

    /// Takes pieces of all columns that are read, in their order and with as many rows, of which the first
    /// is in `line`: at once where they are regular, else row by row.
    ///
    /// # Errors
    /// As [`Rows::push`].
    pub fn take(&mut self, pieces: &[Piece], plans: &PiecePlans, line: u64) -> Result<()> {
        let count = pieces.first().map_or(0, Piece::rows);
        let regular = self.column_plans().as_ref() == Some(&plans.plans)
            && pieces.iter().zip(&plans.plans).all(|(piece, plan)| piece.is_regular(*plan))
            && self
                .read
                .columns
                .iter()
                .zip(pieces)
                .all(|(column, piece)| column.takes(&piece.values, &piece.text));
        if regular {
            for (column, piece) in self.read.columns.iter_mut().zip(pieces) {
                column.merge(&piece.values, &piece.text, line);
            }
            self.read.rows += count;
            return Ok(());
        }
        for row in 0..count {
            let values: Vec<Raw<'_>> = pieces.iter().map(|piece| piece.raw(row)).collect();
            self.push(line + row as u64, &values)?;
        }
        Ok(())
    }

    /// Checks the columns after the last row. Returns the kinds to read the columns as if they differ
    /// from those that were assumed.
    pub(crate) fn finish(self) -> Result<std::result::Result<Columns, Vec<Kind>>> {
        let Rows { config, path, kinds, read, .. } = self;
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
        if let Some(empty) =
            read.columns.iter().find(|column| matches!(column.values, Values::Empty))
        {
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
            if let Values::Lists(lists) = &column.values
                && lists.cut > 0
            {
                log::warn!(
                    "{}: column `{}`: {} lists are longer than the model takes (setting `length`) and are cut at the end",
                    path.display(),
                    column.name,
                    lists.cut
                );
            }
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
}

/// The words that mean that a value is missing.
pub struct MissingWords<'a> {
    words: &'a [String],
    /// Whether a word begins with this byte.
    begins: [bool; 256],
    empty: bool,
}

impl MissingWords<'_> {
    /// For a list of words.
    pub fn new(words: &[String]) -> MissingWords<'_> {
        let mut begins = [false; 256];
        for word in words {
            if let Some(first) = word.as_bytes().first() {
                begins[usize::from(*first)] = true;
            }
        }
        MissingWords { words, begins, empty: words.iter().any(String::is_empty) }
    }

    /// Whether `text` is one of them.
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
