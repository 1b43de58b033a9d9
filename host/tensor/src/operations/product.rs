//! Matrix products: batched `matmul` and the affine map `linear`.

use candle_core::Shape;
use fluxbay_plugin::abi::operation::op;
use smallvec::{SmallVec, smallvec};

use super::binary::broadcast_shape;
use super::saved::Saved;
use super::unary::activation;
use super::{Call, Produced};
use crate::backend::{Activation, Affine, Kept};
use crate::context::Context;
use crate::error::Result;
use crate::value::Value;

pub(super) fn matmul(context: &mut Context, call: &Call) -> Result<Produced> {
    call.expect(2..=2, 0..=0, 0..=0)?;
    call.real([0, 1])?;
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
    context.admit(a.dtype(), &[&batch[..], &[m, n]].concat())?;
    let rounded = context.rounds(a.dtype());
    let out = {
        let (a, b) = (context.operand(&a, rounded)?, context.operand(&b, rounded)?);
        context.product(&a, &b, &batch, rounded)?
    };
    let (a, b) = (
        Saved::if_needed(context, &a, call.wants[1])?,
        Saved::if_needed(context, &b, call.wants[0])?,
    );
    Ok(Produced::one(call, out, move |context, mut gradients| {
        let wants = [gradients.wants(0), gradients.wants(1)];
        let gradient = gradients.only()?;
        let gradient = context.backend.operand(gradient, rounded)?;
        let (a, b) = (a.value(context)?, b.value(context)?);
        let backend = &context.backend;
        let mut results = smallvec![None, None];
        if wants[0] {
            let b = transposed(&context.operand(&b, rounded)?)?;
            let full = context.product(&gradient, &b, &batch, rounded)?;
            results[0] = Some(backend.sum_to_shape(full, a.shape())?);
        }
        if wants[1] {
            let a = context.operand(&a, rounded)?;
            let full = match b.dims().len() == 2 && a.dims().len() > 2 {
                // One product over all rows instead of a sum over the batch.
                true => {
                    let rows = batch.iter().product::<usize>() * m;
                    let a = a.broadcast_as(Shape::from([&batch[..], &[m, k]].concat()))?;
                    let a = backend.reshaped(&a, &Shape::from((rows, k)))?;
                    let gradient = backend.reshaped(&gradient, &Shape::from((rows, n)))?;
                    context.product(&transposed(&a)?, &gradient, &[], rounded)?
                }
                false => context.product(&transposed(&a)?, &gradient, &batch, rounded)?,
            };
            results[1] = Some(backend.sum_to_shape(full, b.shape())?);
        }
        Ok(results)
    }))
}

fn transposed(x: &Value) -> Result<Value> {
    let rank = x.dims().len();
    x.transpose(rank - 2, rank - 1)
}

pub(super) fn linear(context: &mut Context, call: &Call) -> Result<Produced> {
    call.expect(2..=3, 0..=1, 0..=0)?;
    call.real(0..call.inputs.len())?;
    let activation = activation(call, call.int(0, 0))?;
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
    affine(context, call, activation, leading, (outputs, inputs))
}

/// What the gradients need of `x` and `w`: each only for the gradient of the other. `w` is there anyway.
fn operands(context: &Context, call: &Call, x: &Value, w: &Value) -> Result<(Saved, Saved)> {
    Ok((Saved::if_needed(context, x, call.wants[1])?, Saved::of(w)))
}

/// `x [leading.., in] w [out, in]`, whatever the dimensions of the elements after `leading`.
fn affine(
    context: &mut Context,
    call: &Call,
    activation: Activation,
    leading: &[usize],
    (outputs, inputs): (usize, usize),
) -> Result<Produced> {
    let backend = &context.backend;
    let x = backend.contiguous(call.inputs[0])?;
    let w = backend.contiguous(call.inputs[1])?;
    let bias = call.inputs.get(2).map(|bias| backend.contiguous(bias)).transpose()?;
    let has_bias = bias.is_some();
    let rounded = context.rounds(x.dtype());
    let affine = Affine { rows: leading.iter().product(), inputs, outputs, activation, rounded };
    let shape: SmallVec<[usize; 6]> = leading.iter().copied().chain([outputs]).collect();
    context.admit(x.dtype(), &shape)?;
    let out = Shape::from(&shape[..]);
    // The derivative of a large result is computed again, and the result itself for whoever needs it:
    // then only the argument of the activation is kept.
    let function = activation.function().filter(|_| activation.keeps_slope(call.records()));
    let bytes = (out.elem_count() * x.dtype().size_in_bytes()) as u64;
    let again = function.filter(|_| bytes >= context.again_from);
    if let Some(function) = again {
        let affine = Affine { activation: Activation::None, ..affine };
        let (z, _) = backend.affine(&affine, &x, &w, bias.as_ref(), false, out)?;
        let y = backend.map(function, &z)?;
        let argument = z.clone();
        let y = y.with_recipe(move |context| context.backend.map(function, &argument));
        let (x, w) = operands(context, call, &x, &w)?;
        return Ok(Produced::one(call, y, move |context, mut gradients| {
            let wants = [0, 1, 2].map(|input| gradients.wants(input));
            let backend = &context.backend;
            let gradient = backend.slope(function, &z, gradients.only()?)?;
            let (x, w) = (x.value(context)?, w.value(context)?);
            let kept = Kept::Nothing;
            let [to_x, to_w, to_bias] =
                backend.affine_gradient(&affine, &x, &w, &kept, gradient, wants)?;
            let mut results = smallvec![to_x, to_w];
            if has_bias {
                results.push(to_bias);
            }
            Ok(results)
        }));
    }
    let (y, kept) = backend.affine(&affine, &x, &w, bias.as_ref(), call.records(), out)?;
    let (x, w) = operands(context, call, &x, &w)?;
    Ok(Produced::one(call, y, move |context, mut gradients| {
        let mut gradient = gradients.only()?;
        let mut wants = [0, 1, 2].map(|input| gradients.wants(input));
        let (mut x_value, w) = (x.value(context)?, w.value(context)?);
        let mut first = None;
        if x.is_recipe() && affine.activation == Activation::None && wants[0] {
            // `x` was computed for the gradient of `w`: that one first, so that `x` and its own
            // gradient are not there at the same time.
            let both = [false, wants[1], wants[2]];
            let backend = &context.backend;
            gradient = backend.contiguous(&gradient)?;
            let again = gradient.clone();
            first = Some(backend.affine_gradient(&affine, &x_value, &w, &kept, again, both)?);
            x_value = Saved::shape_of(context, &x_value)?;
            wants = [true, false, false];
        }
        let [to_x, mut to_w, mut to_bias] =
            context.backend.affine_gradient(&affine, &x_value, &w, &kept, gradient, wants)?;
        if let Some([_, weights, bias]) = first {
            (to_w, to_bias) = (weights, bias);
        }
        let mut results = smallvec![to_x, to_w];
        if has_bias {
            results.push(to_bias);
        }
        Ok(results)
    }))
}
