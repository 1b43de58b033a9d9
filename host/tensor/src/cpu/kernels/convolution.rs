//! Convolution as matrix products over unfolded images: forward, gradient of the input, gradient of
//! the weights.
//!
//! The transposed convolution is the same three with forward and input gradient exchanged. Images
//! are split over the pool; the weights' gradient is summed over a number of partial sums that does
//! not depend on the threads.

use super::gemm::{Into, Matrix, Target, product_here};
use super::isa::{Isa, Kernel, dispatch};
use super::number::Real;
use super::reduce::sum_slice;
use crate::backend::Geometry;
use crate::cpu::data::unwritten;
use crate::pool::{Parts, Pool};

/// Partial sums of the weights' gradient.
const PARTIALS: usize = 8;

impl Geometry {
    fn group_inputs(&self) -> usize {
        self.inputs / self.groups
    }
    fn group_outputs(&self) -> usize {
        self.outputs / self.groups
    }
    fn input_area(&self) -> usize {
        self.input[0] * self.input[1]
    }
    fn output_area(&self) -> usize {
        self.output[0] * self.output[1]
    }
    /// Rows of an unfolded image of one group.
    fn depth(&self) -> usize {
        self.group_inputs() * self.kernel[0] * self.kernel[1]
    }
    fn input_size(&self) -> usize {
        self.inputs * self.input_area()
    }
    fn output_size(&self) -> usize {
        self.outputs * self.output_area()
    }
    /// Elements of the weights.
    fn weights(&self) -> usize {
        self.outputs * self.depth()
    }
    /// Elements of an unfolded image of one group, of which each thread has one; 0 if an image is its
    /// own unfolding, `None` if they cannot be counted.
    pub(crate) fn unfolded(&self) -> Option<usize> {
        match self.is_pointwise() {
            true => Some(0),
            false => self.depth().checked_mul(self.output_area()),
        }
    }
    /// Whether an image is its own unfolding.
    fn is_pointwise(&self) -> bool {
        self.kernel == [1, 1] && self.stride == [1, 1] && self.padding == [0, 0]
    }
    fn work(&self) -> usize {
        self.output_area().saturating_mul(self.depth()).saturating_mul(self.outputs)
    }
    fn grain(&self) -> usize {
        (256 * 1024 / self.work().max(1)).max(1)
    }
}

/// The range of output columns that have an input column, for a kernel column at `offset` =
/// column dilation - padding.
#[inline(always)]
fn inside(offset: isize, stride: usize, input: usize, output: usize) -> (usize, usize) {
    let from = if offset >= 0 { 0 } else { (offset.unsigned_abs()).div_ceil(stride) };
    let reach = input as isize - offset;
    let to = if reach <= 0 { 0 } else { (reach as usize).div_ceil(stride) };
    let to = to.min(output);
    (from.min(to), to)
}

/// Copies a few elements: a call of the system's copy would take longer than the copying.
#[inline(always)]
fn copy_run<T: Real>(into: &mut [T], from: &[T]) {
    const CHUNK: usize = 8;
    let length = into.len();
    if !(CHUNK..=64).contains(&length) {
        into.copy_from_slice(from);
        return;
    }
    let mut at = 0;
    while at + CHUNK <= length {
        into[at..at + CHUNK].copy_from_slice(&from[at..at + CHUNK]);
        at += CHUNK;
    }
    // The last chunk may overlap the one before.
    into[length - CHUNK..].copy_from_slice(&from[length - CHUNK..length]);
}

/// Adds a few elements.
#[inline(always)]
fn add_run<T: Real>(into: &mut [T], from: &[T]) {
    let length = into.len();
    let from = &from[..length];
    let mut at = 0;
    while at < length {
        into[at] += from[at];
        at += 1;
    }
}

struct Unfold<'a, T>(&'a Geometry, &'a [T], &'a mut [T]);

impl<T: Real> Kernel for Unfold<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Isa>(self, _: S) {
        unfold_rows(self.0, self.1, self.2);
    }
}

struct Fold<'a, T>(&'a Geometry, &'a [T], &'a mut [T]);

impl<T: Real> Kernel for Fold<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Isa>(self, _: S) {
        fold_rows(self.0, self.1, self.2);
    }
}

/// Writes the unfolded channels `x` (of one group and image) to `columns` [depth, output area].
fn unfold<T: Real>(geometry: &Geometry, x: &[T], columns: &mut [T]) {
    dispatch(Unfold(geometry, x, columns));
}

