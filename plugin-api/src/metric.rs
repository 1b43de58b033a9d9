//! Metrics.

use std::mem::ManuallyDrop;

use crate::{Component, Result, Tensor, abi::metric::MetricInput as MetricInputRaw};

/// A number gathered over the batches of an epoch. `[training thread]`
pub trait Metric: Component {
    /// Forgets what was gathered.
    fn reset(&mut self);

    /// Takes in one step and gives the value for that step alone.
    fn update(&mut self, input: &MetricInput) -> Result<f64>;

    /// The value over everything gathered since `reset`; NaN where nothing was.
    fn compute(&self) -> Result<f64>;

    /// More than one number, as JSON: a confusion matrix, values per class.
    fn details(&self) -> Result<String> {
        Ok(String::new())
    }
}

/// What a metric sees of a step.
#[derive(Debug)]
pub struct MetricInput {
    yhats: Tensor,
    ys: Tensor,
    loss: f64,
    samples: u64,
}

impl MetricInput {
    /// For an instance that has child metrics: predictions and targets `[samples, ...]`.
    pub fn new(yhats: Tensor, ys: Tensor, loss: f64, samples: u64) -> MetricInput {
        MetricInput { yhats, ys, loss, samples }
    }

    /// What the host lends for a call; the tensors stay the host's.
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

    /// The step's loss.
    pub fn loss(&self) -> f64 {
        self.loss
    }

    /// Number of samples: the weight of this step.
    pub fn samples(&self) -> u64 {
        self.samples
    }
}
