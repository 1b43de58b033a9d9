//! Files of rows.

use std::{
    fs,
    num::NonZero,
    path::{Path, PathBuf},
    sync::mpsc,
    thread,
};

use fluxbay_plugin::prelude::*;
use fluxbay_table::{Kind, Piece, PiecePlans, Raw, Reader, Rows};
use parquet::{
    column::reader::ColumnReader,
    file::reader::{FileReader, RowGroupReader, SerializedFileReader},
};

use crate::column::{self, Cell, Content};
use crate::shared::SharedFile;

/// Rows that are read at a time from each column.
const BATCH: usize = if cfg!(test) { 64 } else { 8192 };
/// Most threads that read columns, and pieces of a column that wait.
const THREADS: usize = 4;
const AHEAD: usize = 2;

/// One file, or the files of a folder.
pub struct File {
    files: Vec<(PathBuf, SerializedFileReader<SharedFile>)>,
    names: Vec<String>,
    columns: Vec<Content>,
}

/// The files of a folder, or the file itself.
///
/// # Errors
/// A folder cannot be read, or has no such files.
pub fn paths(path: &Path) -> Result<Vec<PathBuf>> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut paths = Vec::new();
    for entry in fs::read_dir(path).context(path.display())? {
        let path = entry.context(path.display())?.path();
        if path.extension().is_some_and(|extension| extension == "parquet") {
            paths.push(path);
        }
    }
    paths.sort();
    if paths.is_empty() {
        bail!("{}: the folder has no .parquet files", path.display());
    }
    Ok(paths)
}

impl File {
    /// Reads the descriptions of the columns.
    ///
    /// # Errors
    /// A file cannot be read, is no Parquet file, or has other columns than the first one.
    pub fn open(path: &Path) -> Result<File> {
        let mut all = File { files: Vec::new(), names: Vec::new(), columns: Vec::new() };
        for path in paths(path)? {
            let file = fs::File::open(&path).context(path.display())?;
            let reader = SerializedFileReader::new(SharedFile::from(file))
                .map_err(|error| Error::new(format!("{}: {error}", path.display())))?;
            let schema = reader.metadata().file_metadata().schema_descr_ptr();
            let columns = column::contents(&schema);
            let names: Vec<String> = columns.iter().map(|column| column.name.clone()).collect();
            if let Some((first, _)) = all.files.first() {
                if names != all.names || columns != all.columns {
                    bail!(
                        "{} has columns {}, {} has {}, or of other types",
                        path.display(),
                        names.join(", "),
                        first.display(),
                        all.names.join(", ")
                    );
                }
            } else {
                (all.names, all.columns) = (names, columns);
            }
            all.files.push((path, reader));
        }
        if all.files.iter().all(|(_, reader)| reader.metadata().file_metadata().num_rows() == 0) {
            bail!("{}: the file has no rows", path.display());
        }
        Ok(all)
    }
}

impl Reader for File {
    fn names(&self) -> &[String] {
        &self.names
    }

    fn kind(&self, column: usize) -> Option<Kind> {
        Some(self.columns[column].kind())
    }

    fn read(self: Box<Self>, rows: &mut Rows<'_>) -> Result<()> {
        let positions = rows.positions().to_vec();
        for (number, &at) in positions.iter().enumerate() {
            if let Some(what) = self.columns[at].refused(rows.wants_bytes(number)) {
                bail!(
                    "{}: column `{}` holds {what}, which cannot be read: leave it out with `ignore`",
                    self.files[0].0.display(),
                    self.names[at]
                );
            }
        }
        let mut line = 1;
        for file in &self.files {
            for group in 0..file.1.num_row_groups() {
                let mut group = Group::open(&self, file, group, &positions)?;
                while group.done < group.rows {
                    line += match rows.piece_plans() {
                        Some(plans) => group.columns(&plans, line, rows)?,
                        None => group.row_by_row(line, rows)?,
                    };
                }
            }
        }
        Ok(())
    }
}

fn place(path: &Path, column: &str) -> String {
    format!("{}: column `{column}`", path.display())
}

/// A row group, of which some rows were read.
struct Group<'a> {
    path: &'a Path,
    reader: Box<dyn RowGroupReader + 'a>,
    /// The columns that are read, with their places in the file.
    columns: Vec<(usize, &'a Content)>,
    rows: usize,
    done: usize,
    /// Readers of the columns at the next row, if rows were read one by one.
    readers: Option<Vec<ColumnReader>>,
}

