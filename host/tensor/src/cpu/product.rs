//! Matrix products.

use candle_core::Shape;

use super::Cpu;
use super::activation::{finish_rows, outcome};
use super::data::{data, for_real, unwritten, value, whole};
use super::kernels::gemm::{Into, Matrix, Target, product, product_here, rounds};
use super::kernels::number::Real;
use super::kernels::reduce::sum_columns;
use crate::backend::{Affine, Elementwise, Kept, Product, Storage, product_sizes};
use crate::error::Result;
use crate::pool::Parts;
use crate::value::Value;

impl Product for Cpu {
    fn matmul(&self, a: &Value, b: &Value, batch: &[usize]) -> Result<Value> {
        for_real!(a.dtype(), T => self.multiply::<T>(a, b, batch, false))
    }

    fn matmul_rounded(&self, a: &Value, b: &Value, batch: &[usize]) -> Result<Value> {
        self.multiply::<f32>(a, b, batch, true)
    }

    fn affine(
        &self,
        affine: &Affine,
        x: &Value,
        w: &Value,
        bias: Option<&Value>,
        records: bool,
        out: Shape,
    ) -> Result<(Value, Kept)> {
        let Affine { rows, inputs: k, outputs: n, activation, rounded } = *affine;
        for_real!(x.dtype(), T => {
            let elements = bias.map(data::<T>).transpose()?;
            let bias = elements.as_deref();
            let mut z = unwritten::<T>(rows * n);
            let mut values = activation.keeps_slope(records).then(|| unwritten::<T>(rows * n));
            {
                let before = rounded && !rounds((rows, n, k));
                let x = self.operand(x.clone(), before)?;
                let w = self.operand(w.clone(), before)?;
                let (x, w) = (data::<T>(&x)?, data::<T>(&w)?);
                let beside = values.as_mut().map(|values| Parts::new(values));
                product(
                    &self.pool,
                    (rows, n, k),
                    &mut z,
                    Matrix::rows(&x, k).rounded(rounded),
                    Matrix::rows(&w, k).rounded(rounded).transposed(),
                    |z, block| {
                        // SAFETY: the block belongs to this task alone.
                        unsafe { finish_rows(activation, z, beside.as_ref(), block, bias) };
                    },
                );
            }
            Ok(outcome(activation, z, values, out, records))
        })
    }

    fn affine_gradient(
        &self,
        affine: &Affine,
        x: &Value,
        w: &Value,
        kept: &Kept,
        gradient: Value,
        wants: [bool; 3],
    ) -> Result<[Option<Value>; 3]> {
        let Affine { rows, inputs: k, outputs: n, activation, rounded } = *affine;
        let gradient = self.deactivate(activation.function(), kept, gradient)?;
        for_real!(gradient.dtype(), T => {
            let mut results = [None, None, None];
            if wants[2] {
                let sums = sum_columns(&self.pool, &data::<T>(&gradient)?, rows, n);
                results[2] = Some(value(sums, n));
            }
            let sizes = [(rows, k, n), (n, k, rows)];
            let before = [0, 1].map(|at| wants[at] && rounded && !rounds(sizes[at]));
            let gradient = self.operand(gradient, before[0] || before[1])?;
            let g = data::<T>(&gradient)?;
            if wants[1] {
                let mut out = unwritten::<T>(n * k);
                let x = self.operand(x.clone(), before[1])?;
                let x = data::<T>(&x)?;
                let g = Matrix::rows(&g, n).rounded(rounded).transposed();
                let x = Matrix::rows(&x, k).rounded(rounded);
                product(&self.pool, (n, k, rows), &mut out, g, x, |_, _| {});
                results[1] = Some(value(out, (n, k)));
            }
            if wants[0] {
                let mut out = unwritten::<T>(rows * k);
                let w = self.operand(w.clone(), before[0])?;
                let w = data::<T>(&w)?;
                let g = Matrix::rows(&g, n).rounded(rounded);
                let w = Matrix::rows(&w, k).rounded(rounded);
                product(&self.pool, (rows, k, n), &mut out, g, w, |_, _| {});
                results[0] = Some(value(out, x.shape().clone()));
            }
            Ok(results)
        })
    }
}

impl Cpu {
    fn multiply<T: Real>(
        &self,
        a: &Value,
        b: &Value,
        batch: &[usize],
        rounded: bool,
    ) -> Result<Value> {
        let ((m, n, k), shape) = product_sizes(a, b, batch);
        let count: usize = batch.iter().product();
        let mut out =
            if k == 0 { vec![T::ZERO; count * m * n] } else { unwritten::<T>(count * m * n) };
        if k > 0 && !out.is_empty() {
            // A stack of matrices times one matrix is one product.
            let stacked = b.dims().len() == 2 && a.is_contiguous() && a.count() == count * m * k;
            let (rows, count) = if stacked { (count * m, 1) } else { (m, count) };
            let (a_offsets, a_rows, a_columns) =
                matrices(a, if stacked { &a.dims()[..a.dims().len() - 2] } else { batch });
            let (b_offsets, b_rows, b_columns) = matrices(b, if stacked { &[] } else { batch });
            let (a_storage, _) = a.host()?.storage_and_layout();
            let (b_storage, _) = b.host()?.storage_and_layout();
            let (a_elements, b_elements) = (whole::<T>(&a_storage)?, whole::<T>(&b_storage)?);
            if count == 1 {
                let a = Matrix::strided(a_elements, a_offsets[0], a_rows, a_columns);
                let b = Matrix::strided(b_elements, b_offsets[0], b_rows, b_columns);
                let (a, b) = (a.rounded(rounded), b.rounded(rounded));
                product(&self.pool, (rows, n, k), &mut out, a, b, |_, _| {});
            } else {
                let length = out.len();
                let parts = Parts::new(&mut out);
                let grain = (128 * 1024 / (m * n * k)).max(1);
                self.pool.ranges(count, grain, |range| {
                    for at in range {
                        let target = Target {
                            parts: &parts,
                            length,
                            start: at * m * n,
                            row_stride: n,
                            column_stride: 1,
                        };
                        let a = Matrix::strided(a_elements, a_offsets[at], a_rows, a_columns);
                        let b = Matrix::strided(b_elements, b_offsets[at], b_rows, b_columns);
                        let (a, b) = (a.rounded(rounded), b.rounded(rounded));
                        // SAFETY: each matrix of the batch is written by one task.
                        unsafe { product_here((m, n, k), &target, Into::Overwrite, T::ONE, a, b) };
                    }
                });
            }
        }
        Ok(value(out, Shape::from(&shape[..])))
    }
}

/// Offsets of the matrices of a batch within a tensor's buffer, with the strides of its last two
/// dimensions.
fn matrices(x: &Value, batch: &[usize]) -> (Vec<usize>, usize, usize) {
    let layout = x.layout();
    let (dims, strides) = (layout.dims(), layout.stride());
    let own = dims.len() - 2;
    let lead = batch.len() - own;
    let mut offsets = vec![layout.start_offset()];
    for (at, &size) in batch.iter().enumerate() {
        let stride = if at < lead || dims[at - lead] == 1 { 0 } else { strides[at - lead] };
        offsets = offsets
            .iter()
            .flat_map(|&offset| (0..size).map(move |index| offset + index * stride))
            .collect();
    }
    (offsets, strides[own], strides[own + 1])
}
