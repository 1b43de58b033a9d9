//! Numbers about tensors: the norm of many, histograms.

use candle_core::DType;
use fluxbay_plugin::abi::operation::op;

use super::{Call, Produced, for_real};
use crate::context::Context;
use crate::error::Result;
use crate::kernels::elementwise::sum_squares;
use crate::kernels::simd::Real;
use crate::value::{data, value};

pub(super) fn apply(context: &mut Context, call: &Call) -> Result<Produced> {
    if call.info.code == op::GLOBAL_NORM {
        call.expect(1..=usize::MAX, 0..=0, 0..=0)?;
        return for_real!(call.real(0..call.inputs.len())?, T => global_norm::<T>(context, call));
    }
    call.expect(1..=1, 1..=1, 2..=2)?;
    for_real!(call.real([0])?, T => histogram::<T>(call))
}

fn global_norm<T: Real>(context: &Context, call: &Call) -> Result<Produced> {
    let mut total = 0.0;
    for input in call.inputs {
        total += sum_squares(&context.pool, &data::<T>(&input.contiguous()?.tensor)?);
    }
    let norm = T::of(total.sqrt());
    debug_assert!(matches!(T::DTYPE, DType::F32 | DType::F64));
    Ok(Produced::without_gradient(value(vec![norm], ())))
}

fn histogram<T: Real>(call: &Call) -> Result<Produced> {
    let bins = call.size(0, "bins", 0)?;
    let (low, high) = (call.floats[0], call.floats[1]);
    if bins == 0 || high <= low || !low.is_finite() || !high.is_finite() {
        return Err(call.error(format!("{bins} bins from {low} to {high} hold nothing")));
    }
    let mut counts = vec![0_u32; bins];
    let x = call.inputs[0].contiguous()?;
    let factor = bins as f64 / (high - low);
    for x in data::<T>(&x.tensor)?.iter().map(|x| x.wide()).filter(|x| (low..=high).contains(x)) {
        counts[(((x - low) * factor) as usize).min(bins - 1)] += 1;
    }
    Ok(Produced::constant(value(counts, bins)))
}
