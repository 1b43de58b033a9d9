//! Optimizers: the rule that updates a parameter from its gradient. The host keeps and saves the
//! state tensors; the arithmetic runs through the tensor table, in place.

use abi_stable::StableAbi;

use super::{
    handle::{Handle, Instance},
    text::Text,
};

/// One parameter to update.
#[repr(C)]
#[derive(StableAbi, Clone, Copy, Debug)]
pub struct UpdateRaw {
    /// Dotted path of the parameter within its model.
    pub path: Text,
    /// The parameter, to be changed in place. Borrowed.
    pub parameter: Handle,
    /// Its gradient. Borrowed.
    pub gradient: Handle,
    /// State tensors of this parameter, zeros at first, in the order of `optimizer_state`.
    /// Borrowed.
    pub states: *const Handle,
    /// Number of state tensors.
    pub state_count: usize,
    /// Number of this update of the parameter, counted from 1.
    pub step: u64,
}

/// Functions of an optimizer. All `[training]`.
#[repr(C)]
#[derive(StableAbi, Clone, Copy, Debug)]
pub struct OptimizerTable {
    /// Called once per step, before its updates: read hyper-parameters here.
    pub begin: unsafe extern "C" fn(this: Instance) -> i32,
    /// Updates one parameter in place.
    pub update: unsafe extern "C" fn(this: Instance, request: *const UpdateRaw) -> i32,
}
