//! Pooling and enlargement.

use candle_core::Shape;

use super::Cpu;
use super::data::{data, for_real, value};
use super::kernels::pooling;
use crate::backend::{Pooling, Windows};
use crate::error::Result;
use crate::value::Value;

impl Pooling for Cpu {
    fn max_pool(&self, windows: &Windows, x: &Value, out: &Shape) -> Result<(Value, Value)> {
        for_real!(x.dtype(), T => {
            let (largest, places) = pooling::max(&self.pool, windows, &data::<T>(x)?);
            Ok((value(largest, out.clone()), value(places, out.clone())))
        })
    }

    fn max_pool_gradient(
        &self,
        windows: &Windows,
        gradient: &Value,
        places: &Value,
        out: &Shape,
    ) -> Result<Value> {
        for_real!(gradient.dtype(), T => {
            let (gradient, places) = (data::<T>(gradient)?, data::<u32>(places)?);
            let full = pooling::max_gradient(&self.pool, windows, &gradient, &places);
            Ok(value(full, out.clone()))
        })
    }

    fn average_pool(&self, windows: &Windows, x: &Value, out: &Shape) -> Result<Value> {
        for_real!(x.dtype(), T => {
            Ok(value(pooling::average(&self.pool, windows, &data::<T>(x)?), out.clone()))
        })
    }

    fn average_pool_gradient(
        &self,
        windows: &Windows,
        gradient: &Value,
        out: &Shape,
    ) -> Result<Value> {
        for_real!(gradient.dtype(), T => {
            let full = pooling::average_gradient(&self.pool, windows, &data::<T>(gradient)?);
            Ok(value(full, out.clone()))
        })
    }

    fn enlarge(&self, windows: &Windows, x: &Value, out: &Shape) -> Result<Value> {
        for_real!(x.dtype(), T => {
            Ok(value(pooling::nearest(&self.pool, windows, &data::<T>(x)?), out.clone()))
        })
    }

    fn enlarge_gradient(&self, windows: &Windows, gradient: &Value, out: &Shape) -> Result<Value> {
        for_real!(gradient.dtype(), T => {
            let full = pooling::nearest_gradient(&self.pool, windows, &data::<T>(gradient)?);
            Ok(value(full, out.clone()))
        })
    }
}
