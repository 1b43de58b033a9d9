//! Memory that crosses the border: elements of tensors and of buffers, as slices of numbers.

use crate::abi::{dataset::BufferRaw, tensor::ViewRaw};

/// A number without padding: every pattern of its bytes is a value. The crate's element types only.
pub trait Number: Copy + Default + sealed::Sealed + 'static {}

mod sealed {
    pub trait Sealed {}
}

macro_rules! numbers {
    ($($type:ty),+) => { $(
        impl sealed::Sealed for $type {}
        impl Number for $type {}
    )+ };
}

numbers!(u8, u32, i64, f32, f64);

/// Numbers as bytes.
pub(crate) fn bytes_of<T: Number>(elements: &[T]) -> &[u8] {
    // SAFETY: numbers have no padding; bytes have no alignment.
    unsafe { std::slice::from_raw_parts(elements.as_ptr().cast(), size_of_val(elements)) }
}

/// Numbers as bytes that may be overwritten.
pub(crate) fn bytes_of_mut<T: Number>(elements: &mut [T]) -> &mut [u8] {
    // SAFETY: as above, and every pattern of bytes is a number.
    unsafe { std::slice::from_raw_parts_mut(elements.as_mut_ptr().cast(), size_of_val(elements)) }
}

/// Bytes as numbers; none if they are misaligned or their count is no multiple.
pub(crate) fn elements<T: Number>(bytes: &[u8]) -> Option<&[T]> {
    let count = bytes.len() / size_of::<T>();
    if count == 0 && bytes.is_empty() {
        return Some(&[]);
    }
    if bytes.len() != count * size_of::<T>() || !bytes.as_ptr().cast::<T>().is_aligned() {
        return None;
    }
    // SAFETY: aligned, within the slice, and every pattern of bytes is a number.
    Some(unsafe { std::slice::from_raw_parts(bytes.as_ptr().cast(), count) })
}

/// Bytes as numbers that may be overwritten; none as for [`elements`].
pub(crate) fn elements_mut<T: Number>(bytes: &mut [u8]) -> Option<&mut [T]> {
    let count = bytes.len() / size_of::<T>();
    if count == 0 && bytes.is_empty() {
        return Some(&mut []);
    }
    if bytes.len() != count * size_of::<T>() || !bytes.as_ptr().cast::<T>().is_aligned() {
        return None;
    }
    // SAFETY: as above; the slice is borrowed exclusively.
    Some(unsafe { std::slice::from_raw_parts_mut(bytes.as_mut_ptr().cast(), count) })
}

/// The elements of a view of the tensor `owner`, whose type was compared with `T`.
pub(crate) fn view_elements<'a, O, T: Number>(owner: &'a O, view: &ViewRaw) -> &'a [T] {
    let _ = owner;
    let count = view.len / size_of::<T>();
    if count == 0 || view.ptr.is_null() || !view.ptr.cast::<T>().is_aligned() {
        return &[];
    }
    // SAFETY: the host's elements are valid while the reference is held, which the borrow of
    // `owner` proves, and while the tensor is not changed in place, which nothing does within the
    // caller's closure but a call of its own.
    unsafe { std::slice::from_raw_parts(view.ptr.cast(), count) }
}

/// The elements of a buffer that the host lends, after its length and alignment were checked.
pub(crate) fn buffer_elements<'a, O, T: Number>(
    owner: &'a mut O,
    raw: &BufferRaw,
    count: usize,
) -> &'a mut [T] {
    let _ = owner;
    if count == 0 {
        return &mut [];
    }
    // SAFETY: the host lends each buffer exclusively for the call, initialized, `raw.len` bytes,
    // which the caller compared with `count`. The borrow of `owner` excludes a second slice of it.
    unsafe { std::slice::from_raw_parts_mut(raw.ptr.cast(), count) }
}
