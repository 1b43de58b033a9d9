//! Convolution as matrix products over unfolded images: forward, gradient of the input, gradient of
//! the weights. Those of 3 by 3 with many channels are computed by [`winograd`] instead.
//!
//! The transposed convolution is the same three with forward and input gradient exchanged. Images
//! are split over the pool; the weights' gradient is summed over a number of partial sums that does
//! not depend on the threads.

#[cfg(test)]
mod tests;

use std::ops::Range;

use super::elementwise::round_here;
use super::gemm::{Into, Matrix, Target, product_here};
use super::number::Real;
use super::reduce::sum_slice;
use super::unfold::{Place, add_run, fold, fold_at, unfold, unfold_together};
use super::winograd;
use crate::backend::Geometry;
use crate::cpu::data::unwritten;
use crate::pool::{Parts, Pool};

/// Partial sums of the weights' gradient.
const PARTIALS: usize = 8;
/// Results of an image below which several images are unfolded beside each other: with few columns a
/// product takes longer to read the weights than to multiply.
const SMALL: usize = 100;
/// Columns of such a product.
const COLUMNS: usize = 256;

impl Geometry {
    fn group_inputs(&self) -> usize {
        self.inputs / self.groups
    }
    fn group_outputs(&self) -> usize {
        self.outputs / self.groups
    }
    pub(super) fn input_area(&self) -> usize {
        self.input[0] * self.input[1]
    }
    pub(super) fn output_area(&self) -> usize {
        self.output[0] * self.output[1]
    }
    /// Rows of an unfolded image of one group.
    fn depth(&self) -> usize {
        self.group_inputs() * self.kernel[0] * self.kernel[1]
    }
    pub(super) fn input_size(&self) -> usize {
        self.inputs * self.input_area()
    }
    pub(super) fn output_size(&self) -> usize {
        self.outputs * self.output_area()
    }
    /// Inputs of some images.
    fn inputs_of<'a, T>(&self, x: &'a [T], images: &Range<usize>) -> &'a [T] {
        &x[images.start * self.input_size()..images.end * self.input_size()]
    }
    /// Elements of the weights.
    fn weights(&self) -> usize {
        self.outputs * self.depth()
    }
    /// Elements of an unfolded image of one group, of which each thread has one; 0 if none is made,
    /// `None` if they cannot be counted.
    pub(crate) fn unfolded(&self) -> Option<usize> {
        match self.is_pointwise() || winograd::fits(self) {
            true if self.together() == 1 => Some(0),
            _ => self.depth().checked_mul(self.output_area())?.checked_mul(self.together()),
        }
    }
    /// Whether an image is its own unfolding.
    fn is_pointwise(&self) -> bool {
        self.kernel == [1, 1] && self.stride == [1, 1] && self.padding == [0, 0]
    }
    /// Images that are unfolded beside each other.
    fn together(&self) -> usize {
        let area = self.output_area();
        match self.groups == 1 && (1..SMALL).contains(&area) {
            // At least as many products as partial sums.
            true => (COLUMNS / area).clamp(1, (self.images / PARTIALS).max(1)),
            false => 1,
        }
    }
    fn work(&self) -> usize {
        self.output_area().saturating_mul(self.depth()).saturating_mul(self.outputs)
    }
    fn grain(&self) -> usize {
        (256 * 1024 / self.work().max(1)).max(1)
    }
}

/// Changes the result or the gradient of one image while it is in the cache; gets its start within
/// all of them.
pub(crate) type Touch<'a, T> = dyn Fn(usize, &mut [T]) + Sync + 'a;

/// `x` [images, inputs, h, w] with `w` [outputs, inputs / groups, kh, kw]; `finish` gets each
/// image's result.
pub(crate) fn forward<T: Real>(
    pool: &Pool,
    geometry: &Geometry,
    x: &[T],
    w: &[T],
    finish: &Touch<T>,
) -> Vec<T> {
    if winograd::fits(geometry) {
        winograd::forward(pool, geometry, x, w, finish)
    } else if geometry.together() > 1 {
        forward_together(pool, geometry, x, w, finish)
    } else {
        forward_unfolded(pool, geometry, x, w, finish)
    }
}

