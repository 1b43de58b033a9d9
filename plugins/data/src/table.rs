//! CSV files: from rows of words to rows of numbers.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use fluxbay_plugin::prelude::*;

choice! {
    /// What is done where a value is missing.
    pub enum Missing {
        /// The file is refused, with line and column.
        Error,
        /// The row is left out.
        Drop,
        /// Numbers become the training rows' mean, words their most frequent one. Rows without a
        /// target are left out.
        Fill,
    }
}

choice! {
    /// What the target is.
    pub enum Task {
        /// Numbers with a fraction or more than 20 different ones are predicted as numbers,
        /// everything else as classes.
        Auto,
        /// One of the words or numbers of the target column.
        Classification,
        /// A number.
        Regression,
    }
}

config! {
    /// The file and its columns.
    pub struct Config {
        /// CSV file, relative to the run file.
        path: PathBuf,
        /// CSV file with the same columns for validation; without it the loader divides `path`.
        validation_path: Option<PathBuf> = null,
        /// Column to predict: its name, or its number from 0.
        target: String,
        /// What the target is.
        task: Task = "auto",
        /// Columns to predict from, by name or number; by default all but the target.
        columns: Option<Vec<String>> = null,
        /// Columns left out of the default.
        ignore: Vec<String> = [],
        /// Columns of numbers that are names of categories.
        categorical: Vec<String> = [],
        /// Whether the first row holds the columns' names; without it they are numbered from 0.
        header: bool = true,
        /// Character between values.
        delimiter: String = ",",
        /// What is done where a value is missing.
        missing: Missing = "error",
        /// Words that mean that a value is missing.
        missing_values: Vec<String> = ["", "NA", "NaN", "nan", "null", "?"],
        /// Whether numbers are brought to mean 0 and deviation 1, both of the training rows.
        standardize: bool = true,
    }
}

/// Rows of a CSV file.
pub struct Csv {
    config: Config,
    columns: Vec<Column>,
    target: Target,
    parts: Vec<Part>,
}

struct Part {
    name: &'static str,
    /// Features per row: a number, or the position of a category; none where missing.
    rows: Vec<Vec<Option<f64>>>,
    targets: Vec<f32>,
}

struct Column {
    name: String,
    /// Sorted; empty for a column of numbers.
    categories: Vec<String>,
    fill: f64,
    shift: f64,
    scale: f64,
}

impl Column {
    fn width(&self) -> usize {
        if self.categories.is_empty() { 1 } else { self.categories.len() }
    }
}

enum Target {
    Classes(Vec<String>),
    Number,
}

/// The words of one file, with the line of each row.
struct Words {
    path: PathBuf,
    names: Vec<String>,
    rows: Vec<(u64, Vec<String>)>,
}

impl Component for Csv {
    type Config = Config;

    fn new(mut config: Config, setup: &mut Setup) -> Result<Self> {
        if config.delimiter.len() != 1 {
            bail!("delimiter = {:?}: one ASCII character is needed", config.delimiter);
        }
        config.path = setup.resolve_path(&config.path)?;
        if let Some(path) = &mut config.validation_path {
            *path = setup.resolve_path(&*path)?;
        }
        Ok(Csv::with(config))
    }
}

impl Csv {
    fn with(config: Config) -> Csv {
        Csv { config, columns: Vec::new(), target: Target::Number, parts: Vec::new() }
    }

    fn read(&self, path: &PathBuf) -> Result<Words> {
        let file = std::fs::File::open(path).context(path.display())?;
        self.parse(path, file)
    }

    fn parse(&self, path: &Path, content: impl std::io::Read) -> Result<Words> {
        let mut reader = csv::ReaderBuilder::new()
            .delimiter(self.config.delimiter.as_bytes()[0])
            .has_headers(self.config.header)
            .trim(csv::Trim::All)
            .from_reader(content);
        let bad = |error: csv::Error| Error::new(format!("{}: {error}", path.display()));
        let mut names: Vec<String> = Vec::new();
        if self.config.header {
            names = reader.headers().map_err(bad)?.iter().map(str::to_owned).collect();
        }
        let mut rows = Vec::new();
        for record in reader.records() {
            let record = record.map_err(bad)?;
            let line = record.position().map_or(0, csv::Position::line);
            rows.push((line, record.iter().map(str::to_owned).collect::<Vec<_>>()));
        }
        let Some((_, first)) = rows.first() else {
            bail!("{}: the file has no rows", path.display())
        };
        if names.is_empty() {
            names = (0..first.len()).map(|index| index.to_string()).collect();
        }
        Ok(Words { path: path.to_path_buf(), names, rows })
    }

