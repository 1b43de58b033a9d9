//! Where a run is, how fast it is, and how long the rest will take.

use std::collections::{BTreeMap, VecDeque};

/// Seconds over which the rate is measured.
const WINDOW: f64 = 10.0;
/// Shortest time between two points of the measurement, in seconds.
const SPACING: f64 = 0.05;
/// Epochs over which the time of a phase is measured.
const EPOCHS: usize = 5;

/// Steps per second of the phase that runs.
#[derive(Clone, Debug, Default)]
pub struct Pace {
    /// The phase, epoch and step of the last value.
    pub at: Option<(String, u64, u64)>,
    /// (time, step) within the present epoch of the phase.
    points: VecDeque<(f64, u64)>,
    /// Last step of the epoch, and seconds per step, of each phase that was measured.
    known: BTreeMap<String, (u64, f64)>,
}

impl Pace {
    /// A step was recorded.
    pub fn take(&mut self, phase: &str, epoch: u64, step: u64, time: f64) {
        match &mut self.at {
            Some((known, at, last)) if known == phase && *at == epoch => {
                if step == *last {
                    return;
                }
                *last = step;
            }
            at => {
                if let Some((before, _, last)) = at.take() {
                    let pace = seconds_per_step(&self.points)
                        .or_else(|| self.known.get(&before).map(|known| known.1));
                    if let Some(pace) = pace {
                        self.known.insert(before, (last, pace));
                    }
                }
                *at = Some((phase.to_owned(), epoch, step));
                self.points.clear();
            }
        }
        // The last point moves with the run until the next one is due.
        if self.points.len() > 1 && time - self.points[self.points.len() - 2].0 < SPACING {
            self.points.pop_back();
        }
        self.points.push_back((time, step));
        while self.points.len() > 2 && time - self.points[1].0 > WINDOW {
            self.points.pop_front();
        }
    }

    /// Steps per second now; none before two steps of a phase.
    pub fn rate(&self) -> Option<f64> {
        let phase = &self.at.as_ref()?.0;
        let pace = seconds_per_step(&self.points)
            .or_else(|| self.known.get(phase).map(|known| known.1))?;
        Some(1.0 / pace)
    }

    /// Steps of an epoch of a phase, as far as one has ended.
    fn steps(&self, phase: &str) -> Option<u64> {
        self.known.get(phase).map(|known| known.0)
    }
}

fn seconds_per_step(points: &VecDeque<(f64, u64)>) -> Option<f64> {
    let (first, last) = (points.front()?, points.back()?);
    let steps = last.1.checked_sub(first.1).filter(|steps| *steps > 0)?;
    Some((last.0 - first.0) / steps as f64).filter(|pace| *pace > 0.0)
}

/// The epochs of a run.
#[derive(Clone, Debug, Default)]
pub struct Timeline {
    /// Phases of an epoch, in their order.
    phases: Vec<String>,
    /// Steps of an epoch of each phase, if the record says so.
    steps: BTreeMap<String, u64>,
    /// The phase that runs, its epoch, and when it began.
    pub running: Option<(String, u64, f64)>,
    /// Number of epochs whose phases have all ended.
    pub epochs_done: u64,
    /// Durations of the last epochs of each phase.
    durations: BTreeMap<String, VecDeque<f64>>,
    /// Last phase that ended, and its epoch.
    ended: Option<(String, u64)>,
}

/// How far a run is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Progress {
    /// Share of the run that is done, from 0 to 1.
    pub share: f64,
    /// Seconds that the rest will take, if that can be estimated.
    pub left: Option<f64>,
}

impl Timeline {
    /// The same phases, before the first epoch.
    pub(crate) fn restarted(&self) -> Timeline {
        Timeline { phases: self.phases.clone(), steps: self.steps.clone(), ..Timeline::default() }
    }

    pub(crate) fn set_phases(&mut self, phases: Vec<String>) {
        self.phases = phases;
    }

    pub(crate) fn set_steps(&mut self, steps: BTreeMap<String, u64>) {
        self.steps = steps;
    }

