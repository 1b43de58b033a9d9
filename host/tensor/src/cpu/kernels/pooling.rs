//! Pooling over windows of images, and nearest-neighbour enlargement.

use super::isa::{Isa, Kernel, dispatch};
use super::number::Real;
use crate::backend::Windows;
use crate::cpu::data::unwritten;
use crate::pool::{Parts, Pool};

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
    /// Adjacent windows of two by two, which most networks use.
    fn is_halving(&self) -> bool {
        self.kernel == [2, 2] && self.stride == [2, 2] && self.padding == [0, 0]
    }
    /// The part of a window along `axis` that lies inside the input.
    #[inline(always)]
    fn span(&self, axis: usize, out: usize) -> (usize, usize) {
        let start = out * self.stride[axis];
        let from = start.saturating_sub(self.padding[axis]);
        let to =
            (start + self.kernel[axis]).saturating_sub(self.padding[axis]).min(self.input[axis]);
        (from.min(to), to)
    }
}

/// The largest of each window and its place: within its plane, or within its window of two by two.
/// NaN counts as largest.
pub(crate) fn max<T: Real>(pool: &Pool, windows: &Windows, x: &[T]) -> (Vec<T>, Vec<u32>) {
    let (input, area) = (windows.input_area(), windows.output_area());
    let mut out = unwritten::<T>(windows.planes * area);
    let mut places = unwritten::<u32>(windows.planes * area);
    let (out_parts, place_parts) = (Parts::new(&mut out), Parts::new(&mut places));
    pool.ranges(windows.planes, windows.grain(), |range| {
        let mut scratch = if windows.is_halving() { unwritten::<T>(4 * area) } else { Vec::new() };
        for plane in range {
            // SAFETY: each plane is written by one task.
            let (out, places) = unsafe {
                (
                    out_parts.part(plane * area..(plane + 1) * area),
                    place_parts.part(plane * area..(plane + 1) * area),
                )
            };
            let x = &x[plane * input..(plane + 1) * input];
            match windows.is_halving() {
                true => halve(windows, x, out, places, &mut scratch),
                false => max_plane(windows, x, out, places),
            }
        }
    });
    (out, places)
}

fn max_plane<T: Real>(windows: &Windows, x: &[T], out: &mut [T], places: &mut [u32]) {
    let width = windows.input[1];
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

/// Windows of two by two, with their four elements in four rows: plain loops that vectorise for
/// images of any size.
struct Halve<'a, T> {
    corners: [&'a [T]; 4],
    out: &'a mut [T],
    which: &'a mut [u32],
}

impl<T: Real> Kernel for Halve<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Isa>(self, _: S) {
        let Self { corners: [a, b, c, d], out, which } = self;
        let count = out.len();
        let (a, b, c, d, which) =
            (&a[..count], &b[..count], &c[..count], &d[..count], &mut which[..count]);
        let mut at = 0;
        while at < count {
            let (mut best, mut place) = (a[at], 0);
            let better = b[at] > best || b[at].is_nan();
            (best, place) = (if better { b[at] } else { best }, if better { 1 } else { place });
            let better = c[at] > best || c[at].is_nan();
            (best, place) = (if better { c[at] } else { best }, if better { 2 } else { place });
            let better = d[at] > best || d[at].is_nan();
            out[at] = if better { d[at] } else { best };
            which[at] = if better { 3 } else { place };
            at += 1;
        }
    }
}

/// The gradient through [`Halve`]: it goes to one of four corners, the others are 0.
struct HalveGradient<'a, T> {
    gradient: &'a [T],
    which: &'a [u32],
    corners: [&'a mut [T]; 4],
}

impl<T: Real> Kernel for HalveGradient<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Isa>(self, _: S) {
        let Self { gradient, which, corners: [a, b, c, d] } = self;
        let count = gradient.len();
        let (a, b, c, d) = (&mut a[..count], &mut b[..count], &mut c[..count], &mut d[..count]);
        let which = &which[..count];
        let mut at = 0;
        while at < count {
            let (g, place) = (gradient[at], which[at]);
            a[at] = if place == 0 { g } else { T::ZERO };
            b[at] = if place == 1 { g } else { T::ZERO };
            c[at] = if place == 2 { g } else { T::ZERO };
            d[at] = if place == 3 { g } else { T::ZERO };
            at += 1;
        }
    }
}

