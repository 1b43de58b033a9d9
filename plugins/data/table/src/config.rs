//! Settings that data sets of tables have in common.

use std::path::PathBuf;

use fluxbay_plugin::prelude::*;

use crate::NumberFormat;

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

/// Which columns are read, and how.
#[derive(Clone, Debug)]
pub struct Settings {
    /// File with the rows.
    pub path: PathBuf,
    /// File with the rows for validation, if there is one.
    pub validation_path: Option<PathBuf>,
    /// Name or number of the column to predict.
    pub target: String,
    /// Kind of the target.
    pub task: Task,
    /// Names or numbers of the columns to predict from; all others if none are given.
    pub columns: Option<Vec<String>>,
    /// Columns left out of the default.
    pub ignore: Vec<String>,
    /// Columns that hold names of categories, even if these are numbers.
    pub categorical: Vec<String>,
    /// Columns of words that are encoded by a hash.
    pub hashed: Vec<String>,
    /// Places of such a column.
    pub buckets: usize,
    /// Columns of lists of ids.
    pub ids: Vec<String>,
    /// Number of different ids; by default one more than the largest.
    pub vocabulary: Option<usize>,
    /// What lists of ids are filled up with.
    pub padding: u32,
    /// Columns of texts or binary values whose bytes are a field.
    pub bytes: Vec<String>,
    /// Most elements of a list whose length differs.
    pub length: Option<usize>,
    /// What is done where a value is missing.
    pub missing: Missing,
    /// Words that mean that a value is missing.
    pub missing_values: Vec<String>,
    /// What is done with a row that cannot be read.
    pub on_bad_row: OnBadRow,
    /// Whether numbers are scaled to mean 0 and standard deviation 1.
    pub standardize: bool,
    /// Whether a number that is predicted is scaled likewise.
    pub standardize_target: bool,
    /// How numbers are written.
    pub format: NumberFormat,
}
