//! Attention of separate queries, keys and values, in blocks of queries: keys that no query of a
//! block sees are not computed.

use super::elementwise::round_here;
use super::gemm::{Into, Matrix, Target, product_here};
use super::isa::{Isa, Kernel, dispatch};
use super::number::Real;
use super::reduce::{max_lanes, sum_lanes, sum_lanes2};
use crate::backend::Reach;
use crate::cpu::data::unwritten;
use crate::pool::{Parts, Pool};

/// Queries computed together.
const BLOCK: usize = 64;

/// A bias of the scores, with its step along sequences, heads, queries and keys: 0 where it is
/// broadcast, and along keys 0 or 1.
pub(crate) struct Bias<'a, T> {
    pub elements: &'a [T],
    pub steps: [usize; 4],
}

/// Distances between keys, and values, counted in elements.
#[derive(Clone, Copy)]
pub(crate) struct Steps {
    /// From a group of a sequence to the next.
    group: usize,
    /// From a key to the next.
    key: usize,
}

impl Steps {
    /// Of keys `[batch, groups, keys, width]`.
    pub(crate) fn of(reach: &Reach) -> Steps {
        Steps { group: reach.keys * reach.width, key: reach.width }
    }

    /// Of keys `[time, batch, groups, width]`.
    pub(crate) fn kept(reach: &Reach) -> Steps {
        Steps { group: reach.width, key: reach.batch * reach.groups * reach.width }
    }
}

/// A block of queries of one head.
struct Block {
    /// First query, and the first after it.
    rows: (usize, usize),
    /// First key that any of them sees, and the first after the last.
    keys: (usize, usize),
}

impl Reach {
    fn grain(&self) -> usize {
        (128 * 1024 / (self.queries * self.keys * self.width).max(1)).max(1)
    }

    fn blocks(&self, sequence: usize) -> impl Iterator<Item = Block> + use<'_> {
        (0..self.queries).step_by(BLOCK).map(move |from| {
            let to = (from + BLOCK).min(self.queries);
            let seen = (from..to).map(|query| self.seen(sequence, query));
            let keys = seen.filter(|seen| !seen.is_empty()).fold((0, 0), |(low, high), seen| {
                let low = if high == 0 { seen.start } else { seen.start.min(low) };
                (low, seen.end.max(high))
            });
            Block { rows: (from, to), keys }
        })
    }
}

struct Weights<'a, T> {
    /// Whole rows of scores, of which those within `range` are computed.
    rows: &'a mut [T],
    range: (usize, usize),
    reach: &'a Reach,
    sequence: usize,
    head: usize,
    /// The first query.
    from: usize,
    bias: Option<&'a Bias<'a, T>>,
}

impl<T: Real> Kernel for Weights<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Isa>(self, isa: S) {
        for (row, scores) in self.rows.chunks_exact_mut(self.reach.keys).enumerate() {
            let seen = self.reach.seen(self.sequence, self.from + row);
            scores[..seen.start].fill(T::ZERO);
            scores[seen.end..].fill(T::ZERO);
            debug_assert!(
                seen.is_empty() || (self.range.0 <= seen.start && seen.end <= self.range.1)
            );
            if let Some(Bias { elements, steps }) = self.bias {
                let start =
                    self.sequence * steps[0] + self.head * steps[1] + (self.from + row) * steps[2];
                let mut at = seen.start;
                while at < seen.end {
                    scores[at] += elements[start + at * steps[3]];
                    at += 1;
                }
            }
            let scores = &mut scores[seen];
            if scores.is_empty() {
                continue;
            }
            let largest = max_lanes(scores);
            for x in scores.iter_mut() {
                *x = (*x - largest).exp(isa);
            }
            let factor = T::ONE / sum_lanes(scores, |x| x);
            scores.iter_mut().for_each(|x| *x *= factor);
            if self.reach.rounded {
                scores.iter_mut().for_each(|x| *x = x.rounded());
            }
        }
    }
}

struct ScoresGradient<'a, T> {
    /// Whole rows of weights.
    weights: &'a [T],
    /// Rows of the gradient within the range of keys.
    gradient: &'a mut [T],
    keys: usize,
    range: (usize, usize),
}

impl<T: Real> Kernel for ScoresGradient<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Isa>(self, _: S) {
        let (from, to) = self.range;
        let rows = self.gradient.chunks_exact_mut(to - from);
        for (g, weights) in rows.zip(self.weights.chunks_exact(self.keys)) {
            let p = &weights[from..to];
            let sum = sum_lanes2(p, g, |p, g| p * g);
            // Indices: see `optimize`.
            let mut at = 0;
            while at < g.len() {
                g[at] = p[at] * (g[at] - sum);
                at += 1;
            }
        }
    }
}

