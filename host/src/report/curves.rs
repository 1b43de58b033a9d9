//! The curves of a run, thinned while they are read.

use std::path::Path;

use serde::Deserialize;
use serde_json::{Value as Json, json};

use super::{each_line, number, spikes::Spikes};
use crate::record::RecordError;

/// Buckets of a curve before neighbours are merged. A curve has at most two points per bucket.
const BUCKETS: usize = 8192;

/// One line of `metrics.jsonl`.
#[derive(Deserialize)]
struct Line<'a> {
    #[serde(borrow)]
    phase: std::borrow::Cow<'a, str>,
    #[serde(borrow)]
    scope: std::borrow::Cow<'a, str>,
    #[serde(default)]
    epoch: u64,
    #[serde(default)]
    step: u64,
    #[serde(borrow)]
    name: std::borrow::Cow<'a, str>,
    value: Json,
}

/// All curves of a run.
#[derive(Debug, Default)]
pub(super) struct Curves {
    curves: Vec<Curve>,
    /// Lines that are no records.
    pub(super) damaged: u64,
    pub(super) spikes: Spikes,
}

#[derive(Debug)]
struct Curve {
    phase: String,
    scope: String,
    name: String,
    count: u64,
    thinned: Thinned,
}

impl Curves {
    /// Reads `metrics.jsonl`; memory does not grow with the length of the file.
    pub(super) fn read(path: &Path) -> Result<Curves, RecordError> {
        let mut all = Curves::default();
        each_line(path, |line| match serde_json::from_slice::<Line<'_>>(line) {
            Ok(line) => all.take(&line),
            Err(_) => all.damaged += 1,
        })?;
        Ok(all)
    }

    fn take(&mut self, line: &Line<'_>) {
        let value = match &line.value {
            Json::Number(number) => number.as_f64().unwrap_or(f64::NAN),
            Json::String(text) => text.parse().unwrap_or(f64::NAN),
            _ => f64::NAN,
        };
        if line.scope == "step" && line.name == "loss" {
            self.spikes.take(&line.phase, line.epoch, line.step, value);
        }
        let found = self.curves.iter_mut().find(|curve| {
            curve.name == line.name && curve.phase == line.phase && curve.scope == line.scope
        });
        let curve = match found {
            Some(curve) => curve,
            None => {
                self.curves.push(Curve {
                    phase: line.phase.clone().into_owned(),
                    scope: line.scope.clone().into_owned(),
                    name: line.name.clone().into_owned(),
                    count: 0,
                    thinned: Thinned::default(),
                });
                let last = self.curves.len() - 1;
                &mut self.curves[last]
            }
        };
        curve.count += 1;
        // Steps are counted within an epoch in the record; a curve runs over the whole fit.
        let x = if line.scope == "epoch" { line.epoch } else { curve.count };
        curve.thinned.push(x as f64, value);
    }

    pub(super) fn len(&self) -> usize {
        self.curves.len()
    }

    /// The curves for the page, each with at most `points` points.
    pub(super) fn to_json(&self, points: usize) -> Json {
        let series = self.curves.iter().map(|curve| {
            let drawn = curve.thinned.points(points);
            json!({
                "scope": curve.scope, "phase": curve.phase, "name": curve.name,
                "kind": if curve.name.starts_with("hparams/") { "hyper-parameter" } else { "metric" },
                "count": curve.count, "thinned": (drawn.len() as u64) < curve.count,
                "x": drawn.iter().map(|point| number(point.0)).collect::<Vec<_>>(),
                "y": drawn.iter().map(|point| number(rounded(point.1))).collect::<Vec<_>>(),
            })
        });
        series.collect()
    }
}

/// A value to seven digits, which no screen can tell from the value itself.
fn rounded(value: f64) -> f64 {
    format!("{value:.6e}").parse().unwrap_or(value)
}

/// Least and greatest point of a range.
#[derive(Clone, Copy, Debug)]
struct Bucket {
    low: (f64, f64),
    high: (f64, f64),
}

