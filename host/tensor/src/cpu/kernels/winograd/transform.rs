//! Tiles of images to the 36 matrices, and back.

use super::super::isa::{Isa, Kernel, dispatch};
use super::super::number::Real;
use super::super::vector::{ByVector, MOST_LANES, Vector, with_vector};
use super::maps::Maps;
use super::{IN, OUT, Side};
use crate::pool::{Parts, Pool};

/// The pixels [channels, height, width] of an image, and what happens to them.
pub(super) enum Pixels<'a, T> {
    /// They are transformed.
    From(&'a [T]),
    /// They are made from transformed tiles.
    To(&'a mut [T]),
}

/// Transforms the tiles of one image between its pixels and the 36 matrices [tiles, channels], of
/// which the image has the rows from `first` on.
struct Transform<'a, T> {
    side: Side,
    pixels: Pixels<'a, T>,
    matrices: &'a Parts<T>,
    first: usize,
    /// Holds the padded image of one vector of channels.
    scratch: &'a mut Vec<T>,
}

impl<T: Real> Kernel for Transform<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Isa>(self, _: S) {
        // SAFETY: the instruction set is that of the kernel.
        unsafe { with_vector::<S, T, _>(self) }
    }
}

impl<T: Real> ByVector<T> for Transform<'_, T> {
    #[inline(always)]
    unsafe fn run<V: Vector<T>>(self) {
        transform::<T, V>(self);
    }
}

#[inline(always)]
fn transform<T: Real, V: Vector<T>>(task: Transform<T>) {
    let Transform { side, mut pixels, matrices, first, scratch } = task;
    let [height, width] = side.padded();
    scratch.clear();
    scratch.resize(height * width * V::LANES, T::ZERO);
    let maps = Maps::<V>::new::<T>();
    let area = side.size[0] * side.size[1];
    let tiles = side.grid[0] * side.grid[1];
    assert!(side.channels <= side.row && (first + tiles) * side.row <= side.matrix);
    for channel in (0..side.channels).step_by(V::LANES) {
        let lanes = (side.channels - channel).min(V::LANES);
        match &pixels {
            Pixels::From(image) => {
                spread::<T, V>(&side, &image[channel * area..][..lanes * area], scratch, lanes)
            }
            Pixels::To(_) if side.tile == IN => scratch.fill(T::ZERO),
            Pixels::To(_) => {}
        }
        let forth = matches!(pixels, Pixels::From(_));
        for tile in 0..tiles {
            let (down, across) = (tile / side.grid[1], tile % side.grid[1]);
            let corner = (down * OUT * width + across * OUT) * V::LANES;
            let place = (first + tile) * side.row + channel;
            // SAFETY: the scratch holds all tiles; the matrices' rows were checked, and those of an
            // image are used by one task.
            unsafe {
                let corner = scratch.as_mut_ptr().add(corner);
                let numbers = matrices.pointer().add(place);
                let (step, zero) = (width * V::LANES, V::splat(T::ZERO));
                match (forth, side.tile) {
                    (true, IN) => {
                        let mut half = [[zero; IN]; IN];
                        let mut at = 0;
                        while at < IN {
                            half[at] = maps.input(load(corner.add(at * step)));
                            at += 1;
                        }
                        let mut to = 0;
                        while to < IN {
                            let six = maps.input(column(&half, to));
                            store_column(six, numbers.add(to * side.matrix), side.matrix, lanes);
                            to += 1;
                        }
                    }
                    (true, _) => {
                        let mut half = [[zero; IN]; OUT];
                        let mut at = 0;
                        while at < OUT {
                            half[at] = maps.output_transposed(load(corner.add(at * step)));
                            at += 1;
                        }
                        let mut to = 0;
                        while to < IN {
                            let six = maps.output_transposed(column(&half, to));
                            store_column(six, numbers.add(to * side.matrix), side.matrix, lanes);
                            to += 1;
                        }
                    }
                    (false, IN) => {
                        let mut half = [[zero; IN]; IN];
                        let mut at = 0;
                        while at < IN {
                            let row = numbers.add(at * IN * side.matrix);
                            half[at] = maps.input_transposed(load_row(row, side.matrix, lanes));
                            at += 1;
                        }
                        let mut to = 0;
                        while to < IN {
                            // Tiles overlap.
                            let six = maps.input_transposed(column(&half, to));
                            let mut at = 0;
                            while at < IN {
                                let pixel = corner.add(at * step + to * V::LANES);
                                V::load(pixel).add(six[at]).store(pixel);
                                at += 1;
                            }
                            to += 1;
                        }
                    }
                    (false, _) => {
                        let mut half = [[zero; OUT]; IN];
                        let mut at = 0;
                        while at < IN {
                            let row = numbers.add(at * IN * side.matrix);
                            half[at] = maps.output(load_row(row, side.matrix, lanes));
                            at += 1;
                        }
                        let mut to = 0;
                        while to < OUT {
                            let four = maps.output(column(&half, to));
                            let mut at = 0;
                            while at < OUT {
                                four[at].store(corner.add(at * step + to * V::LANES));
                                at += 1;
                            }
                            to += 1;
                        }
                    }
                }
            }
        }
        if let Pixels::To(image) = &mut pixels {
            collect::<T, V>(&side, &mut image[channel * area..][..lanes * area], scratch, lanes);
        }
    }
}

