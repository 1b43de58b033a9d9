//! Data set `csv`: rows of a table, numbers and categories.

mod column;
mod header;
mod number;
mod part;
mod quotes;
mod reader;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use fluxbay_plugin::{prelude::*, serde};

use self::{
    header::Chosen,
    number::NumberFormat,
    part::{Categories, Part, Value},
    reader::{Columns, Kind, Rows, Skipped},
};
use crate::{
    source::{self, Source},
    statistics::{Deviations, Sums},
};

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
    fn format(&self) -> NumberFormat {
        let byte = |text: &str| text.as_bytes().first().copied();
        NumberFormat {
            decimal: byte(&self.decimal).unwrap_or(b'.'),
            thousands: self.thousands.as_deref().and_then(byte),
        }
    }

    fn check(&self) -> Result<()> {
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

/// What the training rows determine: the encoding of every column.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(crate = "fluxbay_plugin::serde")]
struct Learned {
    features: Vec<Feature>,
    target: String,
    /// Names of the classes in their order; `None` if numbers are predicted.
    classes: Option<Vec<String>>,
}

/// Encoding of a feature.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(crate = "fluxbay_plugin::serde")]
struct Feature {
    name: String,
    encoding: Encoding,
}

#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(crate = "fluxbay_plugin::serde", rename_all = "kebab-case")]
enum Encoding {
    /// `(value - shift) / scale`; missing values are replaced by `fill`.
    Number { fill: f64, shift: f64, scale: f64 },
    /// One-hot over `categories`; missing values are replaced by category `fill`.
    Category { categories: Vec<String>, fill: Option<usize> },
}

impl Encoding {
    fn width(&self) -> usize {
        match self {
            Encoding::Number { .. } => 1,
            Encoding::Category { categories, .. } => categories.len(),
        }
    }
}

/// The data set `csv`.
pub struct Csv {
    config: Config,
    run_dir: Option<PathBuf>,
    learned: Option<Learned>,
    /// Whether `learned` comes from another instance, so that nothing is learned here.
    restored: bool,
    parts: Vec<Part>,
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
        Csv { config, run_dir: None, learned: None, restored: false, parts: Vec::new() }
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

    fn width(&self) -> usize {
        self.features().iter().map(|feature| feature.encoding.width()).sum()
    }

    fn features(&self) -> &[Feature] {
        self.learned.as_ref().map_or(&[], |learned| &learned.features)
    }
}

impl Learned {
    /// Fails if the numbers are not usable, as after a change by hand.
    fn check(&self) -> Result<()> {
        for Feature { name, encoding } in &self.features {
            let usable = match encoding {
                Encoding::Number { fill, shift, scale } => {
                    fill.is_finite() && shift.is_finite() && scale.is_finite() && *scale > 0.0
                }
                Encoding::Category { categories, fill } => {
                    fill.is_none_or(|fill| fill < categories.len())
                }
            };
            if !usable {
                bail!("the saved encoding of column `{name}` is damaged");
            }
        }
        Ok(())
    }

    fn new(names: Vec<String>, categories: Categories) -> Learned {
        let mut columns = names.into_iter().zip(categories);
        let last = columns.next_back();
        let (target, classes) = last.unwrap_or_default();
        let feature = |(name, categories)| Feature {
            name,
            encoding: match categories {
                Some(categories) => Encoding::Category { categories, fill: None },
                None => Encoding::Number { fill: 0.0, shift: 0.0, scale: 1.0 },
            },
        };
        Learned { features: columns.map(feature).collect(), target, classes }
    }

    fn categories(&self) -> Categories {
        let feature = |feature: &Feature| match &feature.encoding {
            Encoding::Number { .. } => None,
            Encoding::Category { categories, .. } => Some(categories.clone()),
        };
        self.features.iter().map(feature).chain([self.classes.clone()]).collect()
    }

    /// Kinds of the columns of another file.
    ///
    /// # Errors
    /// The file has other columns than those that this was learnt from.
    fn kinds(&self, path: &Path, rows: &Rows<'_>, chosen: &Chosen) -> Result<Vec<Kind>> {
        let names = |indices: &[usize]| -> Vec<String> {
            indices.iter().map(|index| rows.header.names[*index].clone()).collect()
        };
        let expected: Vec<&String> = self.features.iter().map(|feature| &feature.name).collect();
        let found = names(&chosen.features);
        if found.iter().ne(expected.iter().copied())
            || names(&[chosen.target]) != [self.target.clone()]
        {
            bail!(
                "{}: the training data have features {expected:?} and target {:?}, this file has {found:?} and {:?}",
                path.display(),
                self.target,
                rows.header.names[chosen.target]
            );
        }
        Ok(self
            .categories()
            .into_iter()
            .map(|categories| categories.map_or(Kind::Numbers, Kind::Known))
            .collect())
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

    fn fill(&self, split: usize, indices: &[u64], buffers: &mut Buffers<'_>) -> Result<()> {
        let (part, features, width) = (&self.parts[split], self.features(), self.width());
        for (place, index) in buffers.f32(0)?.chunks_exact_mut(width.max(1)).zip(indices) {
            let row = part.row(*index as usize);
            let mut start = 0;
            for (feature, slot) in features.iter().zip(&part.slots) {
                let value = slot.value(row);
                match &feature.encoding {
                    Encoding::Number { fill, shift, scale } => {
                        let value = if let Value::Number(value) = value { value } else { *fill };
                        place[start] = ((value - shift) / scale) as f32;
                        start += 1;
                    }
                    Encoding::Category { categories, fill } => {
                        let cells = &mut place[start..start + categories.len()];
                        cells.fill(0.0);
                        let position = match value {
                            Value::Category(position) => Some(position),
                            Value::Missing => *fill,
                            Value::Number(_) | Value::Unknown => None,
                        };
                        if let Some(position) = position {
                            cells[position] = 1.0;
                        }
                        start += categories.len();
                    }
                }
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
