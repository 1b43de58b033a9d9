//! Weights to the 36 matrices, and their gradient back.

use std::ops::Range;

use super::super::isa::{Isa, Kernel, dispatch};
use super::super::number::Real;
use super::super::packed::{Right, width};
use super::super::vector::{ByVector, Vector, with_vector};
use super::maps::WeightMaps;
use super::transform::{column, load_row};
use super::{IN, POINTS, matrix};
use crate::backend::Geometry;
use crate::cpu::data::unwritten;
use crate::pool::{Parts, Pool};

/// Which channels of the weights are the columns of the 36 matrices.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Columns {
    /// [inputs, outputs], for the result.
    Outputs,
    /// [outputs, inputs], for the gradient of the input.
    Inputs,
}

/// The 36 matrices of the weights, as panels of columns (see [`Right::Panels`]).
pub(super) struct Weights<T> {
    panels: Vec<T>,
    /// Elements of one matrix.
    size: usize,
}

impl<T: Real> Weights<T> {
    /// Transforms the weights `w` [outputs, inputs, 3, 3]: those of the columns in `range`.
    pub(super) fn new(
        pool: &Pool,
        geometry: &Geometry,
        w: &[T],
        columns: Columns,
        range: Range<usize>,
    ) -> Self {
        let (inputs, outputs) = (geometry.inputs, geometry.outputs);
        let (first, count) = (range.start, range.len());
        let rows = match columns {
            Columns::Outputs => inputs,
            Columns::Inputs => outputs,
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
                    from: first + panel * width..first + ((panel + 1) * width).min(count),
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

    /// One of the 36 matrices.
    pub(super) fn at(&self, point: usize) -> Right<'_, T> {
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
        // SAFETY: the instruction set is that of the kernel.
        unsafe { with_vector::<S, T, _>(self) }
    }
}

impl<T: Real> ByVector<T> for WeightPanel<'_, T> {
    #[inline(always)]
    unsafe fn run<V: Vector<T>>(self) {
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

/// The gradient of the weights [outputs, inputs, 3, 3] from that of the 36 matrices
/// [outputs, inputs]; for a part of the outputs, if `out` has so many.
pub(super) fn weight_gradient<T: Real>(
    pool: &Pool,
    inputs: usize,
    sums: &[T],
    pitch: usize,
    size: usize,
    out: &mut [T],
) {
    let outputs = out.len() / (inputs * 9);
    let parts = Parts::new(out);
    pool.ranges(outputs, (8 * 1024 / inputs).max(1), |range| {
        // SAFETY: each row is written by one task.
        let out = unsafe { parts.part(range.start * inputs * 9..range.end * inputs * 9) };
        dispatch(WeightGradient { sums, inputs, first: range.start, pitch, size, out });
    });
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
        // SAFETY: the instruction set is that of the kernel.
        unsafe { with_vector::<S, T, _>(self) }
    }
}

impl<T: Real> ByVector<T> for WeightGradient<'_, T> {
    #[inline(always)]
    unsafe fn run<V: Vector<T>>(self) {
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
