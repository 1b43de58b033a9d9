//! Products of operands that are rounded to bf16, by the instructions that multiply pairs of such numbers
//! (AVX512-BF16).
//!
//! Both operands are rounded and copied into panels of pairs of terms. Each result is the sum of its terms in one
//! fixed order, which depends on the number of terms only. The instructions take subnormal numbers
//! for 0. Processors without them multiply rounded operands in f32.

#[cfg(test)]
mod tests;
#[cfg(target_arch = "x86_64")]
mod x86;

use super::number::Real;
use super::vector::prefetch;
use crate::cpu::data::unwritten;

/// Rows of a register tile.
const ROWS: usize = 6;
/// Vectors of a row of a register tile.
const VECTORS: usize = 4;
/// Sums of a vector.
const LANES: usize = 16;
/// Columns of a register tile.
const WIDTH: usize = VECTORS * LANES;
/// Most pairs of terms of a panel: more of them are added to the result in several goes.
const PAIRS: usize = 256;
/// Rows whose panels stay in the second-level cache.
const BLOCK: usize = 16 * ROWS;
/// Columns whose panels are made at a time.
const COLUMNS: usize = 16 * WIDTH;
/// Multiply-adds below which copying takes longer than it saves.
const LEAST: usize = 32 * 1024;

/// A product `out (+)= alpha a b` by pointers: element (row, column) of a matrix is at
/// `row row_stride + column column_stride` from its first.
#[derive(Clone, Copy)]
pub(super) struct Product {
    /// Rows, columns, terms.
    pub sizes: [usize; 3],
    pub a: *const f32,
    pub a_strides: [usize; 2],
    pub b: *const f32,
    pub b_strides: [usize; 2],
    pub out: *mut f32,
    pub out_strides: [usize; 2],
    pub add: bool,
    pub alpha: f32,
}

impl Product {
    /// Computes it if the processor has the instructions and they are worth it for `like`: rows and
    /// columns of a part of a product that is divided. Returns whether it did.
    ///
    /// # Safety
    /// All elements may be read, and no other thread uses those of `out`.
    pub unsafe fn run(self, like: [usize; 2]) -> bool {
        // SAFETY: promised by the caller.
        self.out_strides[1] == 1 && is_worth_it(like, self.sizes[2]) && unsafe { run_native(self) }
    }
}

/// Whether a product of `k` terms is computed by these instructions if its results are neighbours; see
/// [`Product::run`].
pub(super) fn are_multiplied(like: [usize; 2], k: usize) -> bool {
    is_worth_it(like, k) && are_available()
}

/// Whether the processor has the instructions.
fn are_available() -> bool {
    #[cfg(target_arch = "x86_64")]
    return x86::is_available();
    #[cfg(not(target_arch = "x86_64"))]
    return false;
}

fn is_worth_it([m, n]: [usize; 2], k: usize) -> bool {
    n >= LANES && k >= 2 * LANES && m * n * k >= LEAST
}

/// Computes a product if the processor has the instructions. Returns whether it did.
///
/// # Safety
/// As [`Product::run`].
unsafe fn run_native(product: Product) -> bool {
    #[cfg(target_arch = "x86_64")]
    if x86::is_available() {
        // SAFETY: promised by the caller, and the processor has the instructions.
        unsafe { x86::multiply(product) };
        return true;
    }
    let _ = product;
    false
}

/// A vector of [`LANES`] sums.
///
/// # Safety
/// All functions may be called only where the processor has the instructions.
trait Sums: Copy {
    /// Pairs of numbers of bf16, one for each sum: the first is in the lower half.
    type Pairs: Copy;
    unsafe fn zero() -> Self;
    /// The pairs from `from` on.
    unsafe fn load(from: *const u32) -> Self::Pairs;
    unsafe fn store(pairs: Self::Pairs, to: *mut u32);
    /// Pairs of neighbours: the first `count` numbers from `from` on, rounded, and zeros. No others are
    /// read.
    unsafe fn neighbours(from: *const f32, count: usize) -> Self::Pairs;
    /// Pairs of one number from `low` on and one from `high` on: the first `count` of each, rounded, and
    /// zeros. No others are read.
    unsafe fn both(low: *const f32, high: *const f32, count: [usize; 2]) -> Self::Pairs;
    /// Pair `j` of vector `i` as pair `i` of vector `j`.
    unsafe fn transposed(square: [Self::Pairs; LANES]) -> [Self::Pairs; LANES];
    /// Adds to each sum the products of the numbers of `a` with those of its pair.
    unsafe fn add(self, a: u32, b: Self::Pairs) -> Self;
    /// Writes the first `count` sums times `alpha` to `to`, or adds them to what is there.
    unsafe fn finish(self, to: *mut f32, count: usize, alpha: f32, add: bool);
}

