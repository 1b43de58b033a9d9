//! Embeddings, alone and in bags.

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

/// The sum or the mean of the vectors of each bag of ids.
#[derive(Debug)]
pub struct EmbeddingBag {
    weight: Tensor,
    mean: bool,
}

/// A table of `entries` vectors for bags of ids; `mean` for their mean instead of their sum.
/// Parameter `weight` `[entries, width]`, normal with standard deviation `std` at first.
///
/// # Errors
/// Outside [`Model::build`](crate::Model::build), or if the model has a parameter of that path already.
pub fn embedding_bag(
    [entries, width]: [usize; 2],
    std: f64,
    mean: bool,
    params: Params,
) -> Result<EmbeddingBag> {
    let weight = params.get((entries, width), "weight", Init::Normal { mean: 0.0, std })?;
    Ok(EmbeddingBag { weight, mean })
}

impl EmbeddingBag {
    /// The vectors of `count` bags, `[count, width]`: `bags` `[n]` says which one each of `ids` `[n]` is
    /// in. An empty bag has zeros. `factors` `[n]` are multiplied with the vectors.
    ///
    /// # Errors
    /// If the shapes do not fit, or an id or a bag is out of range.
    pub fn forward(
        &self,
        ids: &Tensor,
        bags: &Tensor,
        count: usize,
        factors: Option<&Tensor>,
    ) -> Result<Tensor> {
        let mut rows = self.weight.embedding(ids)?;
        if let Some(factors) = factors {
            rows = rows.mul(&factors.unsqueeze(1)?)?;
        }
        if self.mean { rows.segment_mean(bags, count) } else { rows.segment_sum(bags, count) }
    }
}
