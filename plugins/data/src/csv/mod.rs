//! Data set `csv`: rows of a text file.
//!
//! `reader` turns a file into rows; `fluxbay-table` keeps and encodes them. `inputs` reads files to
//! predict from.

mod config;
mod inputs;
mod quotes;
mod reader;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use fluxbay_plugin::{prelude::*, steps::DatasetSteps};
use fluxbay_table::Table;

pub use self::config::Config;
use self::{inputs::Inputs, reader::File};
use crate::source::{self, Source};

/// The data set `csv`.
pub struct Csv {
    config: Config,
    table: Table,
    /// Files that are predicted from, in place of those of the table.
    inputs: Option<Inputs>,
}

impl Component for Csv {
    type Config = Config;

    fn new(mut config: Config, setup: &mut Setup) -> Result<Self> {
        config.check()?;
        config.path = setup.resolve_path(&config.path)?;
        if let Some(path) = &mut config.validation_path {
            *path = setup.resolve_path(&*path)?;
        }
        let mut csv = Csv::with(config);
        csv.table.run_dir = setup.run_dir()?;
        Ok(csv)
    }
}

impl Csv {
    fn with(config: Config) -> Csv {
        let table = Table::new(config.settings());
        Csv { config, table, inputs: None }
    }

    /// Reads all files. `open` opens one.
    fn open_with(&mut self, open: &dyn Fn(&Path) -> Result<Source>) -> Result<()> {
        let config = &self.config;
        self.table.open(&|path| Ok(Box::new(File::open(config, path, open(path)?)?)))
    }
}

impl Dataset for Csv {
    fluxbay_table::of_table!();

    fn open(&mut self) -> Result<()> {
        self.open_with(&|path| source::open_text(path))
    }

    fn open_inputs(&mut self, files: &[PathBuf]) -> Result<()> {
        let Some(learned) = &self.table.learned else {
            bail!("the encoding of the columns is not known: it is learnt in training");
        };
        self.inputs = Some(Inputs::new(&self.config, learned, files)?);
        Ok(())
    }

    fn read_inputs(&mut self, most: usize) -> Result<usize> {
        match &mut self.inputs {
            Some(inputs) => inputs.read(&self.config, most),
            None => Ok(0),
        }
    }
}
