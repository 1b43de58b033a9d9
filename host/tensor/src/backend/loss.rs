//! Losses.

use super::{Function, Indexing};
use crate::error::Result;
use crate::value::Value;

/// Losses.
pub trait Loss: Indexing {
    /// `-x[row, label]` for each row of `[rows, classes]`, with the shape of the labels.
    ///
    /// # Errors
    /// If the element type is not floating.
    fn nll(&self, x: &Value, labels: &Value, classes: usize) -> Result<Value> {
        self.map(Function::Neg, &self.pick(x, classes, labels)?)
    }

    /// The gradient of `x` in [`nll`](Self::nll) with a factor; one gradient for each label, or one
    /// for all.
    ///
    /// # Errors
    /// If the element type is not floating.
    fn nll_gradient(
        &self,
        gradient: &Value,
        labels: &Value,
        classes: usize,
        factor: f64,
    ) -> Result<Value> {
        let scaled = self.map(Function::Scale(-factor), gradient)?;
        let rows = labels.count();
        let scaled = match scaled.count() {
            1 => self.copy(&scaled.reshape(1)?.broadcast_as(rows)?)?,
            _ => scaled,
        };
        self.spread(&scaled, classes, rows, labels)
    }
}
