//! Multi-head self-attention on packed queries, keys and values (Vaswani et al. 2017).

use smallvec::smallvec;

use super::{Call, Produced, for_real};
use crate::context::Context;
use crate::error::Result;
use crate::kernels::attention::{self, Heads};
use crate::kernels::simd::Real;
use crate::value::{data, value};

pub(super) fn apply(context: &mut Context, call: &Call) -> Result<Produced> {
    call.expect(1..=1, 2..=2, 0..=0)?;
    let dtype = call.real([0])?;
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
    for_real!(dtype, T => attend::<T>(context, call, heads))
}

fn attend<T: Real>(context: &mut Context, call: &Call, heads: Heads) -> Result<Produced> {
    let qkv = call.inputs[0].contiguous()?;
    let (out, weights) = attention::forward(&context.pool, &heads, &data::<T>(&qkv.tensor)?);
    let out = value(out, (heads.batch, heads.time, heads.heads * heads.width));
    Ok(Produced::one(call, out, move |context, mut gradients| {
        let gradient = gradients.only()?.contiguous()?;
        let full = attention::gradient(
            &context.pool,
            &heads,
            &data::<T>(&qkv.tensor)?,
            &weights,
            &data::<T>(&gradient.tensor)?,
        );
        Ok(smallvec![Some(value(full, qkv.tensor.shape().clone()))])
    }))
}
