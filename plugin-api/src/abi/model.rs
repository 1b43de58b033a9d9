//! Models: parameters that the host keeps, and a forward pass over them.

use abi_stable::StableAbi;

use super::{
    dataset::FieldSpec,
    handle::{Handle, Instance},
};

/// The fields of the data, which a model is built for.
#[repr(C)]
#[derive(StableAbi, Clone, Copy, Debug)]
pub struct ModelSpec {
    /// Fields of a batch in the data set's order, shapes per sample. Field 0 is `xs`, field 1 is
    /// `ys`.
    pub fields: *const FieldSpec,
    /// Number of fields.
    pub field_count: usize,
}

/// Functions of a model. All `[training]`.
#[repr(C)]
#[derive(StableAbi, Clone, Copy, Debug)]
pub struct ModelTable {
    /// Makes the parameters with the tensor table's `parameter`; called once, before any forward
    /// pass.
    pub build: unsafe extern "C" fn(this: Instance, spec: *const ModelSpec) -> i32,
    /// Computes outputs from inputs: at most `capacity`, each one reference for the host.
    pub forward: unsafe extern "C" fn(
        this: Instance,
        inputs: *const Handle,
        input_count: usize,
        outputs: *mut Handle,
        capacity: usize,
        output_count: *mut usize,
    ) -> i32,
}
