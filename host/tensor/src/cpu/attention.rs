//! Multi-head self-attention.

use super::Cpu;
use super::data::{data, for_real, value};
use super::kernels::attention;
use crate::backend::{Attention, Heads};
use crate::error::Result;
use crate::value::Value;

impl Attention for Cpu {
    /// The weights are those of the keys that a query sees, see the kernel.
    fn attention(&self, heads: &Heads, qkv: &Value) -> Result<(Value, Value)> {
        for_real!(qkv.dtype(), T => {
            let (out, weights) = attention::forward(&self.pool, heads, &data::<T>(qkv)?);
            let count = weights.len();
            let out = value(out, (heads.batch, heads.time, heads.heads * heads.width));
            Ok((out, value(weights, count)))
        })
    }

    fn attention_gradient(
        &self,
        heads: &Heads,
        qkv: &Value,
        weights: &Value,
        gradient: &Value,
    ) -> Result<Value> {
        for_real!(qkv.dtype(), T => {
            let (weights, gradient) = (data::<T>(weights)?, data::<T>(gradient)?);
            let full =
                attention::gradient(&self.pool, heads, &data::<T>(qkv)?, &weights, &gradient);
            Ok(value(full, qkv.shape().clone()))
        })
    }
}
