//! Models.

use crate::{Component, Error, Names, Params, Result, Tensor, dataset::DataSpec};

/// Layers over parameters that the host keeps, trains and saves. `[training thread]`
///
/// ```
/// use fluxbay_plugin::{
///     nn::{Linear, linear},
///     prelude::*,
/// };
///
/// struct Line;
///
/// impl Component for Line {
///     type Config = NoConfig;
///
///     fn new(_: NoConfig, _: &mut Setup) -> Result<Self> {
///         Ok(Line)
///     }
/// }
///
/// impl Model for Line {
///     type Network = Linear;
///
///     fn build(&self, data: &DataSpec, params: Params) -> Result<Linear> {
///         linear(data.xs()?.elements(), data.outputs()?, params)
///     }
///
///     fn forward(&self, network: &Linear, xs: &Tensor) -> Result<Tensor> {
///         network.forward_flat(xs)
///     }
/// }
/// ```
pub trait Model: Component {
    /// The layers with their parameters.
    type Network: 'static;

    /// Creates the layers for the shapes of the data. Called once, before the first forward pass.
    ///
    /// # Errors
    /// If the model cannot be built for this data: name the shape. The run does not start.
    fn build(&self, data: &DataSpec, params: Params) -> Result<Self::Network>;

    /// Computes predictions `[batch, ...]` from inputs `[batch, ...]`.
    ///
    /// # Errors
    /// The error is returned by the phase that runs the model.
    fn forward(&self, network: &Self::Network, xs: &Tensor) -> Result<Tensor>;

    /// Computes a forward pass with several inputs or outputs. The default passes a single input to
    /// [`Model::forward`].
    ///
    /// # Errors
    /// As [`Model::forward`]; the default also if there are several inputs.
    fn forward_many(&self, network: &Self::Network, inputs: &[Tensor]) -> Result<Vec<Tensor>> {
        match inputs {
            [xs] => Ok(vec![self.forward(network, xs)?]),
            _ => Err(Error::new(format!("this model takes one input, not {}", inputs.len()))),
        }
    }

    /// Where published weights come from and how their names become those of this model's parameters;
    /// none for a model of no published family. The host asks once, after the model is built: a new
    /// run starts from the weights, and the trained weights are written under the published names.
    ///
    /// # Errors
    /// The run does not start.
    fn names(&self) -> Result<Option<Names>> {
        Ok(None)
    }
}
