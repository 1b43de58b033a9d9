//! Rows of files to predict from: encoded as the training rows were, one piece after the other.

use std::{
    path::PathBuf,
    sync::{Mutex, PoisonError},
};

use fluxbay_plugin::prelude::*;
use fluxbay_table::{InputEncoder, InputRows, Learned, MissingWords, Raw, Settings, bad_row};

use super::rows::{Objects, items};
use crate::source;

/// The files and the rows that were read last.
pub struct Inputs {
    /// The file that is being read. Never locked by two threads: it makes the reader shareable.
    open: Mutex<Option<(PathBuf, Objects)>>,
    encoder: InputEncoder,
    names: Vec<String>,
    /// The rows, by their lines.
    pub rows: InputRows,
    skipped: u64,
}

impl Inputs {
    /// Reads nothing yet.
    ///
    /// # Errors
    /// The first file cannot be opened.
    pub fn new(learned: &Learned, files: &[PathBuf]) -> Result<Inputs> {
        let encoder = InputEncoder::new(learned);
        let mut inputs = Inputs {
            open: Mutex::default(),
            names: encoder.names().map(str::to_owned).collect(),
            encoder,
            rows: InputRows::new(learned, files.iter().cloned()),
            skipped: 0,
        };
        let first = inputs.next_file()?;
        *inputs.open.get_mut().unwrap_or_else(PoisonError::into_inner) = first;
        Ok(inputs)
    }

    /// Opens the next file; none after the last.
    fn next_file(&mut self) -> Result<Option<(PathBuf, Objects)>> {
        let Some(path) = self.rows.next_file() else { return Ok(None) };
        let objects = Objects::new(source::open_text(&path)?);
        Ok(Some((path, objects)))
    }

    /// Reads the next rows, at most `most`; 0 after the last file.
    ///
    /// # Errors
    /// A file that cannot be read; a row that cannot be read or lacks a value, as far as the settings do
    /// not leave it out.
    pub fn read(&mut self, settings: &Settings, most: usize) -> Result<usize> {
        let missing = MissingWords::new(&settings.missing_values);
        self.rows.clear();
        let mut open = self.open.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        while self.rows.count() < most
            && let Some((path, objects)) = &mut open
        {
            let Some(object) = objects.next().context(path.display())? else {
                if self.skipped > 0 {
                    log::warn!(
                        "{}: {} rows have no prediction, because they cannot be read or lack a value",
                        path.display(),
                        self.skipped
                    );
                }
                self.skipped = 0;
                open = self.next_file()?;
                continue;
            };
            let place = (&**path, objects.line);
            let values = object.and_then(|object| {
                // Borrows from the object: encoded before it goes.
                let items = items(&object, self.names.iter().map(String::as_str))?;
                let raw: Vec<Raw<'_>> = items
                    .iter()
                    .enumerate()
                    .map(|(at, item)| item.raw(self.encoder.wants_bytes(at)))
                    .collect();
                Ok(self.encoder.encode(settings, &missing, place, &raw, &mut self.rows.encoded))
            });
            let encoded = values
                .unwrap_or_else(|reason| bad_row::<()>(settings, &reason).map(|row| row.is_some()));
            match encoded {
                Ok(true) => self.rows.add_key(objects.line),
                Ok(false) => self.skipped += 1,
                Err(problem) => bail!("{}:{}: {problem}", path.display(), objects.line),
            }
        }
        *self.open.get_mut().unwrap_or_else(PoisonError::into_inner) = open;
        Ok(self.rows.count())
    }
}
