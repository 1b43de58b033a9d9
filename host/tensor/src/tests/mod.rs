//! Tests of the engine as a whole: gradients, values, handles, determinism, optimizers.
//!
//! Most run on the processor and on the [`reference`](crate::reference) device: see
//! `on_each_backend`.

use std::cell::Cell;

use super::{Engine, EngineOptions};
use crate::backend::Backend;
use crate::cpu::Cpu;
use crate::reference::Reference;
use candle_core::{DType, Device, Tensor, WithDType};
use fluxbay_plugin::abi::handle::Handle;

/// The devices that tests run on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Cpu,
    Reference,
}

thread_local! {
    static KIND: Cell<Kind> = const { Cell::new(Kind::Cpu) };
}

/// Runs `test` with engines on a device.
fn on(kind: Kind, test: fn()) {
    KIND.set(kind);
    test();
}

/// Makes tests of functions: one on the processor, one on the reference device.
macro_rules! on_each_backend {
    ($($name:ident),* $(,)?) => {
        mod on_cpu {
            $(#[test]
            fn $name() {
                super::super::on(super::super::Kind::Cpu, super::$name);
            })*
        }
        mod on_reference {
            $(#[test]
            fn $name() {
                super::super::on(super::super::Kind::Reference, super::$name);
            })*
        }
    };
}

mod across;
mod blocks;
mod gradients;
mod handles;
mod optimizers;
mod precision;
mod ranges;
mod recompute;
mod rounded;
mod values;
mod weighted;

/// An engine on the test's device.
fn engine(options: EngineOptions) -> Engine {
    Engine::with_backend(options, |pool| -> Box<dyn Backend> {
        match KIND.get() {
            Kind::Cpu => Box::new(Cpu::new(pool)),
            Kind::Reference => Box::new(Reference),
        }
    })
    .unwrap()
}

/// An engine with parameters of double precision, on two threads.
fn double(seed: u64) -> Engine {
    engine(EngineOptions {
        seed,
        threads: 2,
        parameter_dtype: DType::F64,
        ..EngineOptions::default()
    })
}

/// An engine as runs have it, on two threads.
fn single(seed: u64) -> Engine {
    engine(EngineOptions { seed, threads: 2, ..EngineOptions::default() })
}

fn insert<T: WithDType>(engine: &mut Engine, shape: &[usize], values: &[T]) -> Handle {
    engine.insert(Tensor::from_slice(values, shape, &Device::Cpu).unwrap()).unwrap()
}

fn f64s(engine: &mut Engine, shape: &[usize], values: &[f64]) -> Handle {
    insert(engine, shape, values)
}

fn f32s(engine: &mut Engine, shape: &[usize], values: &[f32]) -> Handle {
    insert(engine, shape, values)
}

fn u32s(engine: &mut Engine, shape: &[usize], values: &[u32]) -> Handle {
    insert(engine, shape, values)
}
