//! Products of operands whose elements are numbers that bf16 has, by the instructions that multiply
//! pairs of them (AVX512-BF16).
//!
//! Both operands are copied into panels of pairs of terms. Each result is the sum of its terms in one
//! fixed order, which depends on the number of terms only. The instructions take subnormal numbers
//! for 0. Processors without them multiply the same operands in f32.

/// Rows of a register tile.
const ROWS: usize = 6;
/// Vectors of a row of a register tile.
const VECTORS: usize = 4;
/// Sums of a vector.
const LANES: usize = 16;
/// Columns of a register tile.
const WIDTH: usize = VECTORS * LANES;
/// Pairs of terms of a panel, which stays in the first-level cache.
const PAIRS: usize = 128;
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
    pub unsafe fn run(self, [m, n]: [usize; 2]) -> bool {
        let k = self.sizes[2];
        if n < LANES || k < 2 * LANES || m * n * k < LEAST || self.out_strides[1] != 1 {
            return false;
        }
        // SAFETY: promised by the caller.
        unsafe { run_native(self) }
    }
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
    /// Pairs of numbers of bf16, one for each sum.
    type Pairs: Copy;
    unsafe fn zero() -> Self;
    /// The pairs from `from` on.
    unsafe fn load(from: *const u32) -> Self::Pairs;
    /// Adds to each sum the products of the numbers of `a` with those of its pair.
    unsafe fn add(self, a: u32, b: Self::Pairs) -> Self;
    unsafe fn numbers(self) -> [f32; LANES];
}

/// The product in blocks.
///
/// # Safety
/// As [`Product::run`], with sums of instructions that the processor has.
#[inline(always)]
unsafe fn multiply<S: Sums>(product: Product) {
    let Product { sizes: [m, n, k], a, a_strides, b, b_strides, .. } = product;
    let pairs = k.div_ceil(2).min(PAIRS);
    let mut left = vec![0; pairs * m.min(BLOCK).next_multiple_of(ROWS)];
    let mut right = vec![0; pairs * n.min(COLUMNS).next_multiple_of(WIDTH)];
    for first_column in (0..n).step_by(COLUMNS) {
        let columns = (n - first_column).min(COLUMNS);
        for term in (0..k).step_by(2 * PAIRS) {
            let terms = (k - term).min(2 * PAIRS);
            let pairs = terms.div_ceil(2);
            // SAFETY: the elements lie within the matrices.
            unsafe {
                let b = b.add(term * b_strides[0] + first_column * b_strides[1]);
                pack(b, [b_strides[1], b_strides[0]], columns, WIDTH, terms, &mut right);
            }
            for first_row in (0..m).step_by(BLOCK) {
                let rows = (m - first_row).min(BLOCK);
                // SAFETY: as above.
                unsafe {
                    let a = a.add(first_row * a_strides[0] + term * a_strides[1]);
                    pack(a, a_strides, rows, ROWS, terms, &mut left);
                }
                for column in (0..columns).step_by(WIDTH) {
                    for row in (0..rows).step_by(ROWS) {
                        let place = Place {
                            row: first_row + row,
                            column: first_column + column,
                            add: product.add || term > 0,
                        };
                        let left = &left[row * pairs..][..ROWS * pairs];
                        let right = &right[column * pairs..][..WIDTH * pairs];
                        // SAFETY: promised by the caller.
                        unsafe { tile::<S>(&product, place, left, right) };
                    }
                }
            }
        }
    }
}

