//! Random tensors: the default, and dropout as one loop.

use super::Cpu;
use super::data::{data, for_real, unwritten, value};
use super::kernels::elementwise::GRAIN;
use super::kernels::number::Real;
use crate::backend::RandomNumbers;
use crate::error::Result;
use crate::pool::{Parts, Pool};
use crate::random::Words;
use crate::value::Value;

impl RandomNumbers for Cpu {
    fn drop_out(&self, x: &Value, words: Words, limit: u32, scale: f64) -> Result<Value> {
        for_real!(x.dtype(), T => {
            let out = dropped(&self.pool, &data::<T>(x)?, words, limit, T::of(scale));
            Ok(value(out, x.shape().clone()))
        })
    }
}

fn dropped<T: Real>(pool: &Pool, x: &[T], words: Words, limit: u32, scale: T) -> Vec<T> {
    let mut out = unwritten(x.len());
    let parts = Parts::new(&mut out);
    pool.ranges(x.len().div_ceil(4), GRAIN / 16, |range| {
        let span = range.start * 4..(range.end * 4).min(x.len());
        // SAFETY: the ranges of one call do not overlap.
        let out = unsafe { parts.part(span.clone()) };
        for (block, (out, x)) in out.chunks_mut(4).zip(x[span].chunks(4)).enumerate() {
            let random = words.block((range.start + block) as u64);
            for ((out, &x), &word) in out.iter_mut().zip(x).zip(&random) {
                *out = if word < limit { T::ZERO } else { x * scale };
            }
        }
    });
    out
}
