//! The optimizer `{{name}}`: steps of one size along the sign of the momentum (Signum, Bernstein et
//! al. 2018).

use fluxbay_plugin::prelude::*;

config! {
    /// What can be set in a run file.
    struct Config {
        /// Size of the update of every element.
        learning_rate: f64 = 1e-3 => 0.0..,
        /// Share of the momentum that each update keeps.
        momentum: f64 = 0.9 => 0.0..1.0,
    }
}

struct {{Type}} {
    // Read through slots, since schedules may change them during a run.
    learning_rate: Read<f64>,
    momentum: Read<f64>,
    now: Weights,
}

/// Factors of one update.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Weights {
    /// Of the gradient in the momentum.
    gradient: f64,
    /// Of the momentum's sign in the parameter.
    sign: f64,
}

impl Weights {
    fn of(learning_rate: f64, momentum: f64) -> Weights {
        Weights { gradient: 1.0 - momentum, sign: -learning_rate }
    }
}

impl Component for {{Type}} {
    type Config = Config;

    fn new(config: Config, setup: &mut Setup) -> Result<Self> {
        // A tensor of zeros per parameter, which the host keeps and saves.
        setup.optimizer_state("momentum")?;
        Ok({{Type}} {
            learning_rate: setup.hyper_parameter("learning-rate", config.learning_rate)?,
            momentum: setup.hyper_parameter("momentum", config.momentum)?,
            now: Weights::default(),
        })
    }
}

impl Optimizer for {{Type}} {
    // Called once per step, before the updates.
    fn begin(&mut self, learner: &Learner) -> Result<()> {
        self.now = Weights::of(learner.get(&self.learning_rate)?, learner.get(&self.momentum)?);
        Ok(())
    }

    fn update(&mut self, update: &Update<'_>) -> Result<()> {
        let momentum = update.state(0)?;
        momentum.lerp_(update.gradient, self.now.gradient)?;
        update.parameter.add_scaled_(&momentum.sign()?, self.now.sign)
    }
}

plugin! {
    summary: "The optimizer {{name}}.",
    optimizer "{{name}}" => {{Type}} {
        summary: "Steps of one size along the sign of the momentum.",
        hyper_parameters: ["learning-rate", "momentum"],
    },
}

#[cfg(test)]
mod tests {
    use fluxbay_plugin::Config as _;

    use super::*;

    #[test]
    fn the_update_goes_against_the_gradient() {
        let Config { learning_rate, momentum } = Config::from_json(r#"{"momentum": 0.75}"#).unwrap();
        let weights = Weights::of(learning_rate, momentum);
        assert_eq!(weights, Weights { gradient: 0.25, sign: -1e-3 });
    }
}
