//! Tensors.

use std::ptr;

use super::{ask, ask_text, check, tell, tensor};
use crate::{
    Error, Result,
    abi::{
        handle::Handle,
        tensor::{ApplyRaw, InitRaw, TensorInfo, ViewRaw},
        text::Text,
    },
};

pub(crate) fn create(dtype: u32, shape: &[u64], bytes: &[u8]) -> Result<Handle> {
    ask!(tensor.create(dtype, shape.as_ptr(), shape.len(), Text::bytes(bytes)), Handle::NONE)
}

#[inline]
pub(crate) fn retain(handle: Handle) -> Result<()> {
    tell!(tensor.retain(handle))
}

#[inline]
pub(crate) fn release(handle: Handle) -> Result<()> {
    tell!(tensor.release(handle))
}

pub(crate) fn info(handle: Handle) -> Result<TensorInfo> {
    let empty = TensorInfo { dtype: 0, rank: 0, shape: [0; crate::abi::tensor::MAX_RANK] };
    ask!(tensor.info(handle), empty)
}

pub(crate) fn read(handle: Handle, dtype: u32, bytes: &mut [u8]) -> Result<()> {
    tell!(tensor.read(handle, dtype, bytes.as_mut_ptr(), bytes.len()))
}

pub(crate) fn view(handle: Handle) -> Result<ViewRaw> {
    ask!(tensor.view(handle), ViewRaw { ptr: ptr::null(), len: 0, dtype: 0, reserved: 0 })
}

#[inline]
pub(crate) fn apply(
    operation: u32,
    inputs: &[Handle],
    ints: &[i64],
    floats: &[f64],
    outputs: &mut [Handle],
) -> Result<usize> {
    let request = ApplyRaw {
        operation,
        reserved: 0,
        inputs: inputs.as_ptr(),
        input_count: inputs.len(),
        ints: ints.as_ptr(),
        int_count: ints.len(),
        floats: floats.as_ptr(),
        float_count: floats.len(),
    };
    ask!(tensor.apply(&request, outputs.as_mut_ptr(), outputs.len()), 0)
}

pub(crate) fn parameter(path: &str, shape: &[u64], init: &InitRaw) -> Result<Handle> {
    ask!(tensor.parameter(Text::new(path), shape.as_ptr(), shape.len(), init), Handle::NONE)
}

pub(crate) fn mode() -> Result<u32> {
    ask!(tensor.mode(), 0)
}

pub(crate) fn device() -> Result<String> {
    ask_text!(tensor.device())
}
