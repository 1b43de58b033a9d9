//! Optimizer `rmsprop`.

use fluxbay_plugin::{abi::operation::op, prelude::*};

config! {
    /// Hyper-parameters, as in PyTorch's `RMSprop`.
    pub struct Config {
        /// Learning rate.
        learning_rate: f64 = 0.01 => 0.0..,
        /// Decay rate of the mean square.
        alpha: f64 = 0.99 => 0.0..1.0,
        /// Added to the square root of the mean square.
        epsilon: f64 = 1e-8 => 0.0..,
        /// Weight decay: factor of the parameter that is added to the gradient.
        weight_decay: f64 = 0.0 => 0.0..,
        /// Factor of the previous update in the next one.
        momentum: f64 = 0.0 => 0.0..,
        /// Whether the squared mean gradient is subtracted from the mean square.
        centered: bool = false,
    }
}

/// The optimizer `rmsprop`: `v = alpha v + (1 - alpha) g^2; p -= lr g / (sqrt(v) + epsilon)`
/// (Hinton 2012, lecture 6e), as in PyTorch.
pub struct RmsProp {
    config: Config,
    rates: [Read<f64>; 4],
    now: [f64; 5],
}

impl Component for RmsProp {
    type Config = Config;

    fn new(config: Config, setup: &mut Setup) -> Result<Self> {
        setup.optimizer_state("square-average")?;
        setup.optimizer_state("momentum")?;
        if config.centered {
            setup.optimizer_state("gradient-average")?;
        }
        Ok(RmsProp {
            rates: [
                setup.hyper_parameter("learning-rate", config.learning_rate)?,
                setup.hyper_parameter("alpha", config.alpha)?,
                setup.hyper_parameter("weight-decay", config.weight_decay)?,
                setup.hyper_parameter("momentum", config.momentum)?,
            ],
            now: [0.0; 5],
            config,
        })
    }
}

impl Optimizer for RmsProp {
    fn begin(&mut self, learner: &Learner) -> Result<()> {
        let [learning_rate, alpha, weight_decay, momentum] = &self.rates;
        self.now = [
            learner.get(learning_rate)?,
            learner.get(alpha)?,
            self.config.epsilon,
            learner.get(weight_decay)?,
            learner.get(momentum)?,
        ];
        Ok(())
    }

    fn update(&mut self, update: &Update<'_>) -> Result<()> {
        let (parameter, gradient) = (update.parameter, update.gradient);
        let ints = [i64::from(self.config.centered)];
        if self.config.centered {
            let inputs =
                [parameter, gradient, update.state(0)?, update.state(1)?, update.state(2)?];
            return Tensor::apply_in_place(op::RMSPROP_UPDATE, &inputs, &ints, &self.now);
        }
        Tensor::apply_in_place(
            op::RMSPROP_UPDATE,
            &[parameter, gradient, update.state(0)?, update.state(1)?],
            &ints,
            &self.now,
        )
    }
}
