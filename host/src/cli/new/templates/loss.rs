//! The loss `{{name}}`: cross-entropy of logits that were divided by a temperature.

use fluxbay_plugin::prelude::*;

config! {
    /// What can be set in a run file.
    struct Config {
        /// Above 1 predictions are softened, below 1 sharpened.
        temperature: f64 = 2.0 => 0.01..,
    }
}

struct {{Type}} {
    factor: f64,
}

/// What logits are multiplied by.
fn factor(config: &Config) -> f64 {
    1.0 / config.temperature
}

impl Component for {{Type}} {
    type Config = Config;

    fn new(config: Config, _setup: &mut Setup) -> Result<Self> {
        Ok({{Type}} { factor: factor(&config) })
    }
}

impl Loss for {{Type}} {
    fn forward(&self, yhats: &Tensor, ys: &Tensor) -> Result<Tensor> {
        yhats.affine(self.factor, 0.0)?.cross_entropy(ys, 0.0)
    }
}

plugin! {
    summary: "The loss {{name}}.",
    loss "{{name}}" => {{Type}} {
        summary: "Cross-entropy of logits that were divided by a temperature.",
    },
}

#[cfg(test)]
mod tests {
    use fluxbay_plugin::Config as _;

    use super::*;

    #[test]
    fn a_temperature_of_two_halves_the_logits() {
        assert_eq!(factor(&Config::from_json("{}").unwrap()), 0.5);
    }
}
