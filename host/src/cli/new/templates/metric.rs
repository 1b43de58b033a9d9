//! The metric `{{name}}`: the share of samples that are predicted wrongly.

use fluxbay_plugin::{prelude::*, serde};

/// What was gathered since the epoch began: counts, so that the share is exact whatever the batches
/// were.
#[derive(Debug, Default, serde::Serialize, serde::Deserialize)]
#[serde(crate = "fluxbay_plugin::serde")]
struct {{Type}} {
    wrong: u64,
    samples: u64,
}

/// How many predictions differ from the labels.
fn wrong(predicted: &[u32], labels: &[u32]) -> u64 {
    predicted.iter().zip(labels).filter(|(predicted, label)| predicted != label).count() as u64
}

impl Component for {{Type}} {
    type Config = NoConfig;

    fn new(_config: NoConfig, _setup: &mut Setup) -> Result<Self> {
        Ok({{Type}}::default())
    }

    // Saved with the run, so that a resumed run continues with the same counts.
    state!(self);
}

impl Metric for {{Type}} {
    fn reset(&mut self) {
        *self = {{Type}}::default();
    }

    fn update(&mut self, input: &MetricInput) -> Result<f64> {
        let predicted: Vec<u32> = input.yhats().argmax(-1)?.to_vec()?;
        let wrong = wrong(&predicted, &input.ys().to_vec()?);
        self.wrong += wrong;
        self.samples += input.samples();
        Ok(wrong as f64 / input.samples() as f64)
    }

    fn compute(&self) -> Result<f64> {
        Ok(self.wrong as f64 / self.samples as f64)
    }
}

plugin! {
    summary: "The metric {{name}}.",
    metric "{{name}}" => {{Type}} {
        summary: "Share of samples that are predicted wrongly.",
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrong_predictions_are_counted() {
        assert_eq!(wrong(&[1, 2, 3], &[1, 0, 3]), 1);
    }

    #[test]
    fn the_share_is_that_of_all_samples() {
        let gathered = {{Type}} { wrong: 3, samples: 12 };
        assert_eq!(gathered.compute().unwrap(), 0.25);
    }
}
