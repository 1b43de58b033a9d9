//! Tensors.

use std::ptr;

use super::{ask, ask_text, check, tell, tensor};
use crate::{
    Error, Result, Tensor,
    abi::{
        handle::Handle,
        tensor::{ApplyRaw, InitRaw, TensorInfo, ViewRaw},
        text::Text,
    },
    tensor::Element,
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

/// [`apply`] on tensors.
pub(crate) fn apply_to(
    operation: u32,
    inputs: &[&Tensor],
    ints: &[i64],
    floats: &[f64],
    outputs: &mut [Handle],
) -> Result<usize> {
    let mut handles = [Handle::NONE; INPUTS];
    if inputs.len() > INPUTS {
        let many: Vec<Handle> = inputs.iter().map(|tensor| tensor.handle()).collect();
        return apply(operation, &many, ints, floats, outputs);
    }
    for (place, tensor) in handles.iter_mut().zip(inputs) {
        *place = tensor.handle();
    }
    apply(operation, &handles[..inputs.len()], ints, floats, outputs)
}

/// Handles that the host lends for a call, as tensors that are not released.
pub(crate) fn lent(handles: &[Handle]) -> &[Tensor] {
    // SAFETY: a `Tensor` is a `Handle` (`repr(transparent)`); behind the shared reference it is
    // never dropped.
    unsafe { std::slice::from_raw_parts(handles.as_ptr().cast(), handles.len()) }
}

/// As [`lent`] for one.
pub(crate) fn lent_one(handle: &Handle) -> &Tensor {
    &lent(std::slice::from_ref(handle))[0]
}

/// Inputs that need no list on the heap.
const INPUTS: usize = 8;

/// Elements of a view of `tensor`, whose type was compared with `T`.
pub(crate) fn view_elements<'a, T: Element>(tensor: &'a Tensor, view: &ViewRaw) -> &'a [T] {
    let _ = tensor;
    let count = view.len / size_of::<T>();
    if count == 0 || view.ptr.is_null() || !view.ptr.cast::<T>().is_aligned() {
        return &[];
    }
    // SAFETY: the host's elements are valid while the reference is held, which the borrow of
    // `tensor` proves, and while the tensor is not changed in place, which nothing does within the
    // caller's closure but a call of its own.
    unsafe { std::slice::from_raw_parts(view.ptr.cast(), count) }
}

/// Numbers as bytes.
pub(crate) fn bytes_of<T: Element>(elements: &[T]) -> &[u8] {
    // SAFETY: elements are plain numbers without padding (the trait is sealed); bytes have no
    // alignment.
    unsafe { std::slice::from_raw_parts(elements.as_ptr().cast(), size_of_val(elements)) }
}

/// Numbers as bytes that may be overwritten.
pub(crate) fn bytes_of_mut<T: Element>(elements: &mut [T]) -> &mut [u8] {
    // SAFETY: as above, and every pattern of bytes is a number.
    unsafe { std::slice::from_raw_parts_mut(elements.as_mut_ptr().cast(), size_of_val(elements)) }
}
