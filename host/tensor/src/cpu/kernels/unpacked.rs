//! Products of matrices that fit in the cache: two register-tiled loops that read their operands in
//! place.
//!
//! A general product first copies its operands into panels. That pays off for large ones; for the
//! layers of small networks the copying takes up to a fifth of the product's time. Each result is the
//! sum of its terms in one fixed order, which does not depend on its tile.

use std::ops::Range;

use super::isa::{Isa, Kernel, dispatch};
use super::number::Real;
use super::vector::{Vector, prefetch, with_tile};

/// Most elements of both operands together for [`Dots`], which reads them repeatedly.
const OPERANDS: usize = 256 * 1024;
/// Most terms of a sum for [`Outer`]: 64 bytes of as many rows of the right operand stay in the
/// first-level cache.
const TERMS: usize = 256;
/// Bytes of a cache line.
const LINE: usize = 64;

/// A product `out (+)= a b` by pointers: element (row, column) of a matrix is at
/// `row row_stride + column column_stride` from its first.
#[derive(Clone, Copy)]
pub(super) struct Product<T> {
    pub m: usize,
    pub n: usize,
    pub k: usize,
    pub a: *const T,
    pub a_strides: [usize; 2],
    pub b: *const T,
    pub b_strides: [usize; 2],
    pub out: *mut T,
    pub out_strides: [usize; 2],
    pub add: bool,
}

impl<T: Real> Product<T> {
    /// Computes it if one of the two loops fits its strides and its sizes, or those in `like`: rows and
    /// columns of a part of a product that is divided, so that all parts are computed alike. Returns
    /// whether it did.
    ///
    /// # Safety
    /// All elements may be read, and no other thread uses those of `out`.
    pub unsafe fn run(self, [m, n]: [usize; 2]) -> bool {
        let k = self.k;
        if k == 0 || self.out_strides[1] != 1 {
            return false;
        }
        let along = self.a_strides[1] == 1 && self.b_strides[0] == 1;
        if along && (m + n) * k <= OPERANDS && (k >= 256 || (k >= 64 && n <= 32)) {
            dispatch(Dots(self));
            return true;
        }
        if self.b_strides[1] == 1 && n >= 8 && k <= TERMS && (m + n) * k <= OPERANDS {
            dispatch(Outer(self));
            return true;
        }
        false
    }
}

/// For operands in which the terms of each sum are consecutive: each result is summed in the lanes
/// of a vector, which are added at the end.
struct Dots<T>(Product<T>);

impl<T: Real> Kernel for Dots<T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Isa>(self, _: S) {
        // SAFETY: the caller of `Product::run` promises the matrices, and the vectors are those of
        // the instruction set.
        unsafe { with_tile!(S, T, all_dots, [6, 4], [4, 3], &self.0) }
    }
}

/// The result in tiles of `R` rows by `C` columns, with smaller ones at the edges.
///
/// # Safety
/// As [`Product::run`], with a vector of the instruction set.
#[inline(always)]
unsafe fn all_dots<T: Real, V: Vector<T>, const R: usize, const C: usize>(product: &Product<T>) {
    prefetch_rows(product.a, product.a_strides[0], product.m.min(R), 0..product.k);
    let mut i = 0;
    while i < product.m {
        // SAFETY: promised by the caller.
        i += unsafe {
            match band::<R>(product.m - i) {
                1 => row_of_dots::<T, V, 1, C>(product, i),
                2 => row_of_dots::<T, V, 2, C>(product, i),
                4 => row_of_dots::<T, V, 4, C>(product, i),
                _ => row_of_dots::<T, V, R, C>(product, i),
            }
        };
    }
}

/// How many of the remaining rows the next tile has: `R`, 4, 2 or 1.
#[inline(always)]
pub(super) fn band<const R: usize>(left: usize) -> usize {
    match left {
        // Avoids a rest of two, which has too few independent sums to keep the units busy.
        _ if left >= R && left != R + 2 => R,
        4.. => 4,
        2.. => 2,
        _ => 1,
    }
}

/// How many of the remaining columns (or vectors of columns) the next tile has: `C` or fewer.
#[inline(always)]
fn stripe<const C: usize>(left: usize) -> usize {
    match left {
        // A tile of one is as slow as one of two: it has too few independent sums.
        _ if left == C + 1 => C - 1,
        _ => left.min(C),
    }
}

