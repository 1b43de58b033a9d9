//! Files of rows.

use std::{
    fs,
    path::{Path, PathBuf},
};

use fluxbay_plugin::prelude::*;
use fluxbay_table::{Kind, Raw, Reader, Rows};
use parquet::{
    column::reader::ColumnReader,
    file::reader::{FileReader, SerializedFileReader},
};

use crate::column::{self, Cell, Meaning};

/// Rows that are read at a time from each column.
const BATCH: usize = 8192;

/// One file, or the files of a folder.
pub struct File {
    files: Vec<(PathBuf, SerializedFileReader<fs::File>)>,
    names: Vec<String>,
    columns: Vec<Meaning>,
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
            let reader = SerializedFileReader::new(file)
                .map_err(|error| Error::new(format!("{}: {error}", path.display())))?;
            let schema = reader.metadata().file_metadata().schema_descr_ptr();
            let names: Vec<String> =
                schema.columns().iter().map(|column| column.path().string()).collect();
            let columns: Vec<Meaning> =
                schema.columns().iter().map(|column| column::meaning(column)).collect();
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
        for &at in &positions {
            if let Meaning::Other(what) = self.columns[at] {
                bail!(
                    "{}: column `{}` holds {what}, which cannot be read: leave it out with `ignore`",
                    self.files[0].0.display(),
                    self.names[at]
                );
            }
        }
        let mut line = 0;
        let mut cells: Vec<Vec<Cell>> = positions.iter().map(|_| Vec::new()).collect();
        for (path, reader) in &self.files {
            let wrong =
                |error: &dyn std::fmt::Display| Error::new(format!("{}: {error}", path.display()));
            for group in 0..reader.num_row_groups() {
                let group = reader.get_row_group(group).map_err(|error| wrong(&error))?;
                let schema = reader.metadata().file_metadata().schema_descr();
                let mut readers: Vec<ColumnReader> = positions
                    .iter()
                    .map(|at| group.get_column_reader(*at).map_err(|error| wrong(&error)))
                    .collect::<Result<_>>()?;
                let mut left = group.metadata().num_rows().max(0) as usize;
                while left > 0 {
                    let count = left.min(BATCH);
                    left -= count;
                    for ((reader, cells), &at) in readers.iter_mut().zip(&mut cells).zip(&positions)
                    {
                        let level = schema.column(at).max_def_level();
                        column::read(reader, self.columns[at], level, count, cells)
                            .context(format!("{}: column `{}`", path.display(), self.names[at]))?;
                    }
                    for row in 0..count {
                        line += 1;
                        let values: Vec<Raw<'_>> =
                            cells.iter().map(|cells| cells[row].raw()).collect();
                        rows.push(line, &values)?;
                    }
                }
            }
        }
        Ok(())
    }
}
