//! Loops over slices, compiled for several instruction sets and split over the thread pool.
//!
//! They know numbers and sizes, not tensors. Callers check the sizes; a kernel that gets wrong ones
//! panics at a slice bound rather than reading elsewhere.

pub(crate) mod attend;
pub(crate) mod attention;
#[cfg_attr(not(target_arch = "x86_64"), allow(dead_code))]
mod bfloat;
pub(crate) mod channels;
pub(crate) mod convolution;
pub(crate) mod elementwise;
pub(crate) mod gemm;
pub(crate) mod isa;
pub(crate) mod normalize;
pub(crate) mod number;
pub(crate) mod optimize;
mod packed;
pub(crate) mod pooling;
pub(crate) mod reduce;
pub(crate) mod softmax;
mod unfold;
mod unpacked;
mod vector;
mod winograd;