/// The result `[batch, heads, queries, width]`, and the weights `[batch, heads, queries, keys]`.
pub(crate) fn forward<T: Real>(
    pool: &Pool,
    reach: &Reach,
    [q, k, v]: [&[T]; 3],
    bias: Option<&Bias<T>>,
    steps: Steps,
) -> (Vec<T>, Vec<T>) {
    let Reach { batch, heads, groups, queries, keys, width, .. } = *reach;
    let mut out = unwritten::<T>(batch * heads * queries * width);
    let mut weights = unwritten::<T>(batch * heads * queries * keys);
    let (out_length, weights_length) = (out.len(), weights.len());
    let (out_parts, weight_parts) = (Parts::new(&mut out), Parts::new(&mut weights));
    pool.ranges(batch * heads, reach.grain(), |range| {
        for at in range {
            let (sequence, head) = (at / heads, at % heads);
            let group = (sequence * groups + head * groups / heads) * steps.group;
            for Block { rows: (from, to), keys: (low, high) } in reach.blocks(sequence) {
                let (rows, seen) = (to - from, high - low);
                let query = at * queries + from;
                let scores = Target {
                    parts: &weight_parts,
                    length: weights_length,
                    start: query * keys + low,
                    row_stride: keys,
                    column_stride: 1,
                };
                let result = Target {
                    parts: &out_parts,
                    length: out_length,
                    start: query * width,
                    row_stride: width,
                    column_stride: 1,
                };
                let key = |part| {
                    Matrix::strided(part, group + low * steps.key, steps.key, 1)
                        .rounded(reach.rounded)
                };
                if seen > 0 {
                    // SAFETY: the weights of each sequence and head belong to one task.
                    unsafe {
                        product_here(
                            (rows, seen, width),
                            &scores,
                            Into::Overwrite,
                            T::of(reach.scale),
                            Matrix::strided(q, query * width, width, 1).rounded(reach.rounded),
                            key(k).transposed(),
                        );
                    }
                }
                // SAFETY: as above.
                let block = unsafe { weight_parts.part(query * keys..(query + rows) * keys) };
                dispatch(Weights {
                    rows: &mut *block,
                    range: (low, high),
                    reach,
                    sequence,
                    head,
                    from,
                    bias,
                });
                // SAFETY: the results of each sequence and head belong to one task.
                unsafe {
                    if seen == 0 {
                        out_parts.part(query * width..(query + rows) * width).fill(T::ZERO);
                    } else {
                        product_here(
                            (rows, width, seen),
                            &result,
                            Into::Overwrite,
                            T::ONE,
                            Matrix::strided(block, low, keys, 1).rounded(reach.rounded),
                            key(v),
                        );
                    }
                }
            }
        }
    });
    (out, weights)
}

/// Gradients of queries, keys and values, and of the scores if they are wanted.
pub(crate) type Gradients<T> = ([Vec<T>; 3], Option<Vec<T>>);

