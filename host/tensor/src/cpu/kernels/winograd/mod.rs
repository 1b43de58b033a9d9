//! Convolutions of 3 by 3 with stride 1 by Winograd's method F(4x4, 3x3): forward and gradients.
//!
//! The result is cut into tiles of 4 by 4, which depend on tiles of 6 by 6 of the input. A tile is
//! transformed to 36 numbers for each channel; for each of the 36, all tiles of some images make a
//! matrix [tiles, channels], which is multiplied with that of the transformed weights. This takes
//! 36 multiply-adds for 16 results instead of 144. The gradients are the transposes of the same
//! linear maps. Nothing is summed in an order that depends on the number of threads.
//!
//! The method evaluates polynomials at five points and infinity. It is exact for any points; they
//! decide how far sums cancel. See `docs/decisions/tensor-engine.md`.

mod maps;
mod parts;
#[cfg(test)]
mod tests;
mod transform;
mod weights;

use std::ops::Range;

use super::convolution::{Backward, Touch, Wanted, add_planes};
use super::elementwise::round_here;
use super::number::Real;
use super::packed::{Packed, Right};
use crate::backend::Geometry;
use crate::cpu::data::unwritten;
use crate::pool::{Parts, Pool};
use transform::{Pixels, transform_images};
use weights::{Columns, Weights, weight_gradient};

/// Side of a tile of the result.
const OUT: usize = 4;
/// Side of a tile of the input.
const IN: usize = 6;
/// Numbers of a transformed tile.
const POINTS: usize = IN * IN;
/// Least channels on either side: below, transforming takes longer than it saves.
const LEAST_CHANNELS: usize = 32;
/// Elements of both transformed sides together that are kept at a time.
const ELEMENTS: usize = 2 << 20;

/// Whether the method applies to a convolution and is worth it.
pub(super) fn fits(geometry: &Geometry) -> bool {
    geometry.kernel == [3, 3]
        && geometry.stride == [1, 1]
        && geometry.dilation == [1, 1]
        && geometry.groups == 1
        && geometry.inputs.min(geometry.outputs) >= LEAST_CHANNELS
        && geometry.output.iter().all(|&size| size >= 3)
        && geometry.images * geometry.output[0] * geometry.output[1] >= 256
}

/// Sizes of what is kept.
#[derive(Clone, Copy)]
struct Tiles {
    geometry: Geometry,
    /// Tiles of an image, down and across.
    grid: [usize; 2],
    /// Images that are transformed at a time.
    images: usize,
    /// Distance of the rows of transformed inputs and results.
    input_row: usize,
    output_row: usize,
}

/// A row's distance for `channels` elements: not a multiple of a page's part, so that rows do not
/// compete for the same places of the cache.
fn row(channels: usize) -> usize {
    channels.next_multiple_of(16) + 16
}

/// Elements of one of the 36 matrices, with a gap of a cache line for the same reason.
fn matrix(rows: usize, row: usize) -> usize {
    (rows * row).next_multiple_of(128) + 16
}

impl Tiles {
    fn new(geometry: &Geometry) -> Self {
        let grid = geometry.output.map(|size| size.div_ceil(OUT));
        let (input_row, output_row) = (row(geometry.inputs), row(geometry.outputs));
        let image = POINTS * grid[0] * grid[1] * (input_row + output_row);
        let images = (ELEMENTS / image).clamp(1, geometry.images.max(1));
        // Blocks of about the same size.
        let images = geometry.images.div_ceil(geometry.images.div_ceil(images).max(1)).max(1);
        Self { geometry: *geometry, grid, images, input_row, output_row }
    }

    /// Tiles of an image.
    fn count(&self) -> usize {
        self.grid[0] * self.grid[1]
    }

    /// Elements of one of the 36 matrices of inputs.
    fn input_matrix(&self) -> usize {
        matrix(self.images * self.count(), self.input_row)
    }

    /// Elements of one of the 36 matrices of results.
    fn output_matrix(&self) -> usize {
        matrix(self.images * self.count(), self.output_row)
    }

    /// One of the 36 matrices of inputs.
    ///
    /// # Safety
    /// No other reference to it may exist.
    #[allow(clippy::mut_from_ref)]
    unsafe fn input_at<'a, T>(&self, all: &'a Parts<T>, point: usize) -> &'a mut [T] {
        let size = self.input_matrix();
        // SAFETY: promised by the caller.
        unsafe { all.part(point * size..(point + 1) * size) }
    }

    /// One of the 36 matrices of results.
    ///
    /// # Safety
    /// As [`input_at`](Self::input_at).
    #[allow(clippy::mut_from_ref)]
    unsafe fn output_at<'a, T>(&self, all: &'a Parts<T>, point: usize) -> &'a mut [T] {
        let size = self.output_matrix();
        // SAFETY: promised by the caller.
        unsafe { all.part(point * size..(point + 1) * size) }
    }

    fn inputs(&self) -> Side {
        Side {
            channels: self.geometry.inputs,
            size: self.geometry.input,
            // The tiles begin in the padding.
            offset: self.geometry.padding,
            grid: self.grid,
            tile: IN,
            row: self.input_row,
            matrix: self.input_matrix(),
            rounded: self.geometry.rounded,
        }
    }

    fn outputs(&self) -> Side {
        Side {
            channels: self.geometry.outputs,
            size: self.geometry.output,
            offset: [0, 0],
            grid: self.grid,
            tile: OUT,
            row: self.output_row,
            matrix: self.output_matrix(),
            rounded: false,
        }
    }

    /// The blocks of images.
    fn blocks(&self) -> impl Iterator<Item = std::ops::Range<usize>> {
        let (all, size) = (self.geometry.images, self.images);
        (0..all).step_by(size).map(move |from| from..(from + size).min(all))
    }
}