/// `R` rows of the result from row `i` on; returns `R`.
///
/// # Safety
/// As [`all_dots`], with the rows inside the result.
#[inline(always)]
unsafe fn row_of_dots<T: Real, V: Vector<T>, const R: usize, const C: usize>(
    product: &Product<T>,
    i: usize,
) -> usize {
    let &Product { m, n, k, a, a_strides, .. } = product;
    let rows_after = (m - i - R).min(R);
    let mut j = 0;
    while j < n {
        let columns = stripe::<C>(n - j);
        // A part of the next rows, which another core may have written.
        prefetch_rows(
            a.wrapping_add((i + R) * a_strides[0]),
            a_strides[0],
            rows_after,
            k * j / n..k * (j + columns) / n,
        );
        // SAFETY: promised by the caller; the columns are inside the result.
        unsafe {
            match columns {
                1 => dots::<T, V, R, 1>(product, i, j),
                2 => dots::<T, V, R, 2>(product, i, j),
                3 => dots::<T, V, R, 3>(product, i, j),
                _ => dots::<T, V, R, 4>(product, i, j),
            }
        }
        j += columns;
    }
    R
}

/// Prefetches some columns of rows with a distance of `stride`.
#[inline(always)]
fn prefetch_rows<T>(first: *const T, stride: usize, rows: usize, columns: Range<usize>) {
    let mut row = 0;
    while row < rows {
        let mut at = columns.start;
        while at < columns.end {
            prefetch(first.wrapping_add(row * stride + at));
            at += LINE / size_of::<T>();
        }
        row += 1;
    }
}

/// `R` rows by `C` columns of the result from (i, j) on. Loops over indices: see `optimize`.
///
/// # Safety
/// As [`all_dots`], with the tile inside the result.
#[inline(always)]
unsafe fn dots<T: Real, V: Vector<T>, const R: usize, const C: usize>(
    product: &Product<T>,
    i: usize,
    j: usize,
) {
    let (k, a_row, b_row) = (product.k, product.a_strides[0], product.b_strides[1]);
    // SAFETY: promised by the caller; of vectors beyond the end of the sum only its terms are read.
    unsafe {
        let (a, b) = (product.a.add(i * a_row), product.b.add(j * b_row));
        let mut sums = [[V::splat(T::ZERO); C]; R];
        let mut at = 0;
        while at + V::LANES <= k {
            let right: [V; C] = rows(b.add(at), b_row, |from| V::load(from));
            multiply(&mut sums, a.add(at), a_row, right, |from| V::load(from));
            at += V::LANES;
        }
        if at < k {
            let right: [V; C] = rows(b.add(at), b_row, |from| V::load_part(from, k - at));
            multiply(&mut sums, a.add(at), a_row, right, |from| V::load_part(from, k - at));
        }
        let mut r = 0;
        while r < R {
            let mut four = [V::splat(T::ZERO); 4];
            let mut c = 0;
            while c < C {
                four[c] = sums[r][c];
                c += 1;
            }
            let totals = V::sums(four);
            let mut c = 0;
            while c < C {
                let place = product.out.add((i + r) * product.out_strides[0] + j + c);
                *place = if product.add { *place + totals[c] } else { totals[c] };
                c += 1;
            }
            r += 1;
        }
    }
}

/// A vector from each of `N` rows with a distance of `stride`.
///
/// # Safety
/// As `load`.
#[inline(always)]
unsafe fn rows<T: Real, V: Vector<T>, const N: usize>(
    first: *const T,
    stride: usize,
    load: impl Fn(*const T) -> V,
) -> [V; N] {
    // SAFETY: promised by the caller.
    let mut all = [unsafe { V::splat(T::ZERO) }; N];
    let mut row = 0;
    while row < N {
        // SAFETY: as above.
        all[row] = load(unsafe { first.add(row * stride) });
        row += 1;
    }
    all
}

/// Adds to each sum the product of its row's vector, from `left` on in steps of `stride`, and its
/// column's.
///
/// # Safety
/// As `load`.
#[inline(always)]
pub(super) unsafe fn multiply<T: Real, V: Vector<T>, const R: usize, const C: usize>(
    sums: &mut [[V; C]; R],
    left: *const T,
    stride: usize,
    right: [V; C],
    load: impl Fn(*const T) -> V,
) {
    let mut r = 0;
    while r < R {
        // SAFETY: promised by the caller.
        unsafe {
            let left = load(left.add(r * stride));
            let mut c = 0;
            while c < C {
                sums[r][c] = left.fma(right[c], sums[r][c]);
                c += 1;
            }
        }
        r += 1;
    }
}

