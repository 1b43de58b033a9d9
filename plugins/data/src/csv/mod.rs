//! Data set `csv`: rows of a table, numbers and categories.
//!
//! `reader` turns a file into typed columns (`column`, `storage`, `number`), `part` stores them as
//! rows, and `encoding` keeps what the training rows determine. `inputs` reads files to predict from.

mod column;
mod config;
mod encoding;
mod header;
mod inputs;
mod number;
mod part;
mod quotes;
mod reader;
mod storage;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use fluxbay_plugin::prelude::*;

pub use self::config::Config;
use self::{
    column::Kind,
    config::{OnBadRow, Task},
    encoding::{Encoding, Feature, Learned},
    header::Chosen,
    inputs::Inputs,
    part::{Part, Value},
    reader::{Columns, Rows, Skipped},
};
use crate::{
    source::{self, Source},
    statistics::{Deviations, Sums},
};

/// The data set `csv`.
pub struct Csv {
    config: Config,
    run_dir: Option<PathBuf>,
    learned: Option<Learned>,
    /// Whether `learned` comes from another instance, so that nothing is learned here.
    restored: bool,
    parts: Vec<Part>,
    /// Files that are predicted from, in place of `parts`.
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
        Ok(Csv { run_dir: setup.run_dir()?, ..Csv::with(config) })
    }
}

impl Csv {
    fn with(config: Config) -> Csv {
        Csv {
            config,
            run_dir: None,
            learned: None,
            restored: false,
            parts: Vec::new(),
            inputs: None,
        }
    }

