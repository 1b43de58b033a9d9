//! Attention whose projections have names of the model's choice.

use std::rc::Rc;

use super::{Linear, Module, Params, RmsNorm, RotaryEmbedding, linear, merge_heads, split_heads};
use crate::{Attention, Result, Tensor};

/// Attention with its projections: query, key, value and output.
#[derive(Debug)]
pub struct ProjectedAttention {
    inputs: Inputs,
    output: Linear,
    heads: usize,
    groups: usize,
    head_norms: Option<[RmsNorm; 2]>,
    rotary: Option<Rc<RotaryEmbedding>>,
    window: Option<usize>,
}

/// The layers of queries, keys and values.
#[derive(Debug)]
enum Inputs {
    Separate([Linear; 3]),
    Fused(Linear),
}

/// Attention of `heads` heads over `[batch, time, width]`, with linear layers `[width, width]` at the
/// four paths: query, key, value and output, each with a bias.
///
/// # Errors
/// Outside [`Model::build`](crate::Model::build), or if the model has a parameter of such a path
/// already. Also if the heads do not divide the width.
pub fn projected_attention(
    width: usize,
    heads: usize,
    [query, key, value, output]: [Params; 4],
) -> Result<ProjectedAttention> {
    let square = |params| linear(width, width, params);
    ProjectedAttention::new(
        [square(query)?, square(key)?, square(value)?, square(output)?],
        [width, heads],
    )
}

/// Attention of `heads` heads over `[batch, time, width]`, with linear layers at two paths, each with a
/// bias: `[3 width, width]` of queries, keys and values together, and `[width, width]` of the output.
///
/// # Errors
/// Outside [`Model::build`](crate::Model::build), or if the model has a parameter of such a path
/// already. Also if the heads do not divide the width.
pub fn fused_attention(
    width: usize,
    heads: usize,
    [qkv, output]: [Params; 2],
) -> Result<ProjectedAttention> {
    let layers = [linear(width, 3 * width, qkv)?, linear(width, width, output)?];
    ProjectedAttention::fused(layers, [width, heads])
}

impl ProjectedAttention {
    /// Of layers that are there: query, key, value and output. `width` is that of the queries.
    ///
    /// # Errors
    /// If the heads do not divide the width.
    pub fn new(
        [query, key, value, output]: [Linear; 4],
        [width, heads]: [usize; 2],
    ) -> Result<ProjectedAttention> {
        ProjectedAttention::over(Inputs::Separate([query, key, value]), output, [width, heads])
    }

    /// Of layers that are there: one `[3 width, ..]` of queries, keys and values, and the output.
    ///
    /// # Errors
    /// If the heads do not divide the width.
    pub fn fused(
        [qkv, output]: [Linear; 2],
        [width, heads]: [usize; 2],
    ) -> Result<ProjectedAttention> {
        ProjectedAttention::over(Inputs::Fused(qkv), output, [width, heads])
    }

    fn over(inputs: Inputs, output: Linear, [width, heads]: [usize; 2]) -> Result<Self> {
        if heads == 0 || !width.is_multiple_of(heads) {
            crate::bail!("{heads} heads do not divide a width of {width}");
        }
        Ok(ProjectedAttention {
            inputs,
            output,
            heads,
            groups: heads,
            head_norms: None,
            rotary: None,
            window: None,
        })
    }

    /// With fewer heads of keys and values, a divisor of those of the queries. For separate layers.
    pub fn with_groups(self, groups: usize) -> ProjectedAttention {
        ProjectedAttention { groups, ..self }
    }

    /// With a normalisation of the queries and one of the keys, over the channels of each head.
    pub fn with_head_norms(self, norms: Option<[RmsNorm; 2]>) -> ProjectedAttention {
        ProjectedAttention { head_norms: norms, ..self }
    }

    /// With rotary positions of queries and keys. Several layers can share them.
    pub fn with_rotary(self, rotary: Rc<RotaryEmbedding>) -> ProjectedAttention {
        ProjectedAttention { rotary: Some(rotary), ..self }
    }

    /// With keys this far away and farther not seen; it replaces [`Attention::window`].
    pub fn with_window(self, window: Option<usize>) -> ProjectedAttention {
        ProjectedAttention { window, ..self }
    }

    /// Attention of `[batch, queries, width]` to itself.
    ///
    /// # Errors
    /// If the sizes do not fit.
    pub fn forward(&self, xs: &Tensor, options: &Attention<'_>) -> Result<Tensor> {
        match &self.inputs {
            Inputs::Separate(layers) => self.attend(project(layers, xs, xs)?, options),
            Inputs::Fused(layer) => {
                let qkv = layer.forward(xs)?;
                let width = qkv.dim(2)? / 3;
                let part = |index: usize| qkv.narrow(2, index * width, width);
                self.attend([part(0)?, part(1)?, part(2)?], options)
            }
        }
    }

    /// Attention of `[batch, queries, width]` to `memory` `[batch, keys, width]`.
    ///
    /// # Errors
    /// If the sizes do not fit, or queries, keys and values have one layer.
    pub fn cross(&self, xs: &Tensor, memory: &Tensor, options: &Attention<'_>) -> Result<Tensor> {
        match &self.inputs {
            Inputs::Separate(layers) => self.attend(project(layers, xs, memory)?, options),
            Inputs::Fused(_) => {
                crate::bail!("one layer for queries, keys and values has one input")
            }
        }
    }

    fn attend(
        &self,
        [queries, keys, values]: [Tensor; 3],
        options: &Attention<'_>,
    ) -> Result<Tensor> {
        let mut queries = split_heads(&queries, self.heads)?;
        let mut keys = split_heads(&keys, self.groups)?;
        let values = split_heads(&values, self.groups)?;
        if let Some([of_queries, of_keys]) = &self.head_norms {
            (queries, keys) = (of_queries.forward(&queries)?, of_keys.forward(&keys)?);
        }
        if let Some(rotary) = &self.rotary {
            (queries, keys) = (rotary.forward(&queries)?, rotary.forward(&keys)?);
        }
        let options = Attention { window: self.window.or(options.window), ..*options };
        self.output.forward(&merge_heads(&queries.attention(&keys, &values, &options)?)?)
    }
}

/// Queries of `xs`, keys and values of `memory`.
fn project([query, key, value]: &[Linear; 3], xs: &Tensor, memory: &Tensor) -> Result<[Tensor; 3]> {
    Ok([query.forward(xs)?, key.forward(memory)?, value.forward(memory)?])
}
