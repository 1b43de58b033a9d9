//! What a run's figures came to: last and best value of each epoch metric, and the time that each
//! phase took.

use std::time::{Duration, Instant};

/// One epoch metric of one phase.
#[derive(Clone, Debug, PartialEq)]
pub struct Figure {
    /// Instance id of the phase.
    pub phase: String,
    /// Name of the metric.
    pub name: String,
    /// Its last value and epoch.
    pub last: (f64, u64),
    /// Its best finite value and the first epoch that reached it.
    pub best: Option<(f64, u64)>,
}

/// Which values of a metric are better.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Better {
    /// Small ones, as of a loss.
    Lower,
    /// Large ones, as of an accuracy.
    Higher,
}

impl Better {
    /// By the metric's name: losses, errors and perplexities are better low, all others high.
    pub fn of(name: &str) -> Better {
        let low = |word: &str| {
            matches!(
                word,
                "loss"
                    | "error"
                    | "errors"
                    | "mse"
                    | "mae"
                    | "rmse"
                    | "perplexity"
                    | "divergence"
                    | "distance"
            )
        };
        if name.split(['-', '/', '.', '_']).any(low) { Better::Lower } else { Better::Higher }
    }

    /// Whether `new` is better than `old`.
    pub fn beats(self, new: f64, old: f64) -> bool {
        match self {
            Better::Lower => new < old,
            Better::Higher => new > old,
        }
    }
}

/// Time that the epochs of one phase took.
#[derive(Clone, Debug, PartialEq)]
pub struct PhaseTime {
    /// Instance id of the phase.
    pub phase: String,
    /// Epochs that were counted.
    pub epochs: u64,
    /// Time of all of them.
    pub time: Duration,
}

/// Gathers both while a run goes on.
#[derive(Debug, Default)]
pub(super) struct Figures {
    pub(super) figures: Vec<Figure>,
    pub(super) times: Vec<PhaseTime>,
    open: Option<(String, Instant)>,
}

impl Figures {
    pub(super) fn take(&mut self, phase: &str, name: &str, epoch: u64, value: f64) {
        let found =
            self.figures.iter_mut().find(|figure| figure.name == name && figure.phase == phase);
        let candidate = value.is_finite().then_some((value, epoch));
        let Some(figure) = found else {
            self.figures.push(Figure {
                phase: phase.to_owned(),
                name: name.to_owned(),
                last: (value, epoch),
                best: candidate,
            });
            return;
        };
        figure.last = (value, epoch);
        let better = Better::of(name);
        if candidate
            .is_some_and(|(new, _)| figure.best.is_none_or(|(old, _)| better.beats(new, old)))
        {
            figure.best = candidate;
        }
    }

    pub(super) fn epoch_begins(&mut self, phase: &str) {
        self.open = Some((phase.to_owned(), Instant::now()));
    }

    pub(super) fn epoch_ends(&mut self, phase: &str) {
        let Some((_, begin)) = self.open.take().filter(|(open, _)| open == phase) else { return };
        match self.times.iter_mut().find(|time| time.phase == phase) {
            Some(known) => {
                known.epochs += 1;
                known.time += begin.elapsed();
            }
            None => self.times.push(PhaseTime {
                phase: phase.to_owned(),
                epochs: 1,
                time: begin.elapsed(),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_is_the_first_of_the_best_finite_ones() {
        let mut figures = Figures::default();
        for (epoch, loss) in
            [(1, f64::NAN), (2, 0.5), (3, 0.25), (4, 0.25), (5, f64::NEG_INFINITY), (6, 0.75)]
        {
            figures.take("training", "loss", epoch, loss);
            figures.take("training", "top-5-accuracy", epoch, loss);
            figures.take("validation", "loss", epoch, -loss);
        }
        let best = |index: usize| figures.figures[index].best;
        assert_eq!(
            (best(0), best(1), best(2)),
            (Some((0.25, 3)), Some((0.75, 6)), Some((-0.75, 6)))
        );
        assert_eq!(figures.figures[0].last, (0.75, 6));
        assert_eq!(Better::of("smooth-loss"), Better::Lower);
        assert_eq!(Better::of("lossless"), Better::Higher);
    }
}
