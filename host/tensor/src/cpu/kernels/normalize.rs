//! Normalisation of groups of elements, with an affine map per channel.
//!
//! One kernel for layer, group and root-mean-square normalisation: a group is a run of consecutive
//! elements, and the channel of an element follows from its place. `x^ = (x - mean) r` with
//! `r = 1 / sqrt(variance + epsilon)`; gradient as in Ioffe and Szegedy 2015:
//! `dx = r (g - mean(g) - x^ mean(g x^))` with `g` the gradient of `x^`.

use super::isa::{Isa, Kernel, dispatch};
use super::number::Real;
use super::reduce::{sum_lanes, sum_lanes2};
use super::softmax::each_row;
use crate::backend::Centre;
use crate::cpu::data::unwritten;
use crate::pool::{Parts, Pool};

/// Mean and `1 / sqrt(variance + epsilon)` of a group.
pub(crate) type Moments<T> = [T; 2];

struct Statistics<'a, T>(&'a [T], Centre, T);
impl<T: Real> Kernel for Statistics<'_, T> {
    type Output = Moments<T>;
    #[inline(always)]
    fn run<S: Isa>(self, _: S) -> Moments<T> {
        let count = T::of(self.0.len() as f64);
        let mean = if self.1 == Centre::Mean { sum_lanes(self.0, |x| x) / count } else { T::ZERO };
        let variance = sum_lanes(self.0, |x| (x - mean) * (x - mean)) / count;
        [mean, T::ONE / (variance + self.2).sqrt()]
    }
}

struct NormalizeRow<'a, T> {
    x: &'a [T],
    moments: Moments<T>,
    weights: Option<&'a [T]>,
    bias: Option<&'a [T]>,
    out: &'a mut [T],
}
impl<T: Real> Kernel for NormalizeRow<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Isa>(self, _: S) {
        let Self { x, moments: [mean, scale], weights, bias, out } = self;
        let rows = out.iter_mut().zip(x);
        match (weights, bias) {
            (Some(w), Some(b)) => rows
                .zip(w.iter().zip(b))
                .for_each(|((out, &x), (&w, &b))| *out = (x - mean) * scale * w + b),
            (Some(w), None) => {
                rows.zip(w).for_each(|((out, &x), &w)| *out = (x - mean) * scale * w)
            }
            _ => rows.for_each(|(out, &x)| *out = (x - mean) * scale),
        }
    }
}

/// Normalises consecutive groups of `width` elements; weights and bias have one number per element
/// of a group.
pub(crate) fn rows<T: Real>(
    pool: &Pool,
    x: &[T],
    width: usize,
    centre: Centre,
    epsilon: T,
    weights: Option<&[T]>,
    bias: Option<&[T]>,
) -> (Vec<T>, Vec<Moments<T>>) {
    let mut out = unwritten(x.len());
    let mut moments = vec![[T::ZERO, T::ONE]; x.len() / width.max(1)];
    let parts = Parts::new(&mut moments);
    each_row(pool, &mut out, width, |at, out| {
        let x = &x[at * width..(at + 1) * width];
        let row = dispatch(Statistics(x, centre, epsilon));
        // SAFETY: each row is written by one task.
        let slot = unsafe { parts.part(at..at + 1) };
        slot[0] = row;
        dispatch(NormalizeRow { x, moments: row, weights, bias, out });
    });
    (out, moments)
}

struct RowGradient<'a, T> {
    x: &'a [T],
    gradient: &'a [T],
    weights: Option<&'a [T]>,
    moments: Moments<T>,
    centre: Centre,
    out: &'a mut [T],
}
impl<T: Real> Kernel for RowGradient<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Isa>(self, _: S) {
        let Self { x, gradient, weights, moments: [mean, scale], centre, out } = self;
        match weights {
            Some(w) => {
                out.iter_mut().zip(gradient.iter().zip(w)).for_each(|(out, (&g, &w))| *out = g * w)
            }
            None => out.copy_from_slice(gradient),
        }
        let count = T::of(x.len() as f64);
        let average = if centre == Centre::Mean { sum_lanes(out, |g| g) / count } else { T::ZERO };
        let along = sum_lanes2(out, x, |g, x| g * (x - mean)) * scale / count;
        for (out, &x) in out.iter_mut().zip(x) {
            *out = scale * (*out - average - (x - mean) * scale * along);
        }
    }
}

/// The gradient of the input of [`rows`].
#[allow(clippy::too_many_arguments)]
pub(crate) fn rows_gradient<T: Real>(
    pool: &Pool,
    x: &[T],
    gradient: &[T],
    width: usize,
    centre: Centre,
    weights: Option<&[T]>,
    moments: &[Moments<T>],
) -> Vec<T> {
    let mut out = unwritten(x.len());
    each_row(pool, &mut out, width, |at, out| {
        let range = at * width..(at + 1) * width;
        dispatch(RowGradient {
            x: &x[range.clone()],
            gradient: &gradient[range],
            weights,
            moments: moments[at],
            centre,
            out,
        });
    });
    out
}

struct AffineRows<'a, T> {
    x: &'a [T],
    gradient: &'a [T],
    moments: &'a [Moments<T>],
    weights: &'a mut [T],
    bias: &'a mut [T],
}
impl<T: Real> Kernel for AffineRows<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Isa>(self, _: S) {
        let width = self.weights.len();
        for ((x, g), &[mean, scale]) in
            self.x.chunks_exact(width).zip(self.gradient.chunks_exact(width)).zip(self.moments)
        {
            for (((w, b), &x), &g) in
                self.weights.iter_mut().zip(self.bias.iter_mut()).zip(x).zip(g)
            {
                *w += g * (x - mean) * scale;
                *b += g;
            }
        }
    }
}

/// Gradients of weights and bias of [`rows`].
pub(crate) fn affine_gradient<T: Real>(
    pool: &Pool,
    x: &[T],
    gradient: &[T],
    width: usize,
    moments: &[Moments<T>],
) -> (Vec<T>, Vec<T>) {
    let partials = (moments.len() / 64).clamp(1, 16);
    let mut sums = vec![T::ZERO; partials * 2 * width];
    let parts = Parts::new(&mut sums);
    let grain = (32 * 1024 / (x.len() / partials).max(1)).max(1);
    pool.ranges(partials, grain, |range| {
        for at in range {
            let (from, to) = (at * moments.len() / partials, (at + 1) * moments.len() / partials);
            // SAFETY: each partial sum is written by one task.
            let (weights, bias) =
                unsafe { parts.part(at * 2 * width..(at + 1) * 2 * width) }.split_at_mut(width);
            let span = from * width..to * width;
            dispatch(AffineRows {
                x: &x[span.clone()],
                gradient: &gradient[span],
                moments: &moments[from..to],
                weights,
                bias,
            });
        }
    });
    let mut total = sums[..2 * width].to_vec();
    for other in sums[2 * width..].chunks_exact((2 * width).max(1)) {
        total.iter_mut().zip(other).for_each(|(sum, &x)| *sum += x);
    }
    let bias = total.split_off(width);
    (total, bias)
}
