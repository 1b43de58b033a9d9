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

/// As [`forward`](super::forward).
pub(super) fn forward<T: Real>(
    pool: &Pool,
    geometry: &Geometry,
    x: &[T],
    w: &[T],
    finish: &Touch<T>,
) -> Vec<T> {
    let tiles = Tiles::all(geometry);
    let (images, rows) = (0..geometry.images, geometry.images * tiles.count());
    let output_size = geometry.output_size();
    let area = geometry.output[0] * geometry.output[1];
    let mut out = unwritten::<T>(geometry.images * output_size);
    let out_parts = Parts::new(&mut out);
    let mut inputs = unwritten::<T>(POINTS * tiles.input_matrix());
    let inputs = Parts::new(&mut inputs);
    transform_input(pool, &tiles, images.clone(), x, &inputs);
    let most = ranges::<T>(geometry.outputs, geometry.inputs).next().map_or(0, |range| range.len());
    let (side, mut outputs) = part_of::<T>(tiles.outputs(), rows, most);
    let outputs = Parts::new(&mut outputs);
    for columns in ranges::<T>(geometry.outputs, geometry.inputs) {
        let weights = Weights::new(pool, geometry, w, Columns::Outputs, columns.clone());
        pool.run(POINTS, &|point| {
            // SAFETY: each of the 36 matrices is used by one task.
            let (a, out) = unsafe {
                let place = point * side.matrix..(point + 1) * side.matrix;
                (tiles.input_at(&inputs, point), outputs.part(place))
            };
            let product = Packed {
                sizes: [rows, columns.len(), geometry.inputs],
                a,
                a_strides: [tiles.input_row, 1],
                b: weights.at(point),
                out,
                out_row: side.row,
                add: false,
            };
            product.run();
        });
        let side = Side { channels: columns.len(), ..side };
        let to = |at: usize| {
            let start = at * output_size;
            // SAFETY: each image is written by one task.
            let planes =
                unsafe { out_parts.part(start + columns.start * area..start + columns.end * area) };
            Pixels::To(planes)
        };
        transform_images(pool, side, images.clone(), &outputs, to, |_| {});
    }
    pool.ranges(geometry.images, 1, |range| {
        for at in range {
            // SAFETY: as above.
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
    let (input_size, rows) = (geometry.input_size(), geometry.images * tiles.count());
    let area = geometry.input[0] * geometry.input[1];
    let mut input = unwritten::<T>(geometry.images * input_size);
    let parts = Parts::new(&mut input);
    let most = ranges::<T>(geometry.inputs, geometry.outputs).next().map_or(0, |range| range.len());
    let (side, mut inputs) = part_of::<T>(tiles.inputs(), rows, most);
    let inputs = Parts::new(&mut inputs);
    for columns in ranges::<T>(geometry.inputs, geometry.outputs) {
        let weights = Weights::new(pool, geometry, w, Columns::Inputs, columns.clone());
        pool.run(POINTS, &|point| {
            // SAFETY: each of the 36 matrices is used by one task.
            let (a, out) = unsafe {
                let place = point * side.matrix..(point + 1) * side.matrix;
                (&*tiles.output_at(outputs, point), inputs.part(place))
            };
            let product = Packed {
                sizes: [rows, columns.len(), geometry.outputs],
                a,
                a_strides: [tiles.output_row, 1],
                b: weights.at(point),
                out,
                out_row: side.row,
                add: false,
            };
            product.run();
        });
        let side = Side { channels: columns.len(), ..side };
        let to = |at: usize| {
            let start = at * input_size;
            // SAFETY: each image is written by one task.
            let planes =
                unsafe { parts.part(start + columns.start * area..start + columns.end * area) };
            Pixels::To(planes)
        };
        transform_images(pool, side, 0..geometry.images, &inputs, to, |_| {});
    }
    input
}