/// For right operands and results with consecutive elements in their rows: sums of rows, each times
/// one element of the left operand.
struct Outer<T>(Product<T>);

impl<T: Real> Kernel for Outer<T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Isa>(self, _: S) {
        // SAFETY: the caller of `Product::run` promises the matrices, and the vectors are those of
        // the instruction set.
        unsafe { with_tile!(S, T, all_outer, [6, 4], [6, 2], &self.0) }
    }
}

/// The result in tiles of `I` rows by `J` vectors of columns, with smaller ones at the edges.
///
/// # Safety
/// As [`Product::run`], with a vector of the instruction set.
#[inline(always)]
unsafe fn all_outer<T: Real, V: Vector<T>, const I: usize, const J: usize>(product: &Product<T>) {
    let mut j = 0;
    while j < product.n {
        let left = product.n - j;
        let vectors = stripe::<J>(left.div_ceil(V::LANES));
        let columns = left.min(vectors * V::LANES);
        // SAFETY: promised by the caller; the columns lie inside the matrices.
        unsafe {
            match vectors {
                1 => column_of_outer::<T, V, I, 1>(product, j, columns),
                2 => column_of_outer::<T, V, I, 2>(product, j, columns),
                3 => column_of_outer::<T, V, I, 3>(product, j, columns),
                _ => column_of_outer::<T, V, I, 4>(product, j, columns),
            }
        }
        j += columns;
    }
}

/// All rows of `columns` columns from column `j` on: `J` vectors, of which the last may be partial.
///
/// # Safety
/// As [`all_outer`], with the columns inside the result.
#[inline(always)]
unsafe fn column_of_outer<T: Real, V: Vector<T>, const I: usize, const J: usize>(
    product: &Product<T>,
    j: usize,
    columns: usize,
) {
    let last = columns - (J - 1) * V::LANES;
    let mut i = 0;
    while i < product.m {
        let band = band::<I>(product.m - i);
        // SAFETY: promised by the caller.
        unsafe {
            match band {
                1 => outer::<T, V, 1, J>(product, i, j, last),
                2 => outer::<T, V, 2, J>(product, i, j, last),
                4 => outer::<T, V, 4, J>(product, i, j, last),
                _ => outer::<T, V, I, J>(product, i, j, last),
            }
        }
        i += band;
    }
}

