//! `fluxbay data inspect`: what the data of a run holds.

use std::collections::HashMap;
use std::fmt::Write as _;

use candle_core::{DType, Tensor};
use serde_json::{Value as Json, json};

use super::failed;
use crate::cli::outcome::{Exit, Failure};
use crate::cli::output::json_number;
use crate::display::{columns, number, shape, thousands};
use crate::learner::ports::DataBatch;
use crate::library::escape;
use crate::loader::{Field, Loader, Part, label_field};
use crate::session::Composed;

/// The values of a field of numbers.
#[derive(Clone, Copy, Debug)]
struct Range {
    least: f64,
    most: f64,
    sum: f64,
    squares: f64,
    count: u64,
    not_finite: u64,
}

impl Range {
    fn new() -> Range {
        let (least, most) = (f64::INFINITY, f64::NEG_INFINITY);
        Range { least, most, sum: 0.0, squares: 0.0, count: 0, not_finite: 0 }
    }

    fn add(&mut self, values: &[f64]) {
        for &value in values {
            if !value.is_finite() {
                self.not_finite += 1;
                continue;
            }
            self.least = self.least.min(value);
            self.most = self.most.max(value);
            self.sum += value;
            self.squares += value * value;
            self.count += 1;
        }
    }

    fn mean(&self) -> f64 {
        self.sum / self.count as f64
    }

    fn deviation(&self) -> f64 {
        (self.squares / self.count as f64 - self.mean().powi(2)).max(0.0).sqrt()
    }
}

/// What was found out about a split.
struct SplitSeen {
    name: String,
    samples: usize,
    batches: usize,
    /// Samples of each class; empty without class labels.
    classes: Vec<u64>,
    /// What reading the samples showed.
    read: Option<Read>,
}

struct Read {
    /// Samples that cannot be read.
    left_out: usize,
    /// Samples with the same inputs as an earlier one of this split.
    duplicates: usize,
    /// Samples with the same inputs as one of an earlier split.
    in_other_splits: usize,
    /// By field; none for class labels.
    ranges: Vec<Option<Range>>,
}

/// What was found out about the data of a run.
pub(super) struct Seen {
    component: String,
    fields: Vec<Field>,
    /// Names of the classes, as far as the data set gives them.
    names: Vec<String>,
    splits: Vec<SplitSeen>,
}

impl Seen {
    /// Looks at all splits of the loader; reads every sample once if `read`.
    ///
    /// # Errors
    /// The samples cannot be read.
    pub(super) fn of(composed: &Composed, loader: &Loader, read: bool) -> Result<Seen, Failure> {
        let target = label_field(loader.fields());
        let count = target.and_then(|field| loader.fields()[field].classes).unwrap_or(0);
        let mut known = HashMap::new();
        let mut splits = Vec::new();
        for (number, part) in loader.parts().iter().enumerate() {
            let mut classes = vec![0; count as usize];
            if let Some(target) = target {
                for label in loader.labels(part, target).map_err(failed)? {
                    classes[label as usize] += 1;
                }
            }
            let read = if read { Some(read_all(loader, part, number, &mut known)?) } else { None };
            splits.push(SplitSeen {
                name: part.name.clone(),
                samples: part.samples(),
                batches: loader.batches(part),
                classes,
                read,
            });
        }
        let name = |class: u32| target.and_then(|field| composed.class_name(field, class));
        let spec = composed.run().data.as_ref();
        Ok(Seen {
            component: spec.map(|spec| spec.component_text()).unwrap_or_default(),
            fields: loader.fields().to_vec(),
            names: (0..count).map(|class| name(class).unwrap_or_default()).collect(),
            splits,
        })
    }

    /// As `fluxbay schema data-inspect` describes.
    pub(super) fn json(&self) -> Json {
        let field = |field: &Field| {
            json!({
                "name": field.name, "dtype": field.dtype.as_str(), "shape": field.shape,
                "classes": field.classes.unwrap_or(0),
            })
        };
        let range = |(field, range): (&Field, &Option<Range>)| {
            range.map(|range| {
                json!({
                    "field": field.name, "least": json_number(range.least),
                    "most": json_number(range.most), "mean": json_number(range.mean()),
                    "deviation": json_number(range.deviation()), "not-finite": range.not_finite,
                })
            })
        };
        let split = |split: &SplitSeen| {
            let classes = self.names.iter().zip(&split.classes).enumerate();
            let classes: Vec<Json> = classes
                .map(|(class, (name, samples))| {
                    json!({ "class": class, "name": name, "samples": samples })
                })
                .collect();
            let read = split.read.as_ref().map(|read| {
                let ranges: Vec<Json> =
                    self.fields.iter().zip(&read.ranges).filter_map(range).collect();
                json!({
                    "left-out": read.left_out, "duplicates": read.duplicates,
                    "in-other-splits": read.in_other_splits, "values": ranges,
                })
            });
            json!({
                "name": split.name, "samples": split.samples, "batches": split.batches,
                "classes": classes, "read": read,
            })
        };
        json!({
            "schema": 1,
            "data": self.component,
            "fields": self.fields.iter().map(field).collect::<Vec<_>>(),
            "splits": self.splits.iter().map(split).collect::<Vec<_>>(),
        })
    }