/// The gradients of queries, keys and values, and of the scores before their scale if
/// `wants_scores`.
pub(crate) fn gradient<T: Real>(
    pool: &Pool,
    reach: &Reach,
    [q, k, v]: [&[T]; 3],
    weights: &[T],
    gradient: &[T],
    wants_scores: bool,
) -> Gradients<T> {
    let Reach { batch, heads, groups, queries, keys, width, .. } = *reach;
    let mut parts = [q, k, v].map(|part| vec![T::ZERO; part.len()]);
    let lengths = [q, k, v].map(<[T]>::len);
    let mut scores = vec![T::ZERO; if wants_scores { weights.len() } else { 0 }];
    let score_parts = Parts::new(&mut scores);
    let [to_q, to_k, to_v] = &mut parts;
    let into = [Parts::new(to_q), Parts::new(to_k), Parts::new(to_v)];
    let shared = heads / groups;
    // Heads of a group add to the same keys and values, so that one task does them all.
    pool.ranges(batch * groups, (reach.grain() / shared).max(1), |range| {
        let mut buffer = unwritten::<T>(BLOCK.min(queries) * keys);
        for (group, head) in range.flat_map(|at| (0..shared).map(move |head| (at, head))) {
            let sequence = group / groups;
            let at = group * shared + head;
            for Block { rows: (from, to), keys: (low, high) } in reach.blocks(sequence) {
                let (rows, seen) = (to - from, high - low);
                if seen == 0 {
                    continue;
                }
                let query = at * queries + from;
                let key = (group * keys + low) * width;
                let target = |which: usize, start: usize| Target {
                    parts: &into[which],
                    length: lengths[which],
                    start,
                    row_stride: width,
                    column_stride: 1,
                };
                let p = &weights[query * keys..(query + rows) * keys];
                let g = Matrix::strided(gradient, query * width, width, 1).rounded(reach.rounded);
                let length = buffer.len();
                let buffer_parts = Parts::new(&mut buffer);
                let own = Target {
                    parts: &buffer_parts,
                    length,
                    start: 0,
                    row_stride: seen,
                    column_stride: 1,
                };
                // SAFETY: each group is written by one task; the buffer belongs to it.
                unsafe {
                    product_here(
                        (seen, width, rows),
                        &target(2, key),
                        Into::Add,
                        T::ONE,
                        Matrix::strided(p, low, keys, 1).rounded(reach.rounded).transposed(),
                        g,
                    );
                    product_here(
                        (rows, seen, width),
                        &own,
                        Into::Overwrite,
                        T::ONE,
                        g,
                        Matrix::strided(v, key, width, 1).rounded(reach.rounded).transposed(),
                    );
                }
                let block = &mut buffer[..rows * seen];
                dispatch(ScoresGradient {
                    weights: p,
                    gradient: &mut *block,
                    keys,
                    range: (low, high),
                });
                if wants_scores {
                    for (row, from) in block.chunks_exact(seen).enumerate() {
                        let start = (query + row) * keys;
                        // SAFETY: the rows of this task's heads.
                        unsafe { score_parts.part(start + low..start + high) }
                            .copy_from_slice(from);
                    }
                }
                if reach.rounded {
                    round_here(block);
                }
                let block = Matrix::rows(block, seen).rounded(reach.rounded);
                let scale = T::of(reach.scale);
                // SAFETY: as above.
                unsafe {
                    product_here(
                        (rows, width, seen),
                        &target(0, query * width),
                        Into::Overwrite,
                        scale,
                        block,
                        Matrix::strided(k, key, width, 1).rounded(reach.rounded),
                    );
                    product_here(
                        (seen, width, rows),
                        &target(1, key),
                        Into::Add,
                        scale,
                        block.transposed(),
                        Matrix::strided(q, query * width, width, 1).rounded(reach.rounded),
                    );
                }
            }
        }
    });
    (parts, wants_scores.then_some(scores))
}

struct Rotate<'a, T> {
    /// Rows of `2 half` channels.
    x: &'a [T],
    out: &'a mut [T],
    cosines: &'a [T],
    sines: &'a [T],
    half: usize,
    interleaved: bool,
    back: bool,
}

impl<T: Real> Kernel for Rotate<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Isa>(self, _: S) {
        let Rotate { x, out, cosines, sines, half, .. } = self;
        let sign = if self.back { T::ZERO - T::ONE } else { T::ONE };
        let rows = x.chunks_exact(2 * half).zip(out.chunks_exact_mut(2 * half));
        for (row, (x, out)) in rows.enumerate() {
            let (c, s) = (&cosines[row * half..][..half], &sines[row * half..][..half]);
            let mut at = 0;
            while at < half {
                let (first, second) =
                    if self.interleaved { (2 * at, 2 * at + 1) } else { (at, at + half) };
                let (a, b, s) = (x[first], x[second], s[at] * sign);
                out[first] = a * c[at] - b * s;
                out[second] = b * c[at] + a * s;
                at += 1;
            }
        }
    }
}

/// Rotates the pairs of channels of `x`; see [`Rotation`](crate::backend::Rotation).
pub(crate) fn rotate<T: Real>(
    pool: &Pool,
    rotation: &crate::backend::Rotation,
    x: &[T],
    [cosines, sines]: [&[T]; 2],
    back: bool,
) -> Vec<T> {
    let crate::backend::Rotation { tables, sequences, time, half, interleaved } = *rotation;
    let mut out = unwritten::<T>(x.len());
    let parts = Parts::new(&mut out);
    let block = time * 2 * half;
    pool.ranges(tables * sequences, (16 * 1024 / block.max(1)).max(1), |range| {
        for at in range {
            let places = at * block..(at + 1) * block;
            let table = at / sequences * time * half..(at / sequences + 1) * time * half;
            // SAFETY: each sequence belongs to one task.
            let out = unsafe { parts.part(places.clone()) };
            let (cosines, sines) = (&cosines[table.clone()], &sines[table]);
            dispatch(Rotate { x: &x[places], out, cosines, sines, half, interleaved, back });
        }
    });
    out
}
