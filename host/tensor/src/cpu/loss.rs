//! Losses.

use super::Cpu;
use super::data::{data, for_real, value};
use crate::backend::Loss;
use crate::error::Result;
use crate::value::Value;

impl Loss for Cpu {
    fn nll(&self, x: &Value, labels: &Value, classes: usize) -> Result<Value> {
        for_real!(x.dtype(), T => {
            let (elements, picks) = (data::<T>(x)?, data::<u32>(labels)?);
            let loss = |(row, &label): (usize, &u32)| -elements[row * classes + label as usize];
            let losses: Vec<T> = picks.iter().enumerate().map(loss).collect();
            Ok(value(losses, labels.shape().clone()))
        })
    }

    fn nll_gradient(
        &self,
        gradient: &Value,
        labels: &Value,
        classes: usize,
        factor: f64,
    ) -> Result<Value> {
        for_real!(gradient.dtype(), T => {
            let (gradient, picks) = (data::<T>(gradient)?, data::<u32>(labels)?);
            let mut full: Vec<T> = vec![0.0; picks.len() * classes];
            for (row, &label) in picks.iter().enumerate() {
                full[row * classes + label as usize] =
                    -gradient[if gradient.len() == 1 { 0 } else { row }] * factor as T;
            }
            Ok(value(full, (picks.len(), classes)))
        })
    }
}
