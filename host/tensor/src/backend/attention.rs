//! Attention on packed queries, keys and values, and on separate ones; rotary positions.

use std::ops::Range;
use std::sync::Arc;

use candle_core::{Shape, Tensor};

use super::product::multiplied;
use super::{Function, Pair, RandomNumbers, Softmax};
use crate::error::Result;
use crate::random::Words;
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
    /// Whether products are of operands that are [rounded](super::Storage::rounded) to bf16. Queries,
    /// keys, values and the gradient of the result are rounded already; a kernel rounds the weights
    /// and the gradient of the scores.
    pub rounded: bool,
}

/// Sizes of an attention of queries `[batch, heads, queries, width]` over keys and values `[batch,
/// groups, keys, width]`, and the keys that a query sees.
#[derive(Clone, Debug)]
pub struct Reach {
    /// Sequences.
    pub batch: usize,
    /// Heads of the queries.
    pub heads: usize,
    /// Heads of the keys and values, a divisor of `heads`.
    pub groups: usize,
    /// Queries of a sequence: the last ones of its places.
    pub queries: usize,
    /// Keys of a sequence.
    pub keys: usize,
    /// Channels of a head.
    pub width: usize,
    /// Factor of the scores.
    pub scale: f64,
    /// Whether a query sees only the keys up to its own place.
    pub causal: bool,
    /// Keys this far away and farther are not seen.
    pub window: Option<usize>,
    /// Keys of each sequence that are no padding; all if there is no list.
    pub lengths: Option<Arc<[usize]>>,
    /// Whether products are of operands that are [rounded](super::Storage::rounded) to bf16. Queries,
    /// keys, values and the gradient of the result are rounded already; a kernel rounds the weights
    /// and the gradient of the scores.
    pub rounded: bool,
}

impl Reach {
    /// The keys that a query of a sequence sees.
    pub fn seen(&self, sequence: usize, query: usize) -> Range<usize> {
        let place = query as isize + self.keys as isize - self.queries as isize;
        let window = self.window.unwrap_or(isize::MAX as usize / 2) as isize;
        let first = (place - window + 1).max(0) as usize;
        let after = if self.causal { place + 1 } else { place + window };
        let known = self.lengths.as_ref().map_or(self.keys, |lengths| lengths[sequence]);
        let after = (after.max(0) as usize).min(known).min(self.keys);
        first.min(after)..after
    }

    /// Whether each query sees each key.
    pub fn is_full(&self) -> bool {
        !self.causal && self.window.is_none() && self.lengths.is_none()
    }
}

/// Dropout of attention weights: zero where a random word is below `limit`, else multiplied by
/// `scale`.
#[derive(Clone, Copy, Debug)]
pub struct Dropped {
    /// Random words, one for each weight.
    pub words: Words,
    /// Words below it drop their weight.
    pub limit: u32,
    /// Factor of the others.
    pub scale: f64,
}

/// A rotation of pairs of channels of `[tables, sequences, time, 2 half]`.
#[derive(Clone, Copy, Debug)]
pub struct Rotation {
    /// Tables of cosines and sines, `[tables, time, half]`.
    pub tables: usize,
    /// Sequences that share a table.
    pub sequences: usize,
    /// Places of a sequence.
    pub time: usize,
    /// Pairs of channels.
    pub half: usize,
    /// Whether a pair are two neighbours, instead of channels `i` and `i + half`.
    pub interleaved: bool,
}

/// Attention.
pub trait Attention: Softmax + RandomNumbers {
    /// The result `[batch, heads, queries, width]` of queries, keys and values, and the weights
    /// `[batch, heads, queries, keys]` before dropout, which are 0 where a query does not see a key.
    /// The bias may have any layout, and broadcasts to the shape of the weights.
    ///
    /// # Errors
    /// If the element type is not floating.
    fn attend(
        &self,
        reach: &Reach,
        parts: [&Value; 3],
        bias: Option<&Value>,
        dropped: Option<Dropped>,
    ) -> Result<(Value, Value)> {
        composed_attend(self, reach, parts, bias, dropped)
    }

    /// The result `[batch, heads, queries, width]` of queries over keys and values `[time, batch, groups,
    /// width]`, of which the first `reach.keys` tokens count; without a gradient.
    ///
    /// # Errors
    /// If the element type is not floating.
    fn attend_kept(&self, reach: &Reach, parts: [&Value; 3]) -> Result<Value> {
        let part = |kept: &Value| -> Result<Value> {
            self.contiguous(&kept.narrow(0, 0, reach.keys)?.permute(&[1, 2, 0, 3])?)
        };
        let (keys, values) = (part(parts[1])?, part(parts[2])?);
        Ok(self.attend(reach, [parts[0], &keys, &values], None, None)?.0)
    }

