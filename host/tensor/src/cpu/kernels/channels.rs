//! Normalisation of the channels of `[images, channels, area]`: each pass reads a tensor once, plane by
//! plane, and keeps one sum for each plane. Sums have one order however the planes are split.

use std::ops::Range;

use super::elementwise::GRAIN;
use super::isa::{Isa, Kernel, dispatch};
use super::number::Real;
use super::reduce::{sum, sum_columns, sum_lanes, sum_lanes2};
use crate::backend::Channels;
use crate::cpu::data::unwritten;
use crate::pool::{Parts, Pool};

impl Channels {
    fn planes(self) -> usize {
        self.images * self.channels
    }

    /// Calls `task` with ranges of planes.
    fn split(self, pool: &Pool, task: impl Fn(Range<usize>) + Sync) {
        pool.ranges(self.planes(), (GRAIN / self.area.max(1)).max(1), task);
    }

    /// Elements of some planes.
    fn span(self, planes: &Range<usize>) -> Range<usize> {
        planes.start * self.area..planes.end * self.area
    }

    /// Sums over images of a number for each plane.
    fn over_images<T: Real>(self, pool: &Pool, planes: &[T]) -> Vec<T> {
        sum_columns(pool, planes, self.images, self.channels)
    }
}

/// Sums per channel.
pub(crate) fn sums<T: Real>(pool: &Pool, sizes: Channels, x: &[T]) -> Vec<T> {
    let planes = sum(pool, x, sizes.planes(), sizes.area, 1);
    sizes.over_images(pool, &planes)
}

/// Mean and (biased) variance per channel.
pub(crate) fn moments<T: Real>(pool: &Pool, sizes: Channels, x: &[T]) -> [Vec<T>; 2] {
    let divisor = T::of((sizes.images * sizes.area) as f64);
    let mut mean = sums(pool, sizes, x);
    mean.iter_mut().for_each(|sum| *sum /= divisor);
    let mut squares = unwritten::<T>(sizes.planes());
    let parts = Parts::new(&mut squares);
    sizes.split(pool, |planes| {
        let x = &x[sizes.span(&planes)];
        // SAFETY: each plane is used by one task.
        let out = unsafe { parts.part(planes.clone()) };
        dispatch(Squares { sizes, first: planes.start, x, mean: &mean, out });
    });
    let mut variance = sizes.over_images(pool, &squares);
    variance.iter_mut().for_each(|sum| *sum /= divisor);
    [mean, variance]
}

struct Squares<'a, T> {
    sizes: Channels,
    /// Number of the first plane.
    first: usize,
    x: &'a [T],
    mean: &'a [T],
    out: &'a mut [T],
}

impl<T: Real> Kernel for Squares<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Isa>(self, _: S) {
        let Self { sizes, first, x, mean, out } = self;
        for (at, (out, x)) in out.iter_mut().zip(x.chunks_exact(sizes.area)).enumerate() {
            let mean = mean[(first + at) % sizes.channels];
            *out = sum_lanes(x, |x| (x - mean) * (x - mean));
        }
    }
}

/// `(x - mean) scale weights + bias`, with a number for each channel.
pub(crate) fn normalize<T: Real>(
    pool: &Pool,
    sizes: Channels,
    x: &[T],
    [mean, scale, weights, bias]: [&[T]; 4],
) -> Vec<T> {
    let mut out = unwritten::<T>(x.len());
    let parts = Parts::new(&mut out);
    sizes.split(pool, |planes| {
        let span = sizes.span(&planes);
        // SAFETY: each plane is written by one task.
        let out = unsafe { parts.part(span.clone()) };
        let maps = [mean, scale, weights, bias];
        dispatch(Normalize { sizes, first: planes.start, x: &x[span], maps, out });
    });
    out
}

struct Normalize<'a, T> {
    sizes: Channels,
    first: usize,
    x: &'a [T],
    maps: [&'a [T]; 4],
    out: &'a mut [T],
}

impl<T: Real> Kernel for Normalize<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Isa>(self, _: S) {
        let Self { sizes: Channels { channels, area, .. }, first, x, maps, out } = self;
        let [mean, scale, weights, bias] = maps;
        for (at, out) in out.chunks_exact_mut(area).enumerate() {
            let (x, channel) = (&x[at * area..(at + 1) * area], (first + at) % channels);
            let (mean, scale) = (mean[channel], scale[channel]);
            let (weight, bias) = (weights[channel], bias[channel]);
            let mut at = 0;
            while at < area {
                out[at] = (x[at] - mean) * scale * weight + bias;
                at += 1;
            }
        }
    }
}

