//! Sums along one of three axes, in an order that does not depend on the number of threads.

use super::simd::{Isa, Kernel, Real, dispatch};
use crate::pool::{Parts, Pool};
use crate::value::unwritten;

/// Rows that one partial sum takes at least, where columns are summed.
const ROWS: usize = 64;
/// Most partial sums.
const PARTIALS: usize = 16;

struct SumSlice<'a, T>(&'a [T]);
impl<T: Real> Kernel for SumSlice<'_, T> {
    type Output = T;
    #[inline(always)]
    fn run<S: Isa>(self, _: S) -> T {
        sum_lanes(self.0, |x| x)
    }
}

/// The sum of `f(x)` in 64 lanes, then over the lanes by halves.
#[inline(always)]
pub(crate) fn sum_lanes<T: Real>(x: &[T], f: impl Fn(T) -> T) -> T {
    let mut lanes = [T::ZERO; 64];
    let mut chunks = x.chunks_exact(64);
    for chunk in &mut chunks {
        for (lane, &x) in lanes.iter_mut().zip(chunk) {
            *lane += f(x);
        }
    }
    for (lane, &x) in lanes.iter_mut().zip(chunks.remainder()) {
        *lane += f(x);
    }
    let mut width = 32;
    while width > 0 {
        for at in 0..width {
            lanes[at] += lanes[at + width];
        }
        width /= 2;
    }
    lanes[0]
}

/// As [`sum_lanes`] over pairs.
#[inline(always)]
pub(crate) fn sum_lanes2<T: Real>(x: &[T], y: &[T], f: impl Fn(T, T) -> T) -> T {
    let mut lanes = [T::ZERO; 32];
    let length = x.len().min(y.len());
    let whole = length / 32 * 32;
    for (x, y) in x[..whole].chunks_exact(32).zip(y[..whole].chunks_exact(32)) {
        for at in 0..32 {
            lanes[at] += f(x[at], y[at]);
        }
    }
    for (lane, (&x, &y)) in lanes.iter_mut().zip(x[whole..length].iter().zip(&y[whole..length])) {
        *lane += f(x, y);
    }
    let mut width = 16;
    while width > 0 {
        for at in 0..width {
            lanes[at] += lanes[at + width];
        }
        width /= 2;
    }
    lanes[0]
}

/// The largest element, or the lowest number for none.
#[inline(always)]
pub(crate) fn max_lanes<T: Real>(x: &[T]) -> T {
    let mut lanes = [T::LOWEST; 64];
    let mut chunks = x.chunks_exact(64);
    for chunk in &mut chunks {
        for (lane, &x) in lanes.iter_mut().zip(chunk) {
            *lane = lane.larger(x);
        }
    }
    for (lane, &x) in lanes.iter_mut().zip(chunks.remainder()) {
        *lane = lane.larger(x);
    }
    lanes.iter().fold(T::LOWEST, |a, &b| a.larger(b))
}

/// The sum of a few elements, on this thread.
pub(crate) fn sum_slice<T: Real>(x: &[T]) -> T {
    dispatch(SumSlice(x))
}

/// The sum of all elements.
pub(crate) fn sum_all<T: Real>(pool: &Pool, x: &[T]) -> T {
    const BLOCK: usize = 16 * 1024;
    let blocks = x.len().div_ceil(BLOCK);
    if blocks <= 1 {
        return dispatch(SumSlice(x));
    }
    let mut partial = vec![T::ZERO; blocks];
    let parts = Parts::new(&mut partial);
    pool.ranges(blocks, 4, |range| {
        for block in range {
            // SAFETY: the ranges of one call do not overlap.
            let sum = unsafe { parts.part(block..block + 1) };
            sum[0] = dispatch(SumSlice(&x[block * BLOCK..x.len().min((block + 1) * BLOCK)]));
        }
    });
    dispatch(SumSlice(&partial))
}

struct AddRows<'a, T>(&'a mut [T], &'a [T]);
impl<T: Real> Kernel for AddRows<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Isa>(self, _: S) {
        let AddRows(sums, x) = self;
        let width = sums.len();
        let mut start = 0;
        while width > 0 && start + width <= x.len() {
            // Indices, not iterators: see `optimize`.
            let row = &x[start..start + width];
            let mut at = 0;
            while at < width {
                sums[at] += row[at];
                at += 1;
            }
            start += width;
        }
    }
}

/// `out[i] = sum over r of x[r][i]` for `rows` rows.
pub(crate) fn sum_columns<T: Real>(pool: &Pool, x: &[T], rows: usize, width: usize) -> Vec<T> {
    let mut out = vec![T::ZERO; width];
    if width == 0 || rows == 0 {
        return out;
    }
    let partials = (rows / ROWS).clamp(1, PARTIALS);
    if partials == 1 {
        dispatch(AddRows(&mut out, x));
        return out;
    }
    let mut partial = vec![T::ZERO; partials * width];
    let parts = Parts::new(&mut partial);
    let grain = (64 * 1024 / (rows / partials * width).max(1)).max(1);
    pool.ranges(partials, grain, |range| {
        for at in range {
            // SAFETY: each partial sum is written by one task.
            let sums = unsafe { parts.part(at * width..(at + 1) * width) };
            dispatch(AddRows(sums, &x[at * rows / partials * width..(at + 1) * rows / partials * width]));
        }
    });
    dispatch(AddRows(&mut out, &partial));
    out
}

/// `out[o][i] = sum over r of x[o][r][i]`.
pub(crate) fn sum<T: Real>(pool: &Pool, x: &[T], outer: usize, length: usize, inner: usize) -> Vec<T> {
    if outer == 1 {
        return if inner == 1 { vec![sum_all(pool, x)] } else { sum_columns(pool, x, length, inner) };
    }
    let mut out = if length == 0 { vec![T::ZERO; outer * inner] } else { unwritten(outer * inner) };
    let size = length * inner;
    if size == 0 || out.is_empty() {
        return out;
    }
    let parts = Parts::new(&mut out);
    pool.ranges(outer, (32 * 1024 / size).max(1), |range| {
        for at in range {
            // SAFETY: each outer index is written by one task.
            let out = unsafe { parts.part(at * inner..(at + 1) * inner) };
            let x = &x[at * size..(at + 1) * size];
            if inner == 1 {
                out[0] = dispatch(SumSlice(x));
            } else {
                out.fill(T::ZERO);
                dispatch(AddRows(out, x));
            }
        }
    });
    out
}
