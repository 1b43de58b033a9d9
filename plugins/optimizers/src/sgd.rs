//! Optimizer `sgd`.

use fluxbay_plugin::{abi::operation::op, prelude::*};

config! {
    /// Hyper-parameters, as in PyTorch's `SGD`.
    pub struct Config {
        /// Learning rate.
        learning_rate: f64 = 0.01 => 0.0..,
        /// Factor of the previous update in the next one.
        momentum: f64 = 0.0 => 0.0..,
        /// Reduces the weight of the gradient in the momentum to `1 - dampening`.
        dampening: f64 = 0.0,
        /// Weight decay: factor of the parameter that is added to the gradient.
        weight_decay: f64 = 0.0 => 0.0..,
        /// Whether to use Nesterov momentum.
        nesterov: bool = false,
    }
}

/// The optimizer `sgd`: `b = momentum b + (1 - dampening) g; p -= lr b` (Sutskever et al. 2013), as
/// in PyTorch.
pub struct Sgd {
    config: Config,
    learning_rate: Read<f64>,
    momentum: Read<f64>,
    weight_decay: Read<f64>,
    now: [f64; 5],
}

impl Component for Sgd {
    type Config = Config;

    fn new(config: Config, setup: &mut Setup) -> Result<Self> {
        if config.nesterov && (config.momentum <= 0.0 || config.dampening != 0.0) {
            bail!("nesterov = true needs a momentum above 0 and a dampening of 0");
        }
        if config.momentum != 0.0 {
            setup.optimizer_state("momentum")?;
        }
        Ok(Sgd {
            learning_rate: setup.hyper_parameter("learning-rate", config.learning_rate)?,
            momentum: setup.hyper_parameter("momentum", config.momentum)?,
            weight_decay: setup.hyper_parameter("weight-decay", config.weight_decay)?,
            now: [0.0; 5],
            config,
        })
    }
}

impl Optimizer for Sgd {
    fn begin(&mut self, learner: &Learner) -> Result<()> {
        self.now = [
            learner.get(&self.learning_rate)?,
            learner.get(&self.momentum)?,
            self.config.dampening,
            learner.get(&self.weight_decay)?,
            f64::from(u8::from(self.config.nesterov)),
        ];
        Ok(())
    }

    fn update(&mut self, update: &Update<'_>) -> Result<()> {
        let (parameter, gradient, ints) = (update.parameter, update.gradient, [update.step as i64]);
        if self.config.momentum != 0.0 {
            return Tensor::apply_in_place(
                op::SGD_UPDATE,
                &[parameter, gradient, update.state(0)?],
                &ints,
                &self.now,
            );
        }
        if self.now[1] != 0.0 {
            bail!(
                "momentum was scheduled to {} but began at 0, so no momentum is kept: configure a first momentum above 0",
                self.now[1]
            );
        }
        Tensor::apply_in_place(op::SGD_UPDATE, &[parameter, gradient], &ints, &self.now)
    }
}
