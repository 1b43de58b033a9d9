//! Products whose right operand is copied into panels as wide as a register tile, for matrices whose
//! rows lie far apart.
//!
//! The left operand is read in place. Each result is the sum of its terms in one fixed order, which
//! depends on the number of terms only.

use super::isa::{Isa, Kernel, dispatch};
use super::number::Real;
use super::unpacked::{band, multiply};
use super::vector::{Vector, prefetch, with_tile};
use crate::cpu::data::unwritten;

/// Terms of a panel: its rows stay in the first-level cache.
const TERMS: usize = 128;
/// How many rows ahead a panel's elements are prefetched: rows lie far apart, which the processor does
/// not foresee.
const AHEAD: usize = 8;

/// The right operand of a product.
pub(super) enum Right<'a, T> {
    /// Rows with this distance.
    Rows(&'a [T], usize),
    /// Panels of [`width`] columns one after the other, the last one filled with zeros: each with all
    /// rows.
    Panels(&'a [T]),
}

/// Columns of a panel.
pub(super) fn width<T: Real>() -> usize {
    dispatch(Width(std::marker::PhantomData::<T>))
}

struct Width<T>(std::marker::PhantomData<T>);

impl<T: Real> Kernel for Width<T> {
    type Output = usize;
    #[inline(always)]
    fn run<S: Isa>(self, _: S) -> usize {
        match (S::WIDE, S::FMA) {
            (true, _) => 4 * <T::Wide as Vector<T>>::LANES,
            (_, true) => 2 * <T::Narrow as Vector<T>>::LANES,
            _ => 2 * <[T; 8] as Vector<T>>::LANES,
        }
    }
}

/// A product `out (+)= a b` of matrices [m, k] and [k, n] in slices.
pub(super) struct Packed<'a, T> {
    /// Rows, columns, terms.
    pub sizes: [usize; 3],
    pub a: &'a [T],
    /// Distance of the rows and of the columns of `a`.
    pub a_strides: [usize; 2],
    pub b: Right<'a, T>,
    pub out: &'a mut [T],
    pub out_row: usize,
    /// Whether the product is added to what is there.
    pub add: bool,
}

impl<T: Real> Packed<'_, T> {
    /// Computes it on this thread.
    pub fn run(self) {
        let [m, n, k] = self.sizes;
        if m == 0 || n == 0 || k == 0 {
            return;
        }
        let last = (m - 1) * self.a_strides[0] + (k - 1) * self.a_strides[1];
        assert!(last < self.a.len(), "the left operand is too short");
        let needed = match self.b {
            Right::Rows(b, row) => (k - 1) * row + n <= b.len(),
            Right::Panels(b) => n.next_multiple_of(width::<T>()) * k <= b.len(),
        };
        assert!(needed, "the right operand is too short");
        assert!((m - 1) * self.out_row + n <= self.out.len(), "the result is too short");
        dispatch(self);
    }
}

impl<T: Real> Kernel for Packed<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Isa>(self, _: S) {
        // SAFETY: `Packed::run` has checked the sizes, and the vectors are those of the instruction
        // set.
        unsafe { with_tile!(S, T, panels, [6, 4], [6, 2], self) }
    }
}

/// # Safety
/// The sizes must be right, and the vector one of the instruction set.
#[inline(always)]
unsafe fn panels<T: Real, V: Vector<T>, const I: usize, const J: usize>(product: Packed<T>) {
    let Packed { sizes: [m, n, k], a, a_strides, b, out, out_row, add } = product;
    let width = J * V::LANES;
    let mut copied = match b {
        Right::Rows(..) => unwritten::<T>(k.min(TERMS) * n.next_multiple_of(width)),
        Right::Panels(_) => Vec::new(),
    };
    let mut term = 0;
    while term < k {
        let terms = (k - term).min(TERMS);
        // The first panel's rows from this term on, and the distance of panels.
        let (panels, distance) = match b {
            Right::Rows(b, row) => {
                let panels = copied.chunks_exact_mut(terms * width).zip((0..n).step_by(width));
                for (panel, j) in panels {
                    let columns = (n - j).min(width);
                    // SAFETY: promised by the caller.
                    unsafe { copy::<T, V>(&b[term * row + j..], row, columns, width, panel) };
                }
                (copied.as_ptr(), terms * width)
            }
            Right::Panels(b) => (b.as_ptr().wrapping_add(term * width), k * width),
        };
        let mut i = 0;
        while i < m {
            let rows = band::<I>(m - i);
            let mut j = 0;
            while j < n {
                let tile = Tile {
                    terms,
                    a: a.as_ptr().wrapping_add(i * a_strides[0] + term * a_strides[1]),
                    a_strides,
                    panel: panels.wrapping_add(j / width * distance),
                    width,
                    out: out.as_mut_ptr().wrapping_add(i * out_row + j),
                    out_row,
                    columns: (n - j).min(width),
                    add: add || term > 0,
                };
                // SAFETY: promised by the caller: the tile lies within the matrices.
                unsafe {
                    match rows {
                        1 => tile.columns::<V, 1>(),
                        2 => tile.columns::<V, 2>(),
                        4 => tile.columns::<V, 4>(),
                        _ => tile.columns::<V, I>(),
                    }
                }
                j += width;
            }
            i += rows;
        }
        term += terms;
    }
}