/// As [`forward`], by unfolding one image after the other.
pub(super) fn forward_unfolded<T: Real>(
    pool: &Pool,
    geometry: &Geometry,
    x: &[T],
    w: &[T],
    finish: &Touch<T>,
) -> Vec<T> {
    let (area, depth) = (geometry.output_area(), geometry.depth());
    let mut out = unwritten::<T>(geometry.images * geometry.output_size());
    if depth == 0 {
        out.fill(T::ZERO);
        finish(0, &mut out);
        return out;
    }
    let length = out.len();
    let parts = Parts::new(&mut out);
    pool.ranges(geometry.images, geometry.grain(), |range| {
        let mut columns =
            if geometry.is_pointwise() { Vec::new() } else { unwritten::<T>(depth * area) };
        let mut copy = Vec::new();
        for image in range {
            for group in 0..geometry.groups {
                let channels = geometry.group_inputs() * geometry.input_area();
                let x = &x[image * geometry.input_size() + group * channels..][..channels];
                let x = operand(geometry, x, &mut copy);
                if !geometry.is_pointwise() {
                    unfold(geometry, x, &mut columns);
                }
                let columns = if geometry.is_pointwise() { x } else { &columns[..] };
                let start =
                    image * geometry.output_size() + group * geometry.group_outputs() * area;
                let target =
                    Target { parts: &parts, length, start, row_stride: area, column_stride: 1 };
                let w = Matrix::strided(w, group * geometry.group_outputs() * depth, depth, 1);
                let rounded = geometry.rounded;
                // SAFETY: each image and group is written by one task.
                unsafe {
                    product_here(
                        (geometry.group_outputs(), area, depth),
                        &target,
                        Into::Overwrite,
                        T::ONE,
                        w.rounded(rounded),
                        Matrix::rows(columns, area).rounded(rounded),
                    )
                };
            }
            let start = image * geometry.output_size();
            // SAFETY: as above, and the products are done.
            finish(start, unsafe { parts.part(start..start + geometry.output_size()) });
        }
    });
    out
}

/// As [`forward`], by unfolding several images beside each other.
fn forward_together<T: Real>(
    pool: &Pool,
    geometry: &Geometry,
    x: &[T],
    w: &[T],
    finish: &Touch<T>,
) -> Vec<T> {
    let (area, depth, size) = (geometry.output_area(), geometry.depth(), geometry.output_size());
    let mut out = unwritten::<T>(geometry.images * size);
    if depth == 0 {
        out.fill(T::ZERO);
        finish(0, &mut out);
        return out;
    }
    let parts = Parts::new(&mut out);
    let together = geometry.together();
    pool.ranges(geometry.images.div_ceil(together), 1, |range| {
        let mut columns = unwritten::<T>(depth * area * together);
        let mut product = unwritten::<T>(size * together);
        let mut copy = Vec::new();
        for block in range {
            let images = block * together..((block + 1) * together).min(geometry.images);
            let pitch = images.len() * area;
            let x = operand(geometry, geometry.inputs_of(x, &images), &mut copy);
            unfold_together(geometry, x, images.len(), &mut columns[..depth * pitch]);
            multiply(
                [geometry.outputs, pitch, depth],
                (w, [depth, 1]),
                (&columns, [pitch, 1]),
                &mut product,
                Into::Overwrite,
                geometry.rounded,
            );
            for (at, image) in images.enumerate() {
                // SAFETY: each image is written by one task.
                let out = unsafe { parts.part(image * size..(image + 1) * size) };
                for (out, row) in out.chunks_exact_mut(area).zip(product.chunks_exact(pitch)) {
                    out.copy_from_slice(&row[at * area..(at + 1) * area]);
                }
                finish(image * size, out);
            }
        }
    });
    out
}

/// Inputs as they are multiplied: rounded to bf16, in `copy`, if that is asked for.
fn operand<'a, T: Real>(geometry: &Geometry, x: &'a [T], copy: &'a mut Vec<T>) -> &'a [T] {
    if !geometry.rounded {
        return x;
    }
    copy.clear();
    copy.extend_from_slice(x);
    round_here(copy);
    copy
}

