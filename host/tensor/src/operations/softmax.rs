//! Softmax and its logarithm.

use fluxbay_plugin::abi::operation::op;
use smallvec::smallvec;

use super::rows::Rows;
use super::{Call, Produced};
use crate::context::Context;
use crate::error::Result;

pub(super) fn apply(context: &mut Context, call: &Call) -> Result<Produced> {
    call.expect(1..=1, 0..=1, 0..=0)?;
    call.real([0])?;
    let dim = call.dim(call.int(0, -1), call.shape(0).len())?;
    let log = call.info.code == op::LOG_SOFTMAX;
    let backend = &*context.backend;
    let rows = Rows::of(backend, call.inputs[0], &[dim])?;
    let y = rows.restore(backend, &backend.softmax(&rows.value, rows.length, log)?)?;
    let saved = y.clone();
    Ok(Produced::one(call, y, move |context, mut gradients| {
        let backend = &*context.backend;
        let y = Rows::of(backend, &saved, &[dim])?;
        let gradient = Rows::of(backend, &gradients.only()?, &[dim])?;
        let full = backend.softmax_gradient(&y.value, &gradient.value, y.length, log)?;
        Ok(smallvec![Some(y.restore(backend, &full)?)])
    }))
}
