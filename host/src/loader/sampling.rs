//! Samplers: which training samples an epoch reads, drawn with replacement by weight.
//!
//! A draw depends on seed, epoch and position alone, so a run resumes without any state.

use std::collections::BTreeMap;

use super::random::Draws;

/// Samples with the chance of each.
#[derive(Debug)]
pub(super) struct Weighted {
    /// Sum of the weights up to and including each sample.
    sums: Vec<f64>,
}

impl Weighted {
    /// `None` if a weight is negative or not finite, or all are 0.
    pub(super) fn new(weights: &[f64]) -> Option<Weighted> {
        if weights.iter().any(|weight| !(weight.is_finite() && *weight >= 0.0)) {
            return None;
        }
        let mut sum = 0.0;
        let sums: Vec<f64> = weights
            .iter()
            .map(|weight| {
                sum += weight;
                sum
            })
            .collect();
        (sum > 0.0 && sum.is_finite()).then_some(Weighted { sums })
    }

    /// As many draws as there are samples, for one epoch: places among the samples.
    pub(super) fn draw(&self, seed: u64, epoch: u64) -> Vec<usize> {
        let mut draws = Draws::new(seed, "sampling", epoch);
        let total = self.sums.last().copied().unwrap_or(0.0);
        let last = self.sums.len().saturating_sub(1);
        let one = |_| {
            let wanted = draws.unit() * total;
            self.sums.partition_point(|sum| *sum <= wanted).min(last)
        };
        (0..self.sums.len()).map(one).collect()
    }
}

/// Weights with which every class is drawn equally often.
pub(super) fn balanced(labels: &[u32]) -> Vec<f64> {
    let mut counts: BTreeMap<u32, u64> = BTreeMap::new();
    labels.iter().for_each(|label| *counts.entry(*label).or_default() += 1);
    labels.iter().map(|label| 1.0 / counts[label] as f64).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_drawn_by_their_weights() {
        let weighted = Weighted::new(&[1.0, 0.0, 3.0, 4.0]).unwrap();
        let mut counts = [0_u32; 4];
        for epoch in 0..4000 {
            weighted.draw(3, epoch).iter().for_each(|place| counts[*place] += 1);
        }
        // 16,000 draws: 2000, 0, 6000 and 8000, with standard deviations of at most 63.
        assert_eq!(counts[1], 0);
        for (count, expected) in [(counts[0], 2000), (counts[2], 6000), (counts[3], 8000)] {
            assert!(count.abs_diff(expected) < 250, "{counts:?}");
        }
        assert_eq!(weighted.draw(3, 5), weighted.draw(3, 5));
        assert_ne!(weighted.draw(3, 5), weighted.draw(3, 6));
    }

    #[test]
    fn classes_are_balanced_whatever_their_shares() {
        let labels: Vec<u32> = (0..100).map(|sample| u32::from(sample % 10 == 0)).collect();
        let weighted = Weighted::new(&balanced(&labels)).unwrap();
        let rare: usize = (0..100)
            .map(|epoch| {
                weighted.draw(1, epoch).iter().filter(|place| labels[**place] == 1).count()
            })
            .sum();
        // Of 10,000 draws 5000, with a standard deviation of 50.
        assert!(rare.abs_diff(5000) < 250, "{rare}");
    }

    #[test]
    fn unusable_weights_are_refused() {
        for weights in [&[0.0, 0.0][..], &[1.0, -1.0], &[1.0, f64::NAN], &[f64::INFINITY], &[]] {
            assert!(Weighted::new(weights).is_none(), "{weights:?}");
        }
    }
}
