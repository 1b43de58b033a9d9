//! Summary of a run: last and best value of each epoch metric, and the time that each phase took.

use std::time::{Duration, Instant};

use super::Directions;

/// One epoch metric of one phase.
#[derive(Clone, Debug, PartialEq)]
pub struct EpochMetric {
    /// Instance id of the phase.
    pub phase: String,
    /// Name of the metric.
    pub name: String,
    /// Last value, and its epoch.
    pub last: (f64, u64),
    /// Best finite value, and the first epoch that reached it; none if it is unknown which values
    /// are better.
    pub best: Option<(f64, u64)>,
}

/// Duration of the epochs of one phase.
#[derive(Clone, Debug, PartialEq)]
pub struct PhaseTime {
    /// Instance id of the phase.
    pub phase: String,
    /// Number of epochs.
    pub epochs: u64,
    /// Their total time.
    pub time: Duration,
}

/// Collects both during a run.
#[derive(Debug, Default)]
pub(super) struct RunSummary {
    pub(super) directions: Directions,
    pub(super) epoch_metrics: Vec<EpochMetric>,
    pub(super) times: Vec<PhaseTime>,
    /// The epochs that are open, each within the one before, with the time of those within it.
    open: Vec<(String, Instant, Duration)>,
}

impl RunSummary {
    /// An empty summary of figures with these directions.
    pub(super) fn new(directions: Directions) -> RunSummary {
        RunSummary { directions, ..RunSummary::default() }
    }

    /// Adds the value of an epoch.
    pub(super) fn add(&mut self, phase: &str, name: &str, epoch: u64, value: f64) {
        let better = self.directions.better(phase, name);
        let candidate = (value.is_finite() && better.is_some()).then_some((value, epoch));
        let found = self
            .epoch_metrics
            .iter_mut()
            .find(|metric| metric.name == name && metric.phase == phase);
        let Some(metric) = found else {
            self.epoch_metrics.push(EpochMetric {
                phase: phase.to_owned(),
                name: name.to_owned(),
                last: (value, epoch),
                best: candidate,
            });
            return;
        };
        metric.last = (value, epoch);
        let beats = |new: f64| match (metric.best, better) {
            (Some((old, _)), Some(better)) => better.beats(new, old),
            (None, _) => true,
            (_, None) => false,
        };
        if candidate.is_some_and(|(new, _)| beats(new)) {
            metric.best = candidate;
        }
    }

    pub(super) fn epoch_begins(&mut self, phase: &str) {
        // One that was cancelled has not ended.
        if let Some(at) = self.open.iter().position(|(open, ..)| open == phase) {
            self.open.truncate(at);
        }
        self.open.push((phase.to_owned(), Instant::now(), Duration::ZERO));
    }

    pub(super) fn epoch_ends(&mut self, phase: &str) {
        let Some(at) = self.open.iter().position(|(open, ..)| open == phase) else { return };
        let Some((_, begin, within)) = self.open.drain(at..).next() else { return };
        let elapsed = begin.elapsed();
        if let Some((_, _, outer)) = self.open.last_mut() {
            *outer += elapsed;
        }
        let time = elapsed.saturating_sub(within);
        match self.times.iter_mut().find(|time| time.phase == phase) {
            Some(known) => {
                known.epochs += 1;
                known.time += time;
            }
            None => self.times.push(PhaseTime { phase: phase.to_owned(), epochs: 1, time }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Better;

    #[test]
    fn the_best_is_the_first_of_the_best_finite_ones() {
        let mut summary = RunSummary::default();
        summary.directions.set("training", "top-5-accuracy", Better::Higher);
        for (epoch, loss) in
            [(1, f64::NAN), (2, 0.5), (3, 0.25), (4, 0.25), (5, f64::NEG_INFINITY), (6, 0.75)]
        {
            summary.add("training", "loss", epoch, loss);
            summary.add("training", "top-5-accuracy", epoch, loss);
            summary.add("validation", "loss", epoch, -loss);
            summary.add("validation", "unknown", epoch, loss);
        }
        let best = |index: usize| summary.epoch_metrics[index].best;
        assert_eq!(
            (best(0), best(1), best(2)),
            (Some((0.25, 3)), Some((0.75, 6)), Some((-0.75, 6)))
        );
        assert_eq!(summary.epoch_metrics[0].last, (0.75, 6));
        // Without a direction there is no best.
        assert_eq!(best(3), None);
    }
}
