//! Optimizers: the rule of an update. State tensors and their saving are the host's, the arithmetic
//! is a fused operation of the tensor table; an optimizer says which, with which hyper-parameters.

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
    /// Which update of this parameter this is, from 1.
    pub step: u64,
}

/// Functions of an optimizer. All `[training]`.
#[repr(C)]
#[derive(StableAbi, Clone, Copy, Debug)]
pub struct OptimizerTable {
    /// Called before the updates of a step: read hyper-parameters here.
    pub begin: unsafe extern "C" fn(this: Instance) -> i32,
    /// Updates one parameter in place.
    pub update: unsafe extern "C" fn(this: Instance, request: *const UpdateRaw) -> i32,
}
