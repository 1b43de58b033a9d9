//! Models.

use crate::{Component, Error, Params, Result, Tensor, dataset::DataSpec};

/// A model: layers over parameters that the host keeps. `[training thread]`
pub trait Model: Component {
    /// The layers, holding their parameters.
    type Network: 'static;

    /// Makes the layers so that they fit the data; called once.
    fn build(&self, data: &DataSpec, params: Params) -> Result<Self::Network>;

    /// From inputs `[batch, ...]` to predictions `[batch, ...]`.
    fn forward(&self, network: &Self::Network, xs: &Tensor) -> Result<Tensor>;

    /// A forward pass with several inputs or outputs.
    fn forward_many(&self, network: &Self::Network, inputs: &[Tensor]) -> Result<Vec<Tensor>> {
        match inputs {
            [xs] => Ok(vec![self.forward(network, xs)?]),
            _ => Err(Error::new(format!("this model takes one input, not {}", inputs.len()))),
        }
    }
}
