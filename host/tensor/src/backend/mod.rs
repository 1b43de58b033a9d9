//! What a device must do: one trait per theme, and [`Backend`] for all of them.
//!
//! A trait lists the kernels that each backend writes, and kernels with a default that is built from
//! those: a backend replaces a default where one fused kernel is faster. Operations check shapes and
//! element types before they call a kernel, and own the gradients; a kernel computes.
//!
//! Rules for all kernels, unless their text says otherwise:
//! - inputs are contiguous (row-major, without gaps), of one element type, and on this backend;
//! - results are new, contiguous tensors;
//! - floating kernels take f32 and f64; half precision is converted by the operations;
//! - a kernel that changes a tensor in place may assume that nothing else refers to its elements;
//! - the order of sums depends on sizes only, never on timing: the same inputs give the same bits.

mod attention;
mod convolution;
mod elementwise;
mod function;
mod indexing;
mod loss;
mod normalization;
mod optimizer;
mod pooling;
mod product;
mod random;
mod reduction;
mod softmax;
mod storage;

pub use attention::{Attention, Dropped, Heads, Reach, Rotation};
pub(crate) use attention::{composed_attend, composed_attend_gradient};
pub use convolution::{Convolution, Geometry};
pub use elementwise::Elementwise;
pub use function::{Activation, Function, Kept, Needs, Pair, PairLoss};
pub use indexing::Indexing;
pub(crate) use indexing::index_error;
pub use loss::Loss;
pub use normalization::{Centre, Channels, Normalization};
pub use optimizer::{Optimizer, Update};
pub use pooling::{Pooling, Windows};
pub(crate) use product::product_sizes;
pub use product::{Affine, Product};
pub use random::{Distribution, RandomNumbers};
pub use reduction::Reduction;
pub(crate) use softmax::label_error;
pub use softmax::{CrossEntropy, Softmax, Targets};
pub(crate) use storage::number_of;
pub use storage::{LARGE, Storage};

use candle_core::DType;

use crate::error::TensorError;

/// A device: all kernels that operations call.
pub trait Backend:
    Storage
    + RandomNumbers
    + Elementwise
    + Reduction
    + Indexing
    + Product
    + Convolution
    + Pooling
    + Softmax
    + Loss
    + Normalization
    + Attention
    + Optimizer
{
}

impl<B> Backend for B where
    B: Storage
        + RandomNumbers
        + Elementwise
        + Reduction
        + Indexing
        + Product
        + Convolution
        + Pooling
        + Softmax
        + Loss
        + Normalization
        + Attention
        + Optimizer
{
}

/// The error for an element type that a kernel does not take.
#[cold]
#[inline(never)]
pub fn unsupported(dtype: DType) -> Box<TensorError> {
    TensorError::request(format!("element type {dtype:?} is not supported"))
}
