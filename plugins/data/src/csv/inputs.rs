//! Rows of files to predict from: encoded as the training rows were, one piece after the other.

use std::{
    collections::{HashMap, VecDeque},
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use ::csv::ByteRecord;
use fluxbay_plugin::prelude::*;
use fluxbay_table::{
    Encoding, Feature as Learnt, Learned, Missing, MissingWords, NumberFormat, OnBadRow, Value,
};

use super::{
    config::Config,
    reader::{Parser, header_names, parser, unreadable, value},
};
use crate::source;

/// The files and the rows that were read last.
pub struct Inputs {
    files: VecDeque<PathBuf>,
    /// Whether keys name the file, too.
    several: bool,
    /// Never locked by two threads: it makes the parser shareable.
    open: Mutex<Option<OpenFile>>,
    features: Vec<Feature>,
    target: String,
    width: usize,
    /// Encoded rows, one after the other, and where each begins in its file.
    rows: Vec<f32>,
    keys: Vec<(usize, u64)>,
    /// The files that were opened, which keys refer to.
    opened: Vec<PathBuf>,
    skipped: u64,
    unknown: u64,
}

/// A feature with the positions of its categories.
struct Feature {
    name: String,
    encoding: Encoding,
    positions: HashMap<String, usize>,
}

/// The file that is being read.
struct OpenFile {
    path: PathBuf,
    parser: Parser,
    /// Number of its columns.
    width: usize,
    /// Position of each feature.
    columns: Vec<usize>,
    /// The first row, if it was read to count the columns.
    first: Option<ByteRecord>,
    rows: u64,
}

impl Inputs {
    /// Reads nothing yet but the first file's header.
    ///
    /// # Errors
    /// The first file cannot be read, or lacks a feature.
    pub fn new(config: &Config, learned: &Learned, files: &[PathBuf]) -> Result<Inputs> {
        let feature = |feature: &Learnt| {
            let positions = match &feature.encoding {
                Encoding::Number { .. } => HashMap::new(),
                Encoding::Category { categories, .. } => {
                    categories.iter().cloned().zip(0..).collect()
                }
            };
            Feature { name: feature.name.clone(), encoding: feature.encoding.clone(), positions }
        };
        let features: Vec<Feature> = learned.features.iter().map(feature).collect();
        let width = features.iter().map(|feature| feature.encoding.width()).sum();
        let mut inputs = Inputs {
            files: files.iter().cloned().collect(),
            several: files.len() > 1,
            open: Mutex::default(),
            features,
            target: learned.target.clone(),
            width,
            rows: Vec::new(),
            keys: Vec::new(),
            opened: Vec::new(),
            skipped: 0,
            unknown: 0,
        };
        let first = inputs.next_file(config)?;
        *inputs.open.get_mut().unwrap_or_else(PoisonError::into_inner) = first;
        Ok(inputs)
    }

    /// Opens the next file; none after the last.
    fn next_file(&mut self, config: &Config) -> Result<Option<OpenFile>> {
        let Some(path) = self.files.pop_front() else { return Ok(None) };
        self.opened.push(path.clone());
        let mut parser = parser(config, source::open_text(&path)?);
        let (columns, width, first) = if config.header {
            let names = header_names(&mut parser, &path)?;
            (self.by_name(&path, &names)?, names.len(), None)
        } else {
            let mut first = ByteRecord::new();
            if !parser.read_byte_record(&mut first).map_err(|error| unreadable(&path, &error))? {
                bail!("{}: the file has no rows", path.display());
            }
            (self.by_number(&path, first.len())?, first.len(), Some(first))
        };
        Ok(Some(OpenFile { path, parser, width, columns, first, rows: 0 }))
    }

    /// Positions of the features by the names in the header. Other columns are not read.
    fn by_name(&self, path: &Path, names: &[String]) -> Result<Vec<usize>> {
        let position = |feature: &Feature| {
            let mut found = names.iter().zip(0..).filter(|(name, _)| **name == feature.name);
            match (found.next(), found.next()) {
                (Some((_, position)), None) => Ok(position),
                (None, _) => bail!(
                    "{}: the model predicts from column `{}`, the file has: {}",
                    path.display(),
                    feature.name,
                    names.join(", ")
                ),
                (Some(_), Some(_)) => {
                    bail!("{}: two columns are called `{}`", path.display(), feature.name)
                }
            }
        };
        self.features.iter().map(position).collect()
    }

    /// Positions of the features in a file without a header, where names are numbers. If the file has
    /// one column less than training needed, that is the target, and the columns after it move down.
    fn by_number(&self, path: &Path, width: usize) -> Result<Vec<usize>> {
        let number = |name: &str| name.parse::<usize>().unwrap_or(usize::MAX);
        let target = number(&self.target);
        let features: Vec<usize> =
            self.features.iter().map(|feature| number(&feature.name)).collect();
        let last = features.iter().copied().max().unwrap_or(0);
        let complete = last.max(target).saturating_add(1);
        if width >= complete {
            return Ok(features);
        }
        let moved = |&feature: &usize| if feature > target { feature - 1 } else { feature };
        let moved: Vec<usize> = features.iter().map(moved).collect();
        if width + 1 < complete || moved.iter().any(|&position| position >= width) {
            bail!(
                "{}: the model predicts from columns up to number {last}, the file has {width}",
                path.display()
            );
        }
        Ok(moved)
    }

    /// Reads the next rows, at most `most`; 0 after the last file.
    ///
    /// # Errors
    /// A file that cannot be read or lacks a feature; a row that cannot be read or lacks a value, as
    /// far as the configuration does not leave it out.
    pub fn read(&mut self, config: &Config, most: usize) -> Result<usize> {
        self.rows.clear();
        self.keys.clear();
        let open = self.open.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        let mut open = open;
        while self.keys.len() < most
            && let Some(file) = &mut open
        {
            if !self.read_file(config, file, most)? {
                self.report(file);
                open = self.next_file(config)?;
            }
        }
        *self.open.get_mut().unwrap_or_else(PoisonError::into_inner) = open;
        Ok(self.keys.len())
    }

    /// Logs which rows of a file were left out.
    fn report(&mut self, file: &OpenFile) {
        if self.skipped > 0 {
            log::warn!(
                "{}: {} of {} rows have no prediction, because they cannot be read or lack a value",
                file.path.display(),
                self.skipped,
                file.rows
            );
        }
        (self.skipped, self.unknown) = (0, 0);
    }

    /// Reads rows of a file; false at its end.
    fn read_file(&mut self, config: &Config, file: &mut OpenFile, most: usize) -> Result<bool> {
        let missing = MissingWords::new(&config.missing_values);
        let format = config.settings().format;
        let mut record = ByteRecord::new();
        while self.keys.len() < most {
            if let Some(first) = file.first.take() {
                record = first;
            } else if !file
                .parser
                .read_byte_record(&mut record)
                .map_err(|error| unreadable(&file.path, &error))?
            {
                return Ok(false);
            }
            file.rows += 1;
            let line = record.position().map_or(0, ::csv::Position::line);
            let start = self.rows.len();
            self.rows.resize(start + self.width, 0.0);
            match self.encode(config, file, &record, line, start, &missing, format) {
                Ok(true) => self.keys.push((self.opened.len() - 1, line)),
                Ok(false) => {
                    self.rows.truncate(start);
                    self.skipped += 1;
                }
                Err(problem) => bail!("{}:{line}: {problem}", file.path.display()),
            }
        }
        Ok(true)
    }

    /// Encodes a row; false if it is left out, an error text if that is not configured.
    #[allow(clippy::too_many_arguments)]
    fn encode(
        &mut self,
        config: &Config,
        file: &OpenFile,
        record: &ByteRecord,
        line: u64,
        start: usize,
        missing: &MissingWords<'_>,
        format: NumberFormat,
    ) -> std::result::Result<bool, String> {
        let bad = |problem: String| match config.on_bad_row {
            OnBadRow::Skip => Ok(false),
            OnBadRow::Error => {
                Err(format!("{problem}: correct the row, or set on-bad-row = \"skip\""))
            }
        };
        if record.len() != file.width {
            return bad(format!("{} values instead of {}", record.len(), file.width));
        }
        let mut place = start;
        for (feature, &column) in self.features.iter().zip(&file.columns) {
            let text = value(record, column);
            let found = if missing.contains(text) {
                match config.missing {
                    Missing::Error => {
                        return Err(format!(
                            "column `{}` has no value ({:?}): set missing = \"drop\" or \"fill\"",
                            feature.name,
                            String::from_utf8_lossy(text)
                        ));
                    }
                    Missing::Drop => return Ok(false),
                    Missing::Fill => Value::Missing,
                }
            } else if let Encoding::Number { .. } = feature.encoding {
                match format.parse(text) {
                    Some(number) => Value::Number(number.value),
                    None => {
                        let text = String::from_utf8_lossy(text);
                        return bad(format!("column `{}`: {text:?} is not a number", feature.name));
                    }
                }
            } else {
                let Ok(word) = std::str::from_utf8(text) else {
                    return bad(format!("column `{}` is not UTF-8", feature.name));
                };
                match feature.positions.get(word) {
                    Some(&position) => Value::Category(position),
                    None => {
                        if self.unknown == 0 {
                            log::warn!(
                                "{}:{line}: category {word:?} of column `{}` does not occur in the training data; such values are encoded as zeros",
                                file.path.display(),
                                feature.name
                            );
                        }
                        self.unknown += 1;
                        Value::Unknown
                    }
                }
            };
            let end = place + feature.encoding.width();
            feature.encoding.write(found, &mut self.rows[place..end]);
            place = end;
        }
        Ok(true)
    }

    /// The encoded row `index`.
    pub fn row(&self, index: usize) -> &[f32] {
        &self.rows[index * self.width..][..self.width]
    }

    /// The line of row `index`; with its file, if there are several.
    pub fn key(&self, index: usize) -> String {
        match self.keys.get(index) {
            Some((file, line)) if self.several => {
                format!("{}:{line}", self.opened[*file].display())
            }
            Some((_, line)) => line.to_string(),
            None => String::new(),
        }
    }
}
