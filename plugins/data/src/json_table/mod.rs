//! Data set `jsonl-table`: rows of a JSON lines file.
//!
//! `reader` turns a file into rows; `fluxbay-table` keeps and encodes them. `inputs` reads files to
//! predict from.

mod inputs;
mod reader;
mod rows;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use fluxbay_plugin::{prelude::*, steps::DatasetSteps};
use fluxbay_table::{Missing, NumberFormat, OnBadRow, Settings, Table, Task};

use self::{inputs::Inputs, reader::File};
use crate::source;

config! {
    /// The file and its columns.
    pub struct Config {
        /// File with a JSON object in each line, gzipped or not, relative to the run file.
        path: PathBuf,
        /// File with the same columns for validation; without it the loader divides `path`.
        validation_path: Option<PathBuf> = null,
        /// Column to predict: its key. A key of an object in a row is `outer.inner`.
        target: String,
        /// Kind of the target.
        task: Task = "auto",
        /// Columns to predict from; by default all but the target.
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
        /// Columns of texts whose bytes are a field of their own.
        bytes: Vec<String> = [],
        /// Most elements of lists of different lengths: longer ones are cut at the end. By default as
        /// many as the longest in `path` has.
        length: Option<usize> = null => 1..,
        /// What is done where a value is missing: null, or no such key.
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

/// The data set `jsonl-table`.
pub struct JsonTable {
    table: Table,
    /// Files that are predicted from, in place of those of the table.
    inputs: Option<Inputs>,
}

impl Component for JsonTable {
    type Config = Config;

    fn new(mut config: Config, setup: &mut Setup) -> Result<Self> {
        config.path = setup.resolve_path(&config.path)?;
        if let Some(path) = &mut config.validation_path {
            *path = setup.resolve_path(&*path)?;
        }
        let mut table = JsonTable::with(config);
        table.table.run_dir = setup.run_dir()?;
        Ok(table)
    }
}

impl JsonTable {
    fn with(config: Config) -> JsonTable {
        let table = Table::new(Settings {
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
        });
        JsonTable { table, inputs: None }
    }
}

impl Dataset for JsonTable {
    fluxbay_table::of_table!();

    fn open(&mut self) -> Result<()> {
        let open = |path: &Path| source::open_text(path);
        self.table.open(&|path| Ok(Box::new(File::open(path, &open)?)))
    }

    fn open_inputs(&mut self, files: &[PathBuf]) -> Result<()> {
        let Some(learned) = &self.table.learned else {
            bail!("the encoding of the columns is not known: it is learnt in training");
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
