//! Matrix products, split over the pool: by the `gemm` crate, or by loops in place if they are small.

use std::any::TypeId;

use super::elementwise::Block;
use super::number::Real;
use super::unpacked;
use crate::pool::{Parts, Pool};

/// Multiply-adds below which a product is not split.
const SPLIT: usize = 256 * 1024;

/// A matrix inside a slice: element (row, column) is at
/// `start + row row_stride + column column_stride`.
#[derive(Clone, Copy)]
pub(crate) struct Matrix<'a, T> {
    elements: &'a [T],
    start: usize,
    row_stride: usize,
    column_stride: usize,
}

impl<'a, T> Matrix<'a, T> {
    /// Rows one after the other.
    pub fn rows(elements: &'a [T], width: usize) -> Self {
        Self { elements, start: 0, row_stride: width, column_stride: 1 }
    }

    pub fn strided(
        elements: &'a [T],
        start: usize,
        row_stride: usize,
        column_stride: usize,
    ) -> Self {
        Self { elements, start, row_stride, column_stride }
    }

    pub fn transposed(self) -> Self {
        Self { row_stride: self.column_stride, column_stride: self.row_stride, ..self }
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
    if m == 0 || n == 0 {
        return;
    }
    a.check(m, k);
    b.check(k, n);
    let last = out.start + (m - 1) * out.row_stride + (n - 1) * out.column_stride;
    assert!(last < out.length, "product of {m} x {n} outside its target");
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
            small.run()
        };
        if done {
            return;
        }
    }
    macro_rules! call {
        ($type:ty) => {
            // SAFETY: the three matrices were checked against their slices; `T` is `$type`, so the
            // casts change nothing.
            unsafe {
                gemm::gemm(
                    m,
                    n,
                    k,
                    out.parts.pointer().add(out.start).cast::<$type>(),
                    out.column_stride as isize,
                    out.row_stride as isize,
                    mode == Into::Add,
                    a.elements.as_ptr().add(a.start).cast::<$type>(),
                    a.column_stride as isize,
                    a.row_stride as isize,
                    b.elements.as_ptr().add(b.start).cast::<$type>(),
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
    if TypeId::of::<T>() == TypeId::of::<f64>() { call!(f64) } else { call!(f32) }
}

/// `out = a b` in consecutive rows, split over the pool when it is worth it; `then` is called with
/// each part by the thread that made it, and may change it. The split depends on sizes and the
/// number of threads only.
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
    // Along the longer side, so that all threads together read least. If more is written than read,
    // by rows: loops over the result, such as an optimizer's, are split in the same way and find
    // their part in the cache of their core.
    let by_rows = m >= n || m * n >= (m + n) * k;
    let (size, unit) = if by_rows { (m, 8) } else { (n, 16) };
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
            product_here((block.rows, block.columns, k), &target, Into::Overwrite, T::ONE, a, b)
        };
        then(&parts, block);
    });
}