/// Distance of the panels of a right operand: with a gap of a line, so that panels do not compete for
/// the same places of the cache.
fn panel(pairs: usize) -> usize {
    WIDTH * pairs + LANES
}

/// The product in blocks.
///
/// # Safety
/// As [`Product::run`], with sums of instructions that the processor has.
#[inline(always)]
unsafe fn multiply<S: Sums>(product: Product) {
    let Product { sizes: [m, n, k], a, a_strides, b, b_strides, .. } = product;
    // Parts of about the same size.
    let pairs = k.div_ceil(2).div_ceil(k.div_ceil(2 * PAIRS)).max(1);
    let pitch = pairs.next_multiple_of(LANES);
    let rows = m.min(BLOCK).next_multiple_of(LANES).next_multiple_of(ROWS);
    let mut left = vec![0; pitch * rows];
    // One more vector, so that rows of panels begin where a line of the cache does.
    let panels_of = n.min(COLUMNS).div_ceil(WIDTH);
    let mut right = unwritten::<u32>(panels_of * panel(pairs) + LANES);
    let aligned = right.as_ptr().align_offset(4 * LANES).min(LANES);
    let right = &mut right[aligned..];
    for first_column in (0..n).step_by(COLUMNS) {
        let columns = (n - first_column).min(COLUMNS);
        for term in (0..k).step_by(2 * pairs) {
            let terms = (k - term).min(2 * pairs);
            let pairs = terms.div_ceil(2);
            let from = Operand {
                first: b.wrapping_add(term * b_strides[0] + first_column * b_strides[1]),
                row: b_strides[1],
                term: b_strides[0],
                rows: columns,
                terms,
            };
            // SAFETY: the elements lie within the matrix.
            unsafe { panels::<S>(&from, right) };
            for first_row in (0..m).step_by(BLOCK) {
                let rows = (m - first_row).min(BLOCK);
                let from = Operand {
                    first: a.wrapping_add(first_row * a_strides[0] + term * a_strides[1]),
                    row: a_strides[0],
                    term: a_strides[1],
                    rows,
                    terms,
                };
                // SAFETY: as above.
                unsafe { rows_of_pairs::<S>(&from, pitch, &mut left) };
                for column in (0..columns).step_by(WIDTH) {
                    for row in (0..rows).step_by(ROWS) {
                        let tile = Tile {
                            left: &left[row * pitch..][..ROWS * pitch],
                            pitch,
                            right: &right[column / WIDTH * panel(pairs)..][..WIDTH * pairs],
                            rows: (rows - row).min(ROWS),
                            columns: (columns - column).min(WIDTH),
                            first: [first_row + row, first_column + column],
                            add: product.add || term > 0,
                        };
                        // SAFETY: promised by the caller.
                        unsafe { tile.compute::<S>(&product) };
                    }
                }
            }
        }
    }
}

/// Rows of an operand, or columns, which are rows here: element (row, term) is at
/// `first + row * self.row + term * self.term`.
#[derive(Clone, Copy)]
struct Operand {
    first: *const f32,
    row: usize,
    term: usize,
    rows: usize,
    terms: usize,
}

impl Operand {
    fn at(&self, row: usize, term: usize) -> *const f32 {
        self.first.wrapping_add(row * self.row + term * self.term)
    }