impl<'a> Group<'a> {
    fn open(
        all: &'a File,
        (path, reader): &'a (PathBuf, SerializedFileReader<SharedFile>),
        group: usize,
        positions: &[usize],
    ) -> Result<Group<'a>> {
        let columns = positions.iter().map(|&at| (at, &all.columns[at])).collect();
        let reader = reader
            .get_row_group(group)
            .map_err(|error| Error::new(format!("{}: {error}", path.display())))?;
        let rows = reader.metadata().num_rows().max(0) as usize;
        Ok(Group { path, reader, columns, rows, done: 0, readers: None })
    }

    /// Readers of the columns at the next row.
    fn readers(&self) -> Result<Vec<ColumnReader>> {
        let reader = |&(at, column): &(usize, &Content)| {
            let mut reader = self
                .reader
                .get_column_reader(at)
                .map_err(|error| Error::new(format!("{}: {error}", self.path.display())))?;
            if self.done > 0 {
                let skipped = column::skip(&mut reader, self.done);
                skipped.context(place(self.path, &column.name))?;
            }
            Ok(reader)
        };
        self.columns.iter().map(reader).collect()
    }

    /// Passes the next rows on one by one; returns their number.
    fn row_by_row(&mut self, line: u64, rows: &mut Rows<'_>) -> Result<u64> {
        let count = (self.rows - self.done).min(BATCH);
        let mut readers = match self.readers.take() {
            Some(readers) => readers,
            None => self.readers()?,
        };
        let mut cells: Vec<Vec<Cell>> = Vec::new();
        for (reader, (_, content)) in readers.iter_mut().zip(&self.columns) {
            let mut column = Vec::new();
            column::read(reader, content, count, &mut column)
                .context(place(self.path, &content.name))?;
            cells.push(column);
        }
        let bytes: Vec<bool> = (0..cells.len()).map(|at| rows.wants_bytes(at)).collect();
        for row in 0..count {
            let values: Vec<Raw<'_>> =
                cells.iter().zip(&bytes).map(|(cells, bytes)| cells[row].raw(*bytes)).collect();
            rows.push(line + row as u64, &values)?;
        }
        self.done += count;
        self.readers = Some(readers);
        Ok(count as u64)
    }

    /// Reads columns on several threads and passes pieces of them on, until the plans change or the group
    /// ends; returns the number of rows.
    fn columns(&mut self, plans: &PiecePlans, line: u64, rows: &mut Rows<'_>) -> Result<u64> {
        let readers = match self.readers.take() {
            Some(readers) => readers,
            None => self.readers()?,
        };
        let left = self.rows - self.done;
        let threads = thread::available_parallelism().map_or(1, NonZero::get).min(THREADS);
        let (path, all) = (self.path, &self.columns);
        let passed = thread::scope(|scope| {
            // Each thread reads every so manieth column, a piece of each in turn.
            let mut work: Vec<Vec<_>> = (0..threads).map(|_| Vec::new()).collect();
            let mut receivers = Vec::new();
            for (at, (reader, column)) in readers.into_iter().zip(all).enumerate() {
                let (sender, receiver) = mpsc::sync_channel(AHEAD);
                work[at % threads].push((reader, column, plans.builder(at), sender));
                receivers.push(receiver);
            }
            for mut columns in work {
                scope.spawn(move || {
                    let (mut left, mut cells) = (left, Vec::new());
                    while left > 0 {
                        let count = left.min(BATCH);
                        left -= count;
                        for (reader, (_, content), builder, sender) in &mut columns {
                            let piece = column::piece(reader, content, count, builder, &mut cells);
                            let failed = piece.is_err();
                            let sent = sender.send(piece.context(place(path, &content.name)));
                            if failed || sent.is_err() {
                                return;
                            }
                        }
                    }
                });
            }
            let mut passed = 0;
            while passed < left {
                let mut pieces = Vec::with_capacity(receivers.len());
                for receiver in &receivers {
                    let Ok(piece) = receiver.recv() else {
                        bail!("{}: a thread that reads has stopped", path.display());
                    };
                    pieces.push(piece?);
                }
                rows.take(&pieces, plans, line + passed as u64)?;
                passed += pieces.first().map_or(left, Piece::rows);
                if rows.piece_plans().as_ref() != Some(plans) {
                    break;
                }
            }
            Ok(passed)
        })?;
        self.done += passed;
        Ok(passed as u64)
    }
}
