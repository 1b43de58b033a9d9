//! Settings of the data set.

use std::path::PathBuf;

use fluxbay_plugin::prelude::*;
use fluxbay_table::{Missing, NumberFormat, OnBadRow, Settings, Task};

config! {
    /// The file and its columns.
    pub struct Config {
        /// CSV file, gzipped or not, relative to the run file.
        path: PathBuf,
        /// CSV file with the same columns for validation; without it the loader divides `path`.
        validation_path: Option<PathBuf> = null,
        /// Column to predict: its name, or its number from 0.
        target: String,
        /// Kind of the target.
        task: Task = "auto",
        /// Columns to predict from, by name or number; by default all but the target.
        columns: Option<Vec<String>> = null,
        /// Columns left out of the default.
        ignore: Vec<String> = [],
        /// Columns that hold names of categories, even if these are numbers.
        categorical: Vec<String> = [],
        /// Columns of words with many different values, which are encoded by a hash: one-hot over
        /// `buckets` places.
        hashed: Vec<String> = [],
        /// Places of a column of `hashed`.
        buckets: usize = 1024 => 1..=1048576,
        /// Columns whose text, byte by byte, is a field of its own.
        bytes: Vec<String> = [],
        /// Most bytes of a text of `bytes`: longer ones are cut. By default as many as the longest in
        /// `path` has.
        length: Option<usize> = null => 1..,
        /// Whether the first row holds the names of the columns; without it they are numbered from
        /// 0.
        header: bool = true,
        /// Character between values.
        delimiter: String = ",",
        /// Whether values may be enclosed in double quotes.
        quotes: bool = true,
        /// Decimal separator of numbers.
        decimal: String = ".",
        /// Thousands separator of numbers, between groups of three digits.
        thousands: Option<String> = null,
        /// What is done where a value is missing.
        missing: Missing = "error",
        /// Words that mean that a value is missing.
        missing_values: Vec<String> = [
            "", "NA", "N/A", "n/a", "#N/A", "<NA>", "NaN", "nan", "-nan", "NULL", "null", "?"
        ],
        /// What is done with a row that cannot be read.
        on_bad_row: OnBadRow = "error",
        /// Whether numbers are scaled to mean 0 and standard deviation 1 of the training rows.
        standardize: bool = true,
        /// Whether a number that is predicted is scaled to mean 0 and standard deviation 1 of the
        /// training rows, too. Losses and metrics are then in standard deviations.
        standardize_target: bool = false,
    }
}

impl Config {
    /// Those that all tables have.
    pub fn settings(&self) -> Settings {
        let byte = |text: &str| text.as_bytes().first().copied();
        Settings {
            path: self.path.clone(),
            validation_path: self.validation_path.clone(),
            target: self.target.clone(),
            task: self.task,
            columns: self.columns.clone(),
            ignore: self.ignore.clone(),
            categorical: self.categorical.clone(),
            hashed: self.hashed.clone(),
            buckets: self.buckets,
            ids: Vec::new(),
            vocabulary: None,
            padding: 0,
            bytes: self.bytes.clone(),
            length: self.length,
            missing: self.missing,
            missing_values: self.missing_values.clone(),
            on_bad_row: self.on_bad_row,
            standardize: self.standardize,
            standardize_target: self.standardize_target,
            format: NumberFormat {
                decimal: byte(&self.decimal).unwrap_or(b'.'),
                thousands: self.thousands.as_deref().and_then(byte),
            },
        }
    }

    /// Checks settings that are valid only together.
    ///
    /// # Errors
    /// A separator that is not one character or cannot separate.
    pub fn check(&self) -> Result<()> {
        let one = |key: &str, text: &str| -> Result<()> {
            if text.len() != 1 || !text.is_ascii() {
                bail!("{key} = {text:?}: one ASCII character is needed");
            }
            Ok(())
        };
        one("delimiter", &self.delimiter)?;
        for (key, text) in
            [("decimal", Some(&self.decimal)), ("thousands", self.thousands.as_ref())]
        {
            let Some(text) = text else { continue };
            one(key, text)?;
            if text.starts_with(|c: char| c.is_ascii_alphanumeric() || "+-\"".contains(c)) {
                bail!("{key} = {text:?}: this character cannot separate digits");
            }
        }
        if self.thousands.as_ref() == Some(&self.decimal) {
            bail!("decimal and thousands are both {:?}", self.decimal);
        }
        Ok(())
    }
}