/// How the images of inputs or of results lie in tiles.
#[derive(Clone, Copy)]
struct Side {
    channels: usize,
    size: [usize; 2],
    /// Rows and columns of the first tile that lie before the image.
    offset: [usize; 2],
    grid: [usize; 2],
    /// Side of a tile: `IN`, and then tiles overlap, or `OUT`.
    tile: usize,
    /// Distance of a tile's channels from those of the next tile, and elements of one of the 36
    /// matrices.
    row: usize,
    matrix: usize,
    /// Whether pixels are rounded to bf16 before they are transformed.
    rounded: bool,
}

impl Side {
    /// Size of an image with the zeros around it that tiles read.
    fn padded(&self) -> [usize; 2] {
        self.grid.map(|tiles| (tiles - 1) * OUT + self.tile)
    }
}

/// As [`forward`](super::convolution::forward) of convolutions.
pub(super) fn forward<T: Real>(
    pool: &Pool,
    geometry: &Geometry,
    x: &[T],
    w: &[T],
    finish: &Touch<T>,
) -> Vec<T> {
    match parts::are_needed(geometry) {
        true => parts::forward(pool, geometry, x, w, finish),
        false => whole_forward(pool, geometry, x, w, finish),
    }
}

/// [`forward`] with all weights at a time.
fn whole_forward<T: Real>(
    pool: &Pool,
    geometry: &Geometry,
    x: &[T],
    w: &[T],
    finish: &Touch<T>,
) -> Vec<T> {
    let tiles = Tiles::new(geometry);
    let output_size = geometry.output_size();
    let mut out = unwritten::<T>(geometry.images * output_size);
    let weights = Weights::new(pool, geometry, w, Columns::Outputs, 0..geometry.outputs);
    let mut inputs = unwritten::<T>(POINTS * tiles.input_matrix());
    let mut outputs = unwritten::<T>(POINTS * tiles.output_matrix());
    let (inputs, outputs) = (Parts::new(&mut inputs), Parts::new(&mut outputs));
    let out_parts = Parts::new(&mut out);
    // SAFETY: each image is written by one task.
    let image = |at: usize| unsafe { out_parts.part(at * output_size..(at + 1) * output_size) };
    for block in tiles.blocks() {
        let rows = block.len() * tiles.count();
        transform_input(pool, &tiles, block.clone(), x, &inputs);
        pool.run(POINTS, &|point| {
            // SAFETY: each of the 36 matrices is used by one task.
            let (a, out) =
                unsafe { (tiles.input_at(&inputs, point), tiles.output_at(&outputs, point)) };
            let product = Packed {
                sizes: [rows, geometry.outputs, geometry.inputs],
                a,
                a_strides: [tiles.input_row, 1],
                b: weights.at(point),
                out,
                out_row: tiles.output_row,
                add: false,
            };
            product.run();
        });
        let to = |at: usize| Pixels::To(image(at));
        transform_images(pool, tiles.outputs(), block, &outputs, to, |at| {
            finish(at * output_size, image(at))
        });
    }
    out
}

/// Transforms the input of a block of images.
fn transform_input<T: Real>(
    pool: &Pool,
    tiles: &Tiles,
    block: Range<usize>,
    x: &[T],
    inputs: &Parts<T>,
) {
    let size = tiles.geometry.input_size();
    let from = |at: usize| Pixels::From(&x[at * size..(at + 1) * size]);
    transform_images(pool, tiles.inputs(), block, inputs, from, |_| {});
}

/// Transforms the gradient of the result for a block of images. `prepare` changes that of an image
/// before it is used; its sums over the planes are written to the image's part of `biases`.
fn transform_gradient<T: Real>(
    pool: &Pool,
    tiles: &Tiles,
    block: Range<usize>,
    gradients: &Parts<T>,
    prepare: &Touch<T>,
    biases: Option<&Parts<T>>,
    outputs: &Parts<T>,
) {
    let geometry = &tiles.geometry;
    let (size, channels) = (geometry.output_size(), geometry.outputs);
    let from = |at: usize| {
        // SAFETY: each image and its sums are used by one task.
        let gradient = unsafe { gradients.part(at * size..(at + 1) * size) };
        prepare(at * size, gradient);
        if let Some(biases) = biases {
            // SAFETY: as above.
            let sums = unsafe { biases.part(at * channels..(at + 1) * channels) };
            add_planes(geometry, gradient, sums);
        }
        if geometry.rounded {
            round_here(gradient);
        }
        Pixels::From(gradient)
    };
    transform_images(pool, tiles.outputs(), block, outputs, from, |_| {});
}

