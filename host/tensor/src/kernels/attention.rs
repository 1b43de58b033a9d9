//! Attention per (sequence, head), in blocks of queries so that the masked half of a causal mask is never computed.

use super::gemm::{Into, Matrix, Target, product_here};
use super::reduce::{max_lanes, sum_lanes, sum_lanes2};
use super::simd::{Isa, Kernel, Real, dispatch};
use crate::pool::{Parts, Pool};
use crate::value::unwritten;

/// Sizes of an attention over [batch, time, 3 heads width].
#[derive(Clone, Copy, Debug)]
pub(crate) struct Heads {
    pub batch: usize,
    pub time: usize,
    pub heads: usize,
    pub width: usize,
    pub causal: bool,
}

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
            hidden.fill(T::ZERO);
        }
    }
}

struct ScoresGradient<'a, T> {
    weights: &'a [T],
    gradient: &'a mut [T],
    width: usize,
    stride: usize,
    scale: T,
}

impl<T: Real> Kernel for ScoresGradient<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Isa>(self, _: S) {
        for (g, p) in self.gradient.chunks_exact_mut(self.width).zip(self.weights.chunks(self.stride)) {
            let p = &p[..self.width];
            let sum = sum_lanes2(p, g, |p, g| p * g);
            for (g, &p) in g.iter_mut().zip(p) {
                *g = p * (*g - sum) * self.scale;
            }
        }
    }
}

/// The result [batch, time, channels], and the attention weights [batch, heads, time, time] for the way back.
pub(crate) fn forward<T: Real>(pool: &Pool, heads: &Heads, qkv: &[T]) -> (Vec<T>, Vec<T>) {
    let Heads { batch, time, width, .. } = *heads;
    let channels = heads.channels();
    let row = 3 * channels;
    let mut out = unwritten::<T>(batch * time * channels);
    let mut weights = unwritten::<T>(batch * heads.heads * time * time);
    let out_length = out.len();
    let (out_parts, weight_parts) = (Parts::new(&mut out), Parts::new(&mut weights));
    pool.ranges(batch * heads.heads, heads.grain(), |range| {
        let mut scores = unwritten::<T>(BLOCK.min(time) * time);
        for at in range {
            let part = |which: usize, from: usize| Matrix::strided(qkv, heads.start(at, which) + from * row, row, 1);
            for from in (0..time).step_by(BLOCK) {
                let to = (from + BLOCK).min(time);
                let (rows, keys) = (to - from, heads.keys(to));
                let length = scores.len();
                let parts = Parts::new(&mut scores);
                let target = Target { parts: &parts, length, start: 0, row_stride: keys, column_stride: 1 };
                // SAFETY: the scores belong to this task.
                unsafe { product_here((rows, keys, width), &target, Into::Overwrite, T::ONE, part(0, from), part(1, 0).transposed()) };
                let first = if heads.causal { from + 1 } else { usize::MAX };
                dispatch(SoftmaxScores { scores: &mut scores[..rows * keys], width: keys, scale: heads.scale(), first });
                let start = heads.out_start(at) + from * channels;
                let target = Target { parts: &out_parts, length: out_length, start, row_stride: channels, column_stride: 1 };
                let span = (at * time + from) * time..(at * time + to) * time;
                // SAFETY: each sequence and head is written by one task.
                let saved = unsafe {
                    product_here((rows, width, keys), &target, Into::Overwrite, T::ONE, Matrix::rows(&scores, keys), part(2, 0));
                    weight_parts.part(span)
                };
                for (saved, scores) in saved.chunks_exact_mut(time).zip(scores.chunks_exact(keys)) {
                    saved[..keys].copy_from_slice(scores);
                }
            }
        }
    });
    (out, weights)
}

/// The gradient of the packed queries, keys and values.
pub(crate) fn gradient<T: Real>(pool: &Pool, heads: &Heads, qkv: &[T], weights: &[T], gradient: &[T]) -> Vec<T> {
    let Heads { batch, time, width, .. } = *heads;
    let channels = heads.channels();
    let row = 3 * channels;
    let mut full = vec![T::ZERO; qkv.len()];
    let full_length = full.len();
    let full_parts = Parts::new(&mut full);
    pool.ranges(batch * heads.heads, heads.grain(), |range| {
        let mut scores = unwritten::<T>(BLOCK.min(time) * time);
        for at in range {
            let part = |which: usize, from: usize| Matrix::strided(qkv, heads.start(at, which) + from * row, row, 1);
            let into = |which: usize, from: usize| Target {
                parts: &full_parts,
                length: full_length,
                start: heads.start(at, which) + from * row,
                row_stride: row,
                column_stride: 1,
            };
            for from in (0..time).step_by(BLOCK) {
                let to = (from + BLOCK).min(time);
                let (rows, keys) = (to - from, heads.keys(to));
                let p = &weights[(at * time + from) * time..(at * time + to) * time];
                let g = Matrix::strided(gradient, heads.out_start(at) + from * channels, channels, 1);
                let length = scores.len();
                let parts = Parts::new(&mut scores);
                let target = Target { parts: &parts, length, start: 0, row_stride: keys, column_stride: 1 };
                // SAFETY: each sequence and head is written by one task; the scores belong to it.
                unsafe {
                    product_here((keys, width, rows), &into(2, 0), Into::Add, T::ONE, Matrix::rows(p, time).transposed(), g);
                    product_here((rows, keys, width), &target, Into::Overwrite, T::ONE, g, part(2, 0).transposed());
                }
                let scores = &mut scores[..rows * keys];
                dispatch(ScoresGradient { weights: p, gradient: scores, width: keys, stride: time, scale: heads.scale() });
                let scores = Matrix::rows(scores, keys);
                // SAFETY: as above.
                unsafe {
                    product_here((rows, width, keys), &into(0, from), Into::Overwrite, T::ONE, scores, part(1, 0));
                    product_here((keys, width, rows), &into(1, 0), Into::Add, T::ONE, scores.transposed(), part(0, from));
                }
            }
        }
    });
    full
}
