//! CPU kernels: loops over slices, compiled for several instruction sets, split over the pool.
//!
//! They know numbers and sizes, not tensors, shapes' errors or gradients. Called by `operations`
//! only. Sizes are checked by the callers; a kernel that gets wrong ones panics at a slice bound
//! rather than reading elsewhere.

pub(crate) mod attention;
pub(crate) mod convolution;
pub(crate) mod elementwise;
pub(crate) mod gemm;
pub(crate) mod normalize;
pub(crate) mod optimize;
pub(crate) mod pooling;
pub(crate) mod reduce;
pub(crate) mod simd;
pub(crate) mod softmax;
mod unpacked;
pub(crate) mod vector;