/// Column `at` of rows.
#[inline(always)]
pub(super) fn column<V: Copy, const R: usize, const C: usize>(
    rows: &[[V; C]; R],
    at: usize,
) -> [V; R] {
    let mut all = [rows[0][at]; R];
    let mut row = 1;
    while row < R {
        all[row] = rows[row][at];
        row += 1;
    }
    all
}

/// The vectors of consecutive pixels.
///
/// # Safety
/// They may be read, with a vector of the instruction set.
#[inline(always)]
unsafe fn load<T: Real, V: Vector<T>, const N: usize>(from: *const T) -> [V; N] {
    // SAFETY: promised by the caller.
    unsafe {
        let mut all = [V::splat(T::ZERO); N];
        let mut at = 0;
        while at < N {
            all[at] = V::load(from.add(at * V::LANES));
            at += 1;
        }
        all
    }
}

/// A row of a tile's 36 numbers, which lie `distance` apart.
///
/// # Safety
/// As [`load`].
#[inline(always)]
pub(super) unsafe fn load_row<T: Real, V: Vector<T>>(
    first: *const T,
    distance: usize,
    lanes: usize,
) -> [V; IN] {
    // SAFETY: promised by the caller.
    unsafe {
        let mut all = [V::splat(T::ZERO); IN];
        let mut at = 0;
        while at < IN {
            let from = first.add(at * distance);
            all[at] = part(from, lanes);
            at += 1;
        }
        all
    }
}

/// Writes a column of a tile's 36 numbers, of which `distance` lie between neighbours in a row.
///
/// # Safety
/// They may be written, with a vector of the instruction set.
#[inline(always)]
unsafe fn store_column<T: Real, V: Vector<T>>(
    six: [V; IN],
    first: *mut T,
    distance: usize,
    lanes: usize,
) {
    let mut at = 0;
    while at < IN {
        // SAFETY: promised by the caller.
        unsafe {
            let into = first.add(at * IN * distance);
            if lanes == V::LANES { six[at].store(into) } else { six[at].store_part(into, lanes) }
        }
        at += 1;
    }
}

/// Checks the sizes of some planes and of the pixels that they are copied from or to.
#[inline(always)]
fn check_planes<T, V: Vector<T>>(side: &Side, planes: usize, scratch: usize, lanes: usize) {
    let ([height, width], [rows, columns]) = (side.size, side.padded());
    let [top, left] = side.offset;
    assert!(height + top <= rows && width + left <= columns && lanes <= V::LANES);
    assert!(planes == lanes * height * width && scratch == rows * columns * V::LANES);
}

