//! Rows of files to predict from: encoded as the training rows were, one piece after the other.

use std::{
    collections::VecDeque,
    path::PathBuf,
    sync::{Mutex, PoisonError},
};

use fluxbay_plugin::prelude::*;
use fluxbay_table::{Encoded, InputEncoder, Learned, MissingWords, Raw, Settings, bad_row};

use super::rows::{Objects, items};
use crate::source;

/// The files and the rows that were read last.
pub struct Inputs {
    files: VecDeque<PathBuf>,
    /// Whether keys name the file, too.
    several: bool,
    /// The file that is being read. Never locked by two threads: it makes the reader shareable.
    open: Mutex<Option<(PathBuf, Objects)>>,
    encoder: InputEncoder,
    names: Vec<String>,
    /// Encoded rows, and file and line of each.
    rows: Encoded,
    keys: Vec<(PathBuf, u64)>,
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
            files: files.iter().cloned().collect(),
            several: files.len() > 1,
            open: Mutex::default(),
            names: encoder.names().map(str::to_owned).collect(),
            encoder,
            rows: Encoded::new(learned),
            keys: Vec::new(),
            skipped: 0,
        };
        let first = inputs.next_file()?;
        *inputs.open.get_mut().unwrap_or_else(PoisonError::into_inner) = first;
        Ok(inputs)
    }

    /// Opens the next file; none after the last.
    fn next_file(&mut self) -> Result<Option<(PathBuf, Objects)>> {
        let Some(path) = self.files.pop_front() else { return Ok(None) };
        let objects = Objects::new(source::open_text(&path)?);
        Ok(Some((path, objects)))
    }

    /// Reads the next rows, at most `most`; 0 after the last file.
    ///
    /// # Errors
    /// A file that cannot be read; a row that cannot be read or lacks a value, as far as the settings do
    /// not leave it out.
    pub fn read(&mut self, settings: &Settings, most: usize) -> Result<usize> {
        self.rows.clear();
        self.keys.clear();
        let mut open = self.open.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        while self.keys.len() < most
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
                let missing = MissingWords::new(&settings.missing_values);
                let raw: Vec<Raw<'_>> = items
                    .iter()
                    .enumerate()
                    .map(|(at, item)| item.raw(self.encoder.wants_bytes(at)))
                    .collect();
                Ok(self.encoder.encode(settings, &missing, place, &raw, &mut self.rows))
            });
            let encoded = values
                .unwrap_or_else(|reason| bad_row::<()>(settings, &reason).map(|row| row.is_some()));
            match encoded {
                Ok(true) => self.keys.push((path.clone(), objects.line)),
                Ok(false) => self.skipped += 1,
                Err(problem) => bail!("{}:{}: {problem}", path.display(), objects.line),
            }
        }
        *self.open.get_mut().unwrap_or_else(PoisonError::into_inner) = open;
        Ok(self.keys.len())
    }

    /// The encoded rows that were read last.
    pub fn rows(&self) -> &Encoded {
        &self.rows
    }

    /// The line of row `index`; with its file, if there are several.
    pub fn key(&self, index: usize) -> String {
        match self.keys.get(index) {
            Some((path, line)) if self.several => format!("{}:{line}", path.display()),
            Some((_, line)) => line.to_string(),
            None => String::new(),
        }
    }
}
