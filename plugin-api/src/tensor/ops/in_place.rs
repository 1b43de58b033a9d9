//! Operations that overwrite a tensor, for optimizers and averages of parameters.

use crate::{
    Result,
    abi::operation::op,
    tensor::{Tensor, apply_to},
};

/// In place, on parameters, buffers and other tensors that no gradient needs.
impl Tensor {
    /// Overwritten by `source`.
    ///
    /// # Errors
    /// If shapes, element types or dimensions do not fit; the error names the operation.
    pub fn assign(&self, source: &Tensor) -> Result<()> {
        in_place(op::ASSIGN, &[self, source], &[], &[])
    }

    /// Moved towards `source`: `self += weight (source - self)`.
    ///
    /// # Errors
    /// If shapes, element types or dimensions do not fit; the error names the operation.
    pub fn lerp_(&self, source: &Tensor, weight: f64) -> Result<()> {
        in_place(op::LERP_, &[self, source], &[], &[weight])
    }

    /// Multiplied by `factor`.
    ///
    /// # Errors
    /// If shapes, element types or dimensions do not fit; the error names the operation.
    pub fn scale_(&self, factor: f64) -> Result<()> {
        in_place(op::SCALE_, &[self], &[], &[factor])
    }

    /// `self += factor source`.
    ///
    /// # Errors
    /// If shapes, element types or dimensions do not fit; the error names the operation.
    pub fn add_scaled_(&self, source: &Tensor, factor: f64) -> Result<()> {
        in_place(op::ADD_SCALED_, &[self, source], &[], &[factor])
    }

    /// Applies an in-place operation of the contract by its number, such as an optimizer's update.
    ///
    /// # Errors
    /// If shapes, element types or dimensions do not fit; the error names the operation.
    pub fn apply_in_place(
        operation: u32,
        inputs: &[&Tensor],
        ints: &[i64],
        floats: &[f64],
    ) -> Result<()> {
        in_place(operation, inputs, ints, floats)
    }
}

fn in_place(operation: u32, inputs: &[&Tensor], ints: &[i64], floats: &[f64]) -> Result<()> {
    apply_to(operation, inputs, ints, floats, &mut []).map(drop)
}
