//! Pooling over windows of images, and nearest-neighbour enlargement.

use super::simd::Real;
use crate::tensor::pool::{Parts, Pool};
use crate::tensor::value::unwritten;

/// Sizes of a pooling: `planes` = images times channels.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Windows {
    pub planes: usize,
    pub input: [usize; 2],
    pub output: [usize; 2],
    pub kernel: [usize; 2],
    pub stride: [usize; 2],
    pub padding: [usize; 2],
}

impl Windows {
    fn input_area(&self) -> usize {
        self.input[0] * self.input[1]
    }
    fn output_area(&self) -> usize {
        self.output[0] * self.output[1]
    }
    fn grain(&self) -> usize {
        (32 * 1024 / (self.output_area() * self.kernel[0] * self.kernel[1]).max(1)).max(1)
    }
    /// The part of a window along `axis` that lies inside the input.
    #[inline(always)]
    fn span(&self, axis: usize, out: usize) -> (usize, usize) {
        let start = out * self.stride[axis];
        let from = start.saturating_sub(self.padding[axis]);
        let to = (start + self.kernel[axis]).saturating_sub(self.padding[axis]).min(self.input[axis]);
        (from.min(to), to)
    }
}

/// The largest of each window and its place within its plane; NaN counts as largest.
pub(crate) fn max<T: Real>(pool: &Pool, windows: &Windows, x: &[T]) -> (Vec<T>, Vec<u32>) {
    let (input, area) = (windows.input_area(), windows.output_area());
    let mut out = unwritten::<T>(windows.planes * area);
    let mut places = unwritten::<u32>(windows.planes * area);
    let (out_parts, place_parts) = (Parts::new(&mut out), Parts::new(&mut places));
    pool.ranges(windows.planes, windows.grain(), |range| {
        for plane in range {
            // SAFETY: each plane is written by one task.
            let (out, places) =
                unsafe { (out_parts.part(plane * area..(plane + 1) * area), place_parts.part(plane * area..(plane + 1) * area)) };
            max_plane(windows, &x[plane * input..(plane + 1) * input], out, places);
        }
    });
    (out, places)
}

fn max_plane<T: Real>(windows: &Windows, x: &[T], out: &mut [T], places: &mut [u32]) {
    let width = windows.input[1];
    if windows.kernel == [2, 2] && windows.stride == [2, 2] && windows.padding == [0, 0] {
        for oy in 0..windows.output[0] {
            let (upper, lower) = x[2 * oy * width..(2 * oy + 2) * width].split_at(width);
            let row = oy * windows.output[1]..(oy + 1) * windows.output[1];
            let pairs = upper.chunks_exact(2).zip(lower.chunks_exact(2));
            for (ox, ((out, place), (upper, lower))) in out[row.clone()].iter_mut().zip(&mut places[row]).zip(pairs).enumerate() {
                let at = (2 * oy * width + 2 * ox) as u32;
                let (mut best, mut which) = (upper[0], at);
                for (x, place) in [(upper[1], at + 1), (lower[0], at + width as u32), (lower[1], at + width as u32 + 1)] {
                    let better = x > best || x.is_nan();
                    best = if better { x } else { best };
                    which = if better { place } else { which };
                }
                (*out, *place) = (best, which);
            }
        }
        return;
    }
    for oy in 0..windows.output[0] {
        let (top, bottom) = windows.span(0, oy);
        for ox in 0..windows.output[1] {
            let (left, right) = windows.span(1, ox);
            let (mut best, mut which) = (T::LOWEST, top * width + left);
            for y in top..bottom {
                let start = y * width + left;
                for (step, &value) in x[start..y * width + right].iter().enumerate() {
                    if value > best || value.is_nan() {
                        (best, which) = (value, start + step);
                    }
                }
            }
            out[oy * windows.output[1] + ox] = best;
            places[oy * windows.output[1] + ox] = which as u32;
        }
    }
}

/// Each gradient to the place its window's largest came from.
pub(crate) fn max_gradient<T: Real>(pool: &Pool, windows: &Windows, gradient: &[T], places: &[u32]) -> Vec<T> {
    let (input, area) = (windows.input_area(), windows.output_area());
    let mut out = unwritten::<T>(windows.planes * input);
    let parts = Parts::new(&mut out);
    pool.ranges(windows.planes, windows.grain(), |range| {
        for plane in range {
            // SAFETY: each plane is written by one task.
            let out = unsafe { parts.part(plane * input..(plane + 1) * input) };
            out.fill(T::ZERO);
            for (&place, &g) in places[plane * area..(plane + 1) * area].iter().zip(&gradient[plane * area..(plane + 1) * area]) {
                out[place as usize] += g;
            }
        }
    });
    out
}