/// `I` rows by `J` vectors of the result from (i, j) on; of the last vector only the first `last`
/// columns are there.
///
/// # Safety
/// As [`all_outer`], with the tile inside the result.
#[inline(always)]
unsafe fn outer<T: Real, V: Vector<T>, const I: usize, const J: usize>(
    product: &Product<T>,
    i: usize,
    j: usize,
    last: usize,
) {
    let [a_row, a_column] = product.a_strides;
    let (b_row, out_row) = (product.b_strides[0], product.out_strides[0]);
    // SAFETY: promised by the caller; of the last vector only its part is read and written.
    unsafe {
        let (a, b) = (product.a.add(i * a_row), product.b.add(j));
        let mut sums = [[V::splat(T::ZERO); J]; I];
        let mut term = 0;
        while term < product.k {
            let row = b.add(term * b_row);
            let mut right = [V::splat(T::ZERO); J];
            let mut vector = 0;
            while vector + 1 < J {
                right[vector] = V::load(row.add(vector * V::LANES));
                vector += 1;
            }
            right[J - 1] = V::load_part(row.add((J - 1) * V::LANES), last);
            multiply(&mut sums, a.add(term * a_column), a_row, right, |from| V::splat(*from));
            term += 1;
        }
        let mut row = 0;
        while row < I {
            let mut vector = 0;
            while vector < J {
                let place = product.out.add((i + row) * out_row + j + vector * V::LANES);
                let now = sums[row][vector];
                if vector + 1 < J {
                    let now = if product.add { now.add(V::load(place)) } else { now };
                    now.store(place);
                } else {
                    let now = if product.add { now.add(V::load_part(place, last)) } else { now };
                    now.store_part(place, last);
                }
                vector += 1;
            }
            row += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::isa::Plain;
    #[cfg(target_arch = "x86_64")]
    use super::super::isa::{Avx2, Avx512};
    use super::*;

    /// Rows with a gap after each, transposed or not: elements and strides.
    fn matrix<T: Real>(
        rows: usize,
        columns: usize,
        across: bool,
        seed: usize,
    ) -> (Vec<T>, [usize; 2]) {
        let (long, short) = if across { (rows, columns) } else { (columns, rows) };
        let pitch = long + seed % 3;
        let elements =
            (0..short * pitch).map(|at| T::of(((at * 7 + seed * 13) % 19) as f64 - 9.0)).collect();
        (elements, if across { [1, pitch] } else { [pitch, 1] })
    }

    /// The ways to compute a product: the one that is chosen, and each loop with each instruction
    /// set that this processor has, where it fits.
    fn ways<T: Real>() -> Vec<unsafe fn(Product<T>) -> bool> {
        fn along<T>(product: &Product<T>) -> bool {
            product.a_strides[1] == 1 && product.b_strides[0] == 1
        }
        fn dots<T: Real, S: Isa>(product: Product<T>, isa: S) -> bool {
            let fits = along(&product);
            if fits {
                Dots(product).run(isa);
            }
            fits
        }
        fn outer<T: Real, S: Isa>(product: Product<T>, isa: S) -> bool {
            let fits = product.b_strides[1] == 1;
            if fits {
                Outer(product).run(isa);
            }
            fits
        }
        let mut ways: Vec<unsafe fn(Product<T>) -> bool> = vec![
            // SAFETY: promised by the caller of the pointer.
            |product| unsafe { product.run([product.m, product.n]) },
            |product| dots(product, Plain),
            |product| outer(product, Plain),
        ];
        #[cfg(target_arch = "x86_64")]
        {
            if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
                ways.extend([
                    (|product| dots(product, Avx2)) as unsafe fn(Product<T>) -> bool,
                    |product| outer(product, Avx2),
                ]);
            }
            if is_x86_feature_detected!("avx512dq") {
                ways.extend([
                    (|product| dots(product, Avx512)) as unsafe fn(Product<T>) -> bool,
                    |product| outer(product, Avx512),
                ]);
            }
        }
        ways
    }

    /// Computes a product in all ways; whether the chosen way took one of the loops.
    fn check<T: Real>(
        (m, n, k): (usize, usize, usize),
        (tall, wide): (bool, bool),
        add: bool,
        seed: usize,
    ) -> bool {
        let (a, a_strides) = matrix::<T>(m, k, tall, seed);
        let (b, b_strides) = matrix::<T>(k, n, wide, seed + 1);
        let row = n + seed % 2;
        let before: Vec<T> = (0..m * row).map(|at| T::of(at as f64)).collect();
        let mut chosen = false;
        for (way, compute) in ways::<T>().into_iter().enumerate() {
            let mut out = before.clone();
            let product = Product {
                m,
                n,
                k,
                a: a.as_ptr(),
                a_strides,
                b: b.as_ptr(),
                b_strides,
                out: out.as_mut_ptr(),
                out_strides: [row, 1],
                add,
            };
            // SAFETY: the matrices lie in their vectors, and the instruction set is there.
            let done = unsafe { compute(product) };
            chosen |= done && way == 0;
            for i in 0..m {
                for j in 0..row {
                    let mut expected = before[i * row + j];
                    if done && j < n {
                        let terms = (0..k).map(|t| {
                            (a[i * a_strides[0] + t * a_strides[1]]
                                * b[t * b_strides[0] + j * b_strides[1]])
                                .wide()
                        });
                        let sum = T::of(terms.sum());
                        expected = if add { expected + sum } else { sum };
                    }
                    // Whole numbers: every order of the sum gives the same.
                    assert!(out[i * row + j] == expected, "way {way} at ({i}, {j})");
                }
            }
        }
        chosen
    }

    proptest! {
        #[test]
        fn products_are_right_where_a_loop_fits(
            m in 1_usize..20, n in 1_usize..85, k in 1_usize..90, tall in any::<bool>(), wide in any::<bool>(), add in any::<bool>(),
            many in any::<bool>(), seed in 0_usize..100,
        ) {
            let k = if many { k + 250 } else { k };
            let fits = (!tall && wide && (k >= 256 || (k >= 64 && n <= 32))) || ((!wide) && n >= 8 && k <= TERMS);
            // A single row or column has a stride of one either way.
            prop_assert!(check::<f64>((m, n, k), (tall, wide), add, seed) || !fits);
            prop_assert!(check::<f32>((m, n, k), (tall, wide), add, seed) || !fits);
        }
    }
}