    /// A pair of rounded numbers, at any distances.
    ///
    /// # Safety
    /// The row and the pair must be there.
    #[inline(always)]
    unsafe fn pair(&self, row: usize, pair: usize) -> u32 {
        // SAFETY: promised by the caller.
        let number = |term: usize| unsafe { *self.at(row, term) }.rounded().to_bits();
        let high = if 2 * pair + 1 < self.terms { number(2 * pair + 1) } else { 0 };
        number(2 * pair) >> 16 | high & 0xffff_0000
    }

    /// [`LANES`] rows and as many pairs, by row: what is missing is 0. Either rows or terms must be
    /// neighbours.
    ///
    /// # Safety
    /// The elements that are there may be read, and the instructions used.
    #[inline(always)]
    unsafe fn square<S: Sums>(&self, row: usize, pair: usize) -> [S::Pairs; LANES] {
        // SAFETY: promised by the caller.
        unsafe {
            let along = self.term == 1;
            let mut square = [self.line::<S>(along, row, pair, 0); LANES];
            let mut at = 1;
            while at < LANES {
                square[at] = self.line::<S>(along, row, pair, at);
                at += 1;
            }
            if along { square } else { S::transposed(square) }
        }
    }

    /// Line `at` of a square: pairs along a row, or a pair across rows.
    ///
    /// # Safety
    /// As [`square`](Self::square).
    #[inline(always)]
    unsafe fn line<S: Sums>(&self, along: bool, row: usize, pair: usize, at: usize) -> S::Pairs {
        if !along {
            let ahead = 2 * (pair + at + LANES);
            prefetch(self.at(row, ahead));
            prefetch(self.at(row, ahead + 1));
            // SAFETY: promised by the caller.
            return unsafe { self.across::<S>(row, pair + at) };
        }
        let count = if row + at < self.rows { self.terms.saturating_sub(2 * pair) } else { 0 };
        // SAFETY: promised by the caller; as many elements are there.
        unsafe { S::neighbours(self.at(row + at, 2 * pair), count.min(2 * LANES)) }
    }

    /// A pair of [`LANES`] rows that are neighbours.
    ///
    /// # Safety
    /// As [`square`](Self::square).
    #[inline(always)]
    unsafe fn across<S: Sums>(&self, row: usize, pair: usize) -> S::Pairs {
        let rows = self.rows.saturating_sub(row).min(LANES);
        let count = |term: usize| if term < self.terms { rows } else { 0 };
        let (low, high) = (2 * pair, 2 * pair + 1);
        // SAFETY: promised by the caller; counts are those of elements that are there.
        unsafe { S::both(self.at(row, low), self.at(row, high), [count(low), count(high)]) }
    }
}

/// Copies an operand: the pairs of each row one after the other, rows `pitch` pairs apart.
///
/// # Safety
/// As [`Operand::square`].
#[inline(always)]
unsafe fn rows_of_pairs<S: Sums>(from: &Operand, pitch: usize, into: &mut [u32]) {
    let pairs = from.terms.div_ceil(2);
    let step = if from.term == 1 || from.row == 1 { LANES } else { 1 };
    assert!(from.rows.next_multiple_of(step) * pitch <= into.len() && pitch >= pairs);
    assert!(pitch.is_multiple_of(LANES));
    for row in (0..from.rows).step_by(step) {
        let into = &mut into[row * pitch..][..step * pitch];
        for pair in (0..pairs).step_by(step) {
            // SAFETY: promised by the caller; whole vectors fit the pitch.
            unsafe {
                if step == 1 {
                    into[pair] = from.pair(row, pair);
                    continue;
                }
                for (at, pairs) in from.square::<S>(row, pair).into_iter().enumerate() {
                    S::store(pairs, into.as_mut_ptr().add(at * pitch + pair));
                }
            }
        }
    }
}

