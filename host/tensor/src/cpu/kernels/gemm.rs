//! Matrix products, split over the pool: by the `gemm` crate, or by loops in place if they are small.

use std::any::TypeId;

use super::elementwise::Block;
use super::number::Real;
use super::{bfloat, unpacked};
use crate::pool::{Parts, Pool};

/// Multiply-adds below which a product is not split.
const SPLIT: usize = 256 * 1024;
/// Most terms that the `gemm` crate adds up in one go. It would divide more of them by itself, but
/// differently for small matrices, so that the sums would depend on how a product is split.
const TERMS: usize = 512;

/// A matrix inside a slice: element (row, column) is at
/// `start + row row_stride + column column_stride`.
#[derive(Clone, Copy)]
pub(crate) struct Matrix<'a, T> {
    elements: &'a [T],
    start: usize,
    row_stride: usize,
    column_stride: usize,
    /// Whether the product is one of rounded operands.
    rounded: bool,
}

impl<'a, T> Matrix<'a, T> {
    /// Rows one after the other.
    pub fn rows(elements: &'a [T], width: usize) -> Self {
        Self { elements, start: 0, row_stride: width, column_stride: 1, rounded: false }
    }

    pub fn strided(
        elements: &'a [T],
        start: usize,
        row_stride: usize,
        column_stride: usize,
    ) -> Self {
        Self { elements, start, row_stride, column_stride, rounded: false }
    }

    pub fn transposed(self) -> Self {
        Self { row_stride: self.column_stride, column_stride: self.row_stride, ..self }
    }

    /// The matrix; with `rounded`, the product is that of elements that are rounded to bf16. They are
    /// rounded already, unless [`rounds`] says that the product rounds them.
    pub fn rounded(self, rounded: bool) -> Self {
        Self { rounded, ..self }
    }

    fn check(&self, rows: usize, columns: usize) {
        if rows > 0 && columns > 0 {
            let last =
                self.start + (rows - 1) * self.row_stride + (columns - 1) * self.column_stride;
            assert!(
                last < self.elements.len(),
                "matrix of {rows} x {columns} outside its {} elements",
                self.elements.len()
            );
        }
    }
}

/// Where a product goes: a matrix inside elements that tasks share.
pub(crate) struct Target<'a, T> {
    pub parts: &'a Parts<T>,
    pub length: usize,
    pub start: usize,
    pub row_stride: usize,
    pub column_stride: usize,
}

/// How a product is combined with the elements of its target.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Into {
    Overwrite,
    Add,
}

/// `out (+)= alpha a b` with a [m, k], b [k, n], on this thread.
///
/// # Safety
/// The target's matrix must lie within its `length` elements of `parts`, and no other thread may
/// use it meanwhile.
pub(crate) unsafe fn product_here<T: Real>(
    (m, n, k): (usize, usize, usize),
    out: &Target<T>,
    mode: Into,
    alpha: T,
    a: Matrix<T>,
    b: Matrix<T>,
) {
    // SAFETY: promised by the caller.
    unsafe { part((m, n, k), [m, n], out, mode, alpha, a, b) }
}

/// As [`product_here`], of a part of a product; `like` are rows and columns of the part that decides
/// how all of them are computed.
///
/// # Safety
/// As [`product_here`].
unsafe fn part<T: Real>(
    (m, n, k): (usize, usize, usize),
    like: [usize; 2],
    out: &Target<T>,
    mode: Into,
    alpha: T,
    a: Matrix<T>,
    b: Matrix<T>,
) {
    if m == 0 || n == 0 {
        return;
    }
    a.check(m, k);
    b.check(k, n);
    let last = out.start + (m - 1) * out.row_stride + (n - 1) * out.column_stride;
    assert!(last < out.length, "product of {m} x {n} outside its target");
    if a.rounded && b.rounded && TypeId::of::<T>() == TypeId::of::<f32>() {
        // SAFETY: the three matrices were checked against their slices, the target is the caller's
        // alone, and `T` is f32, so the casts change nothing.
        let done = unsafe {
            bfloat::Product {
                sizes: [m, n, k],
                a: a.elements.as_ptr().add(a.start).cast(),
                a_strides: [a.row_stride, a.column_stride],
                b: b.elements.as_ptr().add(b.start).cast(),
                b_strides: [b.row_stride, b.column_stride],
                out: out.parts.pointer().add(out.start).cast(),
                out_strides: [out.row_stride, out.column_stride],
                add: mode == Into::Add,
                alpha: alpha.wide() as f32,
            }
            .run(like)
        };
        if done {
            return;
        }
    }
    if alpha == T::ONE {
        // SAFETY: the three matrices were checked against their slices, and the target is the
        // caller's alone.
        let done = unsafe {
            let small = unpacked::Product {
                m,
                n,
                k,
                a: a.elements.as_ptr().add(a.start),
                a_strides: [a.row_stride, a.column_stride],
                b: b.elements.as_ptr().add(b.start),
                b_strides: [b.row_stride, b.column_stride],
                out: out.parts.pointer().add(out.start),
                out_strides: [out.row_stride, out.column_stride],
                add: mode == Into::Add,
            };
            small.run(like)
        };
        if done {
            return;
        }
    }
    // Parts of about the same size.
    let terms = k.div_ceil(k.div_ceil(TERMS).max(1)).max(1);
    macro_rules! call {
        ($type:ty, $from:expr) => {
            // SAFETY: the three matrices were checked against their slices; `T` is `$type`, so the
            // casts change nothing.
            unsafe {
                gemm::gemm(
                    m,
                    n,
                    terms.min(k - $from),
                    out.parts.pointer().add(out.start).cast::<$type>(),
                    out.column_stride as isize,
                    out.row_stride as isize,
                    mode == Into::Add || $from > 0,
                    a.elements.as_ptr().add(a.start + $from * a.column_stride).cast::<$type>(),
                    a.column_stride as isize,
                    a.row_stride as isize,
                    b.elements.as_ptr().add(b.start + $from * b.row_stride).cast::<$type>(),
                    b.column_stride as isize,
                    b.row_stride as isize,
                    1.0,
                    alpha.wide() as $type,
                    false,
                    false,
                    false,
                    gemm::Parallelism::None,
                )
            }
        };
    }
    for from in (0..k.max(1)).step_by(terms) {
        if TypeId::of::<T>() == TypeId::of::<f64>() { call!(f64, from) } else { call!(f32, from) }
    }
}

