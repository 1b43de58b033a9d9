//! Dropout.

use super::Module;
use crate::{Result, Tensor, abi::operation::op};

/// Zeros each value with a probability while training, and scales the others up (Srivastava et al.
/// 2014).
#[derive(Clone, Copy, Debug)]
pub struct Dropout {
    probability: f64,
}

/// Dropout. In validation it changes nothing.
pub fn dropout(probability: f64) -> Dropout {
    Dropout { probability }
}

impl Module for Dropout {
    fn forward(&self, xs: &Tensor) -> Result<Tensor> {
        if self.probability == 0.0 {
            return Ok(xs.clone());
        }
        Tensor::apply(op::DROPOUT, &[xs], &[], &[self.probability])
    }
}
