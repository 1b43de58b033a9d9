//! Activations fused into products and convolutions.

use candle_core::Shape;

use super::data::value;
use super::functions::{Relu, with_activation};
use super::kernels::elementwise::{self, Block, multiply_here, slope_here};
use super::kernels::number::Real;
use crate::backend::{Activation, Kept};
use crate::pool::{Parts, Pool};
use crate::value::Value;

/// Adds a bias to rows and applies the activation, on this thread. `out` receives the values if the
/// activation [keeps its slope](Activation::keeps_slope), which then stays in `z`.
///
/// # Safety
/// No other thread may use the block, in `z` or in `out`.
pub(super) unsafe fn finish_rows<T: Real>(
    activation: Activation,
    z: &Parts<T>,
    out: Option<&Parts<T>>,
    block: Block,
    bias: Option<&[T]>,
) {
    // SAFETY: promised by the caller.
    unsafe {
        match activation {
            Activation::None => elementwise::finish_rows(z, None, block, bias, None::<Relu>),
            _ => {
                with_activation!(activation, f => elementwise::finish_rows(z, out, block, bias, Some(f)))
            }
        }
    }
}

/// Adds a bias to planes of `area` elements of one image and applies the activation, in place, on
/// this thread.
pub(super) fn finish_planes_here<T: Real>(
    activation: Activation,
    z: &mut [T],
    bias: Option<&[T]>,
    area: usize,
) {
    match activation {
        Activation::None => elementwise::finish_planes_here(z, bias, area, None::<Relu>),
        _ => {
            with_activation!(activation, f => elementwise::finish_planes_here(z, bias, area, Some(f)))
        }
    }
}

/// Adds a bias to planes of `area` elements and applies the activation; returns the values, and
/// leaves the derivative in `z`.
pub(super) fn finish_planes<T: Real>(
    activation: Activation,
    pool: &Pool,
    z: &mut [T],
    bias: Option<&[T]>,
    area: usize,
) -> Vec<T> {
    with_activation!(activation, f => elementwise::finish_planes(pool, z, bias, area, f))
}

/// The output, and what the backward pass needs: `z` has the values, or the derivative if the values
/// are in `out`.
pub(super) fn outcome<T: Real>(
    activation: Activation,
    z: Vec<T>,
    out: Option<Vec<T>>,
    shape: Shape,
    records: bool,
) -> (Value, Kept) {
    match out {
        Some(out) => (value(out, shape.clone()), Kept::Slopes(value(z, shape))),
        None => {
            let y = value(z, shape);
            let kept = match records && activation != Activation::None {
                true => Kept::Values(y.clone()),
                false => Kept::Nothing,
            };
            (y, kept)
        }
    }
}

/// [`Kept`] as slices.
pub(super) enum KeptElements<'a, T> {
    Nothing,
    Values(&'a [T]),
    Slopes(&'a [T]),
}

impl<T: Real> KeptElements<'_, T> {
    /// The gradient before the activation from the one after it, of the elements from `start` on, in
    /// place, on this thread.
    pub fn deactivate_here(&self, activation: Activation, start: usize, gradient: &mut [T]) {
        let range = start..start + gradient.len();
        match self {
            KeptElements::Nothing => {}
            KeptElements::Values(saved) => {
                with_activation!(activation, f => slope_here(f, &saved[range], gradient))
            }
            KeptElements::Slopes(slopes) => multiply_here(gradient, &slopes[range]),
        }
    }
}
