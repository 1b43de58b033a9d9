//! Attention and rotary positions.

use super::Cpu;
use super::data::{contiguous, data, for_real, value};
use super::kernels::attend::{self, Steps};
use super::kernels::attention;
use crate::backend::{
    Attention, Dropped, Heads, Reach, Rotation, composed_attend, composed_attend_gradient,
};
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

    /// Dropout takes the general way.
    fn attend(
        &self,
        reach: &Reach,
        parts: [&Value; 3],
        bias: Option<&Value>,
        dropped: Option<Dropped>,
    ) -> Result<(Value, Value)> {
        if dropped.is_some() {
            return composed_attend(self, reach, parts, bias, dropped);
        }
        for_real!(parts[0].dtype(), T => {
            let [q, k, v] = [data::<T>(parts[0])?, data::<T>(parts[1])?, data::<T>(parts[2])?];
            let bias = bias.map(contiguous).transpose()?;
            let elements = bias.as_ref().map(data::<T>).transpose()?;
            let bias = bias.as_ref().zip(elements.as_ref()).map(|(bias, elements)| {
                attend::Bias { elements, steps: steps(bias.dims()) }
            });
            let (out, weights) =
                attend::forward(&self.pool, reach, [&q, &k, &v], bias.as_ref(), Steps::of(reach));
            let full = (reach.batch, reach.heads, reach.queries, reach.keys);
            Ok((value(out, parts[0].shape().clone()), value(weights, full)))
        })
    }

    fn attend_kept(&self, reach: &Reach, parts: [&Value; 3]) -> Result<Value> {
        for_real!(parts[0].dtype(), T => {
            let [q, k, v] = [data::<T>(parts[0])?, data::<T>(parts[1])?, data::<T>(parts[2])?];
            let steps = Steps::kept(reach);
            let (out, _) = attend::forward(&self.pool, reach, [&q, &k, &v], None, steps);
            Ok(value(out, parts[0].shape().clone()))
        })
    }

    fn attend_gradient(
        &self,
        reach: &Reach,
        parts: [&Value; 3],
        weights: &Value,
        dropped: Option<Dropped>,
        gradient: &Value,
        wants_scores: bool,
    ) -> Result<([Value; 3], Option<Value>)> {
        if dropped.is_some() {
            return composed_attend_gradient(
                self,
                reach,
                parts,
                weights,
                dropped,
                gradient,
                wants_scores,
            );
        }
        for_real!(parts[0].dtype(), T => {
            let [q, k, v] = [data::<T>(parts[0])?, data::<T>(parts[1])?, data::<T>(parts[2])?];
            let ([to_q, to_k, to_v], scores) = attend::gradient(
                &self.pool,
                reach,
                [&q, &k, &v],
                &data::<T>(weights)?,
                &data::<T>(gradient)?,
                wants_scores,
            );
            let (queries, keys) = (parts[0].shape(), parts[1].shape());
            Ok((
                [
                    value(to_q, queries.clone()),
                    value(to_k, keys.clone()),
                    value(to_v, keys.clone()),
                ],
                scores.map(|scores| value(scores, weights.shape().clone())),
            ))
        })
    }

    fn rotate(
        &self,
        rotation: &Rotation,
        x: &Value,
        cosines: &Value,
        sines: &Value,
        back: bool,
    ) -> Result<Value> {
        for_real!(x.dtype(), T => {
            let (cosines, sines) = (data::<T>(cosines)?, data::<T>(sines)?);
            let tables = [&*cosines, &*sines];
            let out = attend::rotate(&self.pool, rotation, &data::<T>(x)?, tables, back);
            Ok(value(out, x.shape().clone()))
        })
    }
}

/// The steps along four dimensions of contiguous elements that broadcast from the right.
fn steps(dims: &[usize]) -> [usize; 4] {
    let mut steps = [0; 4];
    let mut step = 1;
    for (at, &size) in dims.iter().enumerate().rev() {
        if size != 1 {
            steps[4 - dims.len() + at] = step;
        }
        step *= size;
    }
    steps
}
