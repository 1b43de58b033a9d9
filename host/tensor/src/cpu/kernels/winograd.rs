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

use super::convolution::{Backward, Touch, Wanted, add_planes};
use super::isa::{Isa, Kernel, dispatch};
use super::number::Real;
use super::packed::{Packed, Right, width};
use super::vector::Vector;
use crate::backend::Geometry;
use crate::cpu::data::unwritten;
use crate::pool::{Parts, Pool};

/// Side of a tile of the result.
const OUT: usize = 4;
/// Side of a tile of the input.
const IN: usize = 6;
/// Numbers of a transformed tile.
const POINTS: usize = IN * IN;
/// The points are 0, `P`, `-P`, `Q`, `-Q` and infinity: with these the error is less than half of
/// that with the usual 1 and 2.
const P: f64 = std::f64::consts::FRAC_1_SQRT_2;
const Q: f64 = std::f64::consts::SQRT_2;
/// Their squares.
const P2: f64 = 0.5;
const Q2: f64 = 2.0;
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
}

impl Side {
    /// Size of an image with the zeros around it that tiles read.
    fn padded(&self) -> [usize; 2] {
        self.grid.map(|tiles| (tiles - 1) * OUT + self.tile)
    }
}

/// The six numbers of a transformed tile's row or column from those of the tile.
#[derive(Clone, Copy)]
struct Maps<V> {
    p: V,
    minus_p: V,
    q: V,
    minus_q: V,
    p2: V,
    q2: V,
    p3: V,
    q3: V,
    minus_p2: V,
    minus_q2: V,
    minus_sum: V,
    product: V,
    minus_p_q2: V,
    minus_q_p2: V,
    minus: V,
}

impl<V: Copy> Maps<V> {
    #[inline(always)]
    fn new<T: Real>() -> Self
    where
        V: Vector<T>,
    {
        // Functions rather than closures throughout: a closure is not compiled for the instruction
        // set unless it happens to be inlined.
        #[inline(always)]
        fn of<T: Real, V: Vector<T>>(value: f64) -> V {
            // SAFETY: only called by kernels, with a vector of their instruction set.
            unsafe { V::splat(T::of(value)) }
        }
        Self {
            p: of(P),
            minus_p: of(-P),
            q: of(Q),
            minus_q: of(-Q),
            p2: of(P2),
            q2: of(Q2),
            p3: of(P * P2),
            q3: of(Q * Q2),
            minus_p2: of(-P2),
            minus_q2: of(-Q2),
            minus_sum: of(-(P2 + Q2)),
            product: of(P2 * Q2),
            minus_p_q2: of(-P * Q2),
            minus_q_p2: of(-Q * P2),
            minus: of(-1.0),
        }
    }

    /// Six numbers of the input to six.
    #[inline(always)]
    unsafe fn input<T: Real>(&self, d: [V; IN]) -> [V; IN]
    where
        V: Vector<T>,
    {
        // SAFETY: promised by the caller.
        unsafe {
            let (e, o) = (d[2].fma(self.minus_q2, d[4]), d[1].fma(self.minus_q2, d[3]));
            let (f, r) = (d[2].fma(self.minus_p2, d[4]), d[1].fma(self.minus_p2, d[3]));
            [
                d[0].fma(self.product, d[2].fma(self.minus_sum, d[4])),
                o.fma(self.p, e),
                o.fma(self.minus_p, e),
                r.fma(self.q, f),
                r.fma(self.minus_q, f),
                d[1].fma(self.product, d[3].fma(self.minus_sum, d[5])),
            ]
        }
    }

    /// The transpose of [`input`](Self::input).
    #[inline(always)]
    unsafe fn input_transposed<T: Real>(&self, v: [V; IN]) -> [V; IN]
    where
        V: Vector<T>,
    {
        // SAFETY: promised by the caller.
        unsafe {
            let (s, m) = (v[1].add(v[2]), v[2].fma(self.minus, v[1]));
            let (t, n) = (v[3].add(v[4]), v[4].fma(self.minus, v[3]));
            let zero = V::splat(T::ZERO);
            [
                v[0].fma(self.product, zero),
                m.fma(self.minus_p_q2, n.fma(self.minus_q_p2, v[5].fma(self.product, zero))),
                v[0].fma(self.minus_sum, s.fma(self.minus_q2, t.fma(self.minus_p2, zero))),
                m.fma(self.p, n.fma(self.q, v[5].fma(self.minus_sum, zero))),
                v[0].add(s).add(t),
                v[5],
            ]
        }
    }

