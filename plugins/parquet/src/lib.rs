#![doc = include_str!("../README.md")]

mod column;
mod file;
mod inputs;
mod shared;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use file::File;
use fluxbay_plugin::{prelude::*, steps::DatasetSteps};
use fluxbay_table::{Missing, NumberFormat, OnBadRow, Settings, Table, Task};
use inputs::Inputs;

config! {
    /// The file and its columns.
    pub struct Config {
        /// Parquet file, or a folder of `.parquet` files with the same columns, which are read in the
        /// order of their names; relative to the run file.
        path: PathBuf,
        /// File or folder with the same columns for validation; without it the loader divides `path`.
        validation_path: Option<PathBuf> = null,
        /// Column to predict: its name, or its number from 0.
        target: String,
        /// Kind of the target.
        task: Task = "auto",
        /// Columns to predict from, by name or number; by default all but the target. A field of a
        /// structure is `structure.field`.
        columns: Option<Vec<String>> = null,
        /// Columns left out of the default.
        ignore: Vec<String> = [],
        /// Columns that hold names of categories, even if these are numbers.
        categorical: Vec<String> = [],
        /// Columns of texts with many different values, which are encoded by a hash: one-hot over
        /// `buckets` places.
        hashed: Vec<String> = [],
        /// Places of a column of `hashed`.
        buckets: usize = 1024 => 1..=1048576,
        /// Columns of lists that hold ids, such as those of tokens: a field of their own.
        ids: Vec<String> = [],
        /// Number of different ids; by default one more than the largest in `path`.
        vocabulary: Option<usize> = null => 1..,
        /// Id that lists of different lengths are filled up with in a batch.
        padding: u32 = 0,
        /// Columns of texts or of bytes without meaning whose bytes are a field of their own.
        bytes: Vec<String> = [],
        /// Most elements of lists of different lengths: longer ones are cut at the end. By default as
        /// many as the longest in `path` has.
        length: Option<usize> = null => 1..,
        /// What is done where a value is missing: null, or NaN.
        missing: Missing = "error",
        /// Texts that mean that a value is missing, too.
        missing_values: Vec<String> = [],
        /// What is done with a row that cannot be read.
        on_bad_row: OnBadRow = "error",
        /// Whether numbers are scaled to mean 0 and standard deviation 1 of the training rows.
        standardize: bool = true,
        /// Whether a number that is predicted is scaled to mean 0 and standard deviation 1 of the
        /// training rows, too. Losses and metrics are then in standard deviations.
        standardize_target: bool = false,
    }
}

/// The data set `parquet`.
pub struct Parquet {
    table: Table,
    /// Files that are predicted from, in place of those of the table.
    inputs: Option<Inputs>,
}

impl Component for Parquet {
    type Config = Config;

    fn new(mut config: Config, setup: &mut Setup) -> Result<Self> {
        config.path = setup.resolve_path(&config.path)?;
        if let Some(path) = &mut config.validation_path {
            *path = setup.resolve_path(&*path)?;
        }
        let mut parquet = Parquet::with(config);
        parquet.table.run_dir = setup.run_dir()?;
        Ok(parquet)
    }
}

impl Parquet {
    fn with(config: Config) -> Parquet {
        Parquet {
            table: Table::new(Settings {
                path: config.path,
                validation_path: config.validation_path,
                target: config.target,
                task: config.task,
                columns: config.columns,
                ignore: config.ignore,
                categorical: config.categorical,
                hashed: config.hashed,
                buckets: config.buckets,
                ids: config.ids,
                vocabulary: config.vocabulary,
                padding: config.padding,
                bytes: config.bytes,
                length: config.length,
                missing: config.missing,
                missing_values: config.missing_values,
                on_bad_row: config.on_bad_row,
                standardize: config.standardize,
                standardize_target: config.standardize_target,
                format: NumberFormat::PLAIN,
            }),
            inputs: None,
        }
    }
}

impl Dataset for Parquet {
    fluxbay_table::of_table!();

    fn open(&mut self) -> Result<()> {
        self.table.open(&|path: &Path| Ok(Box::new(File::open(path)?)))
    }

    fn open_inputs(&mut self, files: &[PathBuf]) -> Result<()> {
        let Some(learned) = &self.table.learned else {
            bail!("the encoding of the columns is not known: it is kept with a trained run");
        };
        self.inputs = Some(Inputs::new(learned, files)?);
        Ok(())
    }

    fn read_inputs(&mut self, most: usize) -> Result<usize> {
        match &mut self.inputs {
            Some(inputs) => inputs.read(&self.table.settings, most),
            None => Ok(0),
        }
    }
}

plugin! {
    summary: "Parquet files as data.",
    dataset "parquet" => Parquet {
        summary: "Rows of Parquet files: numbers are standardised, categories are one-hot encoded, one column is the target.",
        details: "The settings are those of csv, and the same table gives the same batches. Only the columns that are used are read, row group by row group. Dates become days and points in time seconds since 1970. Lists of one length are inputs; lists of different lengths are a field. Means, deviations and replacements for missing values are computed from the training rows only.",
        learns: true,
        context: true,
        ragged: true,
        predicts: true,
        example: "[data]\ncomponent = \"parquet\"\npath = \"penguins.parquet\"\ntarget = \"species\"\nmissing = \"fill\"\n",
    },
}
