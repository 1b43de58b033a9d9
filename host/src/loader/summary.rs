//! Summary of a run's data, kept in checkpoints to recognise other data when a run is resumed.

use serde::{Deserialize, Serialize};

use super::{Loader, random::fnv1a};

/// Fields and splits of the data.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct DataSummary {
    /// The fields of a sample.
    pub fields: Vec<FieldSummary>,
    /// The splits that phases read.
    pub splits: Vec<SplitSummary>,
}

/// One field.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct FieldSummary {
    /// Its name.
    pub name: String,
    /// Its element type, such as `f32`.
    pub dtype: String,
    /// Shape of one sample.
    pub shape: Vec<usize>,
    /// Number of classes, if it holds class labels.
    pub classes: Option<u32>,
}

/// One split.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct SplitSummary {
    /// Its name.
    pub name: String,
    /// Number of samples.
    pub samples: usize,
    /// Fingerprint of the indices of its samples, in hexadecimal. Depends on the labels if the
    /// division is stratified.
    pub indices: String,
}

impl Loader {
    /// Fields and splits of the data.
    pub fn summary(&self) -> DataSummary {
        let fields = self.fields().iter().map(|field| FieldSummary {
            name: field.name.clone(),
            dtype: field.dtype.as_str().to_owned(),
            shape: field.shape.clone(),
            classes: field.classes,
        });
        let splits = self.parts().iter().map(|part| {
            let bytes: Vec<u8> =
                part.indices().iter().flat_map(|index| index.to_le_bytes()).collect();
            SplitSummary {
                name: part.name.clone(),
                samples: part.samples(),
                indices: format!("{:016x}", fnv1a(&bytes)),
            }
        });
        DataSummary { fields: fields.collect(), splits: splits.collect() }
    }
}

impl DataSummary {
    /// What differs now, each as a text with both values; empty for the same data.
    pub fn differences(&self, now: &DataSummary) -> Vec<String> {
        let mut found = Vec::new();
        for (at, field) in self.fields.iter().enumerate() {
            match now.fields.get(at) {
                None => found.push(format!("field `{}` is missing", field.name)),
                Some(other) => field.compare(other, &mut found),
            }
        }
        let new = now.fields.iter().skip(self.fields.len());
        found.extend(new.map(|field| format!("field `{}` is new", field.name)));
        for split in &self.splits {
            match now.splits.iter().find(|other| other.name == split.name) {
                None => found.push(format!("split `{}` is missing", split.name)),
                Some(other) if other.samples != split.samples => found.push(format!(
                    "split `{}`: {} samples then, {} now",
                    split.name, split.samples, other.samples
                )),
                Some(other) if other.indices != split.indices => {
                    found.push(format!("split `{}`: other samples than then", split.name));
                }
                Some(_) => {}
            }
        }
        let is_new = |name: &str| self.splits.iter().all(|split| split.name != name);
        let new = now.splits.iter().filter(|split| is_new(&split.name));
        found.extend(new.map(|split| format!("split `{}` is new", split.name)));
        found
    }
}

impl FieldSummary {
    fn compare(&self, now: &FieldSummary, found: &mut Vec<String>) {
        if self.name != now.name {
            found.push(format!("field `{}` then, `{}` now", self.name, now.name));
            return;
        }
        let classes = |field: &FieldSummary| field.classes.map_or(0, u64::from);
        let values = [
            ("element type", self.dtype.clone(), now.dtype.clone()),
            ("shape", format!("{:?}", self.shape), format!("{:?}", now.shape)),
            ("classes", classes(self).to_string(), classes(now).to_string()),
        ];
        for (what, then, now) in values {
            if then != now {
                found.push(format!("{what} of field `{}`: {then} then, {now} now", self.name));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn summary() -> DataSummary {
        let field = |name: &str, dtype: &str, classes| FieldSummary {
            name: name.to_owned(),
            dtype: dtype.to_owned(),
            shape: vec![4],
            classes,
        };
        let split = |name: &str, samples| SplitSummary {
            name: name.to_owned(),
            samples,
            indices: "00".to_owned(),
        };
        DataSummary {
            fields: vec![field("xs", "f32", None), field("ys", "u32", Some(3))],
            splits: vec![split("training", 80), split("validation", 20)],
        }
    }

    #[test]
    fn every_difference_is_named_with_both_values() {
        let then = summary();
        assert_eq!(then.differences(&then), Vec::<String>::new());
        let changed = |change: &dyn Fn(&mut DataSummary)| {
            let mut now = summary();
            change(&mut now);
            then.differences(&now)
        };
        assert_eq!(
            changed(&|now| now.splits[0].samples = 81),
            ["split `training`: 80 samples then, 81 now"]
        );
        assert_eq!(
            changed(&|now| now.splits[1].indices = "01".to_owned()),
            ["split `validation`: other samples than then"]
        );
        assert_eq!(changed(&|now| drop(now.splits.pop())), ["split `validation` is missing"]);
        assert_eq!(
            changed(&|now| now.splits[1].name = "test".to_owned()),
            ["split `validation` is missing", "split `test` is new"]
        );
        assert_eq!(
            changed(&|now| now.fields[0].dtype = "u8".to_owned()),
            ["element type of field `xs`: f32 then, u8 now"]
        );
        assert_eq!(
            changed(&|now| now.fields[0].shape = vec![2, 2]),
            ["shape of field `xs`: [4] then, [2, 2] now"]
        );
        assert_eq!(
            changed(&|now| now.fields[1].classes = Some(4)),
            ["classes of field `ys`: 3 then, 4 now"]
        );
        assert_eq!(
            changed(&|now| now.fields[1].name = "label".to_owned()),
            ["field `ys` then, `label` now"]
        );
        assert_eq!(changed(&|now| drop(now.fields.pop())), ["field `ys` is missing"]);
    }
}