/// Copies `columns` of the rows of `b` into a panel of `width`, as many rows as fit it and are there.
///
/// # Safety
/// The vector must be one of the instruction set.
#[inline(always)]
unsafe fn copy<T: Real, V: Vector<T>>(
    b: &[T],
    row: usize,
    columns: usize,
    width: usize,
    panel: &mut [T],
) {
    let mut at = 0;
    for into in panel.chunks_exact_mut(width) {
        if at + columns > b.len() {
            return;
        }
        let from = &b[at..at + columns];
        prefetch(b.as_ptr().wrapping_add(at + AHEAD * row));
        if columns == width {
            let mut lane = 0;
            while lane < width {
                // SAFETY: both have that many elements.
                unsafe { V::load(from.as_ptr().add(lane)).store(into.as_mut_ptr().add(lane)) };
                lane += V::LANES;
            }
        } else {
            into[..columns].copy_from_slice(from);
            into[columns..].fill(T::ZERO);
        }
        at += row;
    }
}

/// Some rows of the result within one panel, by pointers to the first elements.
#[derive(Clone, Copy)]
struct Tile<T> {
    terms: usize,
    a: *const T,
    a_strides: [usize; 2],
    panel: *const T,
    /// Distance of the panel's rows.
    width: usize,
    out: *mut T,
    out_row: usize,
    columns: usize,
    add: bool,
}

impl<T: Real> Tile<T> {
    /// # Safety
    /// The tile must lie within the matrices.
    #[inline(always)]
    unsafe fn columns<V: Vector<T>, const I: usize>(self) {
        // SAFETY: promised by the caller.
        unsafe {
            match self.columns.div_ceil(V::LANES) {
                1 => self.compute::<V, I, 1>(),
                2 => self.compute::<V, I, 2>(),
                3 => self.compute::<V, I, 3>(),
                _ => self.compute::<V, I, 4>(),
            }
        }
    }

    /// # Safety
    /// As [`columns`](Self::columns).
    #[inline(always)]
    unsafe fn compute<V: Vector<T>, const I: usize, const J: usize>(self) {
        let Self { terms, a, a_strides: [a_row, a_column], panel, width, out, out_row, .. } = self;
        let (add, last) = (self.add, self.columns - (J - 1) * V::LANES);
        // SAFETY: promised by the caller; of the last vector only the result's part is touched.
        unsafe {
            let mut sums = [[V::splat(T::ZERO); J]; I];
            let mut term = 0;
            while term < terms {
                let row = panel.add(term * width);
                let mut right = [V::splat(T::ZERO); J];
                let mut vector = 0;
                while vector < J {
                    right[vector] = V::load(row.add(vector * V::LANES));
                    vector += 1;
                }
                multiply(&mut sums, a.add(term * a_column), a_row, right, |from| V::splat(*from));
                term += 1;
            }
            let mut row = 0;
            while row < I {
                let mut vector = 0;
                while vector < J {
                    let place = out.add(row * out_row + vector * V::LANES);
                    let now = sums[row][vector];
                    if vector + 1 < J {
                        let now = if add { now.add(V::load(place)) } else { now };
                        now.store(place);
                    } else {
                        let now = if add { now.add(V::load_part(place, last)) } else { now };
                        now.store_part(place, last);
                    }
                    vector += 1;
                }
                row += 1;
            }
        }
    }
}