impl Bucket {
    fn of(x: f64, y: f64) -> Bucket {
        Bucket { low: (x, y), high: (x, y) }
    }

    /// The bucket of both ranges. A value that is no number counts as the greatest, so that it is
    /// never lost.
    fn merged(self, other: Bucket) -> Bucket {
        let low =
            if other.low.1 < self.low.1 || self.low.1.is_nan() { other.low } else { self.low };
        let high = if other.high.1 > self.high.1 || other.high.1.is_nan() {
            other.high
        } else {
            self.high
        };
        Bucket { low, high }
    }

    fn points(self) -> impl Iterator<Item = (f64, f64)> {
        let (first, second) =
            if self.low.0 <= self.high.0 { (self.low, self.high) } else { (self.high, self.low) };
        let second = (first.0 != second.0).then_some(second);
        std::iter::once(first).chain(second)
    }
}

/// A curve as buckets of equally many points, which keep the least and the greatest value.
#[derive(Debug)]
struct Thinned {
    buckets: Vec<Bucket>,
    /// Points of a full bucket.
    per_bucket: u64,
    /// Points of the last bucket.
    filled: u64,
}

impl Default for Thinned {
    fn default() -> Thinned {
        Thinned { buckets: Vec::new(), per_bucket: 1, filled: 0 }
    }
}

impl Thinned {
    fn push(&mut self, x: f64, y: f64) {
        match self.buckets.last_mut() {
            Some(last) if self.filled < self.per_bucket => {
                *last = last.merged(Bucket::of(x, y));
                self.filled += 1;
            }
            _ => {
                self.buckets.push(Bucket::of(x, y));
                self.filled = 1;
            }
        }
        if self.buckets.len() == BUCKETS && self.filled == self.per_bucket {
            self.buckets = halved(&self.buckets);
            self.per_bucket *= 2;
            self.filled = self.per_bucket;
        }
    }

    /// At most `most` points, in the order of x.
    fn points(&self, most: usize) -> Vec<(f64, f64)> {
        let mut buckets = self.buckets.clone();
        loop {
            let points: Vec<_> = buckets.iter().flat_map(|bucket| bucket.points()).collect();
            if points.len() <= most || buckets.len() < 2 {
                return points;
            }
            buckets = halved(&buckets);
        }
    }
}

fn halved(buckets: &[Bucket]) -> Vec<Bucket> {
    buckets
        .chunks(2)
        .map(|pair| pair.iter().copied().reduce(Bucket::merged).unwrap_or(pair[0]))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_curve_keeps_every_point() {
        let mut curve = Thinned::default();
        for x in 0..100 {
            curve.push(f64::from(x), f64::from(x * x));
        }
        let points = curve.points(4000);
        assert_eq!(points, (0..100).map(|x| (f64::from(x), f64::from(x * x))).collect::<Vec<_>>());
    }

    #[test]
    fn a_long_curve_keeps_extremes_and_order() {
        let mut curve = Thinned::default();
        for x in 0..1_000_000_u32 {
            let y = match x {
                123_456 => 50.0,
                765_432 => -50.0,
                x => f64::from(x % 7),
            };
            curve.push(f64::from(x), y);
        }
        assert!(curve.buckets.len() <= BUCKETS);
        let points = curve.points(1000);
        assert!(points.len() <= 1000 && points.len() > 200, "{}", points.len());
        assert!(points.contains(&(123_456.0, 50.0)) && points.contains(&(765_432.0, -50.0)));
        assert!(points.windows(2).all(|pair| pair[0].0 < pair[1].0));
    }

    #[test]
    fn a_value_that_is_no_number_stays_visible() {
        let mut curve = Thinned::default();
        for x in 0..20_000 {
            curve.push(f64::from(x), if x == 9_999 { f64::NAN } else { 1.0 });
        }
        assert!(curve.points(200).iter().any(|point| point.1.is_nan()));
    }
}