    /// Six numbers to four of the result.
    #[inline(always)]
    unsafe fn output<T: Real>(&self, v: [V; IN]) -> [V; OUT]
    where
        V: Vector<T>,
    {
        // SAFETY: promised by the caller.
        unsafe {
            let (s, m) = (v[1].add(v[2]), v[2].fma(self.minus, v[1]));
            let (t, n) = (v[3].add(v[4]), v[4].fma(self.minus, v[3]));
            let zero = V::splat(T::ZERO);
            [
                v[0].add(s).add(t),
                m.fma(self.p, n.fma(self.q, zero)),
                s.fma(self.p2, t.fma(self.q2, zero)),
                m.fma(self.p3, n.fma(self.q3, v[5])),
            ]
        }
    }

    /// The transpose of [`output`](Self::output).
    #[inline(always)]
    unsafe fn output_transposed<T: Real>(&self, y: [V; OUT]) -> [V; IN]
    where
        V: Vector<T>,
    {
        // SAFETY: promised by the caller.
        unsafe {
            let (e, f) = (y[2].fma(self.p2, y[0]), y[2].fma(self.q2, y[0]));
            let zero = V::splat(T::ZERO);
            let o = y[1].fma(self.p, y[3].fma(self.p3, zero));
            let r = y[1].fma(self.q, y[3].fma(self.q3, zero));
            [y[0], e.add(o), o.fma(self.minus, e), f.add(r), r.fma(self.minus, f), y[3]]
        }
    }
}

/// What weights are scaled with: the products of a point's distances from the others.
const P_SCALE: f64 = 0.5 / (P2 * (P2 - Q2));
const Q_SCALE: f64 = 0.5 / (Q2 * (Q2 - P2));
const ZERO_SCALE: f64 = 1.0 / (P2 * Q2);

/// Which channels of the weights are the columns of the 36 matrices.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Columns {
    /// [inputs, outputs], for the result.
    Outputs,
    /// [outputs, inputs], for the gradient of the input.
    Inputs,
}

/// The 36 matrices of the weights, as panels of columns (see [`Right::Panels`]).
struct Weights<T> {
    panels: Vec<T>,
    /// Elements of one matrix.
    size: usize,
}

impl<T: Real> Weights<T> {
    /// Transforms the weights `w` [outputs, inputs, 3, 3].
    fn new(pool: &Pool, geometry: &Geometry, w: &[T], columns: Columns) -> Self {
        let (inputs, outputs) = (geometry.inputs, geometry.outputs);
        let (rows, count) = match columns {
            Columns::Outputs => (inputs, outputs),
            Columns::Inputs => (outputs, inputs),
        };
        let width = width::<T>();
        let size = matrix(rows, count.next_multiple_of(width));
        let mut panels = unwritten::<T>(POINTS * size);
        let parts = Parts::new(&mut panels);
        // Tasks have rows of a panel.
        let pieces = rows.div_ceil(PIECE);
        pool.ranges(count.div_ceil(width) * pieces, 1, |range| {
            for task in range {
                let (panel, piece) = (task / pieces, task % pieces);
                dispatch(WeightPanel {
                    w,
                    columns,
                    inputs,
                    outputs,
                    from: panel * width..((panel + 1) * width).min(count),
                    rows: piece * PIECE..((piece + 1) * PIECE).min(rows),
                    start: panel * rows * width,
                    width,
                    size,
                    out: &parts,
                })
            }
        });
        Self { panels, size }
    }

    fn at(&self, point: usize) -> Right<'_, T> {
        Right::Panels(&self.panels[point * self.size..(point + 1) * self.size])
    }
}

/// Rows of a panel that one task transforms.
const PIECE: usize = 32;