    /// Steps of an epoch of the first phase, which trains.
    pub(crate) fn steps_of_first_phase(&self) -> Option<u64> {
        self.steps.get(self.phases.first()?).copied().filter(|steps| *steps > 0)
    }

    /// Takes an event; returns whether it only marks progress.
    pub fn take(&mut self, event: &str, phase: &str, epoch: u64, time: f64) -> bool {
        match event {
            "epoch-begin" => {
                self.epochs_done = self.epochs_done.max(epoch.saturating_sub(1));
                self.running = Some((phase.to_owned(), epoch, time));
                true
            }
            "epoch-end" => {
                if let Some((_, _, began)) =
                    self.running.take().filter(|(running, at, _)| running == phase && *at == epoch)
                {
                    let known = self.durations.entry(phase.to_owned()).or_default();
                    known.push_back(time - began);
                    if known.len() > EPOCHS {
                        known.pop_front();
                    }
                }
                self.ended = Some((phase.to_owned(), epoch));
                if self.phases.last().is_none_or(|last| last == phase) {
                    self.epochs_done = self.epochs_done.max(epoch);
                }
                true
            }
            "fit-begin" | "fit-end" => {
                self.running = None;
                true
            }
            _ => false,
        }
    }

    /// Seconds of an epoch of each phase that was measured.
    pub fn durations(&self) -> impl Iterator<Item = (&str, f64)> {
        let median = |known: &VecDeque<f64>| {
            let mut known: Vec<f64> = known.iter().copied().collect();
            known.sort_by(f64::total_cmp);
            known[known.len() / 2]
        };
        self.durations.iter().map(move |(phase, known)| (phase.as_str(), median(known)))
    }

    /// Steps of an epoch of a phase, if known.
    pub fn steps_of(&self, phase: &str, pace: &Pace) -> Option<u64> {
        self.steps.get(phase).copied().filter(|steps| *steps > 0).or_else(|| pace.steps(phase))
    }

    /// How far the run is at a time, of `epochs` epochs.
    pub fn progress(&self, pace: &Pace, epochs: u64, now: f64) -> Progress {
        if epochs == 0 {
            return Progress { share: 0.0, left: None };
        }
        let of_phase: Vec<Option<f64>> =
            self.phases.iter().map(|phase| self.seconds(phase, pace)).collect();
        let epoch: Option<f64> = of_phase.iter().copied().sum();
        // Seconds of the present epoch that are left.
        let running = self.running.as_ref().map(|(phase, _, began)| (phase, Some(*began)));
        let ended = || self.ended.as_ref().filter(|(_, epoch)| *epoch > self.epochs_done);
        let place = running.or_else(|| ended().map(|(phase, _)| (phase, None)));
        let mut share = self.epochs_done as f64;
        let mut left = epoch.map(|epoch| epoch * epochs.saturating_sub(self.epochs_done) as f64);
        if let Some((phase, began)) = place {
            let index = self.phases.iter().position(|known| known == phase).unwrap_or(0);
            let within = match began {
                Some(began) => self.share_of_phase(phase, pace, began, now),
                None => 1.0,
            };
            let known = |range: &[Option<f64>]| range.iter().copied().sum::<Option<f64>>();
            let done = known(&of_phase[..index.min(of_phase.len())])
                .zip(of_phase.get(index).copied().flatten())
                .map(|(before, of_phase)| before + within * of_phase);
            match done.zip(epoch.filter(|epoch| *epoch > 0.0)) {
                Some((done, epoch)) => {
                    share += (done / epoch).min(1.0);
                    left = left.map(|left| (left - done).max(0.0));
                }
                None => {
                    share += (index as f64 + within) / self.phases.len().max(1) as f64;
                }
            }
        }
        Progress { share: (share / epochs as f64).clamp(0.0, 1.0), left }
    }

