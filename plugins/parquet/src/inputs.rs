//! Rows of files to predict from, one piece of a row group after the other.

use std::{
    fs,
    path::PathBuf,
    sync::{Mutex, PoisonError},
};

use fluxbay_plugin::prelude::*;
use fluxbay_table::{InputEncoder, InputRows, Learned, MissingWords, Raw, Settings};
use parquet::{
    column::reader::ColumnReader,
    file::reader::{FileReader, SerializedFileReader},
};

use crate::{
    column::{self, Cell, Content},
    file::paths,
};

/// The files and the rows that were read last.
pub struct Inputs {
    /// Never locked by two threads: it makes the reader shareable.
    open: Mutex<Option<OpenFile>>,
    encoder: InputEncoder,
    /// The rows, by their numbers from 1.
    pub rows: InputRows,
}

/// The file that is being read.
struct OpenFile {
    path: PathBuf,
    reader: SerializedFileReader<fs::File>,
    /// Position and content of each feature, and whether its bytes are wanted.
    columns: Vec<(usize, Content, bool)>,
    /// The next row group, the readers of the present one, and how many of its rows are left.
    group: usize,
    readers: Vec<ColumnReader>,
    left: usize,
    /// Rows that were read, and those without a prediction.
    row: u64,
    skipped: u64,
}

impl OpenFile {
    fn new(path: PathBuf, encoder: &InputEncoder) -> Result<OpenFile> {
        let file = fs::File::open(&path).context(path.display())?;
        let reader = SerializedFileReader::new(file)
            .map_err(|error| Error::new(format!("{}: {error}", path.display())))?;
        let schema = reader.metadata().file_metadata().schema_descr_ptr();
        let contents = column::contents(&schema);
        let names: Vec<String> = contents.iter().map(|content| content.name.clone()).collect();
        let mut columns = Vec::new();
        for (number, at) in encoder.positions(&path, &names)?.into_iter().enumerate() {
            let (content, bytes) = (contents[at].clone(), encoder.wants_bytes(number));
            if let Some(what) = content.refused(bytes) {
                bail!(
                    "{}: column `{}` holds {what}, which cannot be read",
                    path.display(),
                    names[at]
                );
            }
            columns.push((at, content, bytes));
        }
        let (group, readers, left, row, skipped) = Default::default();
        Ok(OpenFile { path, reader, columns, group, readers, left, row, skipped })
    }

    /// Reads the next rows of a row group, at most `most`, column by column. None at the end.
    fn cells(&mut self, most: usize) -> Result<Option<Vec<Vec<Cell>>>> {
        let wrong =
            |error: &dyn std::fmt::Display| Error::new(format!("{}: {error}", self.path.display()));
        while self.left == 0 {
            if self.group == self.reader.num_row_groups() {
                return Ok(None);
            }
            let group = self.reader.get_row_group(self.group).map_err(|error| wrong(&error))?;
            self.group += 1;
            self.left = group.metadata().num_rows().max(0) as usize;
            let readers = self.columns.iter().map(|(at, ..)| group.get_column_reader(*at));
            self.readers =
                readers.collect::<std::result::Result<_, _>>().map_err(|error| wrong(&error))?;
        }
        let count = self.left.min(most);
        self.left -= count;
        let mut all = Vec::with_capacity(self.columns.len());
        for (reader, (_, content, _)) in self.readers.iter_mut().zip(&self.columns) {
            let mut cells = Vec::new();
            column::read(reader, content, count, &mut cells).context(format!(
                "{}: column `{}`",
                self.path.display(),
                content.name
            ))?;
            all.push(cells);
        }
        Ok(Some(all))
    }
}

impl Inputs {
    /// Reads nothing yet but the columns of the first file.
    ///
    /// # Errors
    /// It cannot be read, or lacks a feature.
    pub fn new(learned: &Learned, inputs: &[PathBuf]) -> Result<Inputs> {
        let mut files = Vec::new();
        for path in inputs {
            files.extend(paths(path)?);
        }
        let encoder = InputEncoder::new(learned);
        let mut rows = InputRows::new(learned, files);
        let first = rows.next_file().map(|path| OpenFile::new(path, &encoder)).transpose()?;
        Ok(Inputs { open: Mutex::new(first), encoder, rows })
    }

    /// Reads the next rows, at most `most`; 0 after the last file.
    ///
    /// # Errors
    /// A file that cannot be read or lacks a feature; a row that lacks a value, as far as the settings do
    /// not leave it out.
    pub fn read(&mut self, settings: &Settings, most: usize) -> Result<usize> {
        let missing = MissingWords::new(&settings.missing_values);
        self.rows.clear();
        let open = self.open.get_mut().unwrap_or_else(PoisonError::into_inner);
        while self.rows.count() < most
            && let Some(file) = open
        {
            let Some(cells) = file.cells(most - self.rows.count())? else {
                if file.skipped > 0 {
                    log::warn!(
                        "{}: {} of {} rows have no prediction, because they cannot be read or lack a value",
                        file.path.display(),
                        file.skipped,
                        file.row
                    );
                }
                let next = self.rows.next_file();
                *open = next.map(|path| OpenFile::new(path, &self.encoder)).transpose()?;
                continue;
            };
            for at in 0..cells.first().map_or(0, Vec::len) {
                file.row += 1;
                let columns = cells.iter().zip(&file.columns);
                let values: Vec<Raw<'_>> =
                    columns.map(|(cells, (.., bytes))| cells[at].raw(*bytes)).collect();
                let place = (&*file.path, file.row);
                let encoded =
                    self.encoder.encode(settings, &missing, place, &values, &mut self.rows.encoded);
                let read = encoded.map_err(|problem| {
                    Error::new(format!("{}: row {}: {problem}", file.path.display(), file.row))
                })?;
                if read {
                    self.rows.add_key(file.row);
                } else {
                    file.skipped += 1;
                }
            }
        }
        Ok(self.rows.count())
    }
}