    /// The gradients of queries, keys and values, and that of the scores with the shape of the
    /// weights if `wants_scores`.
    ///
    /// # Errors
    /// If the element type is not floating.
    fn attend_gradient(
        &self,
        reach: &Reach,
        parts: [&Value; 3],
        weights: &Value,
        dropped: Option<Dropped>,
        gradient: &Value,
        wants_scores: bool,
    ) -> Result<([Value; 3], Option<Value>)> {
        composed_attend_gradient(self, reach, parts, weights, dropped, gradient, wants_scores)
    }

    /// Rotates each pair `(a, b)` of channels to `(a cos - b sin, a sin + b cos)`, or back.
    ///
    /// # Errors
    /// If the element type is not floating.
    fn rotate(
        &self,
        rotation: &Rotation,
        x: &Value,
        cosines: &Value,
        sines: &Value,
        back: bool,
    ) -> Result<Value> {
        let Rotation { tables, sequences, time, half, interleaved } = *rotation;
        // Pairs in dimension 4 if they are neighbours, else in dimension 3.
        let (shape, dim) = match interleaved {
            true => ([tables, sequences, time, half, 2], 4),
            false => ([tables, sequences, time, 2, half], 3),
        };
        let pairs = x.reshape(Shape::from(&shape[..]))?;
        let full = Shape::from((tables, sequences, time, half));
        let (a, b) =
            (pairs.narrow(dim, 0, 1)?.squeeze(dim)?, pairs.narrow(dim, 1, 1)?.squeeze(dim)?);
        let table = |table: &Value| table.reshape((tables, 1, time, half));
        let (cosines, sines) = (table(cosines)?, table(sines)?);
        let times = |x: &Value, y: &Value| self.zip(Pair::Mul, x, y, &full);
        let (plus, minus) = match back {
            false => (Pair::Add, Pair::Sub),
            true => (Pair::Sub, Pair::Add),
        };
        let first = self.zip(minus, &times(&a, &cosines)?, &times(&b, &sines)?, &full)?;
        let second = self.zip(plus, &times(&b, &cosines)?, &times(&a, &sines)?, &full)?;
        let parts = [first.unsqueeze(dim)?, second.unsqueeze(dim)?];
        self.concatenate(&[&parts[0], &parts[1]], dim)?.reshape(x.shape().clone())
    }

