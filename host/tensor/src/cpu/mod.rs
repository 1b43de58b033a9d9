//! The processor as a device: host tensors, kernels over slices, the thread pool.
//!
//! One file per theme implements the trait of the same name in [`backend`](crate::backend) for
//! [`Cpu`]; `kernels` has the loops.

mod activation;
mod attention;
mod convolution;
pub(crate) mod data;
mod elementwise;
mod functions;
mod indexing;
mod kernels;
mod loss;
pub(crate) mod memory;
mod normalization;
mod optimizer;
mod pooling;
mod product;
mod random;
mod reduction;
mod softmax;
mod storage;

use std::rc::Rc;

use crate::pool::Pool;

/// The processor.
pub(crate) struct Cpu {
    pool: Rc<Pool>,
}

impl Cpu {
    /// Computes on the threads of `pool`.
    pub fn new(pool: Rc<Pool>) -> Self {
        Self { pool }
    }
}