/// Copies `count` rows of `terms` elements each, with these distances of rows and of terms, into
/// panels of `width` rows: for each pair of terms, that of each row. What is missing is 0.
///
/// # Safety
/// The elements may be read.
#[inline(always)]
unsafe fn pack(
    from: *const f32,
    [row_stride, term_stride]: [usize; 2],
    count: usize,
    width: usize,
    terms: usize,
    into: &mut [u32],
) {
    let pairs = terms.div_ceil(2);
    for (panel, into) in into.chunks_exact_mut(width * pairs).enumerate() {
        let first = panel * width;
        if first >= count {
            break;
        }
        let rows = (count - first).min(width);
        if rows < width || terms % 2 == 1 {
            into.fill(0);
        }
        let pair_of = |row: usize, pair: usize| {
            let at = (first + row) * row_stride + 2 * pair * term_stride;
            // SAFETY: promised by the caller.
            let low = unsafe { *from.add(at) }.to_bits() >> 16;
            let high = match 2 * pair + 1 < terms {
                // SAFETY: as above.
                true => unsafe { *from.add(at + term_stride) }.to_bits() & 0xffff_0000,
                false => 0,
            };
            low | high
        };
        if row_stride == 1 {
            for (pair, into) in into.chunks_exact_mut(width).enumerate() {
                for (row, into) in into[..rows].iter_mut().enumerate() {
                    *into = pair_of(row, pair);
                }
            }
        } else {
            for row in 0..rows {
                for pair in 0..pairs {
                    into[pair * width + row] = pair_of(row, pair);
                }
            }
        }
    }
}

/// Where a tile goes.
#[derive(Clone, Copy)]
struct Place {
    row: usize,
    column: usize,
    add: bool,
}

