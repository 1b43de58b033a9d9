//! Settings of the data set.

use std::path::PathBuf;

use fluxbay_plugin::prelude::*;

use super::number::NumberFormat;

choice! {
    /// What is done where a value is missing.
    pub enum Missing {
        /// The file is refused, with line and column.
        Error,
        /// The row is left out.
        Drop,
        /// Numbers are replaced by the mean of the training rows, words by their most frequent one.
        /// Rows without a target are left out.
        Fill,
    }
}

choice! {
    /// What is done with a row that cannot be read: a wrong number of values, a word in a column of
    /// numbers, or text that is not UTF-8.
    pub enum OnBadRow {
        /// The file is refused, with line, column and value.
        Error,
        /// The row is left out. The number of such rows is logged and written to
        /// `skipped-rows.json` in the run's folder.
        Skip,
    }
}

choice! {
    /// Kind of the target.
    pub enum Task {
        /// Numbers with a fraction or with more than 20 different values are predicted as numbers,
        /// everything else as classes.
        Auto,
        /// One of the words or numbers in the target column.
        Classification,
        /// A number.
        Regression,
    }
}

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
    }
}

impl Config {
    /// How numbers are written.
    pub fn format(&self) -> NumberFormat {
        let byte = |text: &str| text.as_bytes().first().copied();
        NumberFormat {
            decimal: byte(&self.decimal).unwrap_or(b'.'),
            thousands: self.thousands.as_deref().and_then(byte),
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