    fn is_missing(&self, word: &str) -> bool {
        self.config.missing_values.iter().any(|missing| missing == word)
    }

    /// Positions of the feature columns and of the target.
    fn choose(&self, words: &Words) -> Result<(Vec<usize>, usize)> {
        let target = position(words, &self.config.target, "target")?;
        let features = match &self.config.columns {
            Some(columns) => columns
                .iter()
                .map(|name| position(words, name, "columns"))
                .collect::<Result<Vec<_>>>()?,
            None => {
                let ignored = self
                    .config
                    .ignore
                    .iter()
                    .map(|name| position(words, name, "ignore"))
                    .collect::<Result<BTreeSet<_>>>()?;
                (0..words.names.len())
                    .filter(|index| *index != target && !ignored.contains(index))
                    .collect()
            }
        };
        if features.is_empty() {
            bail!("{}: no column is left to predict from", words.path.display());
        }
        if features.contains(&target) {
            bail!("column `{}` is both the target and predicted from", words.names[target]);
        }
        Ok((features, target))
    }

    /// Learns which columns hold numbers, their categories, and the target's classes.
    fn learn(&mut self, words: &Words, features: &[usize], target: usize) -> Result<()> {
        let forced = self
            .config
            .categorical
            .iter()
            .map(|name| position(words, name, "categorical"))
            .collect::<Result<BTreeSet<_>>>()?;
        let present = |column: usize| {
            words
                .rows
                .iter()
                .map(move |(_, row)| row[column].as_str())
                .filter(|word| !self.is_missing(word))
        };
        let mut columns = Vec::new();
        for &index in features {
            let words_only =
                forced.contains(&index) || present(index).any(|word| number(word).is_none());
            let categories = if words_only { sorted(present(index)) } else { Vec::new() };
            if !words_only && present(index).next().is_none() {
                bail!(
                    "{}: column `{}` has no values: leave it out with `ignore`",
                    words.path.display(),
                    words.names[index]
                );
            }
            columns.push(Column {
                name: words.names[index].clone(),
                categories,
                fill: 0.0,
                shift: 0.0,
                scale: 1.0,
            });
        }
        let values = sorted(present(target));
        let numbers = values.iter().all(|word| number(word).is_some());
        let fractional =
            values.iter().filter_map(|word| number(word)).any(|value| value.fract() != 0.0);
        let target_kind = match self.config.task {
            Task::Classification => Target::Classes(values),
            Task::Regression if !numbers => {
                bail!(
                    "{}: target `{}` holds words, task = \"regression\" needs numbers",
                    words.path.display(),
                    words.names[target]
                )
            }
            Task::Regression => Target::Number,
            Task::Auto if numbers && (fractional || values.len() > 20) => Target::Number,
            Task::Auto => Target::Classes(values),
        };
        self.columns = columns;
        self.target = target_kind;
        Ok(())
    }

    /// Turns the words of a file into rows of numbers.
    fn encode(
        &self,
        name: &'static str,
        words: &Words,
        features: &[usize],
        target: usize,
    ) -> Result<Part> {
        let mut part = Part { name, rows: Vec::new(), targets: Vec::new() };
        for (line, row) in &words.rows {
            let gap = features.iter().chain([&target]).find(|index| self.is_missing(&row[**index]));
            match (self.config.missing, gap) {
                (Missing::Error, Some(index)) => bail!(
                    "{}:{line}: column `{}` has no value ({:?}): set missing = \"drop\" or \"fill\"",
                    words.path.display(),
                    words.names[*index],
                    row[*index]
                ),
                (Missing::Drop, Some(_)) => continue,
                (Missing::Fill, _) if self.is_missing(&row[target]) => continue,
                _ => {}
            }
            let mut values = Vec::with_capacity(features.len());
            for (column, &index) in self.columns.iter().zip(features) {
                values.push(
                    self.value(column, &row[index]).map_err(|error| {
                        error.context(format!("{}:{line}", words.path.display()))
                    })?,
                );
            }
            let value = match &self.target {
                Target::Number => number(&row[target]).ok_or_else(|| {
                    Error::new(format!(
                        "{}:{line}: target `{}` is not a number: {:?}",
                        words.path.display(),
                        words.names[target],
                        row[target]
                    ))
                })? as f32,
                Target::Classes(classes) => {
                    let place = classes.iter().position(|class| *class == row[target]).ok_or_else(
                        || {
                            Error::new(format!(
                                "{}:{line}: class {:?} does not occur in the training file",
                                words.path.display(),
                                row[target]
                            ))
                        },
                    )?;
                    place as f32
                }
            };
            part.rows.push(values);
            part.targets.push(value);
        }
        if part.rows.is_empty() {
            bail!("{}: every row misses a value", words.path.display());
        }
        Ok(part)
    }

