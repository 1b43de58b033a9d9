//! Operations that change a parameter or a state tensor, for optimizers without a fused operation.

use fluxbay_plugin::{abi::operation::op, prelude::*};

/// `target = source`.
pub fn assign(target: &Tensor, source: &Tensor) -> Result<()> {
    Tensor::apply_in_place(op::ASSIGN, &[target, source], &[], &[])
}

/// `target += factor * source`.
pub fn add(target: &Tensor, source: &Tensor, factor: f64) -> Result<()> {
    Tensor::apply_in_place(op::ADD_SCALED_, &[target, source], &[], &[factor])
}

/// `target += weight * (source - target)`.
pub fn lerp(target: &Tensor, source: &Tensor, weight: f64) -> Result<()> {
    Tensor::apply_in_place(op::LERP_, &[target, source], &[], &[weight])
}

/// `target *= factor`.
pub fn scale(target: &Tensor, factor: f64) -> Result<()> {
    Tensor::apply_in_place(op::SCALE_, &[target], &[], &[factor])
}
