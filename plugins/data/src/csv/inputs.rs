//! Rows of files to predict from: encoded as the training rows were, one piece after the other.

use std::{
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use ::csv::ByteRecord;
use fluxbay_plugin::prelude::*;
use fluxbay_table::{InputEncoder, InputRows, Learned, MissingWords, Raw, Settings, bad_row};

use super::{
    config::Config,
    reader::{Parser, header_names, parser, unreadable, value},
};
use crate::source;

/// The files and the rows that were read last.
pub struct Inputs {
    /// Never locked by two threads: it makes the parser shareable.
    open: Mutex<Option<OpenFile>>,
    encoder: InputEncoder,
    target: String,
    /// The rows, by their lines.
    pub rows: InputRows,
    skipped: u64,
}

/// The file that is being read.
struct OpenFile {
    path: PathBuf,
    parser: Parser,
    /// Number of its columns.
    width: usize,
    /// Position of each feature.
    columns: Vec<usize>,
    /// The first row, if it was read to count the columns.
    first: Option<ByteRecord>,
    rows: u64,
}

impl Inputs {
    /// Reads nothing yet but the first file's header.
    ///
    /// # Errors
    /// The first file cannot be read, or lacks a feature.
    pub fn new(config: &Config, learned: &Learned, files: &[PathBuf]) -> Result<Inputs> {
        let mut inputs = Inputs {
            open: Mutex::default(),
            encoder: InputEncoder::new(learned),
            target: learned.target.clone(),
            rows: InputRows::new(learned, files.iter().cloned()),
            skipped: 0,
        };
        let first = inputs.next_file(config)?;
        *inputs.open.get_mut().unwrap_or_else(PoisonError::into_inner) = first;
        Ok(inputs)
    }

    /// Opens the next file; none after the last.
    fn next_file(&mut self, config: &Config) -> Result<Option<OpenFile>> {
        let Some(path) = self.rows.next_file() else { return Ok(None) };
        let mut parser = parser(config, source::open_text(&path)?);
        let (columns, width, first) = if config.header {
            let names = header_names(&mut parser, &path)?;
            (self.encoder.positions(&path, &names)?, names.len(), None)
        } else {
            let mut first = ByteRecord::new();
            if !parser.read_byte_record(&mut first).map_err(|error| unreadable(&path, &error))? {
                bail!("{}: the file has no rows", path.display());
            }
            (self.by_number(&path, first.len())?, first.len(), Some(first))
        };
        Ok(Some(OpenFile { path, parser, width, columns, first, rows: 0 }))
    }

    /// Positions of the features in a file without a header, where names are numbers. If the file has
    /// one column less than training needed, that is the target, and the columns after it move down.
    fn by_number(&self, path: &Path, width: usize) -> Result<Vec<usize>> {
        let number = |name: &str| name.parse::<usize>().unwrap_or(usize::MAX);
        let target = number(&self.target);
        let features: Vec<usize> = self.encoder.names().map(number).collect();
        let last = features.iter().copied().max().unwrap_or(0);
        let complete = last.max(target).saturating_add(1);
        if width >= complete {
            return Ok(features);
        }
        let moved = |&feature: &usize| if feature > target { feature - 1 } else { feature };
        let moved: Vec<usize> = features.iter().map(moved).collect();
        if width + 1 < complete || moved.iter().any(|&position| position >= width) {
            bail!(
                "{}: the model predicts from columns up to number {last}, the file has {width}",
                path.display()
            );
        }
        Ok(moved)
    }

    /// Reads the next rows, at most `most`; 0 after the last file.
    ///
    /// # Errors
    /// A file that cannot be read or lacks a feature; a row that cannot be read or lacks a value, as
    /// far as the configuration does not leave it out.
    pub fn read(&mut self, config: &Config, most: usize) -> Result<usize> {
        self.rows.clear();
        let mut open = self.open.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        while self.rows.count() < most
            && let Some(file) = &mut open
        {
            if !self.read_file(config, file, most)? {
                self.report(file);
                open = self.next_file(config)?;
            }
        }
        *self.open.get_mut().unwrap_or_else(PoisonError::into_inner) = open;
        Ok(self.rows.count())
    }

    /// Logs which rows of a file were left out.
    fn report(&mut self, file: &OpenFile) {
        if self.skipped > 0 {
            log::warn!(
                "{}: {} of {} rows have no prediction, because they cannot be read or lack a value",
                file.path.display(),
                self.skipped,
                file.rows
            );
        }
        self.skipped = 0;
    }

    /// Reads rows of a file; false at its end.
    fn read_file(&mut self, config: &Config, file: &mut OpenFile, most: usize) -> Result<bool> {
        let settings = config.settings();
        let missing = MissingWords::new(&config.missing_values);
        let mut record = ByteRecord::new();
        while self.rows.count() < most {
            if let Some(first) = file.first.take() {
                record = first;
            } else if !file
                .parser
                .read_byte_record(&mut record)
                .map_err(|error| unreadable(&file.path, &error))?
            {
                return Ok(false);
            }
            file.rows += 1;
            let line = record.position().map_or(0, ::csv::Position::line);
            match self.encode(&settings, file, &record, line, &missing) {
                Ok(true) => self.rows.add_key(line),
                Ok(false) => self.skipped += 1,
                Err(problem) => bail!("{}:{line}: {problem}", file.path.display()),
            }
        }
        Ok(true)
    }

    /// Encodes a row; false if it is left out.
    fn encode(
        &mut self,
        settings: &Settings,
        file: &OpenFile,
        record: &ByteRecord,
        line: u64,
        missing: &MissingWords<'_>,
    ) -> Result<bool> {
        if record.len() != file.width {
            let problem = format!("{} values instead of {}", record.len(), file.width);
            return bad_row::<()>(settings, &problem).map(|row| row.is_some());
        }
        let values: Vec<Raw<'_>> =
            file.columns.iter().map(|column| Raw::Text(value(record, *column))).collect();
        self.encoder.encode(settings, missing, (&file.path, line), &values, &mut self.rows.encoded)
    }
}
