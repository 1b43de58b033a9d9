//! Optimizer updates and other changes in place.

use candle_core::Shape;

use super::{Elementwise, Function, Pair};
use crate::error::Result;
use crate::value::Value;

/// How targets change, given a gradient or another source. Formulas are PyTorch's (`torch.optim`).
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Update {
    /// `target *= factor`; no source.
    Scale(f64),
    /// `target += factor (source - target)`.
    Lerp(f64),
    /// `target += factor source`.
    AddScaled(f64),
    /// `target = target (1 - momentum) + momentum source factor`: running statistics.
    Blend {
        /// Share of the source.
        momentum: f64,
        /// Factor of the source.
        factor: f64,
    },
    /// Stochastic gradient descent; targets: parameter, and a buffer if there is momentum.
    Sgd {
        /// Learning rate.
        rate: f64,
        /// Momentum; 0 takes no buffer.
        momentum: f64,
        /// Dampening of the gradient in the buffer.
        dampening: f64,
        /// Weight decay.
        decay: f64,
        /// Nesterov momentum.
        nesterov: bool,
        /// Whether this is the first step, which fills the buffer.
        first: bool,
    },
    /// Adam and AdamW; targets: parameter, first and second moment.
    Adam {
        /// Learning rate over the bias correction of the first moment.
        size: f64,
        /// Root of the bias correction of the second moment.
        correction: f64,
        /// Decay of the two moments.
        betas: [f64; 2],
        /// Added to the root of the second moment.
        epsilon: f64,
        /// Factor of the parameter before the step: decoupled weight decay.
        shrink: f64,
        /// Weight decay that is added to the gradient.
        decay: f64,
    },
    /// RMSprop; targets: parameter, mean square, then a momentum buffer, then a mean gradient, as
    /// far as there are any.
    RmsProp {
        /// Learning rate.
        rate: f64,
        /// Decay of the mean square.
        alpha: f64,
        /// Added to the root of the mean square.
        epsilon: f64,
        /// Weight decay.
        decay: f64,
        /// Momentum.
        momentum: f64,
    },
    /// Lion; targets: parameter and moment.
    Lion {
        /// Learning rate.
        rate: f64,
        /// Decay of the moment in the direction, and in the moment itself.
        betas: [f64; 2],
        /// Weight decay.
        decay: f64,
    },
}

/// Changes in place.
pub trait Optimizer: Elementwise {
    /// Changes the targets, whose elements nothing else refers to and which have the shape of the
    /// source.
    ///
    /// # Errors
    /// If the element type is not floating.
    fn update(&self, update: &Update, targets: &[&Value], source: Option<&Value>) -> Result<()> {
        let new = Composed { backend: self, shape: targets[0].shape() }.update(
            update,
            targets,
            source.unwrap_or(targets[0]),
        )?;
        targets.iter().zip(&new).try_for_each(|(target, new)| self.write(target, new))
    }
}

/// The formulas through primitive kernels.
struct Composed<'a, B: ?Sized> {
    backend: &'a B,
    shape: &'a Shape,
}

impl<B: Elementwise + ?Sized> Composed<'_, B> {
    fn zip(&self, pair: Pair, a: &Value, b: &Value) -> Result<Value> {
        self.backend.zip(pair, a, b, self.shape)
    }

    fn scaled(&self, x: &Value, factor: f64) -> Result<Value> {
        self.backend.map(Function::Scale(factor), x)
    }

    /// `a factor + b other`.
    fn mixed(&self, a: &Value, factor: f64, b: &Value, other: f64) -> Result<Value> {
        self.zip(Pair::Add, &self.scaled(a, factor)?, &self.scaled(b, other)?)
    }

    /// `alpha square + (1 - alpha) g^2`.
    fn mean_square(&self, square: &Value, g: &Value, alpha: f64) -> Result<Value> {
        self.mixed(square, alpha, &self.backend.map(Function::Sqr, g)?, 1.0 - alpha)
    }

    /// `x / (sqrt(square) / correction + epsilon)`.
    fn over_root(&self, x: &Value, square: &Value, correction: f64, epsilon: f64) -> Result<Value> {
        let root = self.backend.map(Function::Sqrt, square)?;
        let divisor = self.backend.map(Function::Affine(1.0 / correction, epsilon), &root)?;
        self.zip(Pair::Div, x, &divisor)
    }

    fn update(&self, update: &Update, targets: &[&Value], g: &Value) -> Result<Vec<Value>> {
        let p = targets[0];
        Ok(match *update {
            Update::Scale(factor) => vec![self.scaled(p, factor)?],
            Update::Lerp(factor) => vec![self.mixed(p, 1.0 - factor, g, factor)?],
            Update::AddScaled(factor) => vec![self.mixed(p, 1.0, g, factor)?],
            Update::Blend { momentum, factor } => {
                vec![self.mixed(p, 1.0 - momentum, g, momentum * factor)?]
            }
            Update::Sgd { rate, momentum, dampening, decay, nesterov, first } => {
                let d = self.mixed(g, 1.0, p, decay)?;
                if momentum == 0.0 {
                    return Ok(vec![self.mixed(p, 1.0, &d, -rate)?]);
                }
                let buffer = match first {
                    true => d.clone(),
                    false => self.mixed(targets[1], momentum, &d, 1.0 - dampening)?,
                };
                let d = match nesterov {
                    true => self.mixed(&d, 1.0, &buffer, momentum)?,
                    false => buffer.clone(),
                };
                vec![self.mixed(p, 1.0, &d, -rate)?, buffer]
            }
            Update::Adam { size, correction, betas, epsilon, shrink, decay } => {
                let g = self.mixed(g, 1.0, p, decay)?;
                let m = self.mixed(targets[1], betas[0], &g, 1.0 - betas[0])?;
                let v = self.mean_square(targets[2], &g, betas[1])?;
                let step = self.over_root(&m, &v, correction, epsilon)?;
                vec![self.mixed(p, shrink, &step, -size)?, m, v]
            }
            Update::RmsProp { rate, alpha, epsilon, decay, momentum } => {
                let g = self.mixed(g, 1.0, p, decay)?;
                let square = self.mean_square(targets[1], &g, alpha)?;
                let Some(buffer) = targets.get(2) else {
                    let step = self.over_root(&g, &square, 1.0, epsilon)?;
                    return Ok(vec![self.mixed(p, 1.0, &step, -rate)?, square]);
                };
                let Some(mean) = targets.get(3) else {
                    let step = self.over_root(&g, &square, 1.0, epsilon)?;
                    let buffer = self.mixed(buffer, momentum, &step, 1.0)?;
                    return Ok(vec![self.mixed(p, 1.0, &buffer, -rate)?, square, buffer]);
                };
                let mean = self.mixed(mean, alpha, &g, 1.0 - alpha)?;
                let spread =
                    self.mixed(&square, 1.0, &self.backend.map(Function::Sqr, &mean)?, -1.0)?;
                let step = self.over_root(&g, &spread, 1.0, epsilon)?;
                let buffer = self.mixed(buffer, momentum, &step, 1.0)?;
                vec![self.mixed(p, 1.0, &buffer, -rate)?, square, buffer, mean]
            }
            Update::Lion { rate, betas, decay } => {
                let m = targets[1];
                let direction = self.mixed(m, betas[0], g, 1.0 - betas[0])?;
                let sign = self.backend.map(Function::Sign, &direction)?;
                vec![
                    self.mixed(p, 1.0 - rate * decay, &sign, -rate)?,
                    self.mixed(m, betas[1], g, 1.0 - betas[1])?,
                ]
            }
        })
    }
}
