//! The first pass over a file: where its rows are, and their labels.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
};

use fluxbay_plugin::prelude::*;
use fluxbay_table::skipped::Skipped;

use super::{Config, OnBadRow, Task};
use crate::{
    lines::Lines,
    rows::{Names, Row},
};

/// A file after the first pass.
pub struct Scanned {
    pub path: PathBuf,
    pub lines: Lines,
    /// Class by the order of appearance, or the bits of an `f32`.
    pub labels: Vec<u32>,
    /// Classes in that order, with the line of the first row.
    pub classes: Vec<(String, u64)>,
    pub skipped: Skipped,
}

/// The label of a row.
enum Label {
    None,
    Class(String),
    Number(f32),
}

impl Config {
    /// The fields that are read of a row.
    pub fn names(&self, label: bool) -> Names {
        Names {
            text: self.text.clone(),
            pair: self.pair.clone(),
            label: label.then(|| self.label.clone()),
        }
    }

    /// The error of a row that cannot be read, unless such rows are left out.
    ///
    /// # Errors
    /// With place, reason and help.
    pub fn bad_row(&self, path: &Path, line: u64, reason: &Error) -> Result<()> {
        if self.on_bad_row == OnBadRow::Error {
            bail!(
                "{}:{line}: {reason}: correct the row, or set on-bad-row = \"skip\"",
                path.display()
            );
        }
        Ok(())
    }

    /// Reads all rows once: their places and labels.
    ///
    /// # Errors
    /// The file cannot be read or has no rows; a row cannot be read, unless such rows are left out.
    pub fn scan(&self, path: &Path) -> Result<Scanned> {
        if self.has_two_texts() && self.pair.is_none() {
            bail!("the task has two texts: set `pair` to the field of the second");
        }
        let names = self.names(self.has_labels());
        let (mut labels, mut classes) = (Vec::new(), Vec::new());
        let mut numbers: HashMap<String, u32> = HashMap::new();
        let mut skipped = Skipped::default();
        let lines = Lines::open(path, |line, number| {
            match names.read(line).and_then(|row| self.label_of(row)) {
                Ok(Label::None) => {}
                Ok(Label::Number(value)) => labels.push(value.to_bits()),
                Ok(Label::Class(class)) => {
                    let next = numbers.len() as u32;
                    labels.push(*numbers.entry(class).or_insert_with_key(|class| {
                        classes.push((class.clone(), number));
                        next
                    }));
                }
                Err(error) => {
                    self.bad_row(path, number, &error)?;
                    skipped.add(number, error.message());
                    return Ok(false);
                }
            }
            Ok(true)
        })?;
        if lines.len() == 0 {
            let reason = skipped
                .first
                .first()
                .map(|(line, reason)| format!(" that can be read; line {line}: {reason}"));
            bail!("{}: there are no rows{}", path.display(), reason.unwrap_or_default());
        }
        Ok(Scanned { path: path.to_owned(), lines, labels, classes, skipped })
    }

    fn label_of(&self, row: Row<'_>) -> Result<Label> {
        let Some(value) = row.label else { return Ok(Label::None) };
        let name = &self.label;
        if self.task == Task::Regression {
            return match value.as_f64() {
                Some(number) => Ok(Label::Number(number as f32)),
                None => bail!("field `{name}` holds {value}, not a number"),
            };
        }
        if value.is_f64() {
            bail!("field `{name}` holds {value}, which is no class: set task = \"regression\"");
        }
        Ok(Label::Class(match value {
            serde_json::Value::String(text) => text,
            other => other.to_string(),
        }))
    }
}

impl Scanned {
    /// The numbers of the classes of the file among `classes`, in the order in which they appear.
    ///
    /// # Errors
    /// The file has another class.
    pub fn positions(&self, classes: &[String], label: &str) -> Result<Vec<u32>> {
        let position: HashMap<&str, u32> = classes.iter().map(String::as_str).zip(0..).collect();
        let found = self.classes.iter().map(|(class, line)| {
            position.get(class.as_str()).copied().ok_or_else(|| {
                Error::new(format!(
                    "{}:{line}: class {class:?} of field `{label}` is not one of {classes:?}",
                    self.path.display(),
                ))
            })
        });
        found.collect()
    }
}

/// Classes in their order: numbers by value if all are numbers, else alphabetically.
pub fn sorted(classes: &[(String, u64)]) -> Vec<String> {
    let mut names: Vec<String> = classes.iter().map(|(class, _)| class.clone()).collect();
    names.sort();
    let numbers: Option<Vec<i64>> = names.iter().map(|name| name.parse().ok()).collect();
    if let Some(numbers) = numbers {
        let mut order: Vec<(i64, String)> = numbers.into_iter().zip(names).collect();
        order.sort();
        return order.into_iter().map(|(_, name)| name).collect();
    }
    names
}

/// Reads rows by their number, with one buffer for all.
pub struct Texts<'a> {
    lines: &'a Lines,
    names: Names,
    buffer: Vec<u8>,
}

impl<'a> Texts<'a> {
    /// The rows at `lines`, of which the fields `names` are read.
    pub fn new(lines: &'a Lines, names: Names) -> Texts<'a> {
        Texts { lines, names, buffer: Vec::new() }
    }

    /// Row `index`.
    ///
    /// # Errors
    /// The file has changed meanwhile.
    pub fn read(&mut self, index: usize) -> Result<Row<'_>> {
        self.lines.read(index, &mut self.buffer)?;
        self.names.read(&self.buffer)
    }
}