    /// Share of an epoch of the running phase that is done.
    fn share_of_phase(&self, phase: &str, pace: &Pace, began: f64, now: f64) -> f64 {
        let step = pace.at.as_ref().filter(|at| at.0 == phase).map_or(0, |at| at.2);
        match self.steps_of(phase, pace) {
            Some(steps) if pace.at.as_ref().is_some_and(|at| at.0 == phase) => {
                (step as f64 / steps as f64).min(1.0)
            }
            _ => {
                let known = self.seconds(phase, pace).filter(|seconds| *seconds > 0.0);
                known.map_or(0.0, |seconds| ((now - began) / seconds).clamp(0.0, 1.0))
            }
        }
    }

    /// Seconds of an epoch of a phase: the median of the last ones, or from the rate of its steps.
    fn seconds(&self, phase: &str, pace: &Pace) -> Option<f64> {
        if let Some((_, seconds)) = self.durations().find(|(known, _)| *known == phase) {
            return Some(seconds);
        }
        let steps = self.steps_of(phase, pace)?;
        // A phase that has not run yet is taken to be as fast as the one that runs.
        let rate = pace.rate()?;
        Some(steps as f64 / rate)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn timeline(known_steps: bool) -> Timeline {
        let mut timeline = Timeline::default();
        timeline.set_phases(vec!["training".to_owned(), "validation".to_owned()]);
        if known_steps {
            timeline.set_steps([("training".to_owned(), 80), ("validation".to_owned(), 20)].into());
        }
        timeline
    }

    #[test]
    fn the_first_epoch_is_estimated_from_its_steps() {
        let (mut timeline, mut pace) = (timeline(true), Pace::default());
        timeline.take("epoch-begin", "training", 1, 0.0);
        for step in 1..=40 {
            pace.take("training", 1, step, f64::from(step as u32) * 0.5);
        }
        let progress = timeline.progress(&pace, 2, 20.0);
        assert!((pace.rate().unwrap() - 2.0).abs() < 1e-9);
        // 100 steps an epoch, 40 of 200 are done, two a second.
        assert!((progress.share - 0.2).abs() < 1e-9, "{progress:?}");
        assert!((progress.left.unwrap() - 80.0).abs() < 1e-9, "{progress:?}");
    }

    #[test]
    fn later_epochs_are_estimated_from_the_earlier_ones() {
        let (mut timeline, mut pace) = (timeline(false), Pace::default());
        assert_eq!(timeline.progress(&pace, 4, 0.0), Progress { share: 0.0, left: None });
        timeline.take("epoch-begin", "training", 1, 0.0);
        pace.take("training", 1, 1, 1.0);
        assert_eq!(timeline.progress(&pace, 4, 1.0).left, None, "nothing is known yet");
        for step in 2..=10 {
            pace.take("training", 1, step, f64::from(step as u32));
        }
        timeline.take("epoch-end", "training", 1, 30.0);
        timeline.take("epoch-begin", "validation", 1, 30.0);
        timeline.take("epoch-end", "validation", 1, 40.0);
        let progress = timeline.progress(&pace, 4, 40.0);
        assert_eq!((progress.share, progress.left), (0.25, Some(120.0)));
        timeline.take("epoch-begin", "training", 2, 40.0);
        pace.take("training", 2, 5, 55.0);
        let progress = timeline.progress(&pace, 4, 55.0);
        // Half of the training, as the first epoch had 10 steps: 15 of 40 seconds.
        assert_eq!(progress.left, Some(105.0));
        assert!((progress.share - 1.375 / 4.0).abs() < 1e-9);
    }

    #[test]
    fn the_rate_is_that_of_the_last_seconds() {
        let mut pace = Pace::default();
        for step in 1..=1000 {
            pace.take("training", 1, step, f64::from(step as u32) * 0.01);
        }
        for step in 1001..=1100 {
            pace.take("training", 1, step, 10.0 + f64::from(step as u32 - 1000));
        }
        assert!((pace.rate().unwrap() - 1.0).abs() < 0.05, "{:?}", pace.rate());
        assert!(pace.points.len() < 300);
        // A phase that begins has no rate of its own at first.
        pace.take("validation", 1, 1, 200.0);
        assert_eq!(pace.rate(), None);
    }
}
