//! Multi-head self-attention.

use super::{Linear, Module, Params, linear};
use crate::{Error, Result, Tensor, abi::operation::op};

/// Multi-head self-attention over `[batch, time, width]` (Vaswani et al. 2017, arXiv:1706.03762).
#[derive(Debug)]
pub struct SelfAttention {
    qkv: Linear,
    projection: Linear,
    heads: usize,
    causal: bool,
}

/// Self-attention. Parameters below `qkv` (`[3 width, width]`) and `proj` (`[width, width]`), each
/// with a bias.
///
/// If `causal`, each position attends to itself and earlier ones only.
///
/// # Errors
/// Outside [`Model::build`](crate::Model::build), or if the model has a parameter of that path already. Also if the sizes do not fit together.
pub fn self_attention(
    width: usize,
    heads: usize,
    causal: bool,
    params: Params,
) -> Result<SelfAttention> {
    if heads == 0 || !width.is_multiple_of(heads) {
        return Err(Error::new(format!("a width of {width} cannot be divided into {heads} heads")));
    }
    let (qkv, projection) =
        (linear(width, 3 * width, params.pp("qkv"))?, linear(width, width, params.pp("proj"))?);
    Ok(SelfAttention { qkv, projection, heads, causal })
}

impl Module for SelfAttention {
    fn forward(&self, xs: &Tensor) -> Result<Tensor> {
        let qkv = self.qkv.forward(xs)?;
        let mixed = Tensor::apply(
            op::ATTENTION,
            &[&qkv],
            &[self.heads as i64, i64::from(self.causal)],
            &[],
        )?;
        self.projection.forward(&mixed)
    }
}
