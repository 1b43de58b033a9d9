//! Files of texts that are predicted from, without labels.

use std::{collections::VecDeque, ops::Range, path::PathBuf};

use fluxbay_plugin::prelude::*;

use super::Config;
use crate::lines::Lines;

/// The file that is being read, and those after it.
pub struct Inputs {
    /// Files that were not read yet.
    files: VecDeque<PathBuf>,
    /// Whether keys name the file, too.
    several: bool,
    path: PathBuf,
    /// The rows of the present file, and their numbers in it.
    pub lines: Lines,
    numbers: Vec<u64>,
    /// The rows that were read last.
    pub piece: Range<usize>,
}

impl Inputs {
    /// Opens the first of some files; `None` if there are none.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn open(config: &Config, files: &[PathBuf]) -> Result<Option<Inputs>> {
        let mut files: VecDeque<PathBuf> = files.iter().cloned().collect();
        let several = files.len() > 1;
        let Some(path) = files.pop_front() else { return Ok(None) };
        Inputs::file(config, path, files, several).map(Some)
    }

    fn file(
        config: &Config,
        path: PathBuf,
        files: VecDeque<PathBuf>,
        several: bool,
    ) -> Result<Inputs> {
        let (names, mut numbers, mut skipped) = (config.names(false), Vec::new(), 0);
        let lines = Lines::open(&path, |line, number| {
            match names.read(line) {
                Ok(_) => numbers.push(number),
                Err(error) => {
                    config.bad_row(&path, number, &error)?;
                    skipped += 1;
                    return Ok(false);
                }
            }
            Ok(true)
        })?;
        if skipped > 0 {
            log::warn!(
                "{}: {skipped} rows have no prediction: they cannot be read",
                path.display()
            );
        }
        Ok(Inputs { files, several, path, lines, numbers, piece: 0..0 })
    }

    /// Turns to the next rows, at most `most`, and returns their number; 0 at the end.
    ///
    /// # Errors
    /// The next file cannot be read.
    pub fn advance(&mut self, config: &Config, most: usize) -> Result<usize> {
        loop {
            let (start, rows) = (self.piece.end, self.lines.len());
            if start < rows {
                self.piece = start..rows.min(start + most);
                return Ok(self.piece.len());
            }
            let Some(path) = self.files.pop_front() else { return Ok(0) };
            let (files, several) = (std::mem::take(&mut self.files), self.several);
            *self = Inputs::file(config, path, files, several)?;
        }
    }

    /// The place of row `index` of the last piece: its line, with its file if there are several.
    pub fn key(&self, index: usize) -> String {
        match self.numbers.get(self.piece.start + index) {
            Some(line) if self.several => format!("{}:{line}", self.path.display()),
            Some(line) => line.to_string(),
            None => String::new(),
        }
    }
}
