//! Attention per (sequence, head), in blocks of queries so that the masked half of a causal mask is
//! never computed.

use super::gemm::{Into, Matrix, Target, product_here};
use super::isa::{Isa, Kernel, dispatch};
use super::number::Real;
use super::reduce::{max_lanes, sum_lanes, sum_lanes2};
use crate::backend::Heads;
use crate::cpu::data::unwritten;
use crate::pool::{Parts, Pool};

/// Queries computed together.
const BLOCK: usize = 64;

impl Heads {
    fn channels(&self) -> usize {
        self.heads * self.width
    }
    /// Keys that a block of queries ending before `to` looks at.
    fn keys(&self, to: usize) -> usize {
        if self.causal { to } else { self.time }
    }
    fn scale<T: Real>(&self) -> T {
        T::of(1.0 / (self.width as f64).sqrt())
    }
    fn grain(&self) -> usize {
        (128 * 1024 / (self.time * self.time * self.width).max(1)).max(1)
    }
    /// Weights of one head: of each block of queries, those of the keys that it looks at.
    fn weights(&self) -> usize {
        self.blocks().map(|(from, to)| (to - from) * self.keys(to)).sum()
    }
    /// First query of each block, and the first after it.
    fn blocks(&self) -> impl Iterator<Item = (usize, usize)> + use<> {
        let time = self.time;
        (0..time).step_by(BLOCK).map(move |from| (from, (from + BLOCK).min(time)))
    }
    /// Start of head `at`'s part `which` (0 queries, 1 keys, 2 values) in packed elements.
    fn start(&self, at: usize, which: usize) -> usize {
        let (batch, head) = (at / self.heads, at % self.heads);
        batch * self.time * 3 * self.channels() + which * self.channels() + head * self.width
    }
    fn out_start(&self, at: usize) -> usize {
        let (batch, head) = (at / self.heads, at % self.heads);
        batch * self.time * self.channels() + head * self.width
    }
}

struct SoftmaxScores<'a, T> {
    scores: &'a mut [T],
    width: usize,
    scale: T,
    /// Keys seen by the first row; every next one sees one more. `usize::MAX`: all see all.
    first: usize,
    /// Whether the weights are rounded to bf16.
    rounded: bool,
}

impl<T: Real> Kernel for SoftmaxScores<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Isa>(self, isa: S) {
        for (row, scores) in self.scores.chunks_exact_mut(self.width).enumerate() {
            let seen = self.first.saturating_add(row).min(self.width);
            let (seen, hidden) = scores.split_at_mut(seen);
            let largest = max_lanes(seen);
            for x in seen.iter_mut() {
                *x = ((*x - largest) * self.scale).exp(isa);
            }
            let factor = T::ONE / sum_lanes(seen, |x| x);
            seen.iter_mut().for_each(|x| *x *= factor);
            if self.rounded {
                seen.iter_mut().for_each(|x| *x = x.rounded());
            }
            hidden.fill(T::ZERO);
        }
    }
}

struct ScoresGradient<'a, T> {
    weights: &'a [T],
    gradient: &'a mut [T],
    width: usize,
    scale: T,
    /// Whether the gradient is rounded to bf16.
    rounded: bool,
}

impl<T: Real> Kernel for ScoresGradient<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Isa>(self, _: S) {
        for (g, p) in
            self.gradient.chunks_exact_mut(self.width).zip(self.weights.chunks_exact(self.width))
        {
            let sum = sum_lanes2(p, g, |p, g| p * g);
            // Indices: see `optimize`.
            let mut at = 0;
            while at < g.len() {
                g[at] = p[at] * (g[at] - sum) * self.scale;
                at += 1;
            }
            if self.rounded {
                g.iter_mut().for_each(|x| *x = x.rounded());
            }
        }
    }
}

