//! The phase `{{name}}`: training on inputs with noise that fades from epoch to epoch.

use fluxbay_plugin::prelude::*;

config! {
    /// What can be set in a run file.
    struct Config {
        /// Standard deviation of the noise in the first epoch.
        noise: f64 = 0.2 => 0.0..,
        /// Epochs after which the noise is half as strong.
        half_life: f64 = 2.0 => 0.1..,
    }
}

struct {{Type}} {
    config: Config,
}

/// Standard deviation of the noise in an epoch, counted from 1.
fn strength(config: &Config, epoch: u64) -> f64 {
    let age = epoch.saturating_sub(1) as f64;
    config.noise * 0.5_f64.powf(age / config.half_life)
}

impl Component for {{Type}} {
    type Config = Config;

    fn new(config: Config, _setup: &mut Setup) -> Result<Self> {
        Ok({{Type}} { config })
    }
}

impl Phase for {{Type}} {
    fn step(&mut self, batch: &Batch, learner: &PhaseLearner) -> Result<()> {
        let noise = strength(&self.config, learner.position()?.epoch);
        learner.run_step(batch, |step| {
            let xs = step.xs()?;
            step.forward(&xs.add(&Tensor::randn(0.0, noise, xs.dims()?, xs.dtype()?)?)?)?;
            // Callbacks handle each of these events and may change `step.yhats` and `step.loss`: so
            // both are read back after the event.
            step.dispatch(LossBegin)?;
            step.compute_loss(&step.yhats()?, &step.ys()?)?;
            step.dispatch(BackwardBegin)?;
            step.backward(&step.loss()?)?;
            step.dispatch(BackwardEnd)?;
            step.update()
        })
    }
}

plugin! {
    summary: "The phase {{name}}.",
    phase "{{name}}" => {{Type}} {
        summary: "Training on inputs with noise that fades from epoch to epoch.",
        phase_kind: "training",
    },
}

#[cfg(test)]
mod tests {
    use fluxbay_plugin::Config as _;

    use super::*;

    #[test]
    fn the_noise_halves() {
        let config = Config::from_json(r#"{"noise": 0.4, "half-life": 3.0}"#).unwrap();
        assert_eq!(strength(&config, 1), 0.4);
        assert!((strength(&config, 4) - 0.2).abs() < 1e-12);
    }
}
