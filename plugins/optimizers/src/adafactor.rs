//! Optimizer `adafactor`.

use fluxbay_plugin::prelude::*;

use crate::in_place;

config! {
    /// Hyper-parameters, as in PyTorch's `Adafactor`.
    pub struct Config {
        /// Largest learning rate relative to the size of a parameter.
        learning_rate: f64 = 0.01 => 0.0..,
        /// Exponent of the step in the weight of a new square: `step ^ beta2-decay`.
        beta2_decay: f64 = -0.8 => ..=0.0,
        /// Smallest mean square of a row; by default the precision of the parameter's type.
        epsilon1: Option<f64> = null => 0.0..,
        /// Smallest root mean square of a parameter that scales its update.
        epsilon2: f64 = 1e-3 => 0.0..,
        /// Root mean square of an update above which it is scaled down.
        clip: f64 = 1.0 => 1.0..,
        /// Decoupled weight decay.
        weight_decay: f64 = 0.0 => 0.0..,
    }
}

/// The optimizer `adafactor` (Shazeer and Stern 2018, arXiv:1804.04235), as in PyTorch.
///
/// The mean squares of a matrix are kept as those of its rows and columns, in the first elements of
/// the state tensor. The rest of the tensor stays 0.
pub struct Adafactor {
    config: Config,
    rates: [Read<f64>; 2],
    now: [f64; 2],
}

impl Component for Adafactor {
    type Config = Config;

    fn new(config: Config, setup: &mut Setup) -> Result<Self> {
        setup.optimizer_state("mean-squares")?;
        Ok(Adafactor {
            rates: [
                setup.hyper_parameter("learning-rate", config.learning_rate)?,
                setup.hyper_parameter("weight-decay", config.weight_decay)?,
            ],
            now: [0.0; 2],
            config,
        })
    }
}

impl Optimizer for Adafactor {
    fn begin(&mut self, learner: &Learner) -> Result<()> {
        for (now, rate) in self.now.iter_mut().zip(&self.rates) {
            *now = learner.get(rate)?;
        }
        Ok(())
    }

    fn update(&mut self, update: &Update<'_>) -> Result<()> {
        let ([learning_rate, weight_decay], gradient) = (self.now, update.gradient);
        let parameter = update.parameter.detach()?;
        let least = match (self.config.epsilon1, parameter.dtype()?) {
            (Some(epsilon), _) => epsilon,
            (None, DType::F64) => f64::EPSILON,
            (None, DType::BF16) => 2_f64.powi(-7),
            (None, DType::F16) => 2_f64.powi(-10),
            (None, _) => f64::from(f32::EPSILON),
        };
        let step = update.step as f64;
        let relative = learning_rate.min(1.0 / step.sqrt());
        let size = root_mean_square(&parameter)?.clamp(self.config.epsilon2, f64::MAX)?;
        in_place::scale(update.parameter, 1.0 - learning_rate * weight_decay)?;
        let weight = step.powf(self.config.beta2_decay);
        let squares = mean_squares(update.state(0)?, gradient, weight, least)?;
        let scaled = gradient.div(&squares.clamp(least * least, f64::MAX)?.sqrt()?)?;
        let too_large = root_mean_square(&scaled)?.affine(1.0 / self.config.clip, 0.0)?;
        let factor = size.div(&too_large.clamp(1.0, f64::MAX)?)?;
        in_place::add(update.parameter, &scaled.mul(&factor)?, -relative)
    }
}

fn root_mean_square(tensor: &Tensor) -> Result<Tensor> {
    let count = tensor.elem_count()?.max(1) as f64;
    tensor.norm()?.affine(1.0 / count.sqrt(), 0.0)
}

/// Moves the mean squares in `state` towards those of the gradient and returns an estimate for each
/// element.
fn mean_squares(state: &Tensor, gradient: &Tensor, weight: f64, least: f64) -> Result<Tensor> {
    let (squares, dims) = (gradient.sqr()?, gradient.dims()?);
    let &[ref lead @ .., rows, columns] = dims.as_slice() else {
        in_place::lerp(state, &squares, weight)?;
        return state.detach();
    };
    let flat = |last: usize| [lead, &[last]].concat();
    let shaped = |rows: usize, columns: usize| [lead, &[rows, columns]].concat();
    // A single row or column: its mean squares determine those of the other direction.
    if rows == 1 || columns == 1 {
        in_place::lerp(state, &squares, weight)?;
        let (of_rows, of_columns) = match rows {
            1 => (state.mean_keepdim(-1_i64)?, state.detach()?),
            _ => (state.detach()?, state.mean_keepdim(-2_i64)?),
        };
        return estimate(&of_rows, &of_columns, least);
    }
    let of_rows = squares.mean(-1_i64)?;
    let of_columns = squares.mean(-2_i64)?;
    let unused = rows * columns - rows - columns;
    let mut packed = vec![of_rows, of_columns];
    if unused > 0 {
        packed.push(Tensor::zeros(flat(unused), gradient.dtype()?)?);
    }
    let packed: Vec<&Tensor> = packed.iter().collect();
    in_place::lerp(state, &Tensor::cat(&packed, -1)?.reshape(dims.clone())?, weight)?;
    let kept = state.reshape(flat(rows * columns))?;
    let of_rows = kept.narrow(-1, 0, rows)?.reshape(shaped(rows, 1))?;
    let of_columns = kept.narrow(-1, rows, columns)?.reshape(shaped(1, columns))?;
    estimate(&of_rows, &of_columns, least)
}

/// `rows * columns / mean(rows)`.
fn estimate(rows: &Tensor, columns: &Tensor, least: f64) -> Result<Tensor> {
    let mean = rows.mean_keepdim(-2_i64)?.clamp(least, f64::MAX)?;
    rows.mul(columns)?.div(&mean)
}
