//! Optimizer updates and other changes in place. Formulas are PyTorch's (torch.optim), so that
//! results agree with it.

use fluxbay_plugin::abi::operation::op;
use smallvec::SmallVec;

use super::{Call, Produced};
use crate::backend::Update;
use crate::context::Context;
use crate::error::Result;
use crate::value::Value;

pub(super) fn apply(context: &mut Context, call: &Call) -> Result<Produced> {
    match call.info.code {
        op::SGD_UPDATE => call.expect(2..=3, 1..=1, 1..=5)?,
        op::ADAM_UPDATE | op::ADAMW_UPDATE => call.expect(4..=4, 1..=1, 1..=5)?,
        op::RMSPROP_UPDATE => call.expect(3..=5, 0..=1, 1..=5)?,
        op::LION_UPDATE => call.expect(3..=3, 0..=0, 1..=4)?,
        op::ASSIGN => call.expect(2..=2, 0..=0, 0..=0)?,
        op::SCALE_ => call.expect(1..=1, 0..=0, 1..=1)?,
        _ => call.expect(2..=2, 0..=0, 1..=1)?,
    }
    if let Some(other) = call
        .inputs
        .iter()
        .find(|value| value.dims() != call.shape(0) || value.dtype() != call.inputs[0].dtype())
    {
        return Err(call.error(format!(
            "all inputs must have the target's shape {:?} and element type {:?}, got {:?} of {:?}",
            call.shape(0),
            call.inputs[0].dtype(),
            other.dims(),
            other.dtype()
        )));
    }
    if call.info.code == op::ASSIGN {
        context.backend.write(call.inputs[0], call.inputs[1])?;
        return Ok(Produced::nothing());
    }
    call.real(0..call.inputs.len())?;
    let update = update(call)?;
    // The second input is the source; the others change.
    let targets: SmallVec<[&Value; 4]> = call
        .inputs
        .iter()
        .enumerate()
        .filter(|(index, _)| *index != 1)
        .map(|(_, value)| *value)
        .collect();
    let targets = match update {
        Update::Sgd { momentum: 0.0, .. } => &targets[..1],
        _ => &targets[..],
    };
    context.backend.update(&update, targets, call.inputs.get(1).copied())?;
    Ok(Produced::nothing())
}

fn update(call: &Call) -> Result<Update> {
    let float = |index, default| call.float(index, default);
    let rate = call.floats[0];
    Ok(match call.info.code {
        op::SGD_UPDATE => {
            let momentum = float(1, 0.0);
            if momentum != 0.0 && call.inputs.len() < 3 {
                return Err(call.error("momentum needs a momentum buffer as third input"));
            }
            Update::Sgd {
                rate,
                momentum,
                dampening: float(2, 0.0),
                decay: float(3, 0.0),
                nesterov: float(4, 0.0) != 0.0,
                first: call.ints[0] <= 1,
            }
        }
        op::ADAM_UPDATE | op::ADAMW_UPDATE => adam(call, call.info.code == op::ADAMW_UPDATE)?,
        op::RMSPROP_UPDATE => {
            let momentum = float(4, 0.0);
            let centred = call.int(0, 0) != 0;
            match (centred, call.inputs.len()) {
                (false, 3) if momentum == 0.0 => {}
                (false, 4) | (true, 5) => {}
                (_, count) => {
                    return Err(call.error(format!(
                        "takes a momentum buffer with momentum, and a momentum buffer and a gradient average when centred; got {count} inputs"
                    )));
                }
            }
            Update::RmsProp {
                rate,
                alpha: float(1, 0.99),
                epsilon: float(2, 1e-8),
                decay: float(3, 0.0),
                momentum,
            }
        }
        op::LION_UPDATE => {
            Update::Lion { rate, betas: [float(1, 0.9), float(2, 0.99)], decay: float(3, 0.0) }
        }
        op::SCALE_ => Update::Scale(rate),
        op::LERP_ => Update::Lerp(rate),
        _ => Update::AddScaled(rate),
    })
}

fn adam(call: &Call, decoupled: bool) -> Result<Update> {
    let (rate, beta1, beta2) = (call.floats[0], call.float(1, 0.9), call.float(2, 0.999));
    let (epsilon, decay) = (call.float(3, 1e-8), call.float(4, if decoupled { 0.01 } else { 0.0 }));
    let count = call.ints[0];
    if count < 1 {
        return Err(call.error(format!("steps are counted from 1, got {count}")));
    }
    let count = i32::try_from(count).unwrap_or(i32::MAX);
    Ok(Update::Adam {
        size: rate / (1.0 - beta1.powi(count)),
        correction: (1.0 - beta2.powi(count)).sqrt(),
        betas: [beta1, beta2],
        epsilon,
        shrink: if decoupled { 1.0 - rate * decay } else { 1.0 },
        decay: if decoupled { 0.0 } else { decay },
    })
}
