//! Handles that the host lends for a call, as tensors that are not released.

use crate::{Tensor, abi::handle::Handle};

/// Lent handles as tensors.
pub(super) fn lent(handles: &[Handle]) -> &[Tensor] {
    // SAFETY: a `Tensor` is a `Handle` (`repr(transparent)`); behind the shared reference it is
    // never dropped.
    unsafe { std::slice::from_raw_parts(handles.as_ptr().cast(), handles.len()) }
}

/// One lent handle as a tensor.
pub(super) fn lent_one(handle: &Handle) -> &Tensor {
    &lent(std::slice::from_ref(handle))[0]
}
