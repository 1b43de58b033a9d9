//! Matrix products: batched `matmul` and the affine map `linear`.

use candle_core::Shape;
use fluxbay_plugin::abi::operation::op;
use smallvec::{SmallVec, smallvec};

use super::binary::broadcast_shape;
use super::reduction::sum_to_shape;
use super::unary::{Activation, deactivate};
use super::{Call, Produced, for_real};
use crate::context::Context;
use crate::error::Result;
use crate::kernels::gemm::{Into, Matrix, Target, product, product_here};
use crate::kernels::reduce::sum_columns;
use crate::kernels::simd::Real;
use crate::pool::Parts;
use crate::value::{Value, data, elsewhere, unwritten, value};

pub(super) fn matmul(context: &mut Context, call: &Call) -> Result<Produced> {
    call.expect(2..=2, 0..=0, 0..=0)?;
    for_real!(call.real([0, 1])?, T => matmul_of::<T>(context, call))
}

fn matmul_of<T: Real>(context: &mut Context, call: &Call) -> Result<Produced> {
    let (a, b) = (call.inputs[0].clone(), call.inputs[1].clone());
    let (&[.., m, k], &[.., inner, n]) = (a.dims(), b.dims()) else {
        return Err(call.error(format!("takes matrices, got shapes {}", call.shapes())));
    };
    if k != inner {
        return Err(call.error(format!(
            "shapes {} do not fit: {k} columns against {inner} rows",
            call.shapes()
        )));
    }
    let batch =
        broadcast_shape(call, &a.dims()[..a.dims().len() - 2], &b.dims()[..b.dims().len() - 2])?;
    let out = multiply::<T>(context, &batch, (m, n, k), &a, &b)?;
    Ok(Produced::one(call, out, move |context, mut gradients| {
        let gradient = gradients.only()?;
        let mut results = smallvec![None, None];
        if gradients.wants(0) {
            let full = multiply::<T>(context, &batch, (m, k, n), &gradient, &flipped(&b)?)?;
            results[0] = Some(sum_to_shape::<T>(context, full, a.dims())?);
        }
        if gradients.wants(1) {
            let full = match b.dims().len() == 2 && a.dims().len() > 2 {
                // One product over all rows instead of a sum over the batch.
                true => {
                    let rows = batch.iter().product::<usize>() * m;
                    let a = Value::new(
                        a.tensor
                            .broadcast_as(Shape::from([&batch[..], &[m, k]].concat()))?
                            .contiguous()?,
                    );
                    let (a, gradient) =
                        (a.reshaped((rows, k))?, gradient.contiguous()?.reshaped((rows, n))?);
                    multiply::<T>(context, &[], (k, n, rows), &flipped(&a)?, &gradient)?
                }
                false => multiply::<T>(context, &batch, (k, n, m), &flipped(&a)?, &gradient)?,
            };
            results[1] = Some(sum_to_shape::<T>(context, full, b.dims())?);
        }
        Ok(results)
    }))
}

fn flipped(x: &Value) -> Result<Value> {
    let rank = x.dims().len();
    Ok(x.view(x.tensor.transpose(rank - 2, rank - 1)?))
}

/// Offsets of the matrices of a batch within a tensor's storage, with the strides of its last two
/// dimensions.
fn matrices(x: &Value, batch: &[usize]) -> (Vec<usize>, usize, usize) {
    let layout = x.tensor.layout();
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

/// `a [.., m, k] b [.., k, n]` with any strides, leading dimensions broadcast to `batch`.
fn multiply<T: Real>(
    context: &Context,
    batch: &[usize],
    (m, n, k): (usize, usize, usize),
    a: &Value,
    b: &Value,
) -> Result<Value> {
    let count: usize = batch.iter().product();
    let shape = Shape::from([batch, &[m, n]].concat());
    let mut out = if k == 0 { vec![T::ZERO; count * m * n] } else { unwritten::<T>(count * m * n) };
    if k > 0 && !out.is_empty() {
        // A stack of matrices times one matrix is one product.
        let stacked = b.dims().len() == 2 && a.tensor.is_contiguous() && a.count() == count * m * k;
        let (rows, count) = if stacked { (count * m, 1) } else { (m, count) };
        let (a_offsets, a_rows, a_columns) =
            matrices(a, if stacked { &a.dims()[..a.dims().len() - 2] } else { batch });
        let (b_offsets, b_rows, b_columns) = matrices(b, if stacked { &[] } else { batch });
        let (a_storage, _) = a.tensor.storage_and_layout();
        let (b_storage, _) = b.tensor.storage_and_layout();
        let (a_elements, b_elements) = (whole::<T>(&a_storage)?, whole::<T>(&b_storage)?);
        if count == 1 {
            let a = Matrix::strided(a_elements, a_offsets[0], a_rows, a_columns);
            let b = Matrix::strided(b_elements, b_offsets[0], b_rows, b_columns);
            product(&context.pool, (rows, n, k), &mut out, a, b, |_, _| {});
        } else {
            let length = out.len();
            let parts = Parts::new(&mut out);
            let grain = (128 * 1024 / (m * n * k)).max(1);
            context.pool.ranges(count, grain, |range| {
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
                    // SAFETY: each matrix of the batch is written by one task.
                    unsafe { product_here((m, n, k), &target, Into::Overwrite, T::ONE, a, b) };
                }
            });
        }
    }
    Ok(value(out, shape))
}

