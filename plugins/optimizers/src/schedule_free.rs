//! Optimizer `schedule-free-adamw`.

use fluxbay_plugin::{prelude::*, serde};

use crate::in_place;

config! {
    /// Hyper-parameters, as in the reference implementation.
    pub struct Config {
        /// Learning rate; needs no schedule.
        learning_rate: f64 = 0.0025 => 0.0..,
        /// Weight of the average in the point where gradients are computed.
        beta1: f64 = 0.9 => 0.0..1.0,
        /// Decay rate of the second moment.
        beta2: f64 = 0.999 => 0.0..1.0,
        /// Added to the square root of the second moment.
        epsilon: f64 = 1e-8 => 0.0..,
        /// Weight decay.
        weight_decay: f64 = 0.0 => 0.0..,
        /// Steps in which the learning rate rises linearly from 0.
        warmup_steps: u64 = 0,
        /// Exponent of the step in the weight of the average.
        weight_step_power: f64 = 0.0,
        /// Exponent of the largest learning rate so far in the weight of the average.
        weight_rate_power: f64 = 2.0,
    }
}

/// The optimizer `schedule-free-adamw` (Defazio et al. 2024, arXiv:2405.15682).
///
/// The parameters are the points `y = (1 - beta1) z + beta1 x` where gradients are computed; the state
/// keeps the sequence `z`. The callback `schedule-free-average` evaluates the average `x`.
pub struct ScheduleFree {
    epsilon: f64,
    rates: [Read<f64>; 7],
    averaging: Averaging,
    now: Step,
}

/// Numbers of the running step.
#[derive(Clone, Copy, Debug, Default)]
struct Step {
    learning_rate: f64,
    beta1: f64,
    beta2: f64,
    weight_decay: f64,
    /// Weight of `z` in the average.
    weight: f64,
}

/// Sums over the steps so far.
#[derive(Clone, Copy, Debug, Default, serde::Serialize, serde::Deserialize)]
#[serde(crate = "fluxbay_plugin::serde")]
pub struct Averaging {
    pub steps: u64,
    largest_rate: f64,
    weights: f64,
}

impl Averaging {
    /// The learning rate of the next step after warm-up, and the weight of `z` in the average.
    pub fn next(&mut self, rate: f64, warmup: f64, step_power: f64, rate_power: f64) -> (f64, f64) {
        self.steps += 1;
        let step = self.steps as f64;
        let rate = rate * (step / warmup.max(1.0)).min(1.0);
        self.largest_rate = self.largest_rate.max(rate);
        let weight = step.powf(step_power) * self.largest_rate.powf(rate_power);
        self.weights += weight;
        (rate, if self.weights > 0.0 { weight / self.weights } else { 0.0 })
    }
}

impl Component for ScheduleFree {
    type Config = Config;

    fn new(config: Config, setup: &mut Setup) -> Result<Self> {
        setup.optimizer_state("sequence")?;
        setup.optimizer_state("second-moment")?;
        Ok(ScheduleFree {
            rates: [
                setup.hyper_parameter("learning-rate", config.learning_rate)?,
                setup.hyper_parameter("beta1", config.beta1)?,
                setup.hyper_parameter("beta2", config.beta2)?,
                setup.hyper_parameter("weight-decay", config.weight_decay)?,
                setup.hyper_parameter("warmup-steps", config.warmup_steps as f64)?,
                setup.hyper_parameter("weight-step-power", config.weight_step_power)?,
                setup.hyper_parameter("weight-rate-power", config.weight_rate_power)?,
            ],
            averaging: Averaging::default(),
            now: Step::default(),
            epsilon: config.epsilon,
        })
    }

    state!(averaging);
}

impl Optimizer for ScheduleFree {
    fn begin(&mut self, learner: &Learner) -> Result<()> {
        let mut now = [0.0; 7];
        for (now, rate) in now.iter_mut().zip(&self.rates) {
            *now = learner.get(rate)?;
        }
        let [rate, beta1, beta2, weight_decay, warmup, step_power, rate_power] = now;
        let (learning_rate, weight) = self.averaging.next(rate, warmup, step_power, rate_power);
        self.now = Step { learning_rate, beta1, beta2, weight_decay, weight };
        Ok(())
    }

    fn update(&mut self, update: &Update<'_>) -> Result<()> {
        let Step { learning_rate, beta1, beta2, weight_decay, weight } = self.now;
        let (y, z, squares) = (update.parameter, update.state(0)?, update.state(1)?);
        let gradient = update.gradient;
        if update.step == 1 {
            in_place::assign(z, &y.detach()?)?;
        }
        in_place::lerp(squares, &gradient.sqr()?, 1.0 - beta2)?;
        let count = i32::try_from(self.averaging.steps).unwrap_or(i32::MAX);
        let correction = 1.0 - beta2.powi(count);
        let scale = squares.affine(1.0 / correction, 0.0)?.sqrt()?;
        let mut direction = gradient.div(&scale.affine(1.0, self.epsilon)?)?;
        if weight_decay != 0.0 {
            direction = direction.add(&y.detach()?.affine(weight_decay, 0.0)?)?;
        }
        in_place::lerp(y, z, weight)?;
        in_place::add(y, &direction, learning_rate * (beta1 * (1.0 - weight) - 1.0))?;
        in_place::add(z, &direction, -learning_rate)
    }
}