    /// Reads a file, again where the first pass shows that columns hold something else than
    /// assumed.
    fn read(
        &self,
        path: &Path,
        open: &dyn Fn(&Path) -> Result<Source>,
        mut kinds: impl FnMut(&Rows<'_>) -> Result<(Chosen, Vec<Kind>)>,
    ) -> Result<Columns> {
        let rows = Rows::open(&self.config, path, open(path)?)?;
        let (chosen, mut expected) = kinds(&rows)?;
        let mut rows = Some(rows);
        loop {
            let file = match rows.take() {
                Some(rows) => rows,
                None => Rows::open(&self.config, path, open(path)?)?,
            };
            match file.read(&chosen, &expected)? {
                Ok(columns) => return Ok(columns),
                Err(other) => expected = other,
            }
        }
    }

    /// Kinds of the columns that follow from the configuration.
    fn configured(&self, chosen: &Chosen) -> Vec<Kind> {
        let feature = |index: &usize| match chosen.categorical.contains(index) {
            true => Kind::Words,
            false => Kind::Auto,
        };
        let target = match self.config.task {
            Task::Auto => Kind::Auto,
            Task::Classification => Kind::Words,
            Task::Regression => Kind::Numbers,
        };
        chosen.features.iter().map(feature).chain([target]).collect()
    }

    /// Reads all files. `open` opens one.
    fn open_with(&mut self, open: &dyn Fn(&Path) -> Result<Source>) -> Result<()> {
        let path = self.config.path.clone();
        let mut names = Vec::new();
        let columns = self.read(&path, open, |rows| {
            names.clone_from(&rows.header.names);
            let chosen = rows.header.choose(&path, &self.config)?;
            let kinds = match &self.learned {
                Some(learned) => learned.kinds(&path, rows, &chosen)?,
                None => self.configured(&chosen),
            };
            Ok((chosen, kinds))
        })?;
        let mut skipped = vec![(path.clone(), columns.rows, columns.skipped.clone())];
        let format = self.config.format();
        let known = self.learned.as_ref().map(Learned::categories);
        let column_names: Vec<String> =
            columns.columns.iter().map(|column| column.name.clone()).collect();
        let validation = self.config.validation_path.clone();
        let name = if validation.is_some() { "training" } else { "all" };
        let (part, categories) = Part::new(name, columns, known, format);
        self.parts = vec![part];
        let learned =
            self.learned.get_or_insert_with(|| Learned::new(column_names, categories)).clone();
        if let Some(validation) = validation {
            let held = self.read(&validation, open, |rows| {
                if rows.header.names != names {
                    bail!(
                        "{} has columns {}, {} has {}",
                        validation.display(),
                        rows.header.names.join(", "),
                        path.display(),
                        names.join(", ")
                    );
                }
                let chosen = rows.header.choose(&validation, &self.config)?;
                let kinds = learned.kinds(&validation, rows, &chosen)?;
                Ok((chosen, kinds))
            })?;
            skipped.push((validation.clone(), held.rows, held.skipped.clone()));
            let known = Some(learned.categories());
            self.parts.push(Part::new("validation", held, known, format).0);
        }
        self.report(&skipped)
    }

    /// Logs the rows that were skipped and writes them to the run's folder.
    fn report(&self, files: &[(PathBuf, usize, Skipped)]) -> Result<()> {
        if self.config.on_bad_row == OnBadRow::Error {
            return Ok(());
        }
        for (path, rows, skipped) in files.iter().filter(|(_, _, skipped)| skipped.rows > 0) {
            let described: Vec<String> = skipped
                .described
                .iter()
                .map(|(line, reason)| format!("line {line}: {reason}"))
                .collect();
            let more = if skipped.rows > described.len() as u64 { "; ..." } else { "" };
            log::warn!(
                "{}: {} of {} rows are skipped because they cannot be read: {}{more}",
                path.display(),
                skipped.rows,
                *rows as u64 + skipped.rows,
                described.join("; ")
            );
        }
        let Some(dir) = self.run_dir.as_ref().filter(|dir| dir.is_dir()) else { return Ok(()) };
        let files: Vec<_> = files
            .iter()
            .map(|(path, rows, skipped)| {
                let first: Vec<_> = skipped
                    .described
                    .iter()
                    .map(|(line, reason)| serde_json::json!({"line": line, "reason": reason}))
                    .collect();
                serde_json::json!({
                    "path": path.display().to_string(),
                    "read": rows,
                    "skipped": skipped.rows,
                    "first": first,
                })
            })
            .collect();
        let file = dir.join("skipped-rows.json");
        let text = serde_json::json!({ "files": files }).to_string();
        std::fs::write(&file, text + "\n").map_err(Error::from).context(file.display())
    }

    /// Writes rows that were read to predict from. Their targets are 0.
    fn fill_inputs(
        &self,
        inputs: &Inputs,
        indices: &[u64],
        buffers: &mut Buffers<'_>,
    ) -> Result<()> {
        let width = self.width();
        for (place, index) in buffers.f32(0)?.chunks_exact_mut(width.max(1)).zip(indices) {
            place.copy_from_slice(inputs.row(*index as usize));
        }
        if self.learned.as_ref().is_some_and(|learned| learned.classes.is_some()) {
            buffers.u32(1)?.fill(0);
        } else {
            buffers.f32(1)?.fill(0.0);
        }
        Ok(())
    }

    fn width(&self) -> usize {
        self.features().iter().map(|feature| feature.encoding.width()).sum()
    }

    fn features(&self) -> &[Feature] {
        self.learned.as_ref().map_or(&[], |learned| &learned.features)
    }
}

impl Dataset for Csv {
    fn learnt(&self) -> Result<Vec<u8>> {
        to_bytes(&self.learned)
    }

    fn restore(&mut self, _: u32, bytes: &[u8]) -> Result<()> {
        let learned: Option<Learned> = from_bytes(bytes)?;
        learned.as_ref().map_or(Ok(()), Learned::check)?;
        (self.restored, self.learned) = (learned.is_some(), learned);
        Ok(())
    }

    fn open(&mut self) -> Result<()> {
        self.open_with(&|path| source::open_text(path))
    }

    fn fields(&self) -> Vec<Field> {
        let ys = match self.learned.as_ref().and_then(|learned| learned.classes.as_ref()) {
            Some(classes) => Field::labels("ys", classes.len()),
            None => Field::new("ys", DType::F32, &[1]),
        };
        vec![Field::new("xs", DType::F32, &[self.width()]), ys]
    }