/// All elements of a storage on the CPU.
pub(super) fn whole<T: Real>(storage: &candle_core::Storage) -> Result<&[T]> {
    match storage {
        candle_core::Storage::Cpu(storage) => Ok(T::cpu_storage_as_slice(storage)?),
        _ => Err(elsewhere()),
    }
}

pub(super) fn linear(context: &mut Context, call: &Call) -> Result<Produced> {
    call.expect(2..=3, 0..=1, 0..=0)?;
    let dtype = call.real(0..call.inputs.len())?;
    let activation = Activation::of(call, call.int(0, 0))?;
    let wrong = || {
        let x = if call.info.code == op::LINEAR {
            "[.., in]"
        } else {
            "[batch, ..] with in elements per sample"
        };
        call.error(format!("takes x {x}, w [out, in] and b [out], got shapes {}", call.shapes()))
    };
    let (leading, inputs) = match (call.info.code, call.shape(0)) {
        (op::LINEAR, [leading @ .., inputs]) => (leading, *inputs),
        (op::FLAT_LINEAR, [_, sample @ ..]) => (&call.shape(0)[..1], sample.iter().product()),
        _ => return Err(wrong()),
    };
    let &[outputs, columns] = call.shape(1) else { return Err(wrong()) };
    if inputs != columns || (call.inputs.len() == 3 && call.shape(2) != [outputs]) {
        return Err(wrong());
    }
    for_real!(dtype, T => linear_of::<T>(context, call, activation, leading, (outputs, inputs)))
}

/// `x [leading.., k] w [n, k]`, whatever the dimensions of the elements after `leading`.
fn linear_of<T: Real>(
    context: &mut Context,
    call: &Call,
    activation: Activation,
    leading: &[usize],
    (n, k): (usize, usize),
) -> Result<Produced> {
    let x = call.inputs[0].contiguous()?;
    let w = call.inputs[1].contiguous()?;
    let rows = leading.iter().product::<usize>();
    let bias = call.inputs.get(2).map(|value| value.contiguous()).transpose()?;
    let has_bias = bias.is_some();
    let elements = bias.as_ref().map(|bias| data::<T>(&bias.tensor)).transpose()?;
    let elements = elements.as_deref();
    let mut z = unwritten::<T>(rows * n);
    let mut out = activation.keeps_slope(call.records()).then(|| unwritten::<T>(rows * n));
    {
        let (x, w) = (data::<T>(&x.tensor)?, data::<T>(&w.tensor)?);
        let beside = out.as_mut().map(|out| Parts::new(out));
        product(
            &context.pool,
            (rows, n, k),
            &mut z,
            Matrix::rows(&x, k),
            Matrix::rows(&w, k).transposed(),
            |z, block| {
                // SAFETY: the block is this task's alone.
                unsafe { activation.finish_rows(z, beside.as_ref(), block, elements) };
            },
        );
    }
    let shape: SmallVec<[usize; 6]> = leading.iter().copied().chain([n]).collect();
    let (y, kept) = activation.outcome(z, out, Shape::from(&shape[..]), call.records());
    Ok(Produced::one(call, y, move |context, mut gradients| {
        let gradient = gradients.only()?;
        let gradient = deactivate::<T>(context, activation, &kept, gradient)?;
        let g = data::<T>(&gradient.tensor)?;
        let mut results = smallvec![None, None, None];
        if gradients.wants(2) {
            results[2] = Some(value(sum_columns(&context.pool, &g, rows, n), n));
        }
        if gradients.wants(1) {
            let mut out = unwritten::<T>(n * k);
            let x = data::<T>(&x.tensor)?;
            product(
                &context.pool,
                (n, k, rows),
                &mut out,
                Matrix::rows(&g, n).transposed(),
                Matrix::rows(&x, k),
                |_, _| {},
            );
            results[1] = Some(value(out, (n, k)));
        }
        if gradients.wants(0) {
            let mut out = unwritten::<T>(rows * k);
            let w = data::<T>(&w.tensor)?;
            product(
                &context.pool,
                (rows, k, n),
                &mut out,
                Matrix::rows(&g, n),
                Matrix::rows(&w, k),
                |_, _| {},
            );
            results[0] = Some(value(out, x.tensor.shape().clone()));
        }
        if !has_bias {
            results.truncate(2);
        }
        Ok(results)
    }))
}