    /// The result `[batch, time, heads width]`, and what
    /// [`attention_gradient`](Self::attention_gradient) of the same backend needs: by default the
    /// weights `[batch, heads, time, time]`.
    ///
    /// # Errors
    /// If the element type is not floating.
    fn attention(&self, heads: &Heads, qkv: &Value) -> Result<(Value, Value)> {
        let [q, k, v] = split(self, heads, qkv)?;
        let batch = [heads.batch, heads.heads];
        let scores = multiplied(self, heads.rounded, &q, &k.transpose(2, 3)?, &batch)?;
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
        let out = multiplied(self, heads.rounded, &weights, &v, &batch)?;
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
        let multiply = |a: &Value, b: &Value| multiplied(self, heads.rounded, a, b, &batch);
        let [q, k, v] = split(self, heads, qkv)?;
        let g = gradient
            .reshape((heads.batch, heads.time, heads.heads, heads.width))?
            .transpose(1, 2)?;
        let to_v = multiply(&weights.transpose(2, 3)?, &g)?;
        let to_weights = multiply(&g, &v.transpose(2, 3)?)?;
        let to_scores = self.softmax_gradient(weights, &to_weights, heads.time, false)?;
        let to_scores = self.map(Function::Scale(scale(heads)), &to_scores)?;
        let to_q = multiply(&to_scores, &k)?;
        let to_k = multiply(&to_scores.transpose(2, 3)?, &q)?;
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

/// [`Attention::attend`] by products and softmax over all keys.
pub(crate) fn composed_attend<B: Attention + ?Sized>(
    backend: &B,
    reach: &Reach,
    parts: [&Value; 3],
    bias: Option<&Value>,
    dropped: Option<Dropped>,
) -> Result<(Value, Value)> {
    let full = Shape::from((reach.batch, reach.heads, reach.queries, reach.keys));
    let [q, k, v] = grouped(reach, parts)?;
    let batch = batch(reach);
    let q = backend.map(Function::Scale(reach.scale), &q)?;
    let scores = multiplied(backend, reach.rounded, &q, &k.transpose(3, 4)?, &batch)?;
    let mut scores = scores.reshape(full.clone())?;
    if let Some(bias) = bias {
        scores = backend.zip(Pair::Add, &scores, bias, &full)?;
    }
    let number = |number: f64| backend.fill(scores.dtype(), &Shape::from(()), number);
    let weights = if reach.is_full() {
        backend.softmax(&scores, reach.keys, false)?
    } else {
        let seen = backend.upload(mask(reach)?)?;
        let hidden = backend.select(&seen, &scores, &number(f64::NEG_INFINITY)?, &full)?;
        // A query that sees nothing has no weights.
        let weights = backend.softmax(&hidden, reach.keys, false)?;
        backend.select(&seen, &weights, &number(0.0)?, &full)?
    };
    let used = dropped_weights(backend, &weights, dropped)?;
    let used = used.reshape(rows(reach, reach.keys))?;
    let out = multiplied(backend, reach.rounded, &used, &v, &batch)?;
    Ok((out.reshape(parts[0].shape().clone())?, weights))
}

/// [`Attention::attend_gradient`] by products over all keys.
pub(crate) fn composed_attend_gradient<B: Attention + ?Sized>(
    backend: &B,
    reach: &Reach,
    parts: [&Value; 3],
    weights: &Value,
    dropped: Option<Dropped>,
    gradient: &Value,
    wants_scores: bool,
) -> Result<([Value; 3], Option<Value>)> {
    let batch = batch(reach);
    let multiply = |a: &Value, b: &Value| multiplied(backend, reach.rounded, a, b, &batch);
    let [q, k, v] = grouped(reach, parts)?;
    let g = gradient.reshape(rows(reach, reach.width))?;
    let used = dropped_weights(backend, weights, dropped)?.reshape(rows(reach, reach.keys))?;
    // Heads of a group add up.
    let shared = |x: Value| -> Result<Value> { backend.sum(&x, &[2], None, parts[1].shape()) };
    let to_v = shared(multiply(&used.transpose(3, 4)?, &g)?)?;
    let to_used = multiply(&g, &v.transpose(3, 4)?)?;
    let to_weights = dropped_weights(backend, &to_used.reshape(weights.shape().clone())?, dropped)?;
    let to_scores = backend.softmax_gradient(weights, &to_weights, reach.keys, false)?;
    let scaled = backend.map(Function::Scale(reach.scale), &to_scores)?;
    let scaled = scaled.reshape(rows(reach, reach.keys))?;
    let to_q = multiply(&scaled, &k)?.reshape(parts[0].shape().clone())?;
    let to_k = shared(multiply(&scaled.transpose(3, 4)?, &q)?)?;
    Ok(([to_q, to_k, to_v], wants_scores.then_some(to_scores)))
}

fn dropped_weights<B: Attention + ?Sized>(
    backend: &B,
    weights: &Value,
    dropped: Option<Dropped>,
) -> Result<Value> {
    match dropped {
        None => Ok(weights.clone()),
        Some(Dropped { words, limit, scale }) => backend.drop_out(weights, words, limit, scale),
    }
}

/// Leading dimensions of products: sequences, groups, heads of a group.
fn batch(reach: &Reach) -> [usize; 3] {
    [reach.batch, reach.groups, reach.heads / reach.groups]
}

/// The shape of rows of `width` for each query.
fn rows(reach: &Reach, width: usize) -> Shape {
    let [batch, groups, heads] = batch(reach);
    Shape::from((batch, groups, heads, reach.queries, width))
}

/// Queries, keys and values with a dimension for the heads of a group, 1 for keys and values.
fn grouped(reach: &Reach, [q, k, v]: [&Value; 3]) -> Result<[Value; 3]> {
    let Reach { batch, groups, keys, width, .. } = *reach;
    let shared = |part: &Value| part.reshape((batch, groups, 1, keys, width));
    Ok([q.reshape(rows(reach, width))?, shared(k)?, shared(v)?])
}

/// 1 where a query sees a key, `[batch or 1, 1, queries, keys]`.
fn mask(reach: &Reach) -> Result<Tensor> {
    let sequences = if reach.lengths.is_some() { reach.batch } else { 1 };
    let mut seen = vec![0_u8; sequences * reach.queries * reach.keys];
    for (row, seen) in seen.chunks_exact_mut(reach.keys).enumerate() {
        seen[reach.seen(row / reach.queries, row % reach.queries)].fill(1);
    }
    host_tensor(seen, (sequences, 1, reach.queries, reach.keys))
}
