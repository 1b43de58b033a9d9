//! Optimizer `lion`.

use fluxbay_plugin::{abi::operation::op, prelude::*};

config! {
    /// Hyper-parameters, as in the paper.
    pub struct Config {
        /// Size of the update of every element.
        learning_rate: f64 = 1e-4 => 0.0..,
        /// Weight of the momentum in the interpolation whose sign is the update.
        beta1: f64 = 0.9 => 0.0..1.0,
        /// Decay rate of the momentum.
        beta2: f64 = 0.99 => 0.0..1.0,
        /// Decoupled weight decay.
        weight_decay: f64 = 0.0 => 0.0..,
    }
}

/// The optimizer `lion` (Chen et al. 2023, arXiv:2302.06675, algorithm 2).
pub struct Lion {
    rates: [Read<f64>; 4],
    now: [f64; 4],
}

impl Component for Lion {
    type Config = Config;

    fn new(config: Config, setup: &mut Setup) -> Result<Self> {
        setup.optimizer_state("momentum")?;
        Ok(Lion {
            rates: [
                setup.hyper_parameter("learning-rate", config.learning_rate)?,
                setup.hyper_parameter("beta1", config.beta1)?,
                setup.hyper_parameter("beta2", config.beta2)?,
                setup.hyper_parameter("weight-decay", config.weight_decay)?,
            ],
            now: [0.0; 4],
        })
    }
}

impl Optimizer for Lion {
    fn begin(&mut self, learner: &Learner) -> Result<()> {
        for (now, rate) in self.now.iter_mut().zip(&self.rates) {
            *now = learner.get(rate)?;
        }
        Ok(())
    }

    fn update(&mut self, update: &Update<'_>) -> Result<()> {
        Tensor::apply_in_place(
            op::LION_UPDATE,
            &[update.parameter, update.gradient, update.state(0)?],
            &[],
            &self.now,
        )
    }
}
