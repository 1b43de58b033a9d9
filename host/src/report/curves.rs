//! The curves of a run for the page, thinned while they are read.

use fluxbay_watch::curve::{Curve, Point};
use serde_json::{Value as Json, json};

use super::{each_line, number, spikes::Spikes, whole_json};
use crate::record::{RecordError, RunEntry, file};

/// All curves of a run.
#[derive(Debug, Default)]
pub(super) struct Curves {
    curves: fluxbay_watch::curve::Curves,
    /// Lines that are no records.
    pub(super) damaged: u64,
    pub(super) spikes: Spikes,
}

impl Curves {
    /// Reads the `metrics.jsonl` of a run; memory does not grow with the length of the file.
    pub(super) fn read(run: &RunEntry) -> Result<Curves, RecordError> {
        let mut all = Curves::default();
        all.curves.set_steps(training_steps(run));
        each_line(&run.path.join(file::METRICS), |line| match Point::parse(line) {
            Some(point) => all.take(&point),
            None => all.damaged += 1,
        })?;
        Ok(all)
    }

    fn take(&mut self, point: &Point<'_>) {
        if point.scope == "step" && point.name == "loss" {
            self.spikes.take(&point.phase, point.epoch, point.step, point.value);
        }
        self.curves.take(point);
    }

    pub(super) fn len(&self) -> usize {
        self.curves.all().len()
    }

    /// The curves for the page, each with at most `points` points.
    pub(super) fn to_json(&self, points: usize) -> Json {
        let series = self.curves.all().iter().map(|curve: &Curve| {
            let drawn = curve.points(points);
            json!({
                "scope": curve.scope, "phase": curve.phase, "name": curve.name,
                "kind": if curve.is_hyper_parameter() { "hyper-parameter" } else { "metric" },
                "count": curve.count, "thinned": (drawn.len() as u64) < curve.count,
                "x": drawn.iter().map(|point| number(point.0)).collect::<Vec<_>>(),
                "y": drawn.iter().map(|point| number(rounded(point.1))).collect::<Vec<_>>(),
            })
        });
        series.collect()
    }
}

/// Steps of an epoch of the first phase on training data, if the record has them.
fn training_steps(run: &RunEntry) -> Option<u64> {
    let composition = whole_json(&run.path.join(file::COMPOSITION))?;
    let phases = composition["phases"].as_array()?;
    let trains = phases.iter().find(|phase| phase["data"] == "training")?;
    let steps = whole_json(&run.path.join(file::PHASES))?;
    steps[trains["id"].as_str()?].as_u64().filter(|steps| *steps > 0)
}

/// A value to seven digits, which no screen can tell from the value itself.
fn rounded(value: f64) -> f64 {
    format!("{value:.6e}").parse().unwrap_or(value)
}
