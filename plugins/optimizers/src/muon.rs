//! Optimizer `muon`.

use fluxbay_plugin::{abi::operation::op, prelude::*};

use crate::in_place;

choice! {
    /// Which parameters are updated by which rule.
    pub enum Rule {
        /// Parameters with at least two dimensions by Muon, others by AdamW.
        Auto,
        /// All by AdamW. For the embeddings and the output layer of a model.
        Adamw,
    }
}

choice! {
    /// Factor of the learning rate by the shape `[rows, columns]` of a matrix.
    pub enum Adjustment {
        /// `sqrt(max(1, rows / columns))`.
        Original,
        /// `0.2 sqrt(max(rows, columns))`, so that updates are as large as those of AdamW.
        MatchRmsAdamw,
    }
}

config! {
    /// Hyper-parameters, as in PyTorch's `Muon`.
    pub struct Config {
        /// Learning rate of matrices.
        learning_rate: f64 = 1e-3 => 0.0..,
        /// Decay rate of the momentum.
        momentum: f64 = 0.95 => 0.0..1.0,
        /// Whether to use Nesterov momentum.
        nesterov: bool = true,
        /// Decoupled weight decay, of all parameters.
        weight_decay: f64 = 0.1 => 0.0..,
        /// Newton-Schulz iterations that make a matrix orthogonal.
        iterations: usize = 5 => 1..100,
        /// Factor of the learning rate by the shape of a matrix.
        adjustment: Adjustment = "original",
        /// Which parameters are updated by which rule.
        rule: Rule = "auto",
        /// Learning rate of AdamW.
        adamw_learning_rate: f64 = 1e-3 => 0.0..,
        /// Decay rate of AdamW's first moment.
        beta1: f64 = 0.9 => 0.0..1.0,
        /// Decay rate of AdamW's second moment.
        beta2: f64 = 0.999 => 0.0..1.0,
        /// Added to the square root of AdamW's second moment.
        epsilon: f64 = 1e-8 => 0.0..,
    }
}

/// The optimizer `muon` (Jordan et al. 2024): momentum made orthogonal by Newton-Schulz iterations,
/// as in PyTorch, but computed in the parameter's own type. Dimensions behind the first are taken as
/// one.
pub struct Muon {
    config: Config,
    rates: [Read<f64>; 4],
    now: [f64; 4],
}

/// Coefficients of the iteration: `a x + (b x x^T + c (x x^T)^2) x`.
const A: f64 = 3.4445;
const B: f64 = -4.775;
const C: f64 = 2.0315;

impl Component for Muon {
    type Config = Config;

    fn new(config: Config, setup: &mut Setup) -> Result<Self> {
        setup.optimizer_state("momentum")?;
        setup.optimizer_state("second-moment")?;
        Ok(Muon {
            rates: [
                setup.hyper_parameter("learning-rate", config.learning_rate)?,
                setup.hyper_parameter("momentum", config.momentum)?,
                setup.hyper_parameter("weight-decay", config.weight_decay)?,
                setup.hyper_parameter("adamw-learning-rate", config.adamw_learning_rate)?,
            ],
            now: [0.0; 4],
            config,
        })
    }
}

impl Optimizer for Muon {
    fn begin(&mut self, learner: &Learner) -> Result<()> {
        for (now, rate) in self.now.iter_mut().zip(&self.rates) {
            *now = learner.get(rate)?;
        }
        Ok(())
    }

    fn update(&mut self, update: &Update<'_>) -> Result<()> {
        let [learning_rate, momentum, decay, adamw_rate] = self.now;
        let (parameter, gradient, average) = (update.parameter, update.gradient, update.state(0)?);
        let dims = parameter.dims()?;
        let Config { beta1, beta2, epsilon, .. } = self.config;
        if dims.len() < 2 || self.config.rule == Rule::Adamw {
            return Tensor::apply_in_place(
                op::ADAMW_UPDATE,
                &[parameter, gradient, average, update.state(1)?],
                &[update.step as i64],
                &[adamw_rate, beta1, beta2, epsilon, decay],
            );
        }
        in_place::lerp(average, gradient, 1.0 - momentum)?;
        let direction = match self.config.nesterov {
            true => gradient.affine(1.0 - momentum, 0.0)?.add(&average.affine(momentum, 0.0)?)?,
            false => average.detach()?,
        };
        let (rows, columns) = (dims[0], dims[1..].iter().product::<usize>());
        let orthogonal = orthogonal(&direction.reshape((rows, columns))?, self.config.iterations)?;
        let (height, width) = (rows as f64, columns as f64);
        let factor = match self.config.adjustment {
            Adjustment::Original => (height / width).max(1.0).sqrt(),
            Adjustment::MatchRmsAdamw => 0.2 * height.max(width).sqrt(),
        };
        in_place::scale(parameter, 1.0 - learning_rate * decay)?;
        in_place::add(parameter, &orthogonal.reshape(dims)?, -learning_rate * factor)
    }
}

/// A matrix with the singular vectors of `matrix` and singular values near 1.
fn orthogonal(matrix: &Tensor, iterations: usize) -> Result<Tensor> {
    let tall = matrix.dim(0)? > matrix.dim(1)?;
    let mut x = if tall { matrix.transpose(0, 1)? } else { matrix.clone() };
    x = x.div(&x.norm()?.clamp(1e-7, f64::MAX)?)?;
    for _ in 0..iterations {
        let gram = x.matmul(&x.transpose(0, 1)?)?;
        let polynomial = gram.affine(B, 0.0)?.add(&gram.matmul(&gram)?.affine(C, 0.0)?)?;
        x = x.affine(A, 0.0)?.add(&polynomial.matmul(&x)?)?;
    }
    if tall { x.transpose(0, 1)?.contiguous() } else { Ok(x) }
}
