//! Sums along one of three axes, in an order that does not depend on the number of threads.

use super::isa::{Isa, Kernel, dispatch};
use super::number::Real;
use crate::cpu::data::unwritten;
use crate::pool::{Parts, Pool};

/// Fewest rows of one partial sum of columns.
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

/// `combine` of `before` and `f(x, y)` over as many pairs as fill `W` lanes, from `at` on; returns
/// the first index that is left. Loops over indices: see `optimize`.
#[inline(always)]
fn in_lanes<T: Real, const W: usize>(
    (x, y): (&[T], &[T]),
    mut at: usize,
    (start, before): (T, T),
    f: &impl Fn(T, T) -> T,
    combine: &impl Fn(T, T) -> T,
) -> (usize, T) {
    if at + W > x.len() {
        return (at, before);
    }
    let mut lanes = [start; W];
    while at + W <= x.len() {
        let (x, y) = (&x[at..at + W], &y[at..at + W]);
        let mut lane = 0;
        while lane < W {
            lanes[lane] = combine(lanes[lane], f(x[lane], y[lane]));
            lane += 1;
        }
        at += W;
    }
    let mut width = W / 2;
    while width > 0 {
        let mut lane = 0;
        while lane < width {
            lanes[lane] = combine(lanes[lane], lanes[lane + width]);
            lane += 1;
        }
        width /= 2;
    }
    (at, combine(before, lanes[0]))
}

/// `combine` of `start` and `f(x, y)` over all pairs: in 32 lanes, the rest in 8, and the last ones
/// in order.
#[inline(always)]
fn reduce<T: Real>(
    x: &[T],
    y: &[T],
    start: T,
    f: impl Fn(T, T) -> T,
    combine: impl Fn(T, T) -> T,
) -> T {
    let y = &y[..x.len()];
    let (at, whole) = in_lanes::<T, 32>((x, y), 0, (start, start), &f, &combine);
    let (mut at, mut whole) = in_lanes::<T, 8>((x, y), at, (start, whole), &f, &combine);
    while at < x.len() {
        whole = combine(whole, f(x[at], y[at]));
        at += 1;
    }
    whole
}

/// The sum of `f(x)`.
#[inline(always)]
pub(crate) fn sum_lanes<T: Real>(x: &[T], f: impl Fn(T) -> T) -> T {
    reduce(x, x, T::ZERO, |x, _| f(x), |a, b| a + b)
}

/// The sum of `f(x, y)` over pairs.
#[inline(always)]
pub(crate) fn sum_lanes2<T: Real>(x: &[T], y: &[T], f: impl Fn(T, T) -> T) -> T {
    reduce(x, y, T::ZERO, f, |a, b| a + b)
}

/// The largest element, or the lowest number for none.
#[inline(always)]
pub(crate) fn max_lanes<T: Real>(x: &[T]) -> T {
    reduce(x, x, T::LOWEST, |x, _| x, |a, b| a.larger(b))
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
            dispatch(AddRows(
                sums,
                &x[at * rows / partials * width..(at + 1) * rows / partials * width],
            ));
        }
    });
    dispatch(AddRows(&mut out, &partial));
    out
}

/// `out[o][i] = sum over r of x[o][r][i]`.
pub(crate) fn sum<T: Real>(
    pool: &Pool,
    x: &[T],
    outer: usize,
    length: usize,
    inner: usize,
) -> Vec<T> {
    if outer == 1 {
        return if inner == 1 {
            vec![sum_all(pool, x)]
        } else {
            sum_columns(pool, x, length, inner)
        };
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