#[inline(always)]
fn unfold_rows<T: Real>(geometry: &Geometry, x: &[T], columns: &mut [T]) {
    let Geometry {
        input: [height, width],
        output: [out_height, out_width],
        kernel: [kernel_height, kernel_width],
        ..
    } = *geometry;
    let mut rows = columns.chunks_exact_mut(out_height * out_width);
    for channel in x.chunks_exact(height * width) {
        for ky in 0..kernel_height {
            for kx in 0..kernel_width {
                let Some(row) = rows.next() else { return };
                let offset_y = (ky * geometry.dilation[0]) as isize - geometry.padding[0] as isize;
                let offset_x = (kx * geometry.dilation[1]) as isize - geometry.padding[1] as isize;
                let (from, to) = inside(offset_x, geometry.stride[1], width, out_width);
                for (oy, out) in row.chunks_exact_mut(out_width).enumerate() {
                    let y = (oy * geometry.stride[0]) as isize + offset_y;
                    if y < 0 || y >= height as isize {
                        out.fill(T::ZERO);
                        continue;
                    }
                    let line = &channel[y as usize * width..(y as usize + 1) * width];
                    if from > 0 {
                        out[..from].fill(T::ZERO);
                    }
                    if to < out_width {
                        out[to..].fill(T::ZERO);
                    }
                    if from == to {
                        continue;
                    }
                    let start = ((from * geometry.stride[1]) as isize + offset_x) as usize;
                    if geometry.stride[1] == 1 {
                        copy_run(&mut out[from..to], &line[start..start + to - from]);
                    } else {
                        for (out, &x) in out[from..to]
                            .iter_mut()
                            .zip(line[start..].iter().step_by(geometry.stride[1]))
                        {
                            *out = x;
                        }
                    }
                }
            }
        }
    }
}

/// Adds `columns` [depth, output area] back to where they came from in `x`.
fn fold<T: Real>(geometry: &Geometry, columns: &[T], x: &mut [T]) {
    dispatch(Fold(geometry, columns, x));
}

#[inline(always)]
fn fold_rows<T: Real>(geometry: &Geometry, columns: &[T], x: &mut [T]) {
    let Geometry {
        input: [height, width],
        output: [out_height, out_width],
        kernel: [kernel_height, kernel_width],
        ..
    } = *geometry;
    let mut rows = columns.chunks_exact(out_height * out_width);
    for channel in x.chunks_exact_mut(height * width) {
        for ky in 0..kernel_height {
            for kx in 0..kernel_width {
                let Some(row) = rows.next() else { return };
                let offset_y = (ky * geometry.dilation[0]) as isize - geometry.padding[0] as isize;
                let offset_x = (kx * geometry.dilation[1]) as isize - geometry.padding[1] as isize;
                let (from, to) = inside(offset_x, geometry.stride[1], width, out_width);
                if from == to {
                    continue;
                }
                let start = ((from * geometry.stride[1]) as isize + offset_x) as usize;
                for (oy, line) in row.chunks_exact(out_width).enumerate() {
                    let y = (oy * geometry.stride[0]) as isize + offset_y;
                    if y < 0 || y >= height as isize {
                        continue;
                    }
                    let into = &mut channel[y as usize * width + start..(y as usize + 1) * width];
                    if geometry.stride[1] == 1 {
                        add_run(&mut into[..to - from], &line[from..to]);
                    } else {
                        for (into, &x) in
                            into.iter_mut().step_by(geometry.stride[1]).zip(&line[from..to])
                        {
                            *into += x;
                        }
                    }
                }
            }
        }
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
        for image in range {
            for group in 0..geometry.groups {
                let channels = geometry.group_inputs() * geometry.input_area();
                let x = &x[image * geometry.input_size() + group * channels..][..channels];
                if !geometry.is_pointwise() {
                    unfold(geometry, x, &mut columns);
                }
                let columns = if geometry.is_pointwise() { x } else { &columns[..] };
                let start =
                    image * geometry.output_size() + group * geometry.group_outputs() * area;
                let target =
                    Target { parts: &parts, length, start, row_stride: area, column_stride: 1 };
                let w = Matrix::strided(w, group * geometry.group_outputs() * depth, depth, 1);
                // SAFETY: each image and group is written by one task.
                unsafe {
                    product_here(
                        (geometry.group_outputs(), area, depth),
                        &target,
                        Into::Overwrite,
                        T::ONE,
                        w,
                        Matrix::rows(columns, area),
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
    let (size, outputs) = (geometry.weights(), geometry.outputs);
    let partials = geometry.images.clamp(1, PARTIALS);
    let mut input = if wanted.input {
        vec![T::ZERO; geometry.images * geometry.input_size()]
    } else {
        Vec::new()
    };
    let mut weights = if wanted.weights { vec![T::ZERO; partials * size] } else { Vec::new() };
    let mut bias = if wanted.bias { vec![T::ZERO; partials * outputs] } else { Vec::new() };
    let (input_parts, weight_parts, bias_parts) =
        (Parts::new(&mut input), Parts::new(&mut weights), Parts::new(&mut bias));
    let gradient_parts = Parts::new(gradient);
    let grain = if geometry.work() * geometry.images < 128 * 1024 { partials } else { 1 };
    pool.ranges(partials, grain, |range| {
        let unfolded =
            if geometry.is_pointwise() { 0 } else { geometry.depth() * geometry.output_area() };
        let mut columns = unwritten::<T>(unfolded);
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
                    if wanted.weights {
                        add_weight_gradient(
                            geometry,
                            x,
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
    Backward { input, weights: total(weights, size), bias: total(bias, outputs) }
}

/// The sum of consecutive partial sums.
fn total<T: Real>(partial: Vec<T>, size: usize) -> Vec<T> {
    if partial.is_empty() {
        return partial;
    }
    let mut out = partial[..size].to_vec();
    for other in partial[size..].chunks_exact(size.max(1)) {
        out.iter_mut().zip(other).for_each(|(sum, &x)| *sum += x);
    }
    out
}

fn add_planes<T: Real>(geometry: &Geometry, gradient: &[T], sums: &mut [T]) {
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
                gradient,
                columns,
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
                w,
                gradient,
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
