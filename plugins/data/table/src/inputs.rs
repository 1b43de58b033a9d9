//! Rows to predict from, encoded as the training rows were.

use std::{collections::HashMap, path::Path};

use fluxbay_plugin::prelude::*;

use crate::{
    config::{Missing, OnBadRow, Settings},
    encoded::Encoded,
    encoding::{Encoding, Learned},
    hashing,
    lists::{Element, Lists},
    part::Value,
    rows::{MissingWords, Raw},
};

/// A feature with the positions of its categories.
struct Feature {
    name: String,
    encoding: Encoding,
    positions: HashMap<String, usize>,
    /// Says which lists can be read.
    lists: Option<Lists>,
}

/// Encodes rows without a target.
pub struct InputEncoder {
    features: Vec<Feature>,
    /// Categories that the training rows did not have.
    unknown: u64,
}

impl InputEncoder {
    /// With what the training rows determined.
    pub fn new(learned: &Learned) -> InputEncoder {
        let feature = |feature: &crate::encoding::Feature| {
            let positions = match &feature.encoding {
                Encoding::Category { categories, .. } => {
                    categories.iter().cloned().zip(0..).collect()
                }
                _ => HashMap::new(),
            };
            let lists = match &feature.encoding {
                Encoding::List(list) => Some(Lists::new(list.form())),
                _ => None,
            };
            let (name, encoding) = (feature.name.clone(), feature.encoding.clone());
            Feature { name, encoding, positions, lists }
        };
        InputEncoder { features: learned.features.iter().map(feature).collect(), unknown: 0 }
    }

    /// Names of the columns that a row needs, in their order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.features.iter().map(|feature| feature.name.as_str())
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

    /// Whether a column is read as bytes, by its place among those that are needed.
    pub fn wants_bytes(&self, at: usize) -> bool {
        matches!(&self.features[at].encoding, Encoding::List(list) if list.of == Element::Bytes)
    }

    /// Appends the encoded values of a row to `rows`; false, and nothing, if the row is left out.
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
        rows: &mut Encoded,
    ) -> Result<bool> {
        let mut found = Vec::with_capacity(values.len());
        for (at, &raw) in values.iter().enumerate().take(self.features.len()) {
            let value = self.value(settings, missing, (path, line), at, raw)?;
            let Some(value) = value else { return Ok(false) };
            found.push((value, raw));
        }
        rows.push(self.features.iter().map(|feature| &feature.encoding), &found);
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
        let Feature { name, encoding, positions, lists } = &self.features[at];
        let fill = settings.missing == Missing::Fill;
        let is_missing = match raw {
            Raw::Missing => true,
            Raw::Text(text) => missing.contains(text),
            Raw::Number(_) => false,
            Raw::List(list) => !fill && list.iter().any(|value| value.is_nan()),
        };
        if is_missing {
            let text = match raw {
                Raw::Text(text) => format!("{:?}", String::from_utf8_lossy(text)),
                Raw::List(_) => "a list with null".to_owned(),
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
        if let Some(lists) = lists {
            return match lists.problem(raw) {
                Some(problem) => bad_row(settings, &format!("column `{name}`: {problem}")),
                None => Ok(Some(Value::List)),
            };
        }
        if let Raw::List(_) = raw {
            return bad_row(settings, &format!("column `{name}` has a list among other values"));
        }
        let number = match raw {
            Raw::Number(number) => Some(number),
            Raw::Text(text) => settings.format.parse(text),
            Raw::Missing | Raw::List(_) => None,
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
            Raw::Missing | Raw::List(_) => Ok(String::new()),
        };
        let Ok(word) = word else {
            return bad_row(settings, &format!("column `{name}` is not UTF-8"));
        };
        if let Encoding::Hashed { buckets, .. } = encoding {
            let bucket = hashing::bucket(word.as_bytes(), *buckets);
            return Ok(Some(Value::Category(bucket as usize)));
        }
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
