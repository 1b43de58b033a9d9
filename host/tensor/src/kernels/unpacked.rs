//! Products of matrices that lie in the cache as they are: two register-tiled loops that read their operands in place.
//!
//! A general product first copies its operands into panels. That pays when they are large; for the layers of small networks the
//! copying takes as long as a fifth of the product. Each result is the sum of its terms in one fixed order, whatever tile it falls in.

use super::simd::{Isa, Kernel, Real, dispatch};

/// Most elements of both operands together for [`Dots`]: they are read again and again.
const OPERANDS: usize = 256 * 1024;
/// Most terms of a sum for [`Outer`]: so many rows of the right operand stay in the first cache, 64 bytes of each.
const TERMS: usize = 256;

/// A product `out (+)= a b` by pointers: element (row, column) of a matrix lies `row row_stride + column column_stride` after its first.
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
    /// Computes it, where one of the two loops fits its sizes and strides; otherwise nothing happened.
    ///
    /// # Safety
    /// All elements lie in memory that may be read, those of `out` in memory that nobody else uses.
    pub unsafe fn run(self) -> bool {
        let Product { m, n, k, .. } = self;
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

/// Both operands have their sums' terms one after the other: each result is a sum in `W` lanes, added up at the end.
struct Dots<T>(Product<T>);

impl<T: Real> Kernel for Dots<T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Isa>(self, isa: S) {
        let product = &self.0;
        let mut i = 0;
        while i < product.m {
            let tall = i + 4 <= product.m;
            let mut j = 0;
            while j < product.n {
                // Four columns left are two and two: a tile of one is as slow as one of two, for want of independent sums.
                let columns = match product.n - j {
                    1 => 1,
                    2 | 4 => 2,
                    _ => 3,
                };
                // SAFETY: the tile lies inside the matrices, which `Product::run` was promised to be sound.
                unsafe {
                    if S::WIDE {
                        tile::<T, S, 16>(product, i, j, (tall, columns), isa)
                    } else {
                        tile::<T, S, 8>(product, i, j, (tall, columns), isa)
                    }
                }
                j += columns;
            }
            i += if tall { 4 } else { 1 };
        }
    }
}

/// [`dots`] for four rows or one, and one to three columns, in vectors of `W`.
///
/// # Safety
/// As [`dots`].
#[inline(always)]
unsafe fn tile<T: Real, S: Isa, const W: usize>(product: &Product<T>, i: usize, j: usize, (tall, columns): (bool, usize), isa: S) {
    // SAFETY: promised by the caller.
    unsafe {
        match (tall, columns) {
            (true, 3) => dots::<T, S, W, 4, 3>(product, i, j, isa),
            (true, 2) => dots::<T, S, W, 4, 2>(product, i, j, isa),
            (true, _) => dots::<T, S, W, 4, 1>(product, i, j, isa),
            (false, 3) => dots::<T, S, W, 1, 3>(product, i, j, isa),
            (false, 2) => dots::<T, S, W, 1, 2>(product, i, j, isa),
            (false, _) => dots::<T, S, W, 1, 1>(product, i, j, isa),
        }
    }
}