    fn value(&self, column: &Column, word: &str) -> Result<Option<f64>> {
        if self.is_missing(word) {
            return Ok(None);
        }
        if column.categories.is_empty() {
            return match number(word) {
                Some(value) => Ok(Some(value)),
                None => bail!("column `{}` holds numbers, not {word:?}", column.name),
            };
        }
        // A category that training never saw is none of them: all zeros.
        Ok(Some(
            column
                .categories
                .iter()
                .position(|category| category == word)
                .map_or(-1.0, |place| place as f64),
        ))
    }

    fn width(&self) -> usize {
        self.columns.iter().map(Column::width).sum()
    }
}

fn position(words: &Words, name: &str, key: &str) -> Result<usize> {
    if let Some(index) = words.names.iter().position(|column| column == name) {
        return Ok(index);
    }
    match name.parse::<usize>() {
        Ok(index) if index < words.names.len() => Ok(index),
        _ => bail!(
            "{}: {key} names column `{name}`, the file has: {}",
            words.path.display(),
            words.names.join(", ")
        ),
    }
}

fn number(word: &str) -> Option<f64> {
    word.parse().ok().filter(|value: &f64| value.is_finite())
}

/// Different words, numbers in their order before words in theirs.
fn sorted<'a>(words: impl Iterator<Item = &'a str>) -> Vec<String> {
    let different: BTreeSet<&str> = words.collect();
    let mut list: Vec<String> = different.into_iter().map(str::to_owned).collect();
    if list.iter().all(|word| number(word).is_some()) {
        list.sort_by(|a, b| number(a).unwrap_or(0.0).total_cmp(&number(b).unwrap_or(0.0)));
    }
    list
}

impl Dataset for Csv {
    fn open(&mut self) -> Result<()> {
        let words = self.read(&self.config.path)?;
        let (features, target) = self.choose(&words)?;
        self.learn(&words, &features, target)?;
        let Some(path) = self.config.validation_path.clone() else {
            self.parts = vec![self.encode("all", &words, &features, target)?];
            return Ok(());
        };
        let held = self.read(&path)?;
        if held.names != words.names {
            bail!(
                "{} has columns {}, {} has {}",
                path.display(),
                held.names.join(", "),
                words.path.display(),
                words.names.join(", ")
            );
        }
        self.parts = vec![
            self.encode("training", &words, &features, target)?,
            self.encode("validation", &held, &features, target)?,
        ];
        Ok(())
    }

    fn fields(&self) -> Vec<Field> {
        let ys = match &self.target {
            Target::Classes(classes) => Field::labels("ys", classes.len()),
            Target::Number => Field::new("ys", DType::F32, &[1]),
        };
        vec![Field::new("xs", DType::F32, &[self.width()]), ys]
    }

    fn splits(&self) -> Vec<Split> {
        self.parts.iter().map(|part| Split::new(part.name, part.rows.len())).collect()
    }

    fn prepare(&mut self, split: usize, indices: &[u64]) -> Result<()> {
        let rows = &self.parts[split].rows;
        for (position, column) in self.columns.iter_mut().enumerate() {
            let values: Vec<f64> =
                indices.iter().filter_map(|index| rows[*index as usize][position]).collect();
            if values.is_empty() {
                continue;
            }
            if !column.categories.is_empty() {
                let count =
                    |place: usize| values.iter().filter(|value| **value == place as f64).count();
                // The first of the most frequent.
                let most = (0..column.categories.len()).rev().max_by_key(|place| count(*place));
                column.fill = most.map_or(-1.0, |place| place as f64);
                continue;
            }
            let mean = values.iter().sum::<f64>() / values.len() as f64;
            column.fill = mean;
            if self.config.standardize {
                let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>()
                    / values.len() as f64;
                column.shift = mean;
                column.scale = if variance > 0.0 { variance.sqrt() } else { 1.0 };
            }
        }
        Ok(())
    }