/// `out (+)= a b` on this thread, of matrices [m, k] and [k, n] with these distances of rows and
/// columns; `rounded` says whether their elements are numbers that bf16 has.
fn multiply<T: Real>(
    [m, n, k]: [usize; 3],
    (a, [a_row, a_column]): (&[T], [usize; 2]),
    (b, [b_row, b_column]): (&[T], [usize; 2]),
    out: &mut [T],
    mode: Into,
    rounded: bool,
) {
    let length = out.len();
    let parts = Parts::new(out);
    let target = Target { parts: &parts, length, start: 0, row_stride: n, column_stride: 1 };
    let (a, b) = (Matrix::strided(a, 0, a_row, a_column), Matrix::strided(b, 0, b_row, b_column));
    let (a, b) = (a.rounded(rounded), b.rounded(rounded));
    // SAFETY: the target is borrowed for this call alone.
    unsafe { product_here((m, n, k), &target, mode, T::ONE, a, b) };
}

/// The gradient of the input from that of the result.
pub(crate) fn input_gradient<T: Real>(
    pool: &Pool,
    geometry: &Geometry,
    gradient: &[T],
    w: &[T],
) -> Vec<T> {
    let mut out = vec![T::ZERO; geometry.images * geometry.input_size()];
    if geometry.depth() == 0 {
        return out;
    }
    let parts = Parts::new(&mut out);
    pool.ranges(geometry.images, geometry.grain(), |range| {
        let unfolded =
            if geometry.is_pointwise() { 0 } else { geometry.depth() * geometry.output_area() };
        let mut columns = unwritten::<T>(unfolded);
        for image in range {
            let gradient =
                &gradient[image * geometry.output_size()..(image + 1) * geometry.output_size()];
            let start = image * geometry.input_size();
            // SAFETY: each image is written by one task.
            let out = unsafe { parts.part(start..start + geometry.input_size()) };
            image_gradient(geometry, gradient, w, out, &mut columns);
        }
    });
    out
}

/// The gradients that [`backward`] computes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted {
    pub input: bool,
    pub weights: bool,
    pub bias: bool,
}

/// Gradients of input, weights and bias.
pub(crate) struct Backward<T> {
    pub input: Vec<T>,
    pub weights: Vec<T>,
    pub bias: Vec<T>,
}

impl<T: Real> Backward<T> {
    /// Zeros for sums: of the input for each image, of weights and bias for each of `partials` parts of the
    /// images. What is not wanted stays empty.
    fn zeros(geometry: &Geometry, wanted: Wanted, partials: usize) -> Self {
        let zeros = |wanted: bool, count: usize| vec![T::ZERO; if wanted { count } else { 0 }];
        Backward {
            input: zeros(wanted.input, geometry.images * geometry.input_size()),
            weights: zeros(wanted.weights, partials * geometry.weights()),
            bias: zeros(wanted.bias, partials * geometry.outputs),
        }
    }

    /// The gradients, with the sums of the parts added up.
    fn added_up(self, geometry: &Geometry) -> Self {
        Backward {
            input: self.input,
            weights: total(self.weights, geometry.weights()),
            bias: total(self.bias, geometry.outputs),
        }
    }
}

/// All gradients in one pass over the images. `prepare` changes the gradient of an image before it
/// is used.
pub(crate) fn backward<T: Real>(
    pool: &Pool,
    geometry: &Geometry,
    x: &[T],
    w: &[T],
    gradient: &mut [T],
    prepare: &Touch<T>,
    wanted: Wanted,
) -> Backward<T> {
    if winograd::fits(geometry) {
        winograd::backward(pool, geometry, x, w, gradient, prepare, wanted)
    } else if geometry.together() > 1 && geometry.depth() > 0 {
        backward_together(pool, geometry, x, w, gradient, prepare, wanted)
    } else {
        backward_unfolded(pool, geometry, x, w, gradient, prepare, wanted)
    }
}

