//! Multi-head attention.

use super::{Linear, Module, Params, linear};
use crate::{Attention, Error, Result, Tensor, abi::operation::op};

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

impl SelfAttention {
    /// As `forward`, with numbers that are added to the scores, such as those of
    /// [`Packing::bias`](super::Packing::bias); they broadcast to `[batch, heads, time, time]`.
    ///
    /// # Errors
    /// If the shapes do not fit.
    pub fn forward_with(&self, xs: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
        let qkv = self.qkv.forward(xs)?;
        let mixed = match bias {
            None => Tensor::apply(
                op::ATTENTION,
                &[&qkv],
                &[self.heads as i64, i64::from(self.causal)],
                &[],
            )?,
            Some(bias) => {
                let width = qkv.dim(2)? / 3;
                let part = |index: usize| qkv.narrow(2, index * width, width);
                let options =
                    Attention { causal: self.causal, bias: Some(bias), ..Attention::default() };
                attend([&part(0)?, &part(1)?, &part(2)?], [self.heads; 2], &options)?
            }
        };
        self.projection.forward(&mixed)
    }
}

impl Module for SelfAttention {
    fn forward(&self, xs: &Tensor) -> Result<Tensor> {
        self.forward_with(xs, None)
    }
}

/// Attention of projected queries `[batch, queries, heads width]` to projected keys and values
/// `[batch, keys, groups width]`: `[batch, queries, heads width]`. Has no parameters: models project
/// with layers of their own names.
///
/// # Errors
/// If the sizes do not fit together.
pub fn attend(
    [queries, keys, values]: [&Tensor; 3],
    [heads, groups]: [usize; 2],
    options: &Attention<'_>,
) -> Result<Tensor> {
    let (queries, keys, values) =
        (split_heads(queries, heads)?, split_heads(keys, groups)?, split_heads(values, groups)?);
    merge_heads(&queries.attention(&keys, &values, options)?)
}

/// `[batch, time, heads width]` as `[batch, heads, time, width]`.
///
/// # Errors
/// If the last dimension cannot be divided into heads.
pub fn split_heads(xs: &Tensor, heads: usize) -> Result<Tensor> {
    let (&[batch, time, channels], true) = (&xs.dims()?[..], heads > 0) else {
        return Err(Error::new(format!("{:?} cannot be divided into {heads} heads", xs.dims()?)));
    };
    if !channels.is_multiple_of(heads) {
        return Err(Error::new(format!(
            "{channels} channels cannot be divided into {heads} heads"
        )));
    }
    xs.reshape((batch, time, heads, channels / heads))?.transpose(1, 2)
}

/// `[batch, heads, time, width]` as `[batch, time, heads width]`.
///
/// # Errors
/// If it has not four dimensions.
pub fn merge_heads(xs: &Tensor) -> Result<Tensor> {
    let &[batch, heads, time, width] = &xs.dims()?[..] else {
        return Err(Error::new(format!("{:?} is not [batch, heads, time, width]", xs.dims()?)));
    };
    xs.transpose(1, 2)?.contiguous()?.reshape((batch, time, heads * width))
}
