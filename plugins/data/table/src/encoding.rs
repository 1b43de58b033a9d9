//! How columns are encoded: what the training rows determine.

use std::path::Path;

use fluxbay_plugin::{prelude::*, serde};

use crate::{
    column::Kind,
    config::Settings,
    header::{Chosen, Header},
    lists::{Element, ListEncoding, Lists},
    part::{Content, Value},
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
    /// One-hot over buckets of a hash; missing values are replaced by bucket `fill`.
    Hashed { buckets: usize, fill: Option<usize> },
    /// Elements of a list: inputs, or a field.
    List(ListEncoding),
}

impl Encoding {
    /// Number of inputs that it becomes.
    pub fn width(&self) -> usize {
        match self {
            Encoding::Number { .. } => 1,
            Encoding::Category { categories, .. } => categories.len(),
            Encoding::Hashed { buckets, .. } => *buckets,
            Encoding::List(list) if list.is_input() => list.length,
            Encoding::List(_) => 0,
        }
    }

    /// Writes a value that is no list to `place`, which has [`Encoding::width`] elements.
    #[inline]
    pub fn write(&self, value: Value, place: &mut [f32]) {
        match self {
            Encoding::Number { fill, shift, scale } => {
                let value = if let Value::Number(value) = value { value } else { *fill };
                place[0] = ((value - shift) / scale) as f32;
            }
            Encoding::Category { fill, .. } | Encoding::Hashed { fill, .. } => {
                place.fill(0.0);
                let position = match value {
                    Value::Category(position) => Some(position),
                    Value::Missing => *fill,
                    Value::Number(_) | Value::Unknown | Value::List => None,
                };
                if let Some(position) = position {
                    place[position] = 1.0;
                }
            }
            Encoding::List(_) => {}
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
                Encoding::Hashed { buckets, fill } => {
                    *buckets > 0 && fill.is_none_or(|fill| fill < *buckets)
                }
                Encoding::List(ListEncoding { length, fill, shift, scale, .. }) => {
                    let numbers = fill.is_finite() && shift.is_finite() && scale.is_finite();
                    *length > 0 && numbers && *scale > 0.0
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

    /// From what the columns hold. `lists` are those of the training rows.
    ///
    /// # Errors
    /// All lists of a column are empty, or the settings do not go with its ids.
    pub(crate) fn new(
        settings: &Settings,
        names: Vec<String>,
        contents: Vec<Content>,
        lists: &[Lists],
    ) -> Result<Learned> {
        let mut columns = names.into_iter().zip(contents);
        let Some((target, content)) = columns.next_back() else { bail!("no column is read") };
        let classes = match content {
            Content::Categories(classes) => Some(classes),
            _ => None,
        };
        let feature = |(name, content): (String, Content)| -> Result<Feature> {
            let encoding = match content {
                Content::Numbers => Encoding::Number { fill: 0.0, shift: 0.0, scale: 1.0 },
                Content::Categories(categories) => Encoding::Category { categories, fill: None },
                Content::Buckets(buckets) => Encoding::Hashed { buckets, fill: None },
                Content::Lists { at } => {
                    let encoding = list(settings, &lists[at]);
                    Encoding::List(encoding.context(format_args!("column `{name}`"))?)
                }
            };
            Ok(Feature { name, encoding })
        };
        let features = columns.map(feature).collect::<Result<_>>()?;
        Ok(Learned { features, target, classes, target_scaling: None })
    }

    /// The categories of the features and the classes of the target.
    pub(crate) fn categories(&self) -> Vec<Option<Vec<String>>> {
        let feature = |feature: &Feature| match &feature.encoding {
            Encoding::Category { categories, .. } => Some(categories.clone()),
            _ => None,
        };
        self.features.iter().map(feature).chain([self.classes.clone()]).collect()
    }

    /// The features that are fields of their own: their places, and their encoding.
    pub fn own_fields(&self) -> impl Iterator<Item = (usize, &ListEncoding)> {
        self.features.iter().enumerate().filter_map(|(at, feature)| match &feature.encoding {
            Encoding::List(list) if !list.is_input() => Some((at, list)),
            _ => None,
        })
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
        let kind = |feature: &Feature| match &feature.encoding {
            Encoding::Number { .. } => Kind::Numbers,
            Encoding::Category { categories, .. } => Kind::Known(categories.clone()),
            Encoding::Hashed { buckets, .. } => Kind::Hashed(*buckets),
            Encoding::List(list) => Kind::Lists(list.form()),
        };
        let target = self.classes.clone().map_or(Kind::Numbers, Kind::Known);
        Ok(self.features.iter().map(kind).chain([target]).collect())
    }
}

/// The encoding of a column with these lists in the training rows.
fn list(settings: &Settings, lists: &Lists) -> Result<ListEncoding> {
    let (length, varies) = lists.longest();
    if length == 0 {
        bail!("all its lists are empty: leave it out with `ignore`");
    }
    let (of, padding) = (lists.of(), settings.padding);
    let vocabulary = match (of, settings.vocabulary) {
        (Element::Ids, Some(vocabulary)) => vocabulary,
        (Element::Ids, None) => lists.largest_id().unwrap_or(0).max(padding) as usize + 1,
        _ => 0,
    };
    if of == Element::Ids && padding as usize >= vocabulary {
        bail!("padding = {padding} is none of its {vocabulary} ids");
    }
    let (fill, shift, scale) = (0.0, 0.0, 1.0);
    Ok(ListEncoding { of, length, varies, vocabulary, padding, fill, shift, scale })
}
