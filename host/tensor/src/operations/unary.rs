//! Functions of one number, element by element.

use fluxbay_plugin::abi::operation::{activation, op};
use smallvec::smallvec;

use super::saved::Saved;
use super::{Call, Produced};
use crate::backend::{Activation, Function, Needs};
use crate::context::Context;
use crate::error::Result;

pub(super) fn apply(context: &mut Context, call: &Call) -> Result<Produced> {
    let floats = match call.info.code {
        op::AFFINE | op::CLAMP => 2..=2,
        op::POWF => 1..=1,
        op::ELU | op::LEAKY_RELU => 0..=1,
        _ => 0..=0,
    };
    call.expect(1..=1, 0..=0, floats)?;
    call.real([0])?;
    let function = function(call)?;
    let backend = &context.backend;
    let x = backend.contiguous(call.inputs[0])?;
    let y = backend.map(function, &x)?;
    // A large result is computed again if its argument is.
    let y = match x.recipe() {
        Some(recipe) if call.records() && context.is_large(&y) => {
            let recipe = recipe.clone();
            y.with_recipe(move |context| context.backend.map(function, &recipe.value(context)?))
        }
        _ => y,
    };
    let saved = match function.needs() {
        Needs::Input => Saved::of(&x),
        Needs::Output => Saved::of(&y),
        Needs::Nothing => {
            return Ok(Produced::one(call, y, move |context, mut gradients| {
                let gradient = gradients.only()?;
                let saved = gradient.clone();
                Ok(smallvec![Some(context.backend.slope(function, &saved, gradient)?)])
            }));
        }
    };
    Ok(Produced::one(call, y, move |context, mut gradients| {
        let saved = saved.value(context)?;
        Ok(smallvec![Some(context.backend.slope(function, &saved, gradients.only()?)?)])
    }))
}

fn function(call: &Call) -> Result<Function> {
    Ok(match call.info.code {
        op::AFFINE => Function::Affine(call.floats[0], call.floats[1]),
        op::NEG => Function::Neg,
        op::ABS => Function::Abs,
        op::EXP => Function::Exp,
        op::LOG => Function::Log,
        op::SQRT => Function::Sqrt,
        op::SQR => Function::Sqr,
        op::RECIP => Function::Recip,
        op::SIN => Function::Sin,
        op::COS => Function::Cos,
        op::TANH => Function::Tanh,
        op::RELU => Function::Relu,
        op::GELU => Function::Gelu,
        op::GELU_ERF => Function::GeluErf,
        op::SILU => Function::Silu,
        op::SIGMOID => Function::Sigmoid,
        op::ELU => Function::Elu(call.float(0, 1.0)),
        op::LEAKY_RELU => Function::LeakyRelu(call.float(0, 0.01)),
        op::SOFTPLUS => Function::Softplus,
        op::POWF => Function::Powf(call.float(0, 1.0)),
        op::CLAMP => {
            let (low, high) = (call.floats[0], call.floats[1]);
            if low > high || low.is_nan() || high.is_nan() {
                return Err(call.error(format!("the bounds {low} and {high} are not in order")));
            }
            Function::Clamp(low, high)
        }
        op::SIGN => Function::Sign,
        op::FLOOR => Function::Floor,
        op::CEIL => Function::Ceil,
        op::ROUND => Function::Round,
        op::ERF => Function::Erf,
        _ => return Err(call.error("is not a function of one number")),
    })
}

/// The activation of an attribute's code.
pub(super) fn activation(call: &Call, code: i64) -> Result<Activation> {
    Ok(match code {
        activation::NONE => Activation::None,
        activation::RELU => Activation::Relu,
        activation::GELU => Activation::Gelu,
        activation::GELU_ERF => Activation::GeluErf,
        activation::SILU => Activation::Silu,
        activation::SIGMOID => Activation::Sigmoid,
        activation::TANH => Activation::Tanh,
        _ => return Err(call.error(format!("there is no activation with code {code}"))),
    })
}