/// A tile of the result from a panel of either side.
///
/// # Safety
/// As [`multiply`].
#[inline(always)]
unsafe fn tile<S: Sums>(product: &Product, place: Place, left: &[u32], right: &[u32]) {
    let [m, n, _] = product.sizes;
    let (rows, columns) = ((m - place.row).min(ROWS), (n - place.column).min(WIDTH));
    // SAFETY: promised by the caller; vectors are loaded from whole rows of the panel, and only
    // elements of the result are touched.
    unsafe {
        let mut sums = [[S::zero(); VECTORS]; ROWS];
        let panels = left.chunks_exact(ROWS).zip(right.chunks_exact(WIDTH));
        for (left, right) in panels {
            let mut pairs = [S::load(right.as_ptr()); VECTORS];
            let mut vector = 1;
            while vector < VECTORS {
                pairs[vector] = S::load(right.as_ptr().add(vector * LANES));
                vector += 1;
            }
            let mut row = 0;
            while row < ROWS {
                let mut vector = 0;
                while vector < VECTORS {
                    sums[row][vector] = sums[row][vector].add(left[row], pairs[vector]);
                    vector += 1;
                }
                row += 1;
            }
        }
        for (row, sums) in sums.iter().enumerate().take(rows) {
            let out = product.out.add((place.row + row) * product.out_strides[0] + place.column);
            for (vector, sums) in sums.iter().enumerate() {
                let numbers = sums.numbers();
                let count = columns.saturating_sub(vector * LANES).min(LANES);
                for (lane, number) in numbers.iter().enumerate().take(count) {
                    let out = out.add(vector * LANES + lane);
                    let number = number * product.alpha;
                    *out = if place.add { *out + number } else { number };
                }
            }
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;

    use super::{LANES, Product, Sums};

    /// Whether the processor has the instructions.
    pub(super) fn is_available() -> bool {
        is_x86_feature_detected!("avx512bf16")
            && is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512vl")
    }

    /// # Safety
    /// As [`Product::run`].
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
    pub(super) unsafe fn multiply(product: Product) {
        // SAFETY: promised by the caller, and the instructions are there.
        unsafe { super::multiply::<Register>(product) }
    }

    #[derive(Clone, Copy)]
    struct Register(__m512);

    impl Sums for Register {
        type Pairs = __m512i;
        #[inline(always)]
        unsafe fn zero() -> Self {
            // SAFETY: the caller promises the instructions, as in what follows.
            Self(unsafe { _mm512_setzero_ps() })
        }
        #[inline(always)]
        unsafe fn load(from: *const u32) -> __m512i {
            // SAFETY: as above, and that the pairs may be read.
            unsafe { _mm512_loadu_si512(from.cast()) }
        }
        #[inline(always)]
        unsafe fn add(self, a: u32, b: __m512i) -> Self {
            // SAFETY: as above. Both types are 512 bits without a meaning of their own.
            unsafe {
                let a = std::mem::transmute::<__m512i, __m512bh>(_mm512_set1_epi32(a as i32));
                let b = std::mem::transmute::<__m512i, __m512bh>(b);
                Self(_mm512_dpbf16_ps(self.0, a, b))
            }
        }
        #[inline(always)]
        unsafe fn numbers(self) -> [f32; LANES] {
            let mut numbers = [0.0; LANES];
            // SAFETY: as above, and the array has room for the vector.
            unsafe { _mm512_storeu_ps(numbers.as_mut_ptr(), self.0) };
            numbers
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::number::Real;
    use super::*;

    /// The instructions, in f32.
    impl Sums for [f32; LANES] {
        type Pairs = [u32; LANES];
        unsafe fn zero() -> Self {
            [0.0; LANES]
        }
        unsafe fn load(from: *const u32) -> [u32; LANES] {
            // SAFETY: promised by the caller.
            unsafe { from.cast::<[u32; LANES]>().read_unaligned() }
        }
        unsafe fn add(self, a: u32, b: [u32; LANES]) -> Self {
            let parts = |pair: u32| [pair << 16, pair & 0xffff_0000].map(f32::from_bits);
            let [low, high] = parts(a);
            std::array::from_fn(|lane| {
                let [b_low, b_high] = parts(b[lane]);
                self[lane] + low * b_low + high * b_high
            })
        }
        unsafe fn numbers(self) -> [f32; LANES] {
            self
        }
    }

    fn matrix(rows: usize, columns: usize, across: bool, seed: usize) -> (Vec<f32>, [usize; 2]) {
        let (long, short) = if across { (rows, columns) } else { (columns, rows) };
        let pitch = long + seed % 3;
        let number = |at: usize| ((at * 7919 + seed * 104_729) % 2003) as f32 / 1001.0 - 1.0;
        let elements = (0..short * pitch).map(|at| number(at).rounded()).collect();
        (elements, if across { [1, pitch] } else { [pitch, 1] })
    }

    fn check(
        sizes: [usize; 3],
        [a_across, b_across, add]: [bool; 3],
        seed: usize,
        way: unsafe fn(Product) -> bool,
    ) {
        let [m, n, k] = sizes;
        let ((a, a_strides), (b, b_strides)) =
            (matrix(m, k, a_across, seed), matrix(k, n, b_across, seed + 1));
        let row = n + 3;
        let before: Vec<f32> = (0..m * row).map(|at| at as f32 / 64.0).collect();
        let mut out = before.clone();
        let product = Product {
            sizes,
            a: a.as_ptr(),
            a_strides,
            b: b.as_ptr(),
            b_strides,
            out: out.as_mut_ptr(),
            out_strides: [row, 1],
            add,
            alpha: 0.5,
        };
        // SAFETY: the matrices lie in their vectors.
        if !unsafe { way(product) } {
            return;
        }
        for (at, (&found, &before)) in out.iter().zip(&before).enumerate() {
            let (i, j) = (at / row, at % row);
            let term = |t: usize| {
                f64::from(a[i * a_strides[0] + t * a_strides[1]])
                    * f64::from(b[t * b_strides[0] + j * b_strides[1]])
            };
            let mut expected = f64::from(before);
            if j < n {
                let sum = 0.5 * (0..k).map(term).sum::<f64>();
                expected = if add { expected + sum } else { sum };
            }
            assert!((f64::from(found) - expected).abs() < 1e-3, "({i}, {j}): {found} {expected}");
        }
    }

    unsafe fn in_f32(product: Product) -> bool {
        // SAFETY: promised by the caller.
        unsafe { multiply::<[f32; LANES]>(product) };
        true
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn products_of_pairs_are_products(
            m in 1_usize..110, n in 1_usize..140, k in 1_usize..300, a in any::<bool>(), b in any::<bool>(), add in any::<bool>(),
            seed in 0_usize..100,
        ) {
            check([m, n, k], [a, b, add], seed, in_f32);
            // Nothing where the processor does not have the instructions.
            check([m, n, k], [a, b, add], seed, run_native);
        }
    }

    #[test]
    fn many_columns_are_computed_in_parts() {
        check([3, COLUMNS + 70, 40], [false, true, false], 1, in_f32);
    }
}
