//! A record of the operations that are applied: what an export of a model is made from.

use candle_core::Tensor;
use fluxbay_plugin::abi::handle::Handle;
use fluxbay_plugin::abi::operation::OperationInfo;

/// A result of a traced operation.
#[derive(Clone, Debug)]
pub struct TracedResult {
    /// Its handle; no other tensor of the trace has the same.
    pub handle: Handle,
    /// Its value, which shares the elements of the tensor.
    pub value: Tensor,
}

/// An operation that was applied while a trace was taken.
#[derive(Clone, Debug)]
pub struct Traced {
    /// The operation.
    pub operation: &'static OperationInfo,
    /// Its inputs.
    pub inputs: Vec<Handle>,
    /// Its attributes that are whole numbers, as they were given.
    pub ints: Vec<i64>,
    /// Its other attributes, as they were given.
    pub floats: Vec<f64>,
    /// Its results; none for an operation in place.
    pub results: Vec<TracedResult>,
    /// The inputs that no operation of the trace computed, with their values, at their first use:
    /// inputs of the model, parameters and constants. The values share the elements of the tensors.
    pub given: Vec<(Handle, Tensor)>,
}
