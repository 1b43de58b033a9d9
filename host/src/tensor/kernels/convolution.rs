//! Convolution as matrix products over unfolded images: forward, gradient of the input, gradient of the weights.
//!
//! The transposed convolution is the same three with forward and input gradient exchanged. Images are split over the pool;
//! the weights' gradient is summed over a number of partial sums that does not depend on the threads.

use super::gemm::{Into, Matrix, Target, product_here};
use super::simd::Real;
use crate::tensor::pool::{Parts, Pool};
use crate::tensor::value::unwritten;

/// Sizes of a convolution from [images, inputs, h, w] to [images, outputs, oh, ow].
#[derive(Clone, Copy, Debug)]
pub(crate) struct Geometry {
    pub images: usize,
    pub inputs: usize,
    pub outputs: usize,
    pub groups: usize,
    /// Height and width of the input, the result and the kernel.
    pub input: [usize; 2],
    pub output: [usize; 2],
    pub kernel: [usize; 2],
    pub stride: [usize; 2],
    pub padding: [usize; 2],
    pub dilation: [usize; 2],
}

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
    pub fn weights(&self) -> usize {
        self.outputs * self.depth()
    }
    /// Whether an image is its own unfolding.
    fn is_pointwise(&self) -> bool {
        self.kernel == [1, 1] && self.stride == [1, 1] && self.padding == [0, 0]
    }
    fn work(&self) -> usize {
        self.output_area() * self.depth() * self.outputs
    }
    fn grain(&self) -> usize {
        (256 * 1024 / self.work().max(1)).max(1)
    }
}

/// The range of output columns whose input column lies inside, for a kernel column at `offset` = column dilation - padding.
#[inline(always)]
fn inside(offset: isize, stride: usize, input: usize, output: usize) -> (usize, usize) {
    let from = if offset >= 0 { 0 } else { (offset.unsigned_abs()).div_ceil(stride) };
    let room = input as isize - offset;
    let to = if room <= 0 { 0 } else { (room as usize).div_ceil(stride) };
    let to = to.min(output);
    (from.min(to), to)
}

/// Writes the unfolded channels `x` (of one group and image) to `columns` [depth, output area].
fn unfold<T: Real>(geometry: &Geometry, x: &[T], columns: &mut [T]) {
    let Geometry { input: [height, width], output: [out_height, out_width], kernel: [kernel_height, kernel_width], .. } = *geometry;
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
                    out[..from].fill(T::ZERO);
                    out[to..].fill(T::ZERO);
                    if from == to {
                        continue;
                    }
                    let start = ((from * geometry.stride[1]) as isize + offset_x) as usize;
                    if geometry.stride[1] == 1 {
                        out[from..to].copy_from_slice(&line[start..start + to - from]);
                    } else {
                        for (out, &x) in out[from..to].iter_mut().zip(line[start..].iter().step_by(geometry.stride[1])) {
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
    let Geometry { input: [height, width], output: [out_height, out_width], kernel: [kernel_height, kernel_width], .. } = *geometry;
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
                        for (into, &x) in into.iter_mut().zip(&line[from..to]) {
                            *into += x;
                        }
                    } else {
                        for (into, &x) in into.iter_mut().step_by(geometry.stride[1]).zip(&line[from..to]) {
                            *into += x;
                        }
                    }
                }
            }
        }
    }
}

/// `x` [images, inputs, h, w] with `w` [outputs, inputs / groups, kh, kw].
pub(crate) fn forward<T: Real>(pool: &Pool, geometry: &Geometry, x: &[T], w: &[T]) -> Vec<T> {
    let (area, depth) = (geometry.output_area(), geometry.depth());
    let mut out = unwritten::<T>(geometry.images * geometry.output_size());
    if depth == 0 {
        out.fill(T::ZERO);
        return out;
    }
    let length = out.len();
    let parts = Parts::new(&mut out);
    pool.ranges(geometry.images, geometry.grain(), |range| {
        let mut columns = if geometry.is_pointwise() { Vec::new() } else { unwritten::<T>(depth * area) };
        for image in range {
            for group in 0..geometry.groups {
                let channels = geometry.group_inputs() * geometry.input_area();
                let x = &x[image * geometry.input_size() + group * channels..][..channels];
                if !geometry.is_pointwise() {
                    unfold(geometry, x, &mut columns);
                }
                let columns = if geometry.is_pointwise() { x } else { &columns[..] };
                let start = image * geometry.output_size() + group * geometry.group_outputs() * area;
                let target = Target { parts: &parts, length, start, row_stride: area, column_stride: 1 };
                let w = Matrix::strided(w, group * geometry.group_outputs() * depth, depth, 1);
                // SAFETY: each image and group is written by one task.
                unsafe {
                    product_here((geometry.group_outputs(), area, depth), &target, Into::Overwrite, T::ONE, w, Matrix::rows(columns, area))
                };
            }
        }
    });
    out
}

