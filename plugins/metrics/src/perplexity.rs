//! Metric `perplexity`: exponential of the mean negative log-likelihood of the targets.

use fluxbay_plugin::{prelude::*, serde};

use crate::samples::{Samples, Scores, log_softmax};

config! {
    /// Meaning of the scores.
    pub struct Config {
        /// Meaning of the scores.
        scores: Scores = "logits",
    }
}

/// The metric `perplexity`.
pub struct Perplexity {
    scores: Scores,
    gathered: Likelihood,
}

#[derive(Clone, Copy, Debug, Default, serde::Serialize, serde::Deserialize)]
#[serde(crate = "fluxbay_plugin::serde")]
struct Likelihood {
    negative_log: f64,
    samples: u64,
}

impl Likelihood {
    fn of(samples: &Samples, scores: Scores) -> Result<Likelihood> {
        if scores == Scores::Probabilities && samples.is_binary_logit() {
            bail!(
                "perplexity of a single probability per sample is not defined here: give logits, or a probability for each class"
            );
        }
        let of_sample = |index: usize| {
            let label = samples.labels()[index] as usize;
            match scores {
                Scores::Logits => -log_softmax(samples.row(index))[label],
                Scores::Probabilities => -samples.row(index)[label].ln(),
            }
        };
        Ok(Likelihood {
            negative_log: (0..samples.len()).map(of_sample).sum(),
            samples: samples.len() as u64,
        })
    }

    fn perplexity(&self) -> f64 {
        (self.negative_log / self.samples as f64).exp()
    }
}

impl Component for Perplexity {
    type Config = Config;

    fn new(config: Config, _: &mut Setup) -> Result<Self> {
        Ok(Perplexity { scores: config.scores, gathered: Likelihood::default() })
    }

    state!(gathered);
}

impl Metric for Perplexity {
    fn reset(&mut self) {
        self.gathered = Likelihood::default();
    }

    fn update(&mut self, input: &MetricInput) -> Result<f64> {
        let step = Likelihood::of(&Samples::read(input)?, self.scores)?;
        self.gathered.negative_log += step.negative_log;
        self.gathered.samples += step.samples;
        Ok(step.perplexity())
    }

    fn direction(&self) -> Direction {
        Direction::Lower
    }

    fn compute(&self) -> Result<f64> {
        Ok(self.gathered.perplexity())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reference::{Reference, close};

    #[test]
    fn it_is_the_exponential_of_scikit_learns_log_loss() {
        for case in ["three-classes", "two-classes", "binary-logits"] {
            let reference = Reference::load(case);
            close(
                Likelihood::of(&reference.samples(), Scores::Logits).unwrap().perplexity(),
                reference.number("log-loss").exp(),
            );
        }
    }

    #[test]
    fn even_odds_have_the_perplexity_of_the_number_of_classes() {
        let even = crate::samples::tests::labelled(&[0.25; 8], 4, &[0.0, 3.0]);
        close(Likelihood::of(&even, Scores::Probabilities).unwrap().perplexity(), 4.0);
        close(Likelihood::of(&even, Scores::Logits).unwrap().perplexity(), 4.0);
    }
}
