//! Loss functions.

use abi_stable::StableAbi;

use super::handle::{Handle, Instance};

/// Functions of a loss. All `[training]`.
#[repr(C)]
#[derive(StableAbi, Clone, Copy, Debug)]
pub struct LossTable {
    /// Computes the loss of predictions and targets `[samples, ...]`: a tensor with one element, the
    /// mean over the samples; one reference for the host.
    pub forward:
        unsafe extern "C" fn(this: Instance, yhats: Handle, ys: Handle, value: *mut Handle) -> i32,
}
