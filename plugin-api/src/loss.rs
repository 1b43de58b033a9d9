//! Losses.

use crate::{Component, Result, Tensor};

/// A loss function. `[training thread]`
pub trait Loss: Component {
    /// From predictions and targets `[batch, ...]` to one element: the mean over the samples.
    fn forward(&self, yhats: &Tensor, ys: &Tensor) -> Result<Tensor>;
}