/// The gradients of weights and bias of [`normalize`].
pub(crate) fn affine_gradient<T: Real>(
    pool: &Pool,
    sizes: Channels,
    x: &[T],
    gradient: &[T],
    mean: &[T],
    scale: &[T],
) -> [Vec<T>; 2] {
    let mut both = unwritten::<T>(2 * sizes.planes());
    let (weights, bias) = both.split_at_mut(sizes.planes());
    let (weight_parts, bias_parts) = (Parts::new(weights), Parts::new(bias));
    sizes.split(pool, |planes| {
        let span = sizes.span(&planes);
        // SAFETY: each plane is used by one task.
        let (weights, bias) =
            unsafe { (weight_parts.part(planes.clone()), bias_parts.part(planes.clone())) };
        let (x, gradient, first) = (&x[span.clone()], &gradient[span], planes.start);
        dispatch(Affine { sizes, first, x, gradient, mean, scale, weights, bias });
    });
    let (weights, bias) = both.split_at(sizes.planes());
    [sizes.over_images(pool, weights), sizes.over_images(pool, bias)]
}

struct Affine<'a, T> {
    sizes: Channels,
    first: usize,
    x: &'a [T],
    gradient: &'a [T],
    mean: &'a [T],
    scale: &'a [T],
    weights: &'a mut [T],
    bias: &'a mut [T],
}

impl<T: Real> Kernel for Affine<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Isa>(self, _: S) {
        let Self { sizes, first, x, gradient, mean, scale, weights, bias } = self;
        let area = sizes.area;
        for at in 0..bias.len() {
            let span = at * area..(at + 1) * area;
            let (x, gradient) = (&x[span.clone()], &gradient[span]);
            let channel = (first + at) % sizes.channels;
            let (mean, scale) = (mean[channel], scale[channel]);
            bias[at] = sum_lanes(gradient, |g| g);
            weights[at] = sum_lanes2(gradient, x, |g, x| g * (x - mean) * scale);
        }
    }
}

/// What the gradient of the input of [`normalize`] is made of, with a number for each channel.
#[derive(Clone, Copy)]
pub(crate) struct Inner<'a, T> {
    pub mean: &'a [T],
    pub scale: &'a [T],
    pub weights: &'a [T],
    /// The gradients of weights and bias, if mean and scale are those of the input.
    pub sums: Option<[&'a [T]; 2]>,
}

/// The gradient of the input of [`normalize`].
pub(crate) fn input_gradient<T: Real>(
    pool: &Pool,
    sizes: Channels,
    x: &[T],
    gradient: &[T],
    inner: Inner<T>,
) -> Vec<T> {
    let mut out = unwritten::<T>(x.len());
    let parts = Parts::new(&mut out);
    sizes.split(pool, |planes| {
        let span = sizes.span(&planes);
        // SAFETY: each plane is written by one task.
        let out = unsafe { parts.part(span.clone()) };
        let (x, gradient, first) = (&x[span.clone()], &gradient[span], planes.start);
        dispatch(InputGradient { sizes, first, x, gradient, inner, out });
    });
    out
}

struct InputGradient<'a, T> {
    sizes: Channels,
    first: usize,
    x: &'a [T],
    gradient: &'a [T],
    inner: Inner<'a, T>,
    out: &'a mut [T],
}

impl<T: Real> Kernel for InputGradient<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Isa>(self, _: S) {
        let Self { sizes, first, x, gradient, inner, out } = self;
        let Channels { images, channels, area } = sizes;
        let divisor = T::of((images * area) as f64);
        for (at, out) in out.chunks_exact_mut(area).enumerate() {
            let span = at * area..(at + 1) * area;
            let (x, gradient) = (&x[span.clone()], &gradient[span]);
            let channel = (first + at) % channels;
            let (mean, scale) = (inner.mean[channel], inner.scale[channel]);
            let weight = inner.weights[channel];
            let mut at = 0;
            match inner.sums {
                Some([to_weights, to_bias]) => {
                    let (to_weights, to_bias) = (to_weights[channel], to_bias[channel]);
                    while at < area {
                        let normal = (x[at] - mean) * scale;
                        let g = gradient[at] - (to_bias + normal * to_weights) / divisor;
                        out[at] = g * weight * scale;
                        at += 1;
                    }
                }
                None => {
                    while at < area {
                        out[at] = gradient[at] * weight * scale;
                        at += 1;
                    }
                }
            }
        }
    }
}
