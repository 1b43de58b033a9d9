//! Random tensors. A number is a function of the words reserved for it ([`Words`]): every backend
//! gives the same ones.

use candle_core::{DType, Shape};

use super::{Elementwise, Function};
use crate::error::Result;
use crate::random::{Words, normal_f64, unit_f32, unit_f64};
use crate::value::{Value, host_tensor};

/// A distribution of random numbers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Distribution {
    /// Uniform in `[low, high)`.
    Uniform(f64, f64),
    /// Normal, of a mean and a standard deviation.
    Normal(f64, f64),
    /// 1 with this probability, else 0.
    Bernoulli(f64),
}

impl Distribution {
    /// How many numbers a block of four words makes.
    pub fn per_block(self, dtype: DType) -> usize {
        match (self, dtype) {
            (Distribution::Normal(..), _) => 1,
            (_, DType::F64) => 2,
            _ => 4,
        }
    }

    /// Number `at` of double precision, made from the words for tensors of `dtype`.
    fn number(self, words: Words, dtype: DType, at: usize) -> f64 {
        let per_block = self.per_block(dtype);
        let block = words.block((at / per_block) as u64);
        let unit = || match per_block {
            2 => unit_f64(block[at % 2 * 2], block[at % 2 * 2 + 1]),
            _ => f64::from(unit_f32(block[at % 4])),
        };
        match self {
            Distribution::Normal(mean, deviation) => mean + deviation * normal_f64(block),
            Distribution::Bernoulli(probability) => f64::from(u8::from(unit() < probability)),
            Distribution::Uniform(low, high) => low + (high - low) * unit(),
        }
    }
}

/// Random tensors; by default made on the host and uploaded.
pub trait RandomNumbers: Elementwise {
    /// A tensor of random numbers.
    ///
    /// # Errors
    /// If the device has no memory left or does not know the element type.
    fn random(
        &self,
        distribution: Distribution,
        words: Words,
        dtype: DType,
        shape: &Shape,
    ) -> Result<Value> {
        let count = shape.elem_count();
        let number = |at: usize| distribution.number(words, dtype, at);
        let tensor = match dtype {
            DType::F32 => {
                // Rounding to f32 may reach the upper bound, which is excluded.
                let rounded = |x: f64| match distribution {
                    Distribution::Uniform(low, high) => {
                        (x as f32).min((high as f32).next_down().max(low as f32))
                    }
                    _ => x as f32,
                };
                let numbers: Vec<f32> = (0..count).map(|at| rounded(number(at))).collect();
                host_tensor(numbers, shape.clone())?
            }
            _ => {
                let numbers: Vec<f64> = (0..count).map(number).collect();
                host_tensor(numbers, shape.clone())?.to_dtype(dtype)?
            }
        };
        self.upload(tensor)
    }

    /// `x` where the element's word is at least `limit`, multiplied by `scale`; 0 elsewhere.
    ///
    /// # Errors
    /// If the element type is not floating.
    fn drop_out(&self, x: &Value, words: Words, limit: u32, scale: f64) -> Result<Value> {
        let kept: Vec<u8> = (0..x.count()).map(|at| u8::from(words.word(at) >= limit)).collect();
        let kept = self.upload(host_tensor(kept, x.shape().clone())?)?;
        let scaled = self.map(Function::Scale(scale), x)?;
        let zero = self.fill(x.dtype(), &Shape::from(()), 0.0)?;
        self.select(&kept, &scaled, &zero, x.shape())
    }
}
