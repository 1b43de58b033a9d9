//! How columns are encoded: what the training rows determine.

use std::path::Path;

use fluxbay_plugin::{prelude::*, serde};

use crate::{
    column::Kind,
    header::{Chosen, Header},
    part::{Categories, Value},
};

/// What the training rows determine: the encoding of every column.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(crate = "fluxbay_plugin::serde")]
pub struct Learned {
    /// The features in their order.
    pub features: Vec<Feature>,
    /// Name of the target.
    pub target: String,
    /// Names of the classes in their order; `None` if numbers are predicted.
    pub classes: Option<Vec<String>>,
    /// Mean and scale of the target, if it is standardised.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target_scaling: Option<(f64, f64)>,
}

/// Encoding of a feature.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(crate = "fluxbay_plugin::serde")]
pub struct Feature {
    /// Name of the column.
    pub name: String,
    /// How its values are encoded.
    pub encoding: Encoding,
}

#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(crate = "fluxbay_plugin::serde", rename_all = "kebab-case")]
#[expect(missing_docs, reason = "the variants describe their numbers")]
pub enum Encoding {
    /// `(value - shift) / scale`; missing values are replaced by `fill`.
    Number { fill: f64, shift: f64, scale: f64 },
    /// One-hot over `categories`; missing values are replaced by category `fill`.
    Category { categories: Vec<String>, fill: Option<usize> },
}

impl Encoding {
    /// Number of inputs that it becomes.
    pub fn width(&self) -> usize {
        match self {
            Encoding::Number { .. } => 1,
            Encoding::Category { categories, .. } => categories.len(),
        }
    }

    /// Writes a value to `place`, which has [`Encoding::width`] elements.
    #[inline]
    pub fn write(&self, value: Value, place: &mut [f32]) {
        match self {
            Encoding::Number { fill, shift, scale } => {
                let value = if let Value::Number(value) = value { value } else { *fill };
                place[0] = ((value - shift) / scale) as f32;
            }
            Encoding::Category { fill, .. } => {
                place.fill(0.0);
                let position = match value {
                    Value::Category(position) => Some(position),
                    Value::Missing => *fill,
                    Value::Number(_) | Value::Unknown => None,
                };
                if let Some(position) = position {
                    place[position] = 1.0;
                }
            }
        }
    }
}

impl Learned {
    /// Fails if the numbers are not usable, as after a change by hand.
    pub(crate) fn check(&self) -> Result<()> {
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
        let usable =
            |(mean, scale): (f64, f64)| mean.is_finite() && scale.is_finite() && scale > 0.0;
        if !self.target_scaling.is_none_or(usable) {
            bail!("the saved scaling of the target is damaged");
        }
        Ok(())
    }

    pub(crate) fn new(names: Vec<String>, categories: Categories) -> Learned {
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
        Learned { features: columns.map(feature).collect(), target, classes, target_scaling: None }
    }

    pub(crate) fn categories(&self) -> Categories {
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
    pub(crate) fn kinds(&self, path: &Path, header: &Header, chosen: &Chosen) -> Result<Vec<Kind>> {
        let names = |indices: &[usize]| -> Vec<String> {
            indices.iter().map(|index| header.names[*index].clone()).collect()
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
                header.names[chosen.target]
            );
        }
        Ok(self
            .categories()
            .into_iter()
            .map(|categories| categories.map_or(Kind::Numbers, Kind::Known))
            .collect())
    }
}
