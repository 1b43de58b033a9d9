//! Rows to predict from, encoded as the training rows were.

use std::{collections::HashMap, path::Path};

use fluxbay_plugin::prelude::*;

use crate::{
    config::{Missing, OnBadRow, Settings},
    encoding::{Encoding, Learned},
    part::Value,
    rows::{MissingWords, Raw},
};

/// A feature with the positions of its categories.
struct Feature {
    name: String,
    encoding: Encoding,
    positions: HashMap<String, usize>,
}

/// Encodes rows without a target.
pub struct InputEncoder {
    features: Vec<Feature>,
    width: usize,
    /// Categories that the training rows did not have.
    unknown: u64,
}

impl InputEncoder {
    /// With what the training rows determined.
    pub fn new(learned: &Learned) -> InputEncoder {
        let feature = |feature: &crate::encoding::Feature| {
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
        InputEncoder { features, width, unknown: 0 }
    }

    /// Names of the columns that a row needs, in their order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.features.iter().map(|feature| feature.name.as_str())
    }

    /// Number of inputs that a row becomes.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Positions of the columns in a file by their names. Other columns are not read.
    ///
    /// # Errors
    /// The file lacks a column, or has two of its name.
    pub fn positions(&self, path: &Path, names: &[String]) -> Result<Vec<usize>> {
        let position = |wanted: &str| {
            let mut found = names.iter().zip(0..).filter(|(name, _)| *name == wanted);
            match (found.next(), found.next()) {
                (Some((_, position)), None) => Ok(position),
                (None, _) => bail!(
                    "{}: the model predicts from column `{wanted}`, the file has: {}",
                    path.display(),
                    names.join(", ")
                ),
                (Some(_), Some(_)) => {
                    bail!("{}: two columns are called `{wanted}`", path.display())
                }
            }
        };
        self.names().map(position).collect()
    }

    /// Appends the encoded values of a row to `row`; false, and nothing, if the row is left out.
    ///
    /// # Errors
    /// The row cannot be read or lacks a value, and the settings say that this is an error. The error
    /// does not name file and line.
    pub fn encode(
        &mut self,
        settings: &Settings,
        missing: &MissingWords<'_>,
        (path, line): (&Path, u64),
        values: &[Raw<'_>],
        row: &mut Vec<f32>,
    ) -> Result<bool> {
        let start = row.len();
        row.resize(start + self.width, 0.0);
        let mut place = start;
        for (at, &raw) in values.iter().enumerate().take(self.features.len()) {
            let value = self.value(settings, missing, (path, line), at, raw)?;
            let Some(value) = value else {
                row.truncate(start);
                return Ok(false);
            };
            let encoding = &self.features[at].encoding;
            let end = place + encoding.width();
            encoding.write(value, &mut row[place..end]);
            place = end;
        }
        Ok(true)
    }

    /// The value of feature `at`; none if its row is left out.
    fn value(
        &mut self,
        settings: &Settings,
        missing: &MissingWords<'_>,
        (path, line): (&Path, u64),
        at: usize,
        raw: Raw<'_>,
    ) -> Result<Option<Value>> {
        let Feature { name, encoding, positions } = &self.features[at];
        let is_missing = match raw {
            Raw::Missing => true,
            Raw::Text(text) => missing.contains(text),
            Raw::Number(_) => false,
        };
        if is_missing {
            let text = match raw {
                Raw::Text(text) => format!("{:?}", String::from_utf8_lossy(text)),
                _ => "null".to_owned(),
            };
            return match settings.missing {
                Missing::Error => {
                    bail!(
                        "column `{name}` has no value ({text}): set missing = \"drop\" or \"fill\""
                    )
                }
                Missing::Drop => Ok(None),
                Missing::Fill => Ok(Some(Value::Missing)),
            };
        }
        let number = match raw {
            Raw::Number(number) => Some(number),
            Raw::Text(text) => settings.format.parse(text),
            Raw::Missing => None,
        };
        if let Encoding::Number { .. } = encoding {
            let Some(number) = number else {
                let Raw::Text(text) = raw else { return Ok(None) };
                let text = String::from_utf8_lossy(text);
                return bad_row(settings, &format!("column `{name}`: {text:?} is not a number"));
            };
            return Ok(Some(Value::Number(number.value)));
        }
        let word = match raw {
            Raw::Number(number) => Ok(number.text()),
            Raw::Text(text) => std::str::from_utf8(text).map(str::to_owned),
            Raw::Missing => Ok(String::new()),
        };
        let Ok(word) = word else {
            return bad_row(settings, &format!("column `{name}` is not UTF-8"));
        };
        if let Some(&position) = positions.get(&word) {
            return Ok(Some(Value::Category(position)));
        }
        if self.unknown == 0 {
            log::warn!(
                "{}:{line}: category {word:?} of column `{name}` does not occur in the training data; such values are encoded as zeros",
                path.display()
            );
        }
        self.unknown += 1;
        Ok(Some(Value::Unknown))
    }
}

/// A row that cannot be read: it is left out, if the settings say so.
///
/// # Errors
/// They do not.
pub fn bad_row<T>(settings: &Settings, problem: &str) -> Result<Option<T>> {
    match settings.on_bad_row {
        OnBadRow::Skip => Ok(None),
        OnBadRow::Error => bail!("{problem}: correct the row, or set on-bad-row = \"skip\""),
    }
}
