//! Multi-head self-attention on packed queries, keys and values.

use candle_core::{Shape, Tensor};

use super::{Function, Softmax};
use crate::error::Result;
use crate::value::{Value, host_tensor};

/// Sizes of an attention over `[batch, time, 3 heads width]`.
#[derive(Clone, Copy, Debug)]
pub struct Heads {
    /// Sequences.
    pub batch: usize,
    /// Length of a sequence.
    pub time: usize,
    /// Heads.
    pub heads: usize,
    /// Channels of a head.
    pub width: usize,
    /// Whether a query sees only the keys up to its own place.
    pub causal: bool,
}

/// Attention.
pub trait Attention: Softmax {
    /// The result `[batch, time, heads width]`, and what
    /// [`attention_gradient`](Self::attention_gradient) of the same backend needs: by default the
    /// weights `[batch, heads, time, time]`.
    ///
    /// # Errors
    /// If the element type is not floating.
    fn attention(&self, heads: &Heads, qkv: &Value) -> Result<(Value, Value)> {
        let [q, k, v] = split(self, heads, qkv)?;
        let scores = self.matmul(&q, &k.transpose(2, 3)?, &[heads.batch, heads.heads])?;
        let scores = self.map(Function::Scale(scale(heads)), &scores)?;
        let scores = match heads.causal {
            true => {
                let seen = self.upload(seen(heads.time)?)?;
                let hidden = self.fill(scores.dtype(), &Shape::from(()), f64::NEG_INFINITY)?;
                self.select(&seen, &scores, &hidden, scores.shape())?
            }
            false => scores,
        };
        let weights = self.softmax(&scores, heads.time, false)?;
        let out = self.matmul(&weights, &v, &[heads.batch, heads.heads])?;
        let out = self.contiguous(&out.transpose(1, 2)?)?;
        Ok((out.reshape((heads.batch, heads.time, heads.heads * heads.width))?, weights))
    }

    /// The gradient of the packed queries, keys and values.
    ///
    /// # Errors
    /// If the element type is not floating.
    fn attention_gradient(
        &self,
        heads: &Heads,
        qkv: &Value,
        weights: &Value,
        gradient: &Value,
    ) -> Result<Value> {
        let batch = [heads.batch, heads.heads];
        let [q, k, v] = split(self, heads, qkv)?;
        let g = gradient
            .reshape((heads.batch, heads.time, heads.heads, heads.width))?
            .transpose(1, 2)?;
        let to_v = self.matmul(&weights.transpose(2, 3)?, &g, &batch)?;
        let to_weights = self.matmul(&g, &v.transpose(2, 3)?, &batch)?;
        let to_scores = self.softmax_gradient(weights, &to_weights, heads.time, false)?;
        let to_scores = self.map(Function::Scale(scale(heads)), &to_scores)?;
        let to_q = self.matmul(&to_scores, &k, &batch)?;
        let to_k = self.matmul(&to_scores.transpose(2, 3)?, &q, &batch)?;
        // [batch, time, heads width] each, side by side.
        let packed = [to_q, to_k, to_v]
            .iter()
            .map(|part| {
                self.contiguous(&part.transpose(1, 2)?)?.reshape((
                    heads.batch,
                    heads.time,
                    heads.heads * heads.width,
                ))
            })
            .collect::<Result<Vec<_>>>()?;
        self.concatenate(&packed.iter().collect::<Vec<_>>(), 2)
    }
}

fn scale(heads: &Heads) -> f64 {
    1.0 / (heads.width as f64).sqrt()
}

/// Queries, keys and values as `[batch, heads, time, width]`.
fn split<B: Attention + ?Sized>(backend: &B, heads: &Heads, qkv: &Value) -> Result<[Value; 3]> {
    let channels = heads.heads * heads.width;
    let part = |which: usize| -> Result<Value> {
        let part = backend.contiguous(&qkv.narrow(2, which * channels, channels)?)?;
        part.reshape((heads.batch, heads.time, heads.heads, heads.width))?.transpose(1, 2)
    };
    Ok([part(0)?, part(1)?, part(2)?])
}

/// 1 where a query (row) sees a key (column) under a causal mask.
fn seen(time: usize) -> Result<Tensor> {
    let seen: Vec<u8> = (0..time * time).map(|at| u8::from(at % time <= at / time)).collect();
    host_tensor(seen, (time, time))
}
