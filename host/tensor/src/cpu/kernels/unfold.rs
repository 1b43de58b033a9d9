//! Images unfolded to matrices whose columns are the windows of a convolution, and back.

use super::isa::{Isa, Kernel, dispatch};
use super::number::Real;
use crate::backend::Geometry;

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
pub(super) fn add_run<T: Real>(into: &mut [T], from: &[T]) {
    let length = into.len();
    let from = &from[..length];
    let mut at = 0;
    while at < length {
        into[at] += from[at];
        at += 1;
    }
}

/// An image's columns among those of several images: the distance of rows, and the first column.
#[derive(Clone, Copy)]
pub(super) struct Place {
    pub pitch: usize,
    pub start: usize,
}

struct Unfold<'a, T>(&'a Geometry, &'a [T], &'a mut [T], Place);

impl<T: Real> Kernel for Unfold<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Isa>(self, _: S) {
        unfold_rows(self.0, self.1, self.2, self.3);
    }
}

struct Fold<'a, T>(&'a Geometry, &'a [T], &'a mut [T], Place);

impl<T: Real> Kernel for Fold<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Isa>(self, _: S) {
        fold_rows(self.0, self.1, self.2, self.3);
    }
}

/// Writes the unfolded channels `x` (of one group and image) to `columns` [depth, output area].
pub(super) fn unfold<T: Real>(geometry: &Geometry, x: &[T], columns: &mut [T]) {
    dispatch(Unfold(geometry, x, columns, Place { pitch: geometry.output_area(), start: 0 }));
}

#[inline(always)]
fn unfold_rows<T: Real>(geometry: &Geometry, x: &[T], columns: &mut [T], place: Place) {
    let Geometry {
        input: [height, width],
        output: [out_height, out_width],
        kernel: [kernel_height, kernel_width],
        ..
    } = *geometry;
    let mut rows = columns.chunks_exact_mut(place.pitch);
    for channel in x.chunks_exact(height * width) {
        for ky in 0..kernel_height {
            for kx in 0..kernel_width {
                let Some(row) = rows.next() else { return };
                let row = &mut row[place.start..place.start + out_height * out_width];
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
pub(super) fn fold<T: Real>(geometry: &Geometry, columns: &[T], x: &mut [T]) {
    dispatch(Fold(geometry, columns, x, Place { pitch: geometry.output_area(), start: 0 }));
}

#[inline(always)]
fn fold_rows<T: Real>(geometry: &Geometry, columns: &[T], x: &mut [T], place: Place) {
    let Geometry {
        input: [height, width],
        output: [out_height, out_width],
        kernel: [kernel_height, kernel_width],
        ..
    } = *geometry;
    let mut rows = columns.chunks_exact(place.pitch);
    for channel in x.chunks_exact_mut(height * width) {
        for ky in 0..kernel_height {
            for kx in 0..kernel_width {
                let Some(row) = rows.next() else { return };
                let row = &row[place.start..place.start + out_height * out_width];
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

/// As [`fold`], of one of several images whose columns lie beside each other.
pub(super) fn fold_at<T: Real>(geometry: &Geometry, columns: &[T], x: &mut [T], place: Place) {
    dispatch(Fold(geometry, columns, x, place));
}

/// Unfolds some images beside each other.
pub(super) fn unfold_together<T: Real>(
    geometry: &Geometry,
    x: &[T],
    images: usize,
    columns: &mut [T],
) {
    let (area, size) = (geometry.output_area(), geometry.input_size());
    let pitch = images * area;
    for at in 0..images {
        let x = &x[at * size..(at + 1) * size];
        dispatch(Unfold(geometry, x, columns, Place { pitch, start: at * area }));
    }
}
