//! Losses of predictions and targets.

use crate::{
    Result,
    abi::operation::{op, reduction},
    tensor::Tensor,
};

/// Losses; each the mean over the samples.
impl Tensor {
    /// Softmax cross-entropy of logits `[.., c]` against labels (`u32`) `[..]` or probabilities
    /// `[.., c]`.
    ///
    /// # Errors
    /// If shapes, element types or dimensions do not fit; the error names the operation.
    pub fn cross_entropy(&self, target: &Tensor, label_smoothing: f64) -> Result<Tensor> {
        Tensor::apply(op::CROSS_ENTROPY, &[self, target], &[reduction::MEAN], &[label_smoothing])
    }

    /// As [`Tensor::cross_entropy`], one value per sample.
    ///
    /// # Errors
    /// If shapes, element types or dimensions do not fit; the error names the operation.
    pub fn cross_entropy_per_sample(
        &self,
        target: &Tensor,
        label_smoothing: f64,
    ) -> Result<Tensor> {
        Tensor::apply(op::CROSS_ENTROPY, &[self, target], &[reduction::NONE], &[label_smoothing])
    }

    /// Softmax cross-entropy of logits `[.., c]` against labels (`u32` or `i64`) `[..]` or
    /// probabilities `[.., c]`, with what may be set.
    ///
    /// # Errors
    /// If shapes do not fit, or a label is neither ignored nor below `c`.
    pub fn cross_entropy_with(&self, target: &Tensor, options: &CrossEntropy) -> Result<Tensor> {
        let ints: &[i64] = match options.ignored {
            Some(label) => &[options.reduction, label],
            None => &[options.reduction],
        };
        match options.class_weights {
            None => {
                Tensor::apply(op::CROSS_ENTROPY, &[self, target], ints, &[options.label_smoothing])
            }
            Some(weights) => Tensor::apply(
                op::WEIGHTED_CROSS_ENTROPY,
                &[self, target, weights],
                ints,
                &[options.label_smoothing],
            ),
        }
    }

    /// Mean squared error; both of one shape.
    ///
    /// # Errors
    /// If shapes, element types or dimensions do not fit; the error names the operation.
    pub fn mse(&self, target: &Tensor) -> Result<Tensor> {
        Tensor::apply(op::MSE, &[self, target], &[], &[])
    }

    /// Mean absolute error; both of one shape.
    ///
    /// # Errors
    /// If shapes, element types or dimensions do not fit; the error names the operation.
    pub fn mae(&self, target: &Tensor) -> Result<Tensor> {
        Tensor::apply(op::MAE, &[self, target], &[], &[])
    }

    /// Mean Huber loss; both of one shape.
    ///
    /// # Errors
    /// If shapes, element types or dimensions do not fit; the error names the operation.
    pub fn huber(&self, target: &Tensor, delta: f64) -> Result<Tensor> {
        Tensor::apply(op::HUBER, &[self, target], &[], &[delta])
    }

    /// Mean binary cross-entropy of logits against probabilities of one shape.
    ///
    /// # Errors
    /// If shapes, element types or dimensions do not fit; the error names the operation.
    pub fn bce_with_logits(&self, target: &Tensor) -> Result<Tensor> {
        Tensor::apply(op::BCE_WITH_LOGITS, &[self, target], &[], &[])
    }

    /// As [`Tensor::bce_with_logits`], with the part of positive targets multiplied by `weights`,
    /// which broadcast to the shape of the logits. `reduction` is a code of
    /// [`reduction`](crate::abi::operation::reduction).
    ///
    /// # Errors
    /// If shapes do not fit.
    pub fn weighted_bce_with_logits(
        &self,
        target: &Tensor,
        weights: &Tensor,
        reduction: i64,
    ) -> Result<Tensor> {
        Tensor::apply(op::WEIGHTED_BCE_WITH_LOGITS, &[self, target, weights], &[reduction], &[])
    }
}

/// What may be set for [`Tensor::cross_entropy_with`].
#[derive(Clone, Copy, Debug)]
pub struct CrossEntropy<'a> {
    /// How losses are reduced: a code of [`reduction`](crate::abi::operation::reduction).
    pub reduction: i64,
    /// Label of rows that do not count.
    pub ignored: Option<i64>,
    /// Share of the target that is spread over all classes.
    pub label_smoothing: f64,
    /// A weight for each class, `[c]`; a mean is then divided by the sum of the labels' weights.
    pub class_weights: Option<&'a Tensor>,
}

impl Default for CrossEntropy<'_> {
    fn default() -> Self {
        CrossEntropy {
            reduction: reduction::MEAN,
            ignored: None,
            label_smoothing: 0.0,
            class_weights: None,
        }
    }
}