/// How a product is split.
struct Split {
    by_rows: bool,
    /// What is divided, in units.
    size: usize,
    unit: usize,
    /// Rows and columns of the part that decides how all of them are computed: one of two, whatever
    /// their number.
    like: [usize; 2],
}

impl Split {
    fn of((m, n, k): (usize, usize, usize)) -> Self {
        // Along the longer side, so that all threads together read least. If more is written than
        // read, by rows: loops over the result, such as an optimizer's, are split in the same way and
        // find their part in the cache of their core.
        let by_rows = m >= n || m * n >= (m + n) * k;
        let (size, unit) = if by_rows { (m, 8) } else { (n, 16) };
        let half = size.div_ceil(unit) / 2 * unit;
        let like = match by_rows {
            _ if m * n * k < SPLIT || half == 0 => [m, n],
            true => [half, n],
            false => [m, half],
        };
        Self { by_rows, size, unit, like }
    }
}

/// Whether [`product`] of these sizes rounds operands to bf16 by itself where that is asked for.
pub(crate) fn rounds(sizes: (usize, usize, usize)) -> bool {
    bfloat::are_multiplied(Split::of(sizes).like, sizes.2)
}

/// `out = a b` in consecutive rows, split over the pool when it is worth it; `then` is called with
/// each part by the thread that made it, and may change it. The split depends on sizes and the
/// number of threads only, the bits of the result on sizes only.
pub(crate) fn product<T: Real>(
    pool: &Pool,
    (m, n, k): (usize, usize, usize),
    out: &mut [T],
    a: Matrix<T>,
    b: Matrix<T>,
    then: impl Fn(&Parts<T>, Block) + Sync,
) {
    assert_eq!(out.len(), m * n);
    if k == 0 {
        out.fill(T::ZERO);
        then(&Parts::new(out), Block { start: 0, rows: m, columns: n, pitch: n });
        return;
    }
    let length = out.len();
    let parts = Parts::new(out);
    let pieces = if m * n * k < SPLIT { 1 } else { pool.threads() };
    let Split { by_rows, size, unit, like } = Split::of((m, n, k));
    let units = size.div_ceil(unit);
    let pieces = pieces.min(units);
    pool.run(pieces, &|piece| {
        let (from, to) =
            (piece * units / pieces * unit, ((piece + 1) * units / pieces * unit).min(size));
        let count = to - from;
        let (block, a, b) = match by_rows {
            true => {
                let a = Matrix { start: a.start + from * a.row_stride, ..a };
                (Block { start: from * n, rows: count, columns: n, pitch: n }, a, b)
            }
            false => {
                let b = Matrix { start: b.start + from * b.column_stride, ..b };
                (Block { start: from, rows: m, columns: count, pitch: n }, a, b)
            }
        };
        let target =
            Target { parts: &parts, length, start: block.start, row_stride: n, column_stride: 1 };
        // SAFETY: the pieces are different rows or columns of the result.
        unsafe {
            let sizes = (block.rows, block.columns, k);
            part(sizes, like, &target, Into::Overwrite, T::ONE, a, b)
        };
        then(&parts, block);
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_of_threads_changes_no_bit_of_a_product() {
        let numbers = |count: usize, seed: usize| -> Vec<f32> {
            (0..count).map(|at| ((at * 7919 + seed) % 2003) as f32 / 1001.0 - 1.0).collect()
        };
        // Sizes at which parts and the whole would be computed by different loops, or the terms be
        // divided differently.
        for (m, n, k) in [(256, 10, 1024), (96, 48, 700), (40, 400, 300), (70, 60, 1030)] {
            let (a, b) = (numbers(m * k, 1), numbers(n * k, 2));
            let compute = |threads: usize| {
                let (pool, mut out) = (Pool::new(threads).unwrap(), vec![0.0; m * n]);
                let b = Matrix::rows(&b, k).transposed();
                product(&pool, (m, n, k), &mut out, Matrix::rows(&a, k), b, |_, _| {});
                out
            };
            let one = compute(1);
            for threads in 2..6 {
                let other = compute(threads);
                assert!(one.iter().zip(&other).all(|(a, b)| a.to_bits() == b.to_bits()));
            }
            let exact: f64 = (0..k).map(|t| f64::from(a[t]) * f64::from(b[t])).sum();
            assert!((f64::from(one[0]) - exact).abs() < 1e-3);
        }
    }
}