/// Copies an operand into panels of [`WIDTH`] rows: for each pair of terms, that of each row. What is
/// missing is 0.
///
/// # Safety
/// As [`Operand::square`].
#[inline(always)]
unsafe fn panels<S: Sums>(from: &Operand, into: &mut [u32]) {
    let (pairs, panels) = (from.terms.div_ceil(2), from.rows.div_ceil(WIDTH));
    let size = panel(pairs);
    assert!(panels * size <= into.len());
    // SAFETY: promised by the caller; whole vectors fit a panel's rows.
    unsafe {
        let at = |row: usize, pair: usize| row / WIDTH * size + pair * WIDTH + row % WIDTH;
        if from.row == 1 {
            for pair in 0..pairs {
                for row in (0..panels * WIDTH).step_by(LANES) {
                    prefetch(from.at(row, 2 * pair + 8));
                    prefetch(from.at(row, 2 * pair + 9));
                    S::store(from.across::<S>(row, pair), into.as_mut_ptr().add(at(row, pair)));
                }
            }
        } else if from.term == 1 {
            for row in (0..panels * WIDTH).step_by(LANES) {
                for pair in (0..pairs).step_by(LANES) {
                    let square = S::transposed(from.square::<S>(row, pair));
                    for (next, rows) in square.into_iter().enumerate().take(pairs - pair) {
                        S::store(rows, into.as_mut_ptr().add(at(row, pair + next)));
                    }
                }
            }
        } else {
            for pair in 0..pairs {
                for row in 0..panels * WIDTH {
                    let there = row < from.rows;
                    into[at(row, pair)] = if there { from.pair(row, pair) } else { 0 };
                }
            }
        }
    }
}

/// A tile of the result, with the pairs of its rows and the panel of its columns.
struct Tile<'a> {
    left: &'a [u32],
    /// Distance of the rows of `left`.
    pitch: usize,
    right: &'a [u32],
    rows: usize,
    columns: usize,
    /// Row and column of its first element.
    first: [usize; 2],
    add: bool,
}

impl Tile<'_> {
    /// # Safety
    /// As [`multiply`].
    #[inline(always)]
    unsafe fn compute<S: Sums>(self, product: &Product) {
        // SAFETY: promised by the caller.
        unsafe {
            match self.columns.div_ceil(LANES) {
                1 => self.vectors::<S, 1>(product),
                2 => self.vectors::<S, 2>(product),
                3 => self.vectors::<S, 3>(product),
                _ => self.vectors::<S, VECTORS>(product),
            }
        }
    }

    /// Computes as many vectors of a row.
    ///
    /// # Safety
    /// As [`multiply`].
    #[inline(always)]
    unsafe fn vectors<S: Sums, const J: usize>(self, product: &Product) {
        let Self { left, pitch, right, rows, columns, first, add } = self;
        let pairs = right.len() / WIDTH;
        assert!(left.len() == ROWS * pitch && pairs <= pitch);
        let left = left.as_ptr();
        let start = first[0] * product.out_strides[0] + first[1];
        for row in 0..rows {
            for vector in 0..J {
                let place = start + row * product.out_strides[0] + vector * LANES;
                prefetch(product.out.wrapping_add(place));
            }
        }
        // SAFETY: promised by the caller; vectors are loaded from whole rows of the panel, and only
        // elements of the result are touched.
        unsafe {
            let mut sums = [[S::zero(); J]; ROWS];
            for (pair, right) in right.chunks_exact(WIDTH).enumerate() {
                let mut pairs = [S::load(right.as_ptr()); J];
                let mut vector = 1;
                while vector < J {
                    pairs[vector] = S::load(right.as_ptr().add(vector * LANES));
                    vector += 1;
                }
                let mut row = 0;
                while row < ROWS {
                    let number = *left.add(row * pitch + pair);
                    let mut vector = 0;
                    while vector < J {
                        sums[row][vector] = sums[row][vector].add(number, pairs[vector]);
                        vector += 1;
                    }
                    row += 1;
                }
            }
            let mut row = 0;
            while row < ROWS {
                if row < rows {
                    let start = start + row * product.out_strides[0];
                    let mut vector = 0;
                    while vector < J {
                        let out = product.out.add(start + vector * LANES);
                        let count = (columns - vector * LANES).min(LANES);
                        sums[row][vector].finish(out, count, product.alpha, add);
                        vector += 1;
                    }
                }
                row += 1;
            }
        }
    }
}