/// As [`backward`](super::convolution::backward) of convolutions.
pub(super) fn backward<T: Real>(
    pool: &Pool,
    geometry: &Geometry,
    x: &[T],
    w: &[T],
    gradient: &mut [T],
    prepare: &Touch<T>,
    wanted: Wanted,
) -> Backward<T> {
    match parts::are_needed(geometry) {
        true => parts::backward(pool, geometry, x, w, gradient, prepare, wanted),
        false => whole_backward(pool, geometry, x, w, gradient, prepare, wanted),
    }
}

/// [`backward`] with all weights at a time.
fn whole_backward<T: Real>(
    pool: &Pool,
    geometry: &Geometry,
    x: &[T],
    w: &[T],
    gradient: &mut [T],
    prepare: &Touch<T>,
    wanted: Wanted,
) -> Backward<T> {
    let tiles = Tiles::new(geometry);
    let input_size = geometry.input_size();
    let (channels, weight_matrix) = (geometry.outputs, matrix(geometry.outputs, tiles.input_row));
    let weights =
        wanted.input.then(|| Weights::new(pool, geometry, w, Columns::Inputs, 0..geometry.inputs));
    let elements = |wanted: bool, count: usize| unwritten::<T>(if wanted { count } else { 0 });
    let mut input = elements(wanted.input, geometry.images * input_size);
    let mut sums = elements(wanted.weights, POINTS * weight_matrix);
    // A sum for each image: they are added in one order.
    let mut biases = vec![T::ZERO; if wanted.bias { geometry.images * channels } else { 0 }];
    let mut inputs = unwritten::<T>(POINTS * tiles.input_matrix());
    let mut outputs = unwritten::<T>(POINTS * tiles.output_matrix());
    let (inputs, outputs) = (Parts::new(&mut inputs), Parts::new(&mut outputs));
    let (gradients, input_parts) = (Parts::new(gradient), Parts::new(&mut input));
    let (sum_parts, bias_parts) = (Parts::new(&mut sums), Parts::new(&mut biases));
    for (number, block) in tiles.blocks().enumerate() {
        let rows = block.len() * tiles.count();
        let biases = wanted.bias.then_some(&bias_parts);
        transform_gradient(pool, &tiles, block.clone(), &gradients, prepare, biases, &outputs);
        if wanted.weights {
            transform_input(pool, &tiles, block.clone(), x, &inputs);
        }
        pool.run(POINTS, &|point| {
            // SAFETY: each of the 36 matrices is used by one task.
            let (inputs, outputs) =
                unsafe { (tiles.input_at(&inputs, point), &*tiles.output_at(&outputs, point)) };
            if wanted.weights {
                let from = point * weight_matrix;
                let product = Packed {
                    sizes: [channels, geometry.inputs, rows],
                    a: outputs,
                    a_strides: [1, tiles.output_row],
                    b: Right::Rows(inputs, tiles.input_row),
                    // SAFETY: as above.
                    out: unsafe { sum_parts.part(from..from + weight_matrix) },
                    out_row: tiles.input_row,
                    add: number > 0,
                };
                product.run();
            }
            if let Some(weights) = &weights {
                let product = Packed {
                    sizes: [rows, geometry.inputs, channels],
                    a: outputs,
                    a_strides: [tiles.output_row, 1],
                    b: weights.at(point),
                    out: inputs,
                    out_row: tiles.input_row,
                    add: false,
                };
                product.run();
            }
        });
        if wanted.input {
            let to = |at: usize| {
                // SAFETY: each image is written by one task.
                Pixels::To(unsafe { input_parts.part(at * input_size..(at + 1) * input_size) })
            };
            transform_images(pool, tiles.inputs(), block, &inputs, to, |_| {});
        }
    }
    let mut weights = elements(wanted.weights, geometry.outputs * geometry.inputs * 9);
    if wanted.weights {
        let (pitch, size) = (tiles.input_row, weight_matrix);
        weight_gradient(pool, geometry.inputs, &sums, pitch, size, &mut weights);
    }
    Backward { input, weights, bias: added(&biases, channels) }
}

/// The sum of the sums of images, in their order.
fn added<T: Real>(images: &[T], channels: usize) -> Vec<T> {
    let mut sums = vec![T::ZERO; if images.is_empty() { 0 } else { channels }];
    for image in images.chunks_exact(channels) {
        sums.iter_mut().zip(image).for_each(|(sum, &x)| *sum += x);
    }
    sums
}
