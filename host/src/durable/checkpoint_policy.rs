//! When a run's own settings make a checkpoint due.
//!
//! Except for `every-minutes` and signals, this depends on the run alone: neither on the speed of
//! the machine or the disk, nor on earlier interruptions.

use std::time::{Duration, Instant};

use crate::{
    record::{
        Better,
        checkpoint::{KeepBest, Retention},
    },
    run_file::CheckpointSettings,
};

/// The settings of `[checkpoints]`.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct CheckpointPolicy {
    epochs: u64,
    steps: u64,
    time: Option<Duration>,
    at_end: bool,
    on_signal: bool,
    pub(super) retention: Retention,
    /// Whether the model of the best checkpoint becomes the final model.
    pub(super) restore_best: bool,
}

/// A moment at which a checkpoint could be taken.
#[derive(Clone, Copy, Debug)]
pub(super) struct Occasion {
    pub(super) is_signalled: bool,
    /// Whether a signal asks to save and continue.
    pub(super) save_requested: bool,
    /// Whether the fit ends here.
    pub(super) ends: bool,
    /// The epoch that all phases have just ended, if one has.
    pub(super) epoch: Option<u64>,
    pub(super) steps: u64,
    /// Whether the ranking metric was measured here, and ranks among the best.
    pub(super) is_best: bool,
    pub(super) time: Instant,
}

/// The last checkpoint, or the start of the process.
#[derive(Clone, Copy, Debug)]
pub(super) struct LastCheckpoint {
    pub(super) epochs: u64,
    pub(super) steps: u64,
    pub(super) time: Instant,
    /// Position of the last checkpoint of this process.
    pub(super) position: Option<Position>,
}

/// A position in the run, to recognise a checkpoint that was already taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Position {
    pub(super) steps: u64,
    pub(super) epochs: u64,
    pub(super) phase: usize,
    pub(super) after_epoch: bool,
}

/// Why a checkpoint is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cause {
    /// As records have it.
    pub(super) text: &'static str,
    /// For the log.
    pub(super) phrase: &'static str,
    /// Whether training waits for the checkpoint that is being written; otherwise this one is taken
    /// later.
    pub(super) waits: bool,
}

impl Cause {
    pub(super) const SIGNAL: Cause = Cause { text: "signal", phrase: "signal", waits: true };
    pub(super) const END: Cause = Cause { text: "end", phrase: "end of the run", waits: true };
    pub(super) const EPOCHS: Cause =
        Cause { text: "epochs", phrase: "end of an epoch", waits: true };
    pub(super) const STEPS: Cause =
        Cause { text: "steps", phrase: "number of steps reached", waits: true };
    pub(super) const BEST: Cause = Cause { text: "best", phrase: "best value so far", waits: true };
    pub(super) const TIME: Cause = Cause { text: "time", phrase: "time is up", waits: false };
}

impl CheckpointPolicy {
    /// The policy of the settings; `ranking` is the figure and direction that the metric of the
    /// settings was resolved to, if checkpoints are ranked.
    pub(super) fn of(
        settings: &CheckpointSettings,
        ranking: Option<(String, Better)>,
    ) -> CheckpointPolicy {
        let count = settings.keep_best.max(usize::from(settings.restore_best));
        let best = ranking.map(|(metric, better)| KeepBest { metric, better, count });
        CheckpointPolicy {
            epochs: settings.every_epochs,
            steps: settings.every_steps,
            time: (settings.every_minutes > 0.0)
                .then(|| Duration::from_secs_f64(settings.every_minutes * 60.0)),
            at_end: settings.at_end,
            on_signal: settings.on_signal,
            retention: Retention {
                last: settings.keep_last,
                best: best.filter(|best| best.count > 0),
            },
            restore_best: settings.restore_best,
        }
    }

    /// Whether checkpoints may be due between steps.
    pub(super) fn watches_steps(&self) -> bool {
        self.steps > 0 || self.time.is_some()
    }

    /// Why a checkpoint is due, if one is.
    pub(super) fn due(&self, now: &Occasion, last: &LastCheckpoint) -> Option<Cause> {
        if (self.on_signal && now.is_signalled) || now.save_requested {
            return Some(Cause::SIGNAL);
        }
        if self.at_end && now.ends {
            return Some(Cause::END);
        }
        // Multiples, and not distances from the last checkpoint, which may have had another cause.
        if now.epoch.is_some_and(|epoch| passes(self.epochs, last.epochs, epoch)) {
            return Some(Cause::EPOCHS);
        }
        if passes(self.steps, last.steps, now.steps) {
            return Some(Cause::STEPS);
        }
        if now.is_best {
            return Some(Cause::BEST);
        }
        let by_time =
            self.time.is_some_and(|time| now.time.saturating_duration_since(last.time) >= time);
        by_time.then_some(Cause::TIME)
    }
}

/// Whether a multiple of `every` is above `before` and at most `now`; never for 0.
fn passes(every: u64, before: u64, now: u64) -> bool {
    every > 0 && now / every > before / every
}

/// The best values of the ranking metric so far, to know whether another one ranks among them.
#[derive(Clone, Debug)]
pub(super) struct BestValues {
    better: Better,
    count: usize,
    /// Best first, at most `count`.
    values: Vec<f64>,
}

impl BestValues {
    pub(super) fn new(best: &KeepBest) -> BestValues {
        BestValues { better: best.better, count: best.count, values: Vec::new() }
    }