    /// For a person.
    pub(super) fn text(&self) -> String {
        let mut out = format!("data set `{}`\n\nfields\n", escape::text(&self.component));
        let fields: Vec<Vec<String>> = self
            .fields
            .iter()
            .map(|field| {
                let classes = field.classes.map(|it| format!("{it} classes")).unwrap_or_default();
                let dtype = field.dtype.as_str().to_owned();
                vec![escape::text(&field.name), dtype, shape(&field.shape), classes]
            })
            .collect();
        out.push_str(&columns(&fields, "  ", &[]));
        for split in &self.splits {
            let _ = writeln!(
                out,
                "\n{}: {} samples in {} batches",
                escape::text(&split.name),
                thousands(split.samples as u64),
                thousands(split.batches as u64)
            );
            self.classes(split, &mut out);
            if let Some(read) = &split.read {
                self.read(split, read, &mut out);
            }
        }
        out
    }

    /// The samples of each class, with a bar.
    fn classes(&self, split: &SplitSeen, out: &mut String) {
        const BAR: u64 = 30;
        const MOST: usize = 40;
        let most = split.classes.iter().copied().max().unwrap_or(0).max(1);
        let rows: Vec<Vec<String>> = split
            .classes
            .iter()
            .enumerate()
            .take(MOST)
            .map(|(class, &samples)| {
                let name = escape::text(&self.names[class]);
                let share = 100.0 * samples as f64 / split.samples.max(1) as f64;
                let bar = "#".repeat((samples * BAR).div_ceil(most) as usize);
                vec![class.to_string(), name, thousands(samples), format!("{share:.1} %"), bar]
            })
            .collect();
        if !rows.is_empty() {
            out.push_str(&columns(&rows, "  ", &[0, 2, 3]));
        }
        if split.classes.len() > MOST {
            let _ = writeln!(out, "  and {} more classes", split.classes.len() - MOST);
        }
    }

    fn read(&self, split: &SplitSeen, read: &Read, out: &mut String) {
        for (count, what) in [
            (read.left_out, "cannot be read"),
            (read.duplicates, "have the inputs of an earlier sample of this split"),
            (read.in_other_splits, "have the inputs of a sample of another split"),
        ] {
            if count > 0 {
                let _ = writeln!(out, "  {} of {} samples {what}", count, split.samples);
            }
        }
        for (field, range) in self.fields.iter().zip(&read.ranges) {
            let Some(range) = range.filter(|range| range.count + range.not_finite > 0) else {
                continue;
            };
            let _ = write!(
                out,
                "  {} from {} to {}, mean {}, deviation {}",
                escape::text(&field.name),
                number(range.least),
                number(range.most),
                number(range.mean()),
                number(range.deviation())
            );
            if range.not_finite > 0 {
                let _ = write!(out, "; {} values are not finite", thousands(range.not_finite));
            }
            out.push('\n');
        }
    }
}

/// Reads all samples of a split. `known` has the hashes of inputs, and the number of the split that
/// had them first.
fn read_all(
    loader: &Loader,
    part: &Part,
    split: usize,
    known: &mut HashMap<[u64; 2], usize>,
) -> Result<Read, Failure> {
    let mut ranges: Vec<Option<Range>> =
        loader.fields().iter().map(|it| it.classes.is_none().then(Range::new)).collect();
    let (mut duplicates, mut in_other_splits) = (0, 0);
    for batch in loader.epoch(&part.name, 1).map_err(failed)? {
        let batch = batch.map_err(failed)?;
        let unreadable =
            |error: candle_core::Error| Failure::new(Exit::Failed, format!("a batch: {error}"));
        for (field, range) in batch.fields.iter().zip(&mut ranges) {
            let Some(range) = range else { continue };
            range.add(&values(field).map_err(unreadable)?);
        }
        for hash in hashes(&batch).map_err(unreadable)? {
            match *known.entry(hash).or_insert(usize::MAX) {
                usize::MAX => {
                    known.insert(hash, split);
                }
                first if first == split => duplicates += 1,
                _ => in_other_splits += 1,
            }
        }
    }
    Ok(Read { left_out: loader.left_out(part), duplicates, in_other_splits, ranges })
}

fn values(field: &Tensor) -> candle_core::Result<Vec<f64>> {
    field.to_dtype(DType::F64)?.flatten_all()?.to_vec1()
}

/// A hash of the inputs of each sample.
fn hashes(batch: &DataBatch) -> candle_core::Result<Vec<[u64; 2]>> {
    let Some(inputs) = batch.fields.first() else { return Ok(Vec::new()) };
    let all = values(inputs)?;
    let each = (all.len() / batch.samples.max(1)).max(1);
    let hash = |sample: &[f64]| {
        // Two multiplications with other constants, so that a collision is as good as impossible.
        sample.iter().fold([0xCBF2_9CE4_8422_2325, 0x9E37_79B9_7F4A_7C15], |[a, b]: [u64; 2], x| {
            let bits = x.to_bits();
            let a = (a ^ bits).wrapping_mul(0x0000_0100_0000_01B3).rotate_left(29);
            let b = (b ^ bits.rotate_left(32)).wrapping_mul(0xD6E8_FEB8_6659_FD93).rotate_left(31);
            [a, b]
        })
    };
    Ok(all.chunks(each).map(hash).collect())
}