    fn fill(&self, split: usize, indices: &[u64], buffers: &mut Buffers<'_>) -> Result<()> {
        let part = &self.parts[split];
        for (place, index) in buffers.f32(0)?.chunks_exact_mut(self.width()).zip(indices) {
            place.fill(0.0);
            let mut start = 0;
            for (column, value) in self.columns.iter().zip(&part.rows[*index as usize]) {
                let value = value.unwrap_or(column.fill);
                if column.categories.is_empty() {
                    place[start] = ((value - column.shift) / column.scale) as f32;
                } else if value >= 0.0 {
                    place[start + value as usize] = 1.0;
                }
                start += column.width();
            }
        }
        match &self.target {
            Target::Classes(_) => {
                for (place, index) in buffers.u32(1)?.iter_mut().zip(indices) {
                    *place = part.targets[*index as usize] as u32;
                }
            }
            Target::Number => {
                for (place, index) in buffers.f32(1)?.iter_mut().zip(indices) {
                    *place = part.targets[*index as usize];
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BIRDS: &str = "species,island,mass,year\nAdelie,Dream,3700,2007\nGentoo,Biscoe,NA,2008\nAdelie,Dream,3900,2008\nChinstrap,NA,3800,2009\n";

    fn opened(content: &str, change: impl FnOnce(&mut Config)) -> Result<Csv> {
        let mut config = <Config as fluxbay_plugin::Config>::from_json(
            r#"{"path": "birds.csv", "target": "species"}"#,
        )?;
        change(&mut config);
        let mut csv = Csv::with(config);
        let words = csv.parse(Path::new("birds.csv"), content.as_bytes())?;
        let (features, target) = csv.choose(&words)?;
        csv.learn(&words, &features, target)?;
        csv.parts = vec![csv.encode("all", &words, &features, target)?];
        Ok(csv)
    }

    fn message(content: &str, change: impl FnOnce(&mut Config)) -> String {
        opened(content, change).err().unwrap().message().to_owned()
    }

    #[test]
    fn a_missing_value_is_refused_with_its_place_unless_configured() {
        assert!(message(BIRDS, |_| {}).starts_with("birds.csv:3: column `mass` has no value"));
    }

    #[test]
    fn rows_with_a_gap_can_be_dropped() {
        let csv = opened(BIRDS, |config| config.missing = Missing::Drop).unwrap();
        assert_eq!(csv.splits(), [Split::new("all", 2)]);
    }

    #[test]
    fn gaps_can_be_filled_from_the_training_rows_alone() {
        let mut csv = opened(BIRDS, |config| config.missing = Missing::Fill).unwrap();
        csv.prepare(0, &[0, 1]).unwrap();
        assert_eq!(csv.columns[1].fill, 3700.0);
        csv.prepare(0, &[0, 2, 3]).unwrap();
        assert_eq!(csv.columns[1].fill, 3800.0);
        assert_eq!(csv.columns[0].categories, ["Biscoe", "Dream"]);
        assert_eq!(csv.columns[0].fill, 1.0);
        // island one-hot, mass, year
        assert_eq!(csv.fields(), [Field::new("xs", DType::F32, &[4]), Field::labels("ys", 3)]);
    }

    #[test]
    fn tasks_follow_from_the_target() {
        let csv = opened(BIRDS, |config| {
            config.target = "mass".into();
            config.missing = Missing::Drop;
            config.task = Task::Regression;
        });
        assert!(matches!(csv.unwrap().target, Target::Number));
        let fractions = opened("a,b\n1,0.5\n2,0.7\n", |config| config.target = "b".into()).unwrap();
        assert!(matches!(fractions.target, Target::Number));
        let classes = opened("a,b\n1,10\n2,9\n3,9\n", |config| config.target = "b".into()).unwrap();
        assert!(matches!(&classes.target, Target::Classes(names) if *names == ["9", "10"]));
    }

    #[test]
    fn columns_that_do_not_exist_are_named_beside_those_that_do() {
        assert!(
            message(BIRDS, |config| config.target = "spices".into())
                .contains("species, island, mass, year")
        );
        assert!(
            message("a\n1\n", |config| config.target = "a".into()).contains("no column is left")
        );
        assert!(message("a,b\n", |config| config.target = "a".into()).contains("no rows"));
    }
}