/// Writes `lanes` planes beside each other, pixel by pixel, into the middle of `scratch`.
#[inline(always)]
fn spread<T: Real, V: Vector<T>>(side: &Side, planes: &[T], scratch: &mut [T], lanes: usize) {
    check_planes::<T, V>(side, planes.len(), scratch.len(), lanes);
    let ([height, width], [_, columns], [top, left]) = (side.size, side.padded(), side.offset);
    let area = height * width;
    // SAFETY: the sizes were checked, and the vector is one of the instruction set.
    unsafe {
        let mut square = [V::splat(T::ZERO); MOST_LANES];
        let square = &mut square[..V::LANES];
        let (mut y, mut x) = (0, 0);
        for first in (0..area).step_by(V::LANES) {
            let count = (area - first).min(V::LANES);
            for (lane, row) in square.iter_mut().enumerate() {
                *row = match lane < lanes {
                    false => V::splat(T::ZERO),
                    true => part::<T, V>(planes.as_ptr().add(lane * area + first), count),
                };
            }
            V::transpose(square);
            if side.rounded {
                let numbers = square.as_mut_ptr().cast::<T>();
                for at in 0..count * V::LANES {
                    let number = numbers.add(at);
                    *number = (*number).rounded();
                }
            }
            for pixel in &square[..count] {
                let place = ((y + top) * columns + left + x) * V::LANES;
                pixel.store(scratch.as_mut_ptr().add(place));
                (y, x) = next(y, x, width);
            }
        }
    }
}

/// The reverse of [`spread`].
#[inline(always)]
fn collect<T: Real, V: Vector<T>>(side: &Side, planes: &mut [T], scratch: &[T], lanes: usize) {
    check_planes::<T, V>(side, planes.len(), scratch.len(), lanes);
    let ([height, width], [_, columns], [top, left]) = (side.size, side.padded(), side.offset);
    let area = height * width;
    // SAFETY: the sizes were checked, and the vector is one of the instruction set.
    unsafe {
        let mut square = [V::splat(T::ZERO); MOST_LANES];
        let square = &mut square[..V::LANES];
        let (mut y, mut x) = (0, 0);
        for first in (0..area).step_by(V::LANES) {
            let count = (area - first).min(V::LANES);
            for pixel in &mut square[..count] {
                let place = ((y + top) * columns + left + x) * V::LANES;
                *pixel = V::load(scratch.as_ptr().add(place));
                (y, x) = next(y, x, width);
            }
            V::transpose(square);
            for (lane, row) in square.iter().enumerate().take(lanes) {
                let to = planes.as_mut_ptr().add(lane * area + first);
                if count == V::LANES { row.store(to) } else { row.store_part(to, count) }
            }
        }
    }
}

/// The first `count` numbers from `from` on.
///
/// # Safety
/// They may be read, with a vector of the instruction set.
#[inline(always)]
unsafe fn part<T: Real, V: Vector<T>>(from: *const T, count: usize) -> V {
    // SAFETY: promised by the caller.
    unsafe { if count == V::LANES { V::load(from) } else { V::load_part(from, count) } }
}

/// Row and column of the pixel after (y, x).
#[inline(always)]
fn next(y: usize, x: usize, width: usize) -> (usize, usize) {
    if x + 1 == width { (y + 1, 0) } else { (y, x + 1) }
}

/// Transforms a block of images, each by one task; `pixels` gives them by their numbers, and `then`
/// is called after each.
pub(super) fn transform_images<'a, T: Real>(
    pool: &Pool,
    side: Side,
    block: std::ops::Range<usize>,
    matrices: &Parts<T>,
    pixels: impl Fn(usize) -> Pixels<'a, T> + Sync,
    then: impl Fn(usize) + Sync,
) {
    let tiles = side.grid[0] * side.grid[1];
    pool.ranges(block.len(), 1, |range| {
        let mut scratch = Vec::new();
        for at in range {
            let image = block.start + at;
            let (pixels, first) = (pixels(image), at * tiles);
            dispatch(Transform { side, pixels, matrices, first, scratch: &mut scratch });
            then(image);
        }
    });
}
