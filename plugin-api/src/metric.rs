//! Metrics.

use std::mem::ManuallyDrop;

use crate::{
    Component, Result, Tensor,
    abi::metric::{MetricInput as MetricInputRaw, direction},
};

/// A number gathered over the steps of an epoch. `[training thread]`
///
/// Gather sums and counts rather than means of steps, so that a smaller last batch has the right
/// weight:
///
/// ```
/// use fluxbay_plugin::prelude::*;
///
/// #[derive(Default)]
/// struct MeanLoss {
///     sum: f64,
///     samples: u64,
/// }
///
/// impl Component for MeanLoss {
///     type Config = NoConfig;
///
///     fn new(_: NoConfig, _: &mut Setup) -> Result<Self> {
///         Ok(MeanLoss::default())
///     }
///
///     state!(sum, samples);
/// }
///
/// impl Metric for MeanLoss {
///     fn reset(&mut self) {
///         *self = MeanLoss::default();
///     }
///
///     fn update(&mut self, input: &MetricInput) -> Result<f64> {
///         self.sum += input.loss() * input.samples() as f64;
///         self.samples += input.samples();
///         Ok(input.loss())
///     }
///
///     fn compute(&self) -> Result<f64> {
///         Ok(self.sum / self.samples as f64)
///     }
///
///     fn direction(&self) -> Direction {
///         Direction::Lower
///     }
/// }
/// ```
pub trait Metric: Component {
    /// Forgets all steps. Called at the beginning of an epoch.
    fn reset(&mut self);

    /// Adds one step and returns the value of that step alone.
    ///
    /// # Errors
    /// If shapes or element types do not fit: name them.
    fn update(&mut self, input: &MetricInput) -> Result<f64>;

    /// The value over all steps since `reset`; NaN if there were none.
    ///
    /// # Errors
    /// If the value cannot be computed from these steps.
    fn compute(&self) -> Result<f64>;

    /// More than one number, as a JSON text: a confusion matrix, values per class. Empty, the
    /// default, if there is nothing more.
    ///
    /// # Errors
    /// As [`Metric::compute`].
    fn details(&self) -> Result<String> {
        Ok(String::new())
    }

    /// Which values are better. Called once, after `new`. Whatever ranks by a metric of unknown
    /// direction (checkpoints, early stopping) asks the user for a setting.
    fn direction(&self) -> Direction {
        Direction::Unknown
    }
}

/// Which values of a metric are better.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Direction {
    /// The metric does not say.
    #[default]
    Unknown,
    /// Lower values, as of a loss.
    Lower,
    /// Higher values, as of an accuracy.
    Higher,
}

impl Direction {
    pub(crate) fn number(self) -> u32 {
        match self {
            Direction::Unknown => direction::UNKNOWN,
            Direction::Lower => direction::LOWER,
            Direction::Higher => direction::HIGHER,
        }
    }

    pub(crate) fn from_number(number: u32) -> Direction {
        match number {
            direction::LOWER => Direction::Lower,
            direction::HIGHER => Direction::Higher,
            _ => Direction::Unknown,
        }
    }
}

/// One step, as a metric sees it.
#[derive(Debug)]
pub struct MetricInput {
    yhats: Tensor,
    ys: Tensor,
    loss: f64,
    samples: u64,
}

impl MetricInput {
    /// For an instance with child metrics: predictions and targets `[samples, ...]`, the mean loss
    /// and the number of samples of a step.
    pub fn new(yhats: Tensor, ys: Tensor, loss: f64, samples: u64) -> MetricInput {
        MetricInput { yhats, ys, loss, samples }
    }

    /// The host's input, borrowed for a call: its tensors are not released.
    pub(crate) fn lent(raw: &MetricInputRaw) -> ManuallyDrop<MetricInput> {
        let (yhats, ys) = (Tensor::from_handle(raw.yhats), Tensor::from_handle(raw.ys));
        ManuallyDrop::new(MetricInput { yhats, ys, loss: raw.loss, samples: raw.samples })
    }

    pub(crate) fn raw(&self) -> MetricInputRaw {
        MetricInputRaw {
            yhats: self.yhats.handle(),
            ys: self.ys.handle(),
            loss: self.loss,
            samples: self.samples,
        }
    }

    /// Predictions `[samples, ...]`.
    pub fn yhats(&self) -> &Tensor {
        &self.yhats
    }

    /// Targets `[samples, ...]`.
    pub fn ys(&self) -> &Tensor {
        &self.ys
    }

    /// The step's loss, the mean over its samples.
    pub fn loss(&self) -> f64 {
        self.loss
    }

    /// Number of samples: the weight of this step.
    pub fn samples(&self) -> u64 {
        self.samples
    }
}