    /// Whether a checkpoint with this value would be kept: of equal ones, the older is better.
    pub(super) fn accepts(&self, value: f64) -> bool {
        let is_full = self.values.len() >= self.count;
        value.is_finite()
            && (!is_full || self.values.last().is_some_and(|last| self.better.beats(value, *last)))
    }

    /// Adds the value of a checkpoint.
    pub(super) fn add(&mut self, value: f64) {
        let at = self.values.partition_point(|known| !self.better.beats(value, *known));
        self.values.insert(at, value);
        self.values.truncate(self.count);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> CheckpointSettings {
        CheckpointSettings {
            every_epochs: 0,
            every_steps: 0,
            every_minutes: 0.0,
            at_end: true,
            on_signal: true,
            keep_last: 2,
            keep_best: 0,
            metric: "validation/loss".to_owned(),
            better: "auto".to_owned(),
            restore_best: false,
            instance_state: 256,
        }
    }

    /// The causes at occasions so many steps and seconds after the last checkpoint.
    fn causes(policy: &CheckpointPolicy, occasions: &[(u64, f64)]) -> Vec<Option<&'static str>> {
        let begin = Instant::now();
        let last = LastCheckpoint { epochs: 0, steps: 0, time: begin, position: None };
        let at = |&(steps, seconds): &(u64, f64)| {
            let now = Occasion {
                is_signalled: false,
                save_requested: false,
                ends: false,
                epoch: None,
                steps,
                is_best: false,
                time: begin + Duration::from_secs_f64(seconds),
            };
            policy.due(&now, &last).map(|cause| cause.text)
        };
        occasions.iter().map(at).collect()
    }

    #[test]
    fn minutes_are_counted_from_the_last_checkpoint_by_a_monotonic_clock() {
        let policy =
            CheckpointPolicy::of(&CheckpointSettings { every_minutes: 1.5, ..settings() }, None);
        assert!(policy.watches_steps());
        assert_eq!(
            causes(&policy, &[(1, 0.0), (1000, 89.9), (1001, 90.0), (1002, 1e6)]),
            [None, None, Some("time"), Some("time")]
        );
        let begin = Instant::now();
        let last = LastCheckpoint {
            epochs: 0,
            steps: 0,
            time: begin + Duration::from_secs(3600),
            position: None,
        };
        let now = Occasion {
            is_signalled: false,
            save_requested: false,
            ends: false,
            epoch: None,
            steps: 5,
            is_best: false,
            time: begin,
        };
        assert_eq!(policy.due(&now, &last), None, "a last checkpoint in the future is not overdue");
    }

    #[test]
    fn epochs_steps_the_best_the_end_and_signals_are_separate_causes() {
        let policy = CheckpointPolicy::of(
            &CheckpointSettings { every_epochs: 2, every_steps: 10, ..settings() },
            None,
        );
        assert_eq!(causes(&policy, &[(9, 1e6), (10, 0.0)]), [None, Some("steps")]);
        let time = Instant::now();
        let last = LastCheckpoint { epochs: 4, steps: 101, time, position: None };
        let now = Occasion {
            is_signalled: false,
            save_requested: false,
            ends: false,
            epoch: Some(5),
            steps: 109,
            is_best: false,
            time,
        };
        assert_eq!(policy.due(&now, &last), None);
        let due = |now: &Occasion| policy.due(now, &last).map(|cause| (cause.text, cause.waits));
        assert_eq!(due(&Occasion { epoch: Some(6), ..now }), Some(("epochs", true)));
        assert_eq!(due(&Occasion { steps: 110, ..now }), Some(("steps", true)));
        assert_eq!(due(&Occasion { is_best: true, ..now }), Some(("best", true)));
        assert_eq!(due(&Occasion { ends: true, ..now }), Some(("end", true)));
        assert_eq!(
            due(&Occasion { ends: true, is_signalled: true, ..now }),
            Some(("signal", true))
        );
    }

    #[test]
    fn the_schedule_does_not_depend_on_checkpoints_of_other_causes() {
        let policy =
            CheckpointPolicy::of(&CheckpointSettings { every_steps: 10, ..settings() }, None);
        let time = Instant::now();
        let due_from = |last: u64| {
            let last = LastCheckpoint { epochs: 0, steps: last, time, position: None };
            (last.steps + 1..)
                .find(|&steps| {
                    let now = Occasion {
                        is_signalled: false,
                        save_requested: false,
                        ends: false,
                        epoch: None,
                        steps,
                        is_best: false,
                        time,
                    };
                    policy.due(&now, &last).is_some()
                })
                .unwrap()
        };
        assert_eq!([0, 7, 9, 10, 15].map(due_from), [10, 10, 10, 20, 20]);
    }

    #[test]
    fn a_value_ranks_among_the_best_unless_as_many_are_at_least_as_good() {
        let best = KeepBest { metric: String::new(), better: Better::Lower, count: 2 };
        let mut values = BestValues::new(&best);
        assert!(values.accepts(9.0) && !values.accepts(f64::NAN));
        [3.0, 5.0].into_iter().for_each(|value| values.add(value));
        assert_eq!(
            [6.0, 5.0, 4.0, 1.0].map(|value| values.accepts(value)),
            [false, false, true, true]
        );
        values.add(1.0);
        assert!(!values.accepts(3.0) && values.accepts(2.0));
        let mut values = BestValues::new(&KeepBest { better: Better::Higher, count: 1, ..best });
        values.add(0.5);
        assert!(values.accepts(0.75) && !values.accepts(0.5) && !values.accepts(0.25));
    }
}
