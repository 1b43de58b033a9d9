//! Metric `top-k`: share of samples whose true class is among the k largest scores.

use fluxbay_plugin::{prelude::*, serde};

use crate::samples::Samples;

config! {
    /// Number of guesses.
    pub struct Config {
        /// Number of largest scores that count as guesses.
        k: u64 = 5 => 1..,
    }
}

/// The metric `top-k`.
pub struct TopK {
    k: usize,
    gathered: Counts,
}

#[derive(Debug, Default, serde::Serialize, serde::Deserialize)]
#[serde(crate = "fluxbay_plugin::serde")]
struct Counts {
    right: u64,
    samples: u64,
}

impl Counts {
    fn of(samples: &Samples, k: usize) -> Counts {
        let right = (0..samples.len()).filter(|&index| {
            rank(samples.row(index), samples.labels()[index]).is_some_and(|rank| rank < k)
        });
        Counts { right: right.count() as u64, samples: samples.len() as u64 }
    }

    fn share(&self) -> f64 {
        self.right as f64 / self.samples as f64
    }
}

/// Number of classes before `label`: those with larger scores, and those with equal scores and
/// lower numbers. `None` if the score of `label` is NaN.
fn rank(scores: &[f64], label: u32) -> Option<usize> {
    let binary = [0.0, scores[0]];
    let scores = if scores.len() == 1 { &binary[..] } else { scores };
    let own = *scores.get(label as usize).filter(|score| !score.is_nan())?;
    let before = scores
        .iter()
        .enumerate()
        .filter(|&(class, &score)| score > own || (score == own && class < label as usize));
    Some(before.count())
}

impl Component for TopK {
    type Config = Config;

    fn new(config: Config, _: &mut Setup) -> Result<Self> {
        Ok(TopK { k: config.k as usize, gathered: Counts::default() })
    }

    state!(gathered);
}

impl Metric for TopK {
    fn reset(&mut self) {
        self.gathered = Counts::default();
    }

    fn update(&mut self, input: &MetricInput) -> Result<f64> {
        let step = Counts::of(&Samples::read(input)?, self.k);
        self.gathered.right += step.right;
        self.gathered.samples += step.samples;
        Ok(step.share())
    }

    fn direction(&self) -> Direction {
        Direction::Higher
    }

    fn compute(&self) -> Result<f64> {
        Ok(self.gathered.share())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reference::{Reference, close};

    #[test]
    fn it_agrees_with_scikit_learn() {
        let reference = Reference::load("three-classes");
        close(Counts::of(&reference.samples(), 1).share(), reference.number("top-1"));
        close(Counts::of(&reference.samples(), 2).share(), reference.number("top-2"));
        assert_eq!(Counts::of(&reference.samples(), 3).share(), 1.0);
    }

    #[test]
    fn ties_and_nan_do_not_favour_the_target() {
        assert_eq!(rank(&[1.0, 1.0, 0.0], 1), Some(1));
        assert_eq!(rank(&[f64::NAN, 1.0], 0), None);
        assert_eq!(rank(&[0.3], 1), Some(0));
    }
}
