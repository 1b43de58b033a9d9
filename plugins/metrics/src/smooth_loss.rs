//! Metric `smooth-loss`: moving average of the loss.

use fluxbay_plugin::{prelude::*, serde};

config! {
    /// Strength of the smoothing.
    pub struct Config {
        /// Weight of the previous average in each step; 0 gives the loss itself.
        weight: f64 = 0.98 => 0.0..1.0,
    }
}

/// The metric `smooth-loss`: an exponential average with bias correction (Kingma and Ba 2014,
/// arXiv:1412.6980, section 3).
pub struct SmoothLoss {
    weight: f64,
    average: Average,
}

#[derive(Debug, Default, serde::Serialize, serde::Deserialize)]
#[serde(crate = "fluxbay_plugin::serde")]
struct Average {
    sum: f64,
    /// `1 - weight^steps`, the total weight of the values in the sum.
    filled: f64,
}

impl Average {
    fn add(&mut self, weight: f64, value: f64) {
        self.sum = weight * self.sum + (1.0 - weight) * value;
        self.filled = weight * self.filled + (1.0 - weight);
    }

    fn value(&self) -> f64 {
        self.sum / self.filled
    }
}

impl Component for SmoothLoss {
    type Config = Config;

    fn new(config: Config, _: &mut Setup) -> Result<Self> {
        Ok(SmoothLoss { weight: config.weight, average: Average::default() })
    }

    state!(average);
}

impl Metric for SmoothLoss {
    fn reset(&mut self) {
        self.average = Average::default();
    }

    fn update(&mut self, input: &MetricInput) -> Result<f64> {
        self.average.add(self.weight, input.loss());
        Ok(self.average.value())
    }

    fn direction(&self) -> Direction {
        Direction::Lower
    }

    fn compute(&self) -> Result<f64> {
        Ok(self.average.value())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn behaviour_35_the_weight_is_on_the_old_value_and_the_start_is_corrected() {
        let mut average = Average::default();
        assert!(average.value().is_nan());
        average.add(0.98, 5.0);
        assert!((average.value() - 5.0).abs() < 1e-12);
        average.add(0.98, 1.0);
        let expected = (0.98 * 0.02 * 5.0 + 0.02 * 1.0) / (1.0 - 0.98 * 0.98);
        assert!((average.value() - expected).abs() < 1e-12, "{} {expected}", average.value());
        // After a thousand ones, the weight of the first value is 0.98^1000 of what it was.
        (0..1000).for_each(|_| average.add(0.98, 1.0));
        assert!((average.value() - 1.0).abs() < 1e-7);
    }
}