/// `R` rows by `C` columns of the result from (i, j) on. Loops over indices: see `simd` for why.
///
/// # Safety
/// As [`Product::run`], with the tile inside the result.
#[inline(always)]
unsafe fn dots<T: Real, S: Isa, const W: usize, const R: usize, const C: usize>(product: &Product<T>, i: usize, j: usize, isa: S) {
    let (k, a_row, b_row) = (product.k, product.a_strides[0], product.b_strides[1]);
    // SAFETY: promised by the caller; vectors are read only where all their lanes are terms of the sum.
    unsafe {
        let (a, b) = (product.a.add(i * a_row), product.b.add(j * b_row));
        let mut sums = [[[T::ZERO; W]; C]; R];
        let mut at = 0;
        while at + W <= k {
            let mut right = [[T::ZERO; W]; C];
            let mut c = 0;
            while c < C {
                right[c] = b.add(c * b_row + at).cast::<[T; W]>().read_unaligned();
                c += 1;
            }
            let mut r = 0;
            while r < R {
                let left = a.add(r * a_row + at).cast::<[T; W]>().read_unaligned();
                let mut c = 0;
                while c < C {
                    let mut lane = 0;
                    while lane < W {
                        sums[r][c][lane] = left[lane].fma(right[c][lane], sums[r][c][lane], isa);
                        lane += 1;
                    }
                    c += 1;
                }
                r += 1;
            }
            at += W;
        }
        let mut r = 0;
        while r < R {
            let mut c = 0;
            while c < C {
                // Kept apart from the lanes: an index that is not known when compiling would keep those out of the registers.
                let mut sum = total(sums[r][c]);
                let mut rest = at;
                while rest < k {
                    sum = (*a.add(r * a_row + rest)).fma(*b.add(c * b_row + rest), sum, isa);
                    rest += 1;
                }
                let place = product.out.add((i + r) * product.out_strides[0] + j + c);
                *place = if product.add { *place + sum } else { sum };
                c += 1;
            }
            r += 1;
        }
    }
}

/// The sum over the lanes, by halves. `W` is a power of two, at most 16.
#[inline(always)]
fn total<T: Real, const W: usize>(mut lanes: [T; W]) -> T {
    let mut halving = 3;
    while halving >= 0 {
        let width = 1 << halving;
        if 2 * width <= W {
            let mut lane = 0;
            while lane < width {
                lanes[lane] += lanes[lane + width];
                lane += 1;
            }
        }
        halving -= 1;
    }
    lanes[0]
}

/// The right operand's rows and the result's lie one element after the other: sums of rows, each times one element of the left operand.
struct Outer<T>(Product<T>);

impl<T: Real> Kernel for Outer<T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Isa>(self, isa: S) {
        let product = &self.0;
        let vector = if S::WIDE { 16 } else { 8 };
        let mut j = 0;
        while j < product.n {
            let left = product.n - j;
            // SAFETY: the columns lie inside the matrices, which `Product::run` was promised to be sound.
            unsafe {
                j += match (left >= 2 * vector, left >= vector, S::WIDE) {
                    (true, _, false) => columns::<T, S, 8, 2>(product, j, isa),
                    (false, true, false) => columns::<T, S, 8, 1>(product, j, isa),
                    (true, _, true) => columns::<T, S, 16, 2>(product, j, isa),
                    (false, true, true) => columns::<T, S, 16, 1>(product, j, isa),
                    (false, false, true) if left >= 8 => columns::<T, S, 8, 1>(product, j, isa),
                    (false, false, _) => columns::<T, S, 1, 1>(product, j, isa),
                };
            }
        }
    }
}

/// All rows of `J` vectors of `W` columns from column `j` on; answers how many columns these are.
///
/// # Safety
/// As [`Product::run`], with the columns inside the result.
#[inline(always)]
unsafe fn columns<T: Real, S: Isa, const W: usize, const J: usize>(product: &Product<T>, j: usize, isa: S) -> usize {
    let mut i = 0;
    while i < product.m {
        let left = product.m - i;
        // SAFETY: promised by the caller.
        unsafe {
            if left >= 6 && left != 8 {
                outer::<T, S, W, 6, J>(product, i, j, isa);
                i += 6;
            } else if left >= 4 {
                // Eight are four and four: two rows have too few independent sums to keep the units busy.
                outer::<T, S, W, 4, J>(product, i, j, isa);
                i += 4;
            } else if left >= 2 {
                outer::<T, S, W, 2, J>(product, i, j, isa);
                i += 2;
            } else {
                outer::<T, S, W, 1, J>(product, i, j, isa);
                i += 1;
            }
        }
    }
    W * J
}