/// Transforms the weights of some rows of a panel.
struct WeightPanel<'a, T> {
    w: &'a [T],
    columns: Columns,
    inputs: usize,
    outputs: usize,
    /// Columns of the panel.
    from: std::ops::Range<usize>,
    rows: std::ops::Range<usize>,
    /// Where the panel begins in each matrix.
    start: usize,
    width: usize,
    size: usize,
    out: &'a Parts<T>,
}

impl<T: Real> Kernel for WeightPanel<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Isa>(self, _: S) {
        // SAFETY: the vectors are those of the instruction set.
        unsafe {
            match (S::WIDE, S::FMA) {
                (true, _) => self.transform::<T::Wide>(),
                (_, true) => self.transform::<T::Narrow>(),
                _ => self.transform::<[T; 8]>(),
            }
        }
    }
}

impl<T: Real> WeightPanel<'_, T> {
    /// # Safety
    /// The vector must be one of the instruction set.
    #[inline(always)]
    unsafe fn transform<V: Vector<T>>(self) {
        let Self { w, columns, inputs, outputs, from, rows, start, width, size, out } = self;
        let maps = WeightMaps::<V>::new::<T>();
        let mut taps = vec![T::ZERO; 9 * V::LANES];
        for row in rows {
            let mut block = 0;
            while block < width {
                let lanes = from.len().saturating_sub(block).min(V::LANES);
                if lanes < V::LANES {
                    taps.fill(T::ZERO);
                }
                let mut lane = 0;
                while lane < lanes {
                    let column = from.start + block + lane;
                    let kernel = match columns {
                        Columns::Outputs => column * inputs + row,
                        Columns::Inputs => row * inputs + column,
                    };
                    debug_assert!(kernel < inputs * outputs);
                    let kernel = &w[kernel * 9..kernel * 9 + 9];
                    let mut tap = 0;
                    while tap < 9 {
                        taps[tap * V::LANES + lane] = kernel[tap];
                        tap += 1;
                    }
                    lane += 1;
                }
                // SAFETY: promised by the caller; there are nine vectors of taps.
                unsafe {
                    let zero = V::splat(T::ZERO);
                    let mut half = [[zero; 3]; IN];
                    let mut column = 0;
                    while column < 3 {
                        let first = taps.as_ptr().add(column * V::LANES);
                        let mut three = [zero; 3];
                        let mut at = 0;
                        while at < 3 {
                            three[at] = V::load(first.add(3 * at * V::LANES));
                            at += 1;
                        }
                        let six = maps.spread(three);
                        let mut at = 0;
                        while at < IN {
                            half[at][column] = six[at];
                            at += 1;
                        }
                        column += 1;
                    }
                    let mut at = 0;
                    while at < IN {
                        let six = maps.spread(half[at]);
                        let mut to = 0;
                        while to < IN {
                            let place = (at * IN + to) * size + start + row * width + block;
                            // Each row of a panel is written by one task.
                            let out = out.part(place..place + V::LANES);
                            six[to].store(out.as_mut_ptr());
                            to += 1;
                        }
                        at += 1;
                    }
                }
                block += V::LANES;
            }
        }
    }
}

/// Three weights to six numbers, and the transpose.
#[derive(Clone, Copy)]
struct WeightMaps<V> {
    zero: V,
    /// What is added for a point: scale, scale times the point, and scale times its square.
    p: [V; 3],
    q: [V; 3],
    minus: V,
    none: V,
}

impl<V: Copy> WeightMaps<V> {
    #[inline(always)]
    fn new<T: Real>() -> Self
    where
        V: Vector<T>,
    {
        // SAFETY: only called by kernels, with a vector of their instruction set.
        unsafe {
            Self {
                zero: V::splat(T::of(ZERO_SCALE)),
                p: [
                    V::splat(T::of(P_SCALE)),
                    V::splat(T::of(P_SCALE * P)),
                    V::splat(T::of(P_SCALE * P2)),
                ],
                q: [
                    V::splat(T::of(Q_SCALE)),
                    V::splat(T::of(Q_SCALE * Q)),
                    V::splat(T::of(Q_SCALE * Q2)),
                ],
                minus: V::splat(T::of(-1.0)),
                none: V::splat(T::ZERO),
            }
        }
    }