/// The gradient of the input from that of the result.
pub(crate) fn input_gradient<T: Real>(pool: &Pool, geometry: &Geometry, gradient: &[T], w: &[T]) -> Vec<T> {
    let (area, depth) = (geometry.output_area(), geometry.depth());
    let mut out = vec![T::ZERO; geometry.images * geometry.input_size()];
    if depth == 0 {
        return out;
    }
    let length = out.len();
    let parts = Parts::new(&mut out);
    pool.ranges(geometry.images, geometry.grain(), |range| {
        let mut columns = if geometry.is_pointwise() { Vec::new() } else { unwritten::<T>(depth * area) };
        for image in range {
            for group in 0..geometry.groups {
                let start = image * geometry.output_size() + group * geometry.group_outputs() * area;
                let gradient = Matrix::strided(gradient, start, area, 1);
                let w = Matrix::strided(w, group * geometry.group_outputs() * depth, depth, 1).transposed();
                let channels = geometry.group_inputs() * geometry.input_area();
                let start = image * geometry.input_size() + group * channels;
                let sizes = (depth, area, geometry.group_outputs());
                if geometry.is_pointwise() {
                    let target = Target { parts: &parts, length, start, row_stride: area, column_stride: 1 };
                    // SAFETY: each image and group is written by one task.
                    unsafe { product_here(sizes, &target, Into::Overwrite, T::ONE, w, gradient) };
                    continue;
                }
                let total = columns.len();
                let unfolded = Parts::new(&mut columns);
                let target = Target { parts: &unfolded, length: total, start: 0, row_stride: area, column_stride: 1 };
                // SAFETY: the columns belong to this task; each image and group is written by one task.
                let x = unsafe {
                    product_here(sizes, &target, Into::Overwrite, T::ONE, w, gradient);
                    parts.part(start..start + channels)
                };
                fold(geometry, &columns, x);
            }
        }
    });
    out
}

/// The gradient of the weights from the input and the gradient of the result.
pub(crate) fn weight_gradient<T: Real>(pool: &Pool, geometry: &Geometry, x: &[T], gradient: &[T]) -> Vec<T> {
    let (area, depth) = (geometry.output_area(), geometry.depth());
    let size = geometry.weights();
    let partials = geometry.images.clamp(1, PARTIALS);
    let mut partial = vec![T::ZERO; partials * size];
    let length = partial.len();
    let parts = Parts::new(&mut partial);
    let grain = if geometry.work() * geometry.images < 256 * 1024 { partials } else { 1 };
    pool.ranges(partials, grain, |range| {
        let mut columns = if geometry.is_pointwise() { Vec::new() } else { unwritten::<T>(depth * area) };
        for at in range {
            for image in at * geometry.images / partials..(at + 1) * geometry.images / partials {
                for group in 0..geometry.groups {
                    let channels = geometry.group_inputs() * geometry.input_area();
                    let x = &x[image * geometry.input_size() + group * channels..][..channels];
                    if !geometry.is_pointwise() {
                        unfold(geometry, x, &mut columns);
                    }
                    let columns = if geometry.is_pointwise() { x } else { &columns[..] };
                    let start = image * geometry.output_size() + group * geometry.group_outputs() * area;
                    let gradient = Matrix::strided(gradient, start, area, 1);
                    let start = at * size + group * geometry.group_outputs() * depth;
                    let target = Target { parts: &parts, length, start, row_stride: depth, column_stride: 1 };
                    let columns = Matrix::rows(columns, area).transposed();
                    // SAFETY: each partial sum is written by one task.
                    unsafe { product_here((geometry.group_outputs(), depth, area), &target, Into::Add, T::ONE, gradient, columns) };
                }
            }
        }
    });
    let mut out = partial[..size].to_vec();
    for other in partial[size..].chunks_exact(size.max(1)) {
        for (sum, &x) in out.iter_mut().zip(other) {
            *sum += x;
        }
    }
    out
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