/// The mean of each window; the padding counts as zeros.
pub(crate) fn average<T: Real>(pool: &Pool, windows: &Windows, x: &[T]) -> Vec<T> {
    let (input, area) = (windows.input_area(), windows.output_area());
    let factor = T::ONE / T::of((windows.kernel[0] * windows.kernel[1]) as f64);
    let mut out = unwritten::<T>(windows.planes * area);
    let parts = Parts::new(&mut out);
    pool.ranges(windows.planes, windows.grain(), |range| {
        for plane in range {
            // SAFETY: each plane is written by one task.
            let out = unsafe { parts.part(plane * area..(plane + 1) * area) };
            let x = &x[plane * input..(plane + 1) * input];
            for oy in 0..windows.output[0] {
                let (top, bottom) = windows.span(0, oy);
                for ox in 0..windows.output[1] {
                    let (left, right) = windows.span(1, ox);
                    let mut sum = T::ZERO;
                    for y in top..bottom {
                        for &x in &x[y * windows.input[1] + left..y * windows.input[1] + right] {
                            sum += x;
                        }
                    }
                    out[oy * windows.output[1] + ox] = sum * factor;
                }
            }
        }
    });
    out
}

/// Each gradient in equal parts to its window.
pub(crate) fn average_gradient<T: Real>(pool: &Pool, windows: &Windows, gradient: &[T]) -> Vec<T> {
    let (input, area) = (windows.input_area(), windows.output_area());
    let factor = T::ONE / T::of((windows.kernel[0] * windows.kernel[1]) as f64);
    let mut out = unwritten::<T>(windows.planes * input);
    let parts = Parts::new(&mut out);
    pool.ranges(windows.planes, windows.grain(), |range| {
        for plane in range {
            // SAFETY: each plane is written by one task.
            let out = unsafe { parts.part(plane * input..(plane + 1) * input) };
            out.fill(T::ZERO);
            for oy in 0..windows.output[0] {
                let (top, bottom) = windows.span(0, oy);
                for ox in 0..windows.output[1] {
                    let (left, right) = windows.span(1, ox);
                    let g = gradient[plane * area + oy * windows.output[1] + ox] * factor;
                    for y in top..bottom {
                        for x in &mut out[y * windows.input[1] + left..y * windows.input[1] + right] {
                            *x += g;
                        }
                    }
                }
            }
        }
    });
    out
}

/// Nearest neighbour: `out[y][x] = in[y h / oh][x w / ow]`. `windows` gives the two sizes.
pub(crate) fn nearest<T: Real>(pool: &Pool, windows: &Windows, x: &[T]) -> Vec<T> {
    let (input, area) = (windows.input_area(), windows.output_area());
    let mut out = unwritten::<T>(windows.planes * area);
    let parts = Parts::new(&mut out);
    pool.ranges(windows.planes, windows.grain(), |range| {
        for plane in range {
            // SAFETY: each plane is written by one task.
            let out = unsafe { parts.part(plane * area..(plane + 1) * area) };
            let x = &x[plane * input..(plane + 1) * input];
            for (at, out) in out.iter_mut().enumerate() {
                *out = x[source(windows, at)];
            }
        }
    });
    out
}

/// The sum of the gradients that each input element was copied to.
pub(crate) fn nearest_gradient<T: Real>(pool: &Pool, windows: &Windows, gradient: &[T]) -> Vec<T> {
    let (input, area) = (windows.input_area(), windows.output_area());
    let mut out = unwritten::<T>(windows.planes * input);
    let parts = Parts::new(&mut out);
    pool.ranges(windows.planes, windows.grain(), |range| {
        for plane in range {
            // SAFETY: each plane is written by one task.
            let out = unsafe { parts.part(plane * input..(plane + 1) * input) };
            out.fill(T::ZERO);
            for (at, &g) in gradient[plane * area..(plane + 1) * area].iter().enumerate() {
                out[source(windows, at)] += g;
            }
        }
    });
    out
}

fn source(windows: &Windows, at: usize) -> usize {
    let (oy, ox) = (at / windows.output[1], at % windows.output[1]);
    oy * windows.input[0] / windows.output[0] * windows.input[1] + ox * windows.input[1] / windows.output[1]
}