/// `I` rows by `J` vectors of `W` columns of the result from (i, j) on.
///
/// # Safety
/// As [`Product::run`], with the tile inside the result.
#[inline(always)]
unsafe fn outer<T: Real, S: Isa, const W: usize, const I: usize, const J: usize>(product: &Product<T>, i: usize, j: usize, isa: S) {
    let [a_row, a_column] = product.a_strides;
    let (b_row, out_row) = (product.b_strides[0], product.out_strides[0]);
    // SAFETY: promised by the caller.
    unsafe {
        let (a, b) = (product.a.add(i * a_row), product.b.add(j));
        let mut sums = [[[T::ZERO; W]; J]; I];
        let mut term = 0;
        while term < product.k {
            let mut right = [[T::ZERO; W]; J];
            let mut vector = 0;
            while vector < J {
                right[vector] = b.add(term * b_row + vector * W).cast::<[T; W]>().read_unaligned();
                vector += 1;
            }
            let mut row = 0;
            while row < I {
                let left = *a.add(row * a_row + term * a_column);
                let mut vector = 0;
                while vector < J {
                    let mut lane = 0;
                    while lane < W {
                        sums[row][vector][lane] = left.fma(right[vector][lane], sums[row][vector][lane], isa);
                        lane += 1;
                    }
                    vector += 1;
                }
                row += 1;
            }
            term += 1;
        }
        let mut row = 0;
        while row < I {
            let mut vector = 0;
            while vector < J {
                let place = product.out.add((i + row) * out_row + j + vector * W).cast::<[T; W]>();
                let mut now = sums[row][vector];
                if product.add {
                    let before = place.read_unaligned();
                    let mut lane = 0;
                    while lane < W {
                        now[lane] = before[lane] + now[lane];
                        lane += 1;
                    }
                }
                place.write_unaligned(now);
                vector += 1;
            }
            row += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Rows with a gap after each, transposed or not: elements and strides.
    fn matrix(rows: usize, columns: usize, across: bool, seed: usize) -> (Vec<f64>, [usize; 2]) {
        let (long, short) = if across { (rows, columns) } else { (columns, rows) };
        let pitch = long + seed % 3;
        let elements = (0..short * pitch).map(|at| ((at * 7 + seed * 13) % 19) as f64 - 9.0).collect();
        (elements, if across { [1, pitch] } else { [pitch, 1] })
    }

    proptest! {
        #[test]
        fn products_are_right_where_a_loop_fits(
            m in 1_usize..20, n in 1_usize..45, k in 1_usize..90, tall in any::<bool>(), wide in any::<bool>(), add in any::<bool>(),
            many in any::<bool>(), seed in 0_usize..100,
        ) {
            let k = if many { k + 250 } else { k };
            let (a, a_strides) = matrix(m, k, tall, seed);
            let (b, b_strides) = matrix(k, n, wide, seed + 1);
            let row = n + seed % 2;
            let before: Vec<f64> = (0..m * row).map(|at| at as f64).collect();
            let mut out = before.clone();
            let product =
                Product { m, n, k, a: a.as_ptr(), a_strides, b: b.as_ptr(), b_strides, out: out.as_mut_ptr(), out_strides: [row, 1], add };
            // SAFETY: the matrices lie in their vectors.
            let done = unsafe { product.run() };
            let fits = (!tall && wide && (k >= 256 || (k >= 64 && n <= 32))) || ((!wide) && n >= 8 && k <= TERMS);
            // A single row or column has a stride of one either way.
            prop_assert!(done || !fits);
            for i in 0..m {
                for j in 0..row {
                    let mut expected = before[i * row + j];
                    if done && j < n {
                        let sum: f64 = (0..k)
                            .map(|t| a[i * a_strides[0] + t * a_strides[1]] * b[t * b_strides[0] + j * b_strides[1]])
                            .sum();
                        expected = if add { expected + sum } else { sum };
                    }
                    // Whole numbers: every order of the sum gives the same.
                    prop_assert_eq!(out[i * row + j], expected);
                }
            }
        }
    }
}