/// As [`backward`], by unfolding one image after the other.
pub(super) fn backward_unfolded<T: Real>(
    pool: &Pool,
    geometry: &Geometry,
    x: &[T],
    w: &[T],
    gradient: &mut [T],
    prepare: &Touch<T>,
    wanted: Wanted,
) -> Backward<T> {
    let (size, outputs) = (geometry.weights(), geometry.outputs);
    let partials = geometry.images.clamp(1, PARTIALS);
    let mut all = Backward::zeros(geometry, wanted, partials);
    let (input_parts, weight_parts, bias_parts) =
        (Parts::new(&mut all.input), Parts::new(&mut all.weights), Parts::new(&mut all.bias));
    let gradient_parts = Parts::new(gradient);
    let grain = if geometry.work() * geometry.images < 128 * 1024 { partials } else { 1 };
    pool.ranges(partials, grain, |range| {
        let unfolded =
            if geometry.is_pointwise() { 0 } else { geometry.depth() * geometry.output_area() };
        let mut columns = unwritten::<T>(unfolded);
        let mut copy = Vec::new();
        for at in range {
            for image in at * geometry.images / partials..(at + 1) * geometry.images / partials {
                let start = image * geometry.output_size();
                // SAFETY: each image is used by one task.
                let gradient =
                    unsafe { gradient_parts.part(start..start + geometry.output_size()) };
                prepare(start, gradient);
                let start = image * geometry.input_size();
                let x = &x[start..start + geometry.input_size()];
                // SAFETY: each image and each partial sum is written by one task.
                unsafe {
                    if wanted.bias {
                        add_planes(
                            geometry,
                            gradient,
                            bias_parts.part(at * outputs..(at + 1) * outputs),
                        );
                    }
                    if geometry.rounded {
                        round_here(gradient);
                    }
                    if wanted.weights {
                        add_weight_gradient(
                            geometry,
                            operand(geometry, x, &mut copy),
                            gradient,
                            weight_parts.part(at * size..(at + 1) * size),
                            &mut columns,
                        );
                    }
                    if wanted.input {
                        let input = input_parts.part(start..start + geometry.input_size());
                        image_gradient(geometry, gradient, w, input, &mut columns);
                    }
                }
            }
        }
    });
    all.added_up(geometry)
}

/// As [`backward`], by unfolding several images beside each other.
fn backward_together<T: Real>(
    pool: &Pool,
    geometry: &Geometry,
    x: &[T],
    w: &[T],
    gradient: &mut [T],
    prepare: &Touch<T>,
    wanted: Wanted,
) -> Backward<T> {
    let (area, depth, outputs) = (geometry.output_area(), geometry.depth(), geometry.outputs);
    let (size, input_size, output_size) =
        (geometry.weights(), geometry.input_size(), geometry.output_size());
    let partials = geometry.images.clamp(1, PARTIALS);
    let mut all = Backward::zeros(geometry, wanted, partials);
    let (input_parts, weight_parts, bias_parts) =
        (Parts::new(&mut all.input), Parts::new(&mut all.weights), Parts::new(&mut all.bias));
    let gradient_parts = Parts::new(gradient);
    let together = geometry.together();
    pool.ranges(partials, 1, |range| {
        let mut columns = unwritten::<T>(depth * area * together);
        let mut rows = unwritten::<T>(output_size * together);
        let mut copy = Vec::new();
        for at in range {
            let all = at * geometry.images / partials..(at + 1) * geometry.images / partials;
            for first in all.clone().step_by(together) {
                let images = first..(first + together).min(all.end);
                let pitch = images.len() * area;
                let columns = &mut columns[..depth * pitch];
                // The gradient of all images: [outputs, images, area].
                for (place, image) in images.clone().enumerate() {
                    let start = image * output_size;
                    // SAFETY: each image is used by one task.
                    let gradient = unsafe { gradient_parts.part(start..start + output_size) };
                    prepare(start, gradient);
                    if wanted.bias {
                        // SAFETY: each partial sum is written by one task.
                        let sums = unsafe { bias_parts.part(at * outputs..(at + 1) * outputs) };
                        add_planes(geometry, gradient, sums);
                    }
                    if geometry.rounded {
                        round_here(gradient);
                    }
                    let planes = gradient.chunks_exact(area);
                    for (row, plane) in rows.chunks_exact_mut(pitch).zip(planes) {
                        row[place * area..(place + 1) * area].copy_from_slice(plane);
                    }
                }
                if wanted.weights {
                    let x = operand(geometry, geometry.inputs_of(x, &images), &mut copy);
                    unfold_together(geometry, x, images.len(), columns);
                    // SAFETY: each partial sum is written by one task.
                    let sums = unsafe { weight_parts.part(at * size..(at + 1) * size) };
                    let sizes = [outputs, depth, pitch];
                    let (a, b) = ((&rows[..], [pitch, 1]), (&*columns, [1, pitch]));
                    multiply(sizes, a, b, sums, Into::Add, geometry.rounded);
                }
                if wanted.input {
                    let sizes = [depth, pitch, outputs];
                    let (a, b) = ((w, [1, depth]), (&rows[..], [pitch, 1]));
                    multiply(sizes, a, b, columns, Into::Overwrite, geometry.rounded);
                    for (place, image) in images.enumerate() {
                        let start = image * input_size;
                        // SAFETY: each image is written by one task.
                        let x = unsafe { input_parts.part(start..start + input_size) };
                        let place = Place { pitch, start: place * area };
                        fold_at(geometry, columns, x, place);
                    }
                }
            }
        }
    });
    all.added_up(geometry)
}

