//! Optimizer `adagrad`.

use fluxbay_plugin::prelude::*;

use crate::in_place;

config! {
    /// Hyper-parameters, as in PyTorch's `Adagrad`.
    pub struct Config {
        /// Learning rate.
        learning_rate: f64 = 0.01 => 0.0..,
        /// Decay of the learning rate: update `n`, counted from 0, uses `learning-rate / (1 + n
        /// learning-rate-decay)`.
        learning_rate_decay: f64 = 0.0 => 0.0..,
        /// Weight decay: factor of the parameter that is added to the gradient.
        weight_decay: f64 = 0.0 => 0.0..,
        /// First value of the sums of squares.
        initial_accumulator: f64 = 0.0 => 0.0..,
        /// Added to the square root of the sum.
        epsilon: f64 = 1e-10 => 0.0..,
    }
}

/// The optimizer `adagrad` (Duchi, Hazan and Singer 2011): `s += g^2; p -= lr g / (sqrt(s) +
/// epsilon)`, as in PyTorch.
pub struct AdaGrad {
    config: Config,
    learning_rate: Read<f64>,
    weight_decay: Read<f64>,
    now: [f64; 2],
}

impl Component for AdaGrad {
    type Config = Config;

    fn new(config: Config, setup: &mut Setup) -> Result<Self> {
        setup.optimizer_state("sum")?;
        Ok(AdaGrad {
            learning_rate: setup.hyper_parameter("learning-rate", config.learning_rate)?,
            weight_decay: setup.hyper_parameter("weight-decay", config.weight_decay)?,
            now: [0.0; 2],
            config,
        })
    }
}

impl Optimizer for AdaGrad {
    fn begin(&mut self, learner: &Learner) -> Result<()> {
        self.now = [learner.get(&self.learning_rate)?, learner.get(&self.weight_decay)?];
        Ok(())
    }

    fn update(&mut self, update: &Update<'_>) -> Result<()> {
        let ([learning_rate, weight_decay], sum) = (self.now, update.state(0)?);
        let parameter = update.parameter.detach()?;
        if update.step == 1 && self.config.initial_accumulator > 0.0 {
            in_place::assign(sum, &sum.affine(0.0, self.config.initial_accumulator)?)?;
        }
        let gradient = match weight_decay == 0.0 {
            true => update.gradient.clone(),
            false => update.gradient.add(&parameter.affine(weight_decay, 0.0)?)?,
        };
        in_place::add(sum, &gradient.sqr()?, 1.0)?;
        let rate =
            learning_rate / (1.0 + (update.step - 1) as f64 * self.config.learning_rate_decay);
        let scaled = gradient.div(&sum.sqrt()?.affine(1.0, self.config.epsilon)?)?;
        in_place::add(update.parameter, &scaled, -rate)
    }
}