    fn splits(&self) -> Vec<Split> {
        self.parts.iter().map(|part| Split::new(part.name, part.rows())).collect()
    }

    fn prepare(&mut self, split: usize, indices: &[u64]) -> Result<()> {
        if self.restored {
            return Ok(());
        }
        let (part, standardize) = (&self.parts[split], self.config.standardize);
        let Some(learned) = &mut self.learned else { return Ok(()) };
        let features = &mut learned.features;
        let mut sums = vec![Sums::default(); features.len()];
        let mut counts: Vec<Vec<u64>> = features
            .iter()
            .map(|feature| match &feature.encoding {
                Encoding::Number { .. } => Vec::new(),
                Encoding::Category { categories, .. } => vec![0; categories.len()],
            })
            .collect();
        for index in indices {
            let row = part.row(*index as usize);
            for (at, slot) in part.slots.iter().enumerate() {
                match slot.value(row) {
                    Value::Number(value) => sums[at].add(value),
                    Value::Category(position) => counts[at][position] += 1,
                    Value::Missing | Value::Unknown => {}
                }
            }
        }
        let mut deviations: Vec<_> =
            sums.iter().map(|sums| Deviations::from(sums.mean())).collect();
        if standardize {
            for index in indices {
                let row = part.row(*index as usize);
                for (slot, deviations) in part.slots.iter().zip(&mut deviations) {
                    if let Value::Number(value) = slot.value(row) {
                        deviations.add(value);
                    }
                }
            }
        }
        for (at, feature) in features.iter_mut().enumerate() {
            match &mut feature.encoding {
                Encoding::Number { .. } if sums[at].count == 0 => {}
                Encoding::Number { fill, shift, scale } => {
                    *fill = sums[at].mean();
                    if standardize {
                        let scaling = deviations[at].scaling(sums[at].count);
                        (*fill, *shift, *scale) = (scaling.mean, scaling.mean, scaling.scale);
                    }
                }
                Encoding::Category { fill, .. } => {
                    let most = counts[at].iter().max().copied().filter(|most| *most > 0);
                    // The first of the most frequent.
                    *fill =
                        most.and_then(|most| counts[at].iter().position(|count| *count == most));
                }
            }
        }
        Ok(())
    }

    fn open_inputs(&mut self, files: &[PathBuf]) -> Result<()> {
        let Some(learned) = &self.learned else {
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

    fn input_key(&self, index: usize) -> String {
        self.inputs.as_ref().map_or_else(String::new, |inputs| inputs.key(index))
    }

    fn class_name(&self, field: usize, class: usize) -> Option<String> {
        let classes = self.learned.as_ref()?.classes.as_ref()?;
        if field == 1 { classes.get(class).cloned() } else { None }
    }

    fn fill(&self, split: usize, indices: &[u64], buffers: &mut Buffers<'_>) -> Result<()> {
        if let Some(inputs) = &self.inputs {
            return self.fill_inputs(inputs, indices, buffers);
        }
        let (part, features, width) = (&self.parts[split], self.features(), self.width());
        for (place, index) in buffers.f32(0)?.chunks_exact_mut(width.max(1)).zip(indices) {
            let row = part.row(*index as usize);
            let mut start = 0;
            for (feature, slot) in features.iter().zip(&part.slots) {
                let end = start + feature.encoding.width();
                feature.encoding.write(slot.value(row), &mut place[start..end]);
                start = end;
            }
        }
        if self.learned.as_ref().is_some_and(|learned| learned.classes.is_some()) {
            for (place, index) in buffers.u32(1)?.iter_mut().zip(indices) {
                *place = part.targets[*index as usize];
            }
        } else {
            for (place, index) in buffers.f32(1)?.iter_mut().zip(indices) {
                *place = f32::from_bits(part.targets[*index as usize]);
            }
        }
        Ok(())
    }
}