/// Splits a buffer for the four corners of `area` windows.
fn corners<T>(scratch: &mut [T], area: usize) -> [&mut [T]; 4] {
    let (upper, lower) = scratch.split_at_mut(2 * area);
    let ((a, b), (c, d)) = (upper.split_at_mut(area), lower.split_at_mut(area));
    [a, b, c, d]
}

/// Splits the elements of `line` into `even` and `odd` ones. An index loop: iterators are not inlined
/// here, see `optimize`.
#[inline(always)]
fn part<T: Real>(line: &[T], even: &mut [T], odd: &mut [T]) {
    let count = even.len();
    let (line, odd) = (&line[..2 * count], &mut odd[..count]);
    let mut at = 0;
    while at < count {
        even[at] = line[2 * at];
        odd[at] = line[2 * at + 1];
        at += 1;
    }
}

/// The reverse of [`part`].
#[inline(always)]
fn join<T: Real>(even: &[T], odd: &[T], line: &mut [T]) {
    let count = even.len();
    let (odd, line) = (&odd[..count], &mut line[..2 * count]);
    let mut at = 0;
    while at < count {
        line[2 * at] = even[at];
        line[2 * at + 1] = odd[at];
        at += 1;
    }
}

fn halve<T: Real>(windows: &Windows, x: &[T], out: &mut [T], which: &mut [u32], scratch: &mut [T]) {
    let (width, columns) = (windows.input[1], windows.output[1]);
    let [a, b, c, d] = corners(scratch, out.len());
    for oy in 0..windows.output[0] {
        let row = oy * columns..(oy + 1) * columns;
        let (upper, lower) = x[2 * oy * width..(2 * oy + 2) * width].split_at(width);
        part(upper, &mut a[row.clone()], &mut b[row.clone()]);
        part(lower, &mut c[row.clone()], &mut d[row]);
    }
    dispatch(Halve { corners: [a, b, c, d], out, which });
}

fn halve_gradient<T: Real>(
    windows: &Windows,
    gradient: &[T],
    which: &[u32],
    out: &mut [T],
    scratch: &mut [T],
) {
    let ([height, width], [rows, columns]) = (windows.input, windows.output);
    dispatch(HalveGradient { gradient, which, corners: corners(scratch, gradient.len()) });
    let [a, b, c, d] = corners(scratch, gradient.len());
    for oy in 0..rows {
        let row = oy * columns..(oy + 1) * columns;
        let (upper, lower) = out[2 * oy * width..(2 * oy + 2) * width].split_at_mut(width);
        join(&a[row.clone()], &b[row.clone()], upper);
        join(&c[row.clone()], &d[row], lower);
        // What no window covers.
        if 2 * columns < width {
            upper[2 * columns..].fill(T::ZERO);
            lower[2 * columns..].fill(T::ZERO);
        }
    }
    out[2 * rows * width..height * width].fill(T::ZERO);
}

/// Each gradient to the place its window's largest came from.
pub(crate) fn max_gradient<T: Real>(
    pool: &Pool,
    windows: &Windows,
    gradient: &[T],
    places: &[u32],
) -> Vec<T> {
    let (input, area) = (windows.input_area(), windows.output_area());
    let mut out = unwritten::<T>(windows.planes * input);
    let parts = Parts::new(&mut out);
    pool.ranges(windows.planes, windows.grain(), |range| {
        let mut scratch = if windows.is_halving() { unwritten::<T>(4 * area) } else { Vec::new() };
        for plane in range {
            // SAFETY: each plane is written by one task.
            let out = unsafe { parts.part(plane * input..(plane + 1) * input) };
            if windows.is_halving() {
                let (places, gradient) = (
                    &places[plane * area..(plane + 1) * area],
                    &gradient[plane * area..(plane + 1) * area],
                );
                halve_gradient(windows, gradient, places, out, &mut scratch);
                continue;
            }
            out.fill(T::ZERO);
            for (&place, &g) in places[plane * area..(plane + 1) * area]
                .iter()
                .zip(&gradient[plane * area..(plane + 1) * area])
            {
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
                        for x in &mut out[y * windows.input[1] + left..y * windows.input[1] + right]
                        {
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
    oy * windows.input[0] / windows.output[0] * windows.input[1]
        + ox * windows.input[1] / windows.output[1]
}
