//! Tests of the engine as a whole: gradients, values, handles, determinism, optimizers.

mod gradients;
mod handles;
mod optimizers;
mod precision;
mod values;

use super::{Engine, EngineOptions};
use candle_core::DType;
use fluxbay_plugin::abi::handle::Handle;

/// An engine with parameters of double precision, on two threads.
fn double(seed: u64) -> Engine {
    Engine::new(EngineOptions {
        seed,
        threads: 2,
        parameter_dtype: DType::F64,
        ..EngineOptions::default()
    })
    .unwrap()
}

/// An engine as runs have it, on two threads.
fn single(seed: u64) -> Engine {
    Engine::new(EngineOptions { seed, threads: 2, ..EngineOptions::default() }).unwrap()
}

fn f64s(engine: &mut Engine, shape: &[usize], values: &[f64]) -> Handle {
    engine
        .insert(candle_core::Tensor::from_slice(values, shape, &candle_core::Device::Cpu).unwrap())
}

fn f32s(engine: &mut Engine, shape: &[usize], values: &[f32]) -> Handle {
    engine
        .insert(candle_core::Tensor::from_slice(values, shape, &candle_core::Device::Cpu).unwrap())
}

fn u32s(engine: &mut Engine, shape: &[usize], values: &[u32]) -> Handle {
    engine
        .insert(candle_core::Tensor::from_slice(values, shape, &candle_core::Device::Cpu).unwrap())
}
