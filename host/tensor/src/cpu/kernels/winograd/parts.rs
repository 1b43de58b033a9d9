//! Convolutions with many channels on small images, in parts: their transformed weights would take
//! more memory than the tiles of all images. Weights are transformed for some columns at a time; no
//! result depends on how many.

use std::ops::Range;

use super::super::number::Real;
use super::super::packed::width;
use super::*;

/// Elements of all transformed weights above which they are made in parts.
const WHOLE: usize = 4 << 20;
/// Elements of a side's transformed tiles of all images up to which they are kept.
const KEPT: usize = 4 << 20;

/// Whether a convolution is computed in parts.
pub(super) fn are_needed(geometry: &Geometry) -> bool {
    let tiles = Tiles::all(geometry);
    POINTS * geometry.inputs * geometry.outputs > WHOLE
        && POINTS * tiles.input_matrix().max(tiles.output_matrix()) <= KEPT
}

/// Ranges of some of `columns`, whose weights with `rows` take about as much as is transformed at a
/// time otherwise.
fn ranges<T: Real>(columns: usize, rows: usize) -> impl Iterator<Item = Range<usize>> {
    let width = width::<T>();
    let size = (ELEMENTS / (POINTS * rows) / width * width).max(width);
    (0..columns).step_by(size).map(move |from| from..(from + size).min(columns))
}

impl Tiles {
    /// With all images at a time.
    fn all(geometry: &Geometry) -> Self {
        Self { images: geometry.images, ..Self::new(geometry) }
    }
}

/// Room for a part of a side: the side, and its matrices.
fn part_of<T: Real>(side: Side, rows: usize, most: usize) -> (Side, Vec<T>) {
    let row = row(most);
    let side = Side { row, matrix: matrix(rows, row), ..side };
    (side, unwritten::<T>(POINTS * side.matrix))
}

/// Writes one side of a convolution to `out`, from the transformed tiles of the other side. Weights are
/// transformed for some of its channels at a time.
fn from_tiles<T: Real>(
    pool: &Pool,
    geometry: &Geometry,
    w: &[T],
    (tiles, given): (&Parts<T>, Side),
    (out, wanted, columns_of): (&Parts<T>, Side, Columns),
) {
    let rows = geometry.images * given.grid[0] * given.grid[1];
    let area = wanted.size[0] * wanted.size[1];
    let ranges = || ranges::<T>(wanted.channels, given.channels);
    let most = ranges().next().map_or(0, |range| range.len());
    let (side, mut products) = part_of::<T>(wanted, rows, most);
    let products = Parts::new(&mut products);
    for columns in ranges() {
        let weights = Weights::new(pool, geometry, w, columns_of, columns.clone());
        pool.run(POINTS, &|point| {
            // SAFETY: each of the 36 matrices is used by one task.
            let (a, out) = unsafe {
                (
                    &*tiles.part(point * given.matrix..(point + 1) * given.matrix),
                    products.part(point * side.matrix..(point + 1) * side.matrix),
                )
            };
            let product = Packed {
                sizes: [rows, columns.len(), given.channels],
                a,
                a_strides: [given.row, 1],
                b: weights.at(point),
                out,
                out_row: side.row,
                add: false,
            };
            product.run();
        });
        let side = Side { channels: columns.len(), ..side };
        let to = |at: usize| {
            let start = at * wanted.channels * area;
            // SAFETY: each image is written by one task.
            let planes =
                unsafe { out.part(start + columns.start * area..start + columns.end * area) };
            Pixels::To(planes)
        };
        transform_images(pool, side, 0..geometry.images, &products, to, |_| {});
    }
}

/// As [`forward`](super::forward).
pub(super) fn forward<T: Real>(
    pool: &Pool,
    geometry: &Geometry,
    x: &[T],
    w: &[T],
    finish: &Touch<T>,
) -> Vec<T> {
    let tiles = Tiles::all(geometry);
    let output_size = geometry.output_size();
    let mut out = unwritten::<T>(geometry.images * output_size);
    let out_parts = Parts::new(&mut out);
    let mut inputs = unwritten::<T>(POINTS * tiles.input_matrix());
    let inputs = Parts::new(&mut inputs);
    transform_input(pool, &tiles, 0..geometry.images, x, &inputs);
    let (given, wanted) = (tiles.inputs(), tiles.outputs());
    from_tiles(pool, geometry, w, (&inputs, given), (&out_parts, wanted, Columns::Outputs));
    pool.ranges(geometry.images, 1, |range| {
        for at in range {
            // SAFETY: each image is used by one task.
            let image = unsafe { out_parts.part(at * output_size..(at + 1) * output_size) };
            finish(at * output_size, image);
        }
    });
    out
}

