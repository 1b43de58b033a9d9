//! Tensors of a run: handles, operations with gradients, parameters, random numbers.
//!
//! candle's `Tensor` is the storage; autograd and the CPU kernels are ours (see
//! `docs/decisions/tensor-engine.md`). The learner and the bridge to the plugins use [`Engine`];
//! nothing here knows of plugins, phases or files.

mod context;
mod engine;
mod error;
mod kernels;
mod operations;
mod parameters;
mod pool;
mod random;
mod slots;
mod tape;
mod value;

#[cfg(test)]
mod tests;

pub use context::{Behaviour, Mode, Recording};
pub use engine::{Engine, EngineOptions, View};
pub use error::{DisplayHandle, Result, TensorError};
pub use parameters::{Init, Kind, ParameterInfo};
pub use pool::{Idle, Left};
pub use random::{RandomState, philox};
pub use value::dtype_of;
