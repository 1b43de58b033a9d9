//! CPU kernels: loops over slices, compiled for several instruction sets, split over the pool.
//!
//! They know numbers and sizes, not tensors, shapes' errors or gradients. Called by `operations` only. Sizes are checked by the
//! callers; a kernel that gets wrong ones panics at a slice bound rather than reading elsewhere.

pub(crate) mod elementwise;
pub(crate) mod simd;
