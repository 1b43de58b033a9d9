//! Metric `auroc`: area under the receiver operating characteristic, computed exactly from the
//! ranks of all samples of the epoch (Mann and Whitney 1947).

use fluxbay_plugin::{prelude::*, serde};
use serde_json::json;

use crate::samples::{Samples, Scores, log_softmax};

config! {
    /// Meaning of the scores.
    pub struct Config {
        /// Meaning of the scores; relevant only with more than two classes.
        scores: Scores = "logits",
    }
}

/// The metric `auroc`.
pub struct Auroc {
    scores: Scores,
    gathered: Ranked,
}

/// A score per sample and class, and the labels. With two classes only the score of class 1.
#[derive(Clone, Debug, Default, serde::Serialize, serde::Deserialize)]
#[serde(crate = "fluxbay_plugin::serde")]
struct Ranked {
    columns: usize,
    values: Vec<f64>,
    labels: Vec<u32>,
}

impl Ranked {
    fn of(samples: &Samples, scores: Scores) -> Ranked {
        let mut ranked = Ranked {
            columns: if samples.classes() == 2 { 1 } else { samples.classes() },
            ..Ranked::default()
        };
        for index in 0..samples.len() {
            match samples.row(index) {
                [logit] => ranked.values.push(*logit),
                // Any increasing function of the probability of class 1 gives the same ranks.
                [zero, one] => ranked.values.push(one - zero),
                row if scores == Scores::Logits => ranked.values.extend(log_softmax(row)),
                row => ranked.values.extend_from_slice(row),
            }
        }
        ranked.labels = samples.labels().to_vec();
        ranked
    }

    fn add(&mut self, other: &Ranked) -> Result<()> {
        if !self.labels.is_empty() && self.columns != other.columns {
            bail!(
                "the number of classes changed from {} to {} within an epoch",
                self.columns,
                other.columns
            );
        }
        self.columns = other.columns;
        self.values.extend_from_slice(&other.values);
        self.labels.extend_from_slice(&other.labels);
        Ok(())
    }

    /// Area of each class against the rest; NaN if one side has no samples.
    fn areas(&self) -> Vec<f64> {
        if self.columns == 1 {
            return vec![area(
                self.values
                    .iter()
                    .copied()
                    .zip(self.labels.iter().map(|&label| label == 1))
                    .collect(),
            )];
        }
        let of_class = |class: usize| {
            let scores = self.values.iter().skip(class).step_by(self.columns).copied();
            area(scores.zip(self.labels.iter().map(|&label| label as usize == class)).collect())
        };
        (0..self.columns).map(of_class).collect()
    }

    /// Mean over the classes with a defined area.
    fn mean(&self) -> f64 {
        let areas: Vec<f64> = self.areas().into_iter().filter(|area| !area.is_nan()).collect();
        areas.iter().sum::<f64>() / areas.len() as f64
    }
}

/// Probability that a positive sample has a higher score than a negative one; ties count half.
fn area(mut samples: Vec<(f64, bool)>) -> f64 {
    if samples.iter().any(|(score, _)| score.is_nan()) {
        return f64::NAN;
    }
    samples.sort_by(|a, b| a.0.total_cmp(&b.0));
    let positives = samples.iter().filter(|sample| sample.1).count();
    let negatives = samples.len() - positives;
    // Ranks start at 1 and are doubled, so that the mean rank of ties is an integer and the sum is
    // exact.
    let (mut doubled_ranks, mut first) = (0u128, 0);
    while first < samples.len() {
        let tied =
            samples[first..].iter().take_while(|sample| sample.0 == samples[first].0).count();
        let here = samples[first..first + tied].iter().filter(|sample| sample.1).count();
        doubled_ranks += here as u128 * (2 * first + tied + 1) as u128;
        first += tied;
    }
    let least = positives as u128 * (positives as u128 + 1);
    (doubled_ranks - least) as f64 / (2.0 * positives as f64 * negatives as f64)
}

impl Component for Auroc {
    type Config = Config;

    fn new(config: Config, _: &mut Setup) -> Result<Self> {
        Ok(Auroc { scores: config.scores, gathered: Ranked::default() })
    }

    state!(gathered);
}

impl Metric for Auroc {
    fn reset(&mut self) {
        self.gathered = Ranked::default();
    }

    fn update(&mut self, input: &MetricInput) -> Result<f64> {
        let step = Ranked::of(&Samples::read(input)?, self.scores);
        self.gathered.add(&step)?;
        Ok(step.mean())
    }

    fn direction(&self) -> Direction {
        Direction::Higher
    }

    fn compute(&self) -> Result<f64> {
        Ok(self.gathered.mean())
    }

    fn details(&self) -> Result<String> {
        Ok(json!({"classes": self.gathered.areas()}).to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reference::{Reference, close};

    #[test]
    fn it_agrees_with_scikit_learn() {
        for case in ["two-classes", "three-classes", "binary-logits"] {
            let reference = Reference::load(case);
            close(
                Ranked::of(&reference.samples(), Scores::Logits).mean(),
                reference.number("auroc"),
            );
        }
    }

    #[test]
    fn ties_count_half_and_one_class_alone_has_no_area() {
        assert_eq!(area(vec![(0.5, true), (0.5, false)]), 0.5);
        assert_eq!(area(vec![(0.1, false), (0.4, true), (0.35, false), (0.8, true)]), 1.0);
        assert!(area(vec![(0.1, true)]).is_nan());
        assert!(area(vec![(f64::NAN, true), (0.0, false)]).is_nan());
    }

    #[test]
    fn batches_add_up_to_the_whole() {
        let samples = Reference::load("three-classes").samples();
        let whole = Ranked::of(&samples, Scores::Logits);
        let mut parts = Ranked::default();
        for start in [0, 30] {
            let end = if start == 0 { 30 } else { whole.labels.len() };
            let part = Ranked {
                columns: 3,
                values: whole.values[start * 3..end * 3].to_vec(),
                labels: whole.labels[start..end].to_vec(),
            };
            parts.add(&part).unwrap();
        }
        assert_eq!(parts.mean(), whole.mean());
        assert!(parts.add(&Ranked { columns: 2, ..Ranked::default() }).is_err());
    }
}
