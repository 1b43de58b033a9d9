//! Steps at which the loss jumped.

use std::collections::VecDeque;

use serde_json::{Value as Json, json};

use super::number;

/// Steps that a step is compared with.
const WINDOW: usize = 200;
/// Fewest of them for a comparison.
const LEAST: usize = 30;
/// Median absolute deviations above the median from which a step counts.
const DEVIATIONS: f64 = 6.0;
/// Smallest deviation, as a share of the loss at the beginning: near a loss of 0 the deviations
/// themselves are next to nothing.
const FLOOR: f64 = 5e-3;
/// Spikes of a run that are kept, the largest ones.
const MOST: usize = 100;

#[derive(Debug)]
struct Spike {
    phase: String,
    epoch: u64,
    step: u64,
    value: f64,
    median: f64,
    height: f64,
}

/// The largest spikes of a run.
#[derive(Debug, Default)]
pub(super) struct Spikes {
    phase: String,
    window: VecDeque<f64>,
    /// Median of the first full comparison.
    first: Option<f64>,
    found: Vec<Spike>,
}

impl Spikes {
    /// Takes the loss of the next step. A step that is no number is a spike, and is not compared with
    /// afterwards.
    pub(super) fn take(&mut self, phase: &str, epoch: u64, step: u64, value: f64) {
        if self.phase != phase {
            // Validation has no spikes of its own: only the phase that came first is looked at.
            if !self.phase.is_empty() {
                return;
            }
            phase.clone_into(&mut self.phase);
        }
        if self.window.len() >= LEAST {
            let (median, deviation) = self.median_and_deviation();
            let floor = FLOOR * self.first.get_or_insert(median).abs();
            let least = floor.max(1e-3 * median.abs()).max(f64::MIN_POSITIVE);
            let height = (value - median) / deviation.max(least);
            if !value.is_finite() || height > DEVIATIONS {
                let height = if value.is_finite() { height } else { f64::INFINITY };
                self.keep(Spike { phase: phase.to_owned(), epoch, step, value, median, height });
            }
        }
        if value.is_finite() {
            self.window.push_back(value);
            if self.window.len() > WINDOW {
                self.window.pop_front();
            }
        }
    }

    fn median_and_deviation(&self) -> (f64, f64) {
        let mut values: Vec<f64> = self.window.iter().copied().collect();
        let median = median(&mut values);
        let mut distances: Vec<f64> = values.iter().map(|value| (value - median).abs()).collect();
        (median, self::median(&mut distances))
    }

    fn keep(&mut self, spike: Spike) {
        self.found.push(spike);
        if self.found.len() > MOST {
            let least = (0..self.found.len())
                .min_by(|&a, &b| self.found[a].height.total_cmp(&self.found[b].height));
            self.found.remove(least.unwrap_or(0));
        }
    }

    pub(super) fn to_json(&self) -> Json {
        let rows = self.found.iter().map(|spike| {
            json!({
                "phase": spike.phase, "epoch": spike.epoch, "step": spike.step,
                "value": number(spike.value), "median": number(spike.median),
            })
        });
        rows.collect()
    }
}

fn median(values: &mut [f64]) -> f64 {
    let middle = values.len() / 2;
    *values.select_nth_unstable_by(middle, f64::total_cmp).1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_jump_is_found_and_ordinary_noise_is_not() {
        let mut spikes = Spikes::default();
        for step in 1..=500_u64 {
            let noise = (step * 37 % 11) as f64 / 100.0;
            let value = if step == 321 { 5.0 } else { 1.0 + noise };
            spikes.take("training", 1, step, value);
            spikes.take("validation", 1, step, if step == 400 { 9.0 } else { 1.0 });
        }
        let steps: Vec<u64> = spikes.found.iter().map(|spike| spike.step).collect();
        assert_eq!(steps, [321]);
    }

    #[test]
    fn near_a_loss_of_zero_only_what_matters_beside_the_first_losses_counts() {
        let mut spikes = Spikes::default();
        for step in 1..=400_u64 {
            // Falls from 2 to 1e-7, with steps of a hundred times the median.
            let noise = if step % 20 == 0 { 1e-5 } else { 1e-7 };
            let value = if step <= 60 { 2.0 } else { noise };
            spikes.take("training", 1, step, if step == 333 { 0.5 } else { value });
        }
        let steps: Vec<u64> = spikes.found.iter().map(|spike| spike.step).collect();
        assert_eq!(steps, [333]);
    }

    #[test]
    fn only_the_largest_spikes_are_kept() {
        let mut spikes = Spikes::default();
        for step in 1..=2000_u64 {
            let value = if step > 100 && step % 10 == 0 { step as f64 } else { 1.0 };
            spikes.take("training", 1, step, value);
        }
        assert_eq!(spikes.found.len(), MOST);
        assert!(spikes.found.iter().any(|spike| spike.step == 2000));
    }
}