    #[inline(always)]
    unsafe fn spread<T: Real>(&self, [a, b, c]: [V; 3]) -> [V; IN]
    where
        V: Vector<T>,
    {
        // SAFETY: promised by the caller.
        unsafe {
            let e = a.fma(self.p[0], c.fma(self.p[2], self.none));
            let f = a.fma(self.q[0], c.fma(self.q[2], self.none));
            let (o, r) = (b.fma(self.p[1], self.none), b.fma(self.q[1], self.none));
            [
                a.fma(self.zero, self.none),
                e.add(o),
                o.fma(self.minus, e),
                f.add(r),
                r.fma(self.minus, f),
                c,
            ]
        }
    }

    #[inline(always)]
    unsafe fn collect<T: Real>(&self, [a, b, c, d, e, f]: [V; IN]) -> [V; 3]
    where
        V: Vector<T>,
    {
        // SAFETY: promised by the caller.
        unsafe {
            let (s, m) = (b.add(c), c.fma(self.minus, b));
            let (t, n) = (d.add(e), e.fma(self.minus, d));
            [
                s.fma(self.p[0], t.fma(self.q[0], a.fma(self.zero, self.none))),
                m.fma(self.p[1], n.fma(self.q[1], self.none)),
                s.fma(self.p[2], t.fma(self.q[2], f)),
            ]
        }
    }
}

/// The pixels [channels, height, width] of an image, and what happens to them.
enum Pixels<'a, T> {
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
        match (S::WIDE, S::FMA) {
            (true, _) => transform::<T, T::Wide>(self),
            (_, true) => transform::<T, T::Narrow>(self),
            _ => transform::<T, [T; 8]>(self),
        }
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
                spread(&side, &image[channel * area..][..lanes * area], scratch, lanes, V::LANES)
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
            collect(&side, &mut image[channel * area..][..lanes * area], scratch, lanes, V::LANES);
        }
    }
}

