//! Embeddings.

use super::{Init, Module, Params};
use crate::{Result, Tensor};

/// A table of vectors: ids `[..]` become `[.., width]`.
#[derive(Debug)]
pub struct Embedding {
    weight: Tensor,
}

/// A table of `entries` vectors. Parameter `weight` `[entries, width]`, normal with standard
/// deviation `std` at first.
///
/// # Errors
/// Outside [`Model::build`](crate::Model::build), or if the model has a parameter of that path already.
pub fn embedding(entries: usize, width: usize, std: f64, params: Params) -> Result<Embedding> {
    Ok(Embedding {
        weight: params.get((entries, width), "weight", Init::Normal { mean: 0.0, std })?,
    })
}

impl Embedding {
    /// The table `[entries, width]`.
    pub fn weight(&self) -> &Tensor {
        &self.weight
    }
}

impl Module for Embedding {
    fn forward(&self, ids: &Tensor) -> Result<Tensor> {
        self.weight.embedding(ids)
    }
}
