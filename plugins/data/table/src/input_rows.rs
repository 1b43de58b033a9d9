//! Files to predict from, and the encoded rows that were read last.

use std::{collections::VecDeque, path::PathBuf};

use crate::{encoded::Encoded, encoding::Learned};

/// The files that are still to be read, and the rows that were read last with a key for each.
#[derive(Debug)]
pub struct InputRows {
    files: VecDeque<PathBuf>,
    /// Whether keys name the file, too.
    several: bool,
    /// The files that were taken, which keys refer to.
    opened: Vec<PathBuf>,
    /// The encoded rows.
    pub encoded: Encoded,
    /// File and number of each row.
    keys: Vec<(usize, u64)>,
}

impl InputRows {
    /// No rows yet.
    pub fn new(learned: &Learned, files: impl IntoIterator<Item = PathBuf>) -> InputRows {
        let files: VecDeque<PathBuf> = files.into_iter().collect();
        InputRows {
            several: files.len() > 1,
            files,
            opened: Vec::new(),
            encoded: Encoded::new(learned),
            keys: Vec::new(),
        }
    }

    /// Takes the next file; none after the last. Rows that are added from here on are its.
    pub fn next_file(&mut self) -> Option<PathBuf> {
        let path = self.files.pop_front()?;
        self.opened.push(path.clone());
        Some(path)
    }

    /// Removes the rows.
    pub fn clear(&mut self) {
        self.encoded.clear();
        self.keys.clear();
    }

    /// Adds the key of a row that was encoded: its number, or its line, in the file.
    pub fn add_key(&mut self, number: u64) {
        self.keys.push((self.opened.len().saturating_sub(1), number));
    }

    /// Number of rows.
    pub fn count(&self) -> usize {
        self.keys.len()
    }

    /// The number of row `index` in its file; with the file, if there are several.
    pub fn key(&self, index: usize) -> String {
        match self.keys.get(index) {
            Some((file, number)) if self.several => {
                format!("{}:{number}", self.opened[*file].display())
            }
            Some((_, number)) => number.to_string(),
            None => String::new(),
        }
    }
}
