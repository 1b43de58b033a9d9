//! Numbers about tensors: the norm of many, histograms.

use candle_core::DType;
use fluxbay_plugin::abi::operation::op;

use super::{Call, Produced};
use crate::context::Context;
use crate::error::Result;

pub(super) fn apply(context: &mut Context, call: &Call) -> Result<Produced> {
    let backend = &context.backend;
    if call.info.code == op::GLOBAL_NORM {
        call.expect(1..=usize::MAX, 0..=0, 0..=0)?;
        call.real(0..call.inputs.len())?;
        let inputs =
            call.inputs.iter().map(|x| backend.contiguous(x)).collect::<Result<Vec<_>>>()?;
        return Ok(Produced::without_gradient(backend.global_norm(&inputs)?));
    }
    call.expect(1..=1, 1..=1, 2..=2)?;
    call.real([0])?;
    let bins = call.size(0, "bins", 0)?;
    let (low, high) = (call.floats[0], call.floats[1]);
    if bins == 0 || high <= low || !low.is_finite() || !high.is_finite() {
        return Err(call.error(format!("{bins} bins from {low} to {high} hold nothing")));
    }
    context.admit(DType::U32, &[bins])?;
    let x = backend.contiguous(call.inputs[0])?;
    Ok(Produced::constant(backend.histogram(&x, bins, low, high)?))
}