/// As [`backward`](super::backward).
pub(super) fn backward<T: Real>(
    pool: &Pool,
    geometry: &Geometry,
    x: &[T],
    w: &[T],
    gradient: &mut [T],
    prepare: &Touch<T>,
    wanted: Wanted,
) -> Backward<T> {
    let tiles = Tiles::all(geometry);
    let (images, channels) = (0..geometry.images, geometry.outputs);
    // A sum for each image: they are added in one order.
    let mut biases = vec![T::ZERO; if wanted.bias { geometry.images * channels } else { 0 }];
    let mut outputs = unwritten::<T>(POINTS * tiles.output_matrix());
    let outputs = Parts::new(&mut outputs);
    let (gradients, bias_parts) = (Parts::new(gradient), Parts::new(&mut biases));
    let sums = wanted.bias.then_some(&bias_parts);
    transform_gradient(pool, &tiles, images, &gradients, prepare, sums, &outputs);
    let weights = match wanted.weights {
        true => to_weights(pool, &tiles, x, &outputs),
        false => Vec::new(),
    };
    let input = match wanted.input {
        true => to_input(pool, &tiles, w, &outputs),
        false => Vec::new(),
    };
    Backward { input, weights, bias: added(&biases, channels) }
}

/// The gradient of the weights, from the transformed one of the result.
fn to_weights<T: Real>(pool: &Pool, tiles: &Tiles, x: &[T], outputs: &Parts<T>) -> Vec<T> {
    let geometry = &tiles.geometry;
    let rows = geometry.images * tiles.count();
    let mut inputs = unwritten::<T>(POINTS * tiles.input_matrix());
    let inputs = Parts::new(&mut inputs);
    transform_input(pool, tiles, 0..geometry.images, x, &inputs);
    let mut out = unwritten::<T>(geometry.outputs * geometry.inputs * 9);
    let most = ranges::<T>(geometry.outputs, geometry.inputs).next().map_or(0, |range| range.len());
    let size = matrix(most, tiles.input_row);
    let mut sums = unwritten::<T>(POINTS * size);
    for channels in ranges::<T>(geometry.outputs, geometry.inputs) {
        let sum_parts = Parts::new(&mut sums);
        pool.run(POINTS, &|point| {
            // SAFETY: each of the 36 matrices is used by one task.
            let (inputs, outputs, out) = unsafe {
                (
                    &*tiles.input_at(&inputs, point),
                    &*tiles.output_at(outputs, point),
                    sum_parts.part(point * size..(point + 1) * size),
                )
            };
            let product = Packed {
                sizes: [channels.len(), geometry.inputs, rows],
                a: &outputs[channels.start..],
                a_strides: [1, tiles.output_row],
                b: Right::Rows(inputs, tiles.input_row),
                out,
                out_row: tiles.input_row,
                add: false,
            };
            product.run();
        });
        let out = &mut out[channels.start * geometry.inputs * 9..]
            [..channels.len() * geometry.inputs * 9];
        weight_gradient(pool, geometry.inputs, &sums, tiles.input_row, size, out);
    }
    out
}

/// The gradient of the input, from the transformed one of the result.
fn to_input<T: Real>(pool: &Pool, tiles: &Tiles, w: &[T], outputs: &Parts<T>) -> Vec<T> {
    let geometry = &tiles.geometry;
    let mut input = unwritten::<T>(geometry.images * geometry.input_size());
    let parts = Parts::new(&mut input);
    let (given, wanted) = (tiles.outputs(), tiles.inputs());
    from_tiles(pool, geometry, w, (outputs, given), (&parts, wanted, Columns::Inputs));
    input
}
