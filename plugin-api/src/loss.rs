//! Losses.

use crate::{Component, Result, Tensor};

/// A loss function. `[training thread]`
///
/// It is built from [`Tensor`]'s operations, which record what the backward pass needs:
///
/// ```
/// # use fluxbay_plugin::prelude::*;
/// struct SquaredError;
///
/// impl Component for SquaredError {
///     type Config = NoConfig;
///
///     fn new(_: NoConfig, _: &mut Setup) -> Result<Self> {
///         Ok(SquaredError)
///     }
/// }
///
/// impl Loss for SquaredError {
///     fn forward(&self, yhats: &Tensor, ys: &Tensor) -> Result<Tensor> {
///         yhats.sub(ys)?.sqr()?.mean_all()
///     }
/// }
/// ```
pub trait Loss: Component {
    /// Computes the loss of predictions and targets `[batch, ...]`: a tensor with one element, the
    /// mean over the samples.
    ///
    /// # Errors
    /// If shapes or element types do not fit: name both.
    fn forward(&self, yhats: &Tensor, ys: &Tensor) -> Result<Tensor>;
}