/// Column `at` of rows.
#[inline(always)]
fn column<V: Copy, const R: usize, const C: usize>(rows: &[[V; C]; R], at: usize) -> [V; R] {
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
unsafe fn load_row<T: Real, V: Vector<T>>(
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
            all[at] = if lanes == V::LANES { V::load(from) } else { V::load_part(from, lanes) };
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

/// Writes `lanes` planes beside each other, pixel by pixel, into the middle of `scratch`, whose
/// pixels are `step` apart.
#[inline(always)]
fn spread<T: Real>(side: &Side, planes: &[T], scratch: &mut [T], lanes: usize, step: usize) {
    let ([height, width], [rows, columns]) = (side.size, side.padded());
    let [top, left] = side.offset;
    assert!(height + top <= rows && width + left <= columns && lanes <= step);
    assert!(planes.len() == lanes * height * width && scratch.len() == rows * columns * step);
    for y in 0..height {
        let start = ((y + top) * columns + left) * step;
        for lane in 0..lanes {
            let from = (lane * height + y) * width;
            for x in 0..width {
                // SAFETY: the sizes were checked.
                unsafe {
                    *scratch.get_unchecked_mut(start + x * step + lane) =
                        *planes.get_unchecked(from + x);
                }
            }
        }
    }
}

/// The reverse of [`spread`].
#[inline(always)]
fn collect<T: Real>(side: &Side, planes: &mut [T], scratch: &[T], lanes: usize, step: usize) {
    let ([height, width], [rows, columns]) = (side.size, side.padded());
    let [top, left] = side.offset;
    assert!(height + top <= rows && width + left <= columns && lanes <= step);
    assert!(planes.len() == lanes * height * width && scratch.len() == rows * columns * step);
    for y in 0..height {
        let start = ((y + top) * columns + left) * step;
        for lane in 0..lanes {
            let into = (lane * height + y) * width;
            for x in 0..width {
                // SAFETY: the sizes were checked.
                unsafe {
                    *planes.get_unchecked_mut(into + x) =
                        *scratch.get_unchecked(start + x * step + lane);
                }
            }
        }
    }
}

/// Transforms a block of images, each by one task; `pixels` gives them by their numbers, and `then`
/// is called after each.
fn transform_images<'a, T: Real>(
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

/// As [`forward`](super::convolution::forward) of convolutions.
pub(super) fn forward<T: Real>(
    pool: &Pool,
    geometry: &Geometry,
    x: &[T],
    w: &[T],
    finish: &Touch<T>,
) -> Vec<T> {
    let tiles = Tiles::new(geometry);
    let (input_size, output_size) = (geometry.input_size(), geometry.output_size());
    let mut out = unwritten::<T>(geometry.images * output_size);
    let weights = Weights::new(pool, geometry, w, Columns::Outputs);
    let mut inputs = unwritten::<T>(POINTS * tiles.input_matrix());
    let mut outputs = unwritten::<T>(POINTS * tiles.output_matrix());
    let (inputs, outputs) = (Parts::new(&mut inputs), Parts::new(&mut outputs));
    let out_parts = Parts::new(&mut out);
    // SAFETY: each image is written by one task.
    let image = |at: usize| unsafe { out_parts.part(at * output_size..(at + 1) * output_size) };
    for block in tiles.blocks() {
        let rows = block.len() * tiles.count();
        let from = |at: usize| Pixels::From(&x[at * input_size..(at + 1) * input_size]);
        transform_images(pool, tiles.inputs(), block.clone(), &inputs, from, |_| {});
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
    let tiles = Tiles::new(geometry);
    let (input_size, output_size) = (geometry.input_size(), geometry.output_size());
    let (channels, weight_matrix) = (geometry.outputs, matrix(geometry.outputs, tiles.input_row));
    let weights = wanted.input.then(|| Weights::new(pool, geometry, w, Columns::Inputs));
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
        let from = |at: usize| {
            // SAFETY: each image and its sums are used by one task.
            let gradient = unsafe { gradients.part(at * output_size..(at + 1) * output_size) };
            prepare(at * output_size, gradient);
            if wanted.bias {
                // SAFETY: as above.
                let sums = unsafe { bias_parts.part(at * channels..(at + 1) * channels) };
                add_planes(geometry, gradient, sums);
            }
            Pixels::From(gradient)
        };
        transform_images(pool, tiles.outputs(), block.clone(), &outputs, from, |_| {});
        if wanted.weights {
            let from = |at: usize| Pixels::From(&x[at * input_size..(at + 1) * input_size]);
            transform_images(pool, tiles.inputs(), block.clone(), &inputs, from, |_| {});
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
    let mut bias = vec![T::ZERO; if wanted.bias { channels } else { 0 }];
    for image in biases.chunks_exact(channels) {
        bias.iter_mut().zip(image).for_each(|(sum, &x)| *sum += x);
    }
    let weights = match wanted.weights {
        true => weight_gradient(pool, geometry, &sums, tiles.input_row, weight_matrix),
        false => Vec::new(),
    };
    Backward { input, weights, bias }
}

/// The gradient of the weights [outputs, inputs, 3, 3] from that of the 36 matrices
/// [outputs, inputs].
fn weight_gradient<T: Real>(
    pool: &Pool,
    geometry: &Geometry,
    sums: &[T],
    pitch: usize,
    size: usize,
) -> Vec<T> {
    let (inputs, outputs) = (geometry.inputs, geometry.outputs);
    let mut out = unwritten::<T>(outputs * inputs * 9);
    let parts = Parts::new(&mut out);
    pool.ranges(outputs, (8 * 1024 / inputs).max(1), |range| {
        // SAFETY: each row is written by one task.
        let out = unsafe { parts.part(range.start * inputs * 9..range.end * inputs * 9) };
        dispatch(WeightGradient { sums, inputs, first: range.start, pitch, size, out });
    });
    out
}

struct WeightGradient<'a, T> {
    sums: &'a [T],
    inputs: usize,
    /// First row.
    first: usize,
    pitch: usize,
    /// Elements of one of the 36 matrices.
    size: usize,
    out: &'a mut [T],
}

impl<T: Real> Kernel for WeightGradient<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Isa>(self, _: S) {
        // SAFETY: the vectors are those of the instruction set.
        unsafe {
            match (S::WIDE, S::FMA) {
                (true, _) => self.transform::<T::Wide>(),
                (_, true) => self.transform::<T::Narrow>(),
                _ => self.transform::<[T; 8]>(),
            }
        }
    }
}

impl<T: Real> WeightGradient<'_, T> {
    /// # Safety
    /// The vector must be one of the instruction set.
    #[inline(always)]
    unsafe fn transform<V: Vector<T>>(self) {
        let Self { sums, inputs, first, pitch, size, out } = self;
        let maps = WeightMaps::<V>::new::<T>();
        let mut taps = vec![T::ZERO; 9 * V::LANES];
        for (row, out) in out.chunks_exact_mut(inputs * 9).enumerate() {
            let mut from = 0;
            while from < inputs {
                let lanes = (inputs - from).min(V::LANES);
                let start = (first + row) * pitch + from;
                assert!((POINTS - 1) * size + start + lanes <= sums.len());
                // SAFETY: promised by the caller; the 36 vectors were checked, and there are nine
                // vectors of taps.
                unsafe {
                    let zero = V::splat(T::ZERO);
                    let mut half = [[zero; 3]; IN];
                    let mut at = 0;
                    while at < IN {
                        let row = sums.as_ptr().add(start + at * IN * size);
                        half[at] = maps.collect(load_row(row, size, lanes));
                        at += 1;
                    }
                    let mut column_at = 0;
                    while column_at < 3 {
                        let three = maps.collect(column(&half, column_at));
                        let mut tap = 0;
                        while tap < 3 {
                            let place = (tap * 3 + column_at) * V::LANES;
                            three[tap].store(taps.as_mut_ptr().add(place));
                            tap += 1;
                        }
                        column_at += 1;
                    }
                }
                let mut lane = 0;
                while lane < lanes {
                    let into = &mut out[(from + lane) * 9..(from + lane) * 9 + 9];
                    let mut tap = 0;
                    while tap < 9 {
                        into[tap] = taps[tap * V::LANES + lane];
                        tap += 1;
                    }
                    lane += 1;
                }
                from += V::LANES;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::convolution;
    use super::*;

    fn numbers<T: Real>(count: usize, seed: usize) -> Vec<T> {
        let mix = |x: u64| (x ^ (x >> 31)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let value = |at: usize| (mix(mix((at * 8 + seed) as u64)) >> 40) as f64 / 8_388_608.0 - 1.0;
        (0..count).map(|at| T::of(value(at))).collect()
    }

    fn geometry(images: usize, channels: [usize; 2], size: [usize; 2], padding: usize) -> Geometry {
        Geometry {
            images,
            inputs: channels[0],
            outputs: channels[1],
            groups: 1,
            input: size,
            output: size.map(|size| size + 2 * padding - 2),
            kernel: [3, 3],
            stride: [1, 1],
            padding: [padding; 2],
            dilation: [1, 1],
        }
    }

    struct Results<T> {
        x: Vec<T>,
        w: Vec<T>,
        gradient: Vec<T>,
        out: Vec<T>,
        full: Backward<T>,
    }

    /// Result and gradients, by this method or by unfolding.
    fn results<T: Real>(pool: &Pool, geometry: &Geometry, unfolded: bool) -> Results<T> {
        let x = numbers::<T>(geometry.images * geometry.input_size(), 1);
        let w = numbers::<T>(geometry.outputs * geometry.inputs * 9, 2);
        let mut gradient = numbers::<T>(geometry.images * geometry.output_size(), 3);
        let wanted = Wanted { input: true, weights: true, bias: true };
        // Both kinds of changes on the way are made once for each element.
        let finish = |_: usize, z: &mut [T]| z.iter_mut().for_each(|z| *z += T::ONE);
        let prepare = |_: usize, g: &mut [T]| g.iter_mut().for_each(|g| *g *= T::of(0.5));
        let (out, full) = match unfolded {
            true => (
                convolution::forward_unfolded(pool, geometry, &x, &w, &finish),
                convolution::backward_unfolded(
                    pool,
                    geometry,
                    &x,
                    &w,
                    &mut gradient,
                    &prepare,
                    wanted,
                ),
            ),
            false => (
                forward(pool, geometry, &x, &w, &finish),
                backward(pool, geometry, &x, &w, &mut gradient, &prepare, wanted),
            ),
        };
        Results { x, w, gradient, out, full }
    }

    fn close<T: Real>(a: &[T], b: &[T], tolerance: f64) {
        assert_eq!(a.len(), b.len());
        let size = b.iter().map(|b| b.wide() * b.wide()).sum::<f64>() / b.len().max(1) as f64;
        for (at, (a, b)) in a.iter().zip(b).enumerate() {
            let error = (a.wide() - b.wide()).abs();
            let (a, b) = (a.wide(), b.wide());
            assert!(error <= tolerance * size.sqrt(), "{at}: {a} instead of {b}");
        }
    }

    fn same_as_unfolded<T: Real>(geometry: &Geometry, tolerance: f64) {
        let pool = Pool::new(2).unwrap();
        let (here, there) =
            (results::<T>(&pool, geometry, false), results::<T>(&pool, geometry, true));
        close(&here.gradient, &there.gradient, 0.0);
        close(&here.out, &there.out, tolerance);
        close(&here.full.input, &there.full.input, tolerance);
        close(&here.full.weights, &there.full.weights, tolerance);
        close(&here.full.bias, &there.full.bias, tolerance);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn results_and_gradients_are_those_of_unfolded_images(
            images in 1_usize..4, inputs in 1_usize..40, outputs in 1_usize..40, height in 3_usize..12, width in 3_usize..12,
            padding in 0_usize..4,
        ) {
            let geometry = geometry(images, [inputs, outputs], [height, width], padding);
            same_as_unfolded::<f64>(&geometry, 1e-12);
            same_as_unfolded::<f32>(&geometry, 1e-4);
        }
    }

    #[test]
    fn several_blocks_of_images_add_up() {
        let geometry = geometry(9, [33, 40], [30, 29], 1);
        let (tiles, dot) = (Tiles::new(&geometry), |a: &[f64], b: &[f64]| {
            a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>()
        });
        assert!(tiles.blocks().count() > 1 && fits(&geometry));
        let Results { x, w, gradient, out, full } =
            results::<f64>(&Pool::new(2).unwrap(), &geometry, false);
        // <conv(x, w), g> = <x, gradient of x> = <w, gradient of w>; 1 was added to the result.
        let out: Vec<f64> = out.iter().map(|out| out - 1.0).collect();
        let (all, to_x, to_w) =
            (dot(&out, &gradient), dot(&x, &full.input), dot(&w, &full.weights));
        assert!((all - to_x).abs() < 1e-9 * all.abs(), "{all} and {to_x}");
        assert!((all - to_w).abs() < 1e-9 * all.abs(), "{all} and {to_w}");
    }

    #[test]
    fn the_number_of_threads_changes_no_bit() {
        let geometry = geometry(7, [32, 48], [13, 16], 1);
        assert!(fits(&geometry));
        let all: Vec<Results<f32>> =
            (1..4).map(|threads| results(&Pool::new(threads).unwrap(), &geometry, false)).collect();
        for other in &all[1..] {
            close(&other.out, &all[0].out, 0.0);
            close(&other.full.input, &all[0].full.input, 0.0);
            close(&other.full.weights, &all[0].full.weights, 0.0);
            close(&other.full.bias, &all[0].full.bias, 0.0);
        }
    }

    #[test]
    fn the_error_in_f32_is_a_millionth_of_the_results() {
        let geometry = geometry(8, [64, 64], [12, 12], 1);
        let pool = Pool::new(2).unwrap();
        let exact = results::<f64>(&pool, &geometry, true);
        let found = results::<f32>(&pool, &geometry, false);
        let norm = |all: &mut dyn Iterator<Item = f64>| all.map(|x| x * x).sum::<f64>().sqrt();
        for (found, exact) in [(&found.out, &exact.out), (&found.full.input, &exact.full.input)] {
            let mut errors = found.iter().zip(exact).map(|(a, b)| f64::from(*a) - b);
            let error = norm(&mut errors) / norm(&mut exact.iter().copied());
            // With the points 1 and 2: 2e-6.
            assert!(error < 1.3e-6, "{error:e}");
        }
    }
}