/// The sum of consecutive partial sums.
fn total<T: Real>(mut partial: Vec<T>, size: usize) -> Vec<T> {
    if partial.is_empty() {
        return partial;
    }
    let (sums, others) = partial.split_at_mut(size);
    for other in others.chunks_exact(size.max(1)) {
        add_run(sums, other);
    }
    partial.truncate(size);
    partial.shrink_to_fit();
    partial
}

pub(super) fn add_planes<T: Real>(geometry: &Geometry, gradient: &[T], sums: &mut [T]) {
    let area = geometry.output_area();
    for (sum, plane) in sums.iter_mut().zip(gradient.chunks_exact(area.max(1))) {
        *sum += sum_slice(plane);
    }
}

/// Adds one image's part of the weights' gradient.
fn add_weight_gradient<T: Real>(
    geometry: &Geometry,
    x: &[T],
    gradient: &[T],
    sums: &mut [T],
    columns: &mut [T],
) {
    let (area, depth) = (geometry.output_area(), geometry.depth());
    let length = sums.len();
    let parts = Parts::new(sums);
    for group in 0..geometry.groups {
        let channels = geometry.group_inputs() * geometry.input_area();
        let x = &x[group * channels..][..channels];
        if !geometry.is_pointwise() {
            unfold(geometry, x, columns);
        }
        let columns =
            Matrix::rows(if geometry.is_pointwise() { x } else { columns }, area).transposed();
        let gradient = Matrix::strided(gradient, group * geometry.group_outputs() * area, area, 1);
        let start = group * geometry.group_outputs() * depth;
        let target = Target { parts: &parts, length, start, row_stride: depth, column_stride: 1 };
        // SAFETY: the sums are borrowed for this call alone.
        unsafe {
            product_here(
                (geometry.group_outputs(), depth, area),
                &target,
                Into::Add,
                T::ONE,
                gradient.rounded(geometry.rounded),
                columns.rounded(geometry.rounded),
            )
        };
    }
}

/// The gradient of one image's input, which is zeros before.
fn image_gradient<T: Real>(
    geometry: &Geometry,
    gradient: &[T],
    w: &[T],
    out: &mut [T],
    columns: &mut [T],
) {
    let (area, depth) = (geometry.output_area(), geometry.depth());
    let channels = geometry.group_inputs() * geometry.input_area();
    for (group, out) in out.chunks_exact_mut(channels.max(1)).enumerate() {
        let gradient = Matrix::strided(gradient, group * geometry.group_outputs() * area, area, 1);
        let w = Matrix::strided(w, group * geometry.group_outputs() * depth, depth, 1).transposed();
        let into = if geometry.is_pointwise() { &mut *out } else { &mut *columns };
        let length = into.len();
        let parts = Parts::new(into);
        let target = Target { parts: &parts, length, start: 0, row_stride: area, column_stride: 1 };
        // SAFETY: the target is borrowed for this call alone.
        unsafe {
            product_here(
                (depth, area, geometry.group_outputs()),
                &target,
                Into::Overwrite,
                T::ONE,
                w.rounded(geometry.rounded),
                gradient.rounded(geometry.rounded),
            )
        };
        if !geometry.is_pointwise() {
            fold(geometry, columns, out);
        }
    }
}

/// Adds `bias` [channels] to each channel of `out` [images, channels, area].
pub(crate) fn add_bias<T: Real>(pool: &Pool, out: &mut [T], bias: &[T], area: usize) {
    if area == 0 || bias.is_empty() {
        return;
    }
    let channels = out.len() / area;
    let parts = Parts::new(out);
    pool.ranges(channels, (32 * 1024 / area).max(1), |range| {
        for channel in range {
            // SAFETY: the ranges of one call do not overlap.
            let plane = unsafe { parts.part(channel * area..(channel + 1) * area) };
            let bias = bias[channel % bias.len()];
            plane.iter_mut().for_each(|x| *x += bias);
        }
    });
}