/// The result [batch, time, channels], and the attention weights for the backward pass: for each
/// sequence, head and block of queries a row per query, with as many elements as the block has keys.
pub(crate) fn forward<T: Real>(pool: &Pool, heads: &Heads, qkv: &[T]) -> (Vec<T>, Vec<T>) {
    let Heads { batch, time, width, .. } = *heads;
    let channels = heads.channels();
    let row = 3 * channels;
    let mut out = unwritten::<T>(batch * time * channels);
    let mut weights = unwritten::<T>(batch * heads.heads * heads.weights());
    let (out_length, weights_length) = (out.len(), weights.len());
    let (out_parts, weight_parts) = (Parts::new(&mut out), Parts::new(&mut weights));
    pool.ranges(batch * heads.heads, heads.grain(), |range| {
        for at in range {
            let part = |which: usize, from: usize| {
                Matrix::strided(qkv, heads.start(at, which) + from * row, row, 1)
                    .rounded(heads.rounded)
            };
            let mut start = at * heads.weights();
            for (from, to) in heads.blocks() {
                let (rows, keys) = (to - from, heads.keys(to));
                let target = Target {
                    parts: &weight_parts,
                    length: weights_length,
                    start,
                    row_stride: keys,
                    column_stride: 1,
                };
                let out = heads.out_start(at) + from * channels;
                let out = Target {
                    parts: &out_parts,
                    length: out_length,
                    start: out,
                    row_stride: channels,
                    column_stride: 1,
                };
                // SAFETY: the weights and the results of each sequence and head belong to one task.
                let weights = unsafe {
                    product_here(
                        (rows, keys, width),
                        &target,
                        Into::Overwrite,
                        T::ONE,
                        part(0, from),
                        part(1, 0).transposed(),
                    );
                    weight_parts.part(start..start + rows * keys)
                };
                let first = if heads.causal { from + 1 } else { usize::MAX };
                dispatch(SoftmaxScores {
                    scores: weights,
                    width: keys,
                    scale: heads.scale(),
                    first,
                    rounded: heads.rounded,
                });
                // SAFETY: as above.
                unsafe {
                    product_here(
                        (rows, width, keys),
                        &out,
                        Into::Overwrite,
                        T::ONE,
                        Matrix::rows(weights, keys).rounded(heads.rounded),
                        part(2, 0),
                    )
                };
                start += rows * keys;
            }
        }
    });
    (out, weights)
}

/// The gradient of the packed queries, keys and values.
pub(crate) fn gradient<T: Real>(
    pool: &Pool,
    heads: &Heads,
    qkv: &[T],
    weights: &[T],
    gradient: &[T],
) -> Vec<T> {
    let Heads { batch, time, width, .. } = *heads;
    let channels = heads.channels();
    let row = 3 * channels;
    let mut full = vec![T::ZERO; qkv.len()];
    let full_length = full.len();
    let full_parts = Parts::new(&mut full);
    pool.ranges(batch * heads.heads, heads.grain(), |range| {
        let mut scores = unwritten::<T>(BLOCK.min(time) * time);
        for at in range {
            let part = |which: usize, from: usize| {
                Matrix::strided(qkv, heads.start(at, which) + from * row, row, 1)
                    .rounded(heads.rounded)
            };
            let into = |which: usize, from: usize| Target {
                parts: &full_parts,
                length: full_length,
                start: heads.start(at, which) + from * row,
                row_stride: row,
                column_stride: 1,
            };
            let mut start = at * heads.weights();
            for (from, to) in heads.blocks() {
                let (rows, keys) = (to - from, heads.keys(to));
                let p = &weights[start..start + rows * keys];
                start += rows * keys;
                let g =
                    Matrix::strided(gradient, heads.out_start(at) + from * channels, channels, 1)
                        .rounded(heads.rounded);
                let length = scores.len();
                let parts = Parts::new(&mut scores);
                let target =
                    Target { parts: &parts, length, start: 0, row_stride: keys, column_stride: 1 };
                // SAFETY: each sequence and head is written by one task; the scores belong to it.
                unsafe {
                    product_here(
                        (keys, width, rows),
                        &into(2, 0),
                        Into::Add,
                        T::ONE,
                        Matrix::rows(p, keys).rounded(heads.rounded).transposed(),
                        g,
                    );
                    product_here(
                        (rows, keys, width),
                        &target,
                        Into::Overwrite,
                        T::ONE,
                        g,
                        part(2, 0).transposed(),
                    );
                }
                let scores = &mut scores[..rows * keys];
                dispatch(ScoresGradient {
                    weights: p,
                    gradient: scores,
                    width: keys,
                    scale: heads.scale(),
                    rounded: heads.rounded,
                });
                let scores = Matrix::rows(scores, keys).rounded(heads.rounded);
                // SAFETY: as above.
                unsafe {
                    product_here(
                        (rows, width, keys),
                        &into(0, from),
                        Into::Overwrite,
                        T::ONE,
                        scores,
                        part(1, 0),
                    );
                    product_here(
                        (keys, width, rows),
                        &into(1, 0),
                        Into::Add,
                        T::ONE,
                        scores.transposed(),
                        part(0, from),
                    );
                }
            }
        }
    });
    full
}
