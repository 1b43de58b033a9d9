//! Multi-head self-attention on packed queries, keys and values (Vaswani et al. 2017).

use smallvec::smallvec;

use super::{Call, Produced};
use crate::backend::Heads;
use crate::context::Context;
use crate::error::Result;

pub(super) fn apply(context: &mut Context, call: &Call) -> Result<Produced> {
    call.expect(1..=1, 2..=2, 0..=0)?;
    call.real([0])?;
    let &[batch, time, packed] = call.shape(0) else {
        return Err(call.error(format!("takes [b, t, 3 c], got shape {:?}", call.shape(0))));
    };
    let heads = call.size(0, "heads", 1)?;
    if heads == 0 || packed == 0 || !packed.is_multiple_of(3 * heads) || batch * time == 0 {
        return Err(call.error(format!(
            "shape {:?} is not [b, t, 3 c] with c a multiple of {heads} heads",
            call.shape(0)
        )));
    }
    let causal = match call.ints[1] {
        0 => false,
        1 => true,
        other => return Err(call.error(format!("causal must be 0 or 1, it is {other}"))),
    };
    let heads = Heads { batch, time, heads, width: packed / 3 / heads, causal };
    context.admit(call.inputs[0].dtype(), &[batch, heads.heads, time, time])?;
    let qkv = context.backend.contiguous(call.inputs[0])?;
    let (out, weights) = context.backend.attention(&heads, &qkv)?;
    Ok(Produced::one(call, out, move |context, mut gradients| {
        let gradient = context.backend.contiguous(&gradients.only()?)?;
        let full = context.backend.attention_gradient(&heads, &qkv, &weights, &gradient)?;
        Ok(smallvec![Some(full)])
    }))
}
