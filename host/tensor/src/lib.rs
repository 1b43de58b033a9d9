//! Tensors of a run: handles, operations with gradients, parameters, random numbers.
//!
//! ```text
//! engine       handles, the tape, parameters, random streams: what the host calls
//!   operations   one per code of the contract: checks, shapes, gradients
//!     backend      what a device must do: traits of kernels
//!       cpu          the processor: candle's tensors as storage, kernels over slices
//! ```
//!
//! The learner and the bridge to the plugins use [`Engine`]; nothing here knows of plugins, phases or
//! files. Operations call kernels through [`backend::Backend`] and never ask where elements are; a
//! device is one more implementation of its traits. Why the engine is the project's own, on candle's
//! storage, is explained in `docs/decisions/tensor-engine.md`; `README.md` beside this crate lists
//! the files to touch for a new operation and for a new device.

mod anomaly;
pub mod backend;
mod cache;
mod context;
mod cpu;
mod dtype;
mod engine;
mod error;
mod memory;
mod operations;
mod parameters;
mod pool;
mod random;
mod replay;
mod segments;
mod slots;
mod tape;
pub mod timeline;
mod trace;
mod value;

#[cfg(test)]
mod reference;
#[cfg(test)]
mod tests;

pub use anomaly::{Anomaly, Detected};
pub use context::{Across, Behaviour, Mode, Precision, Recording};
pub use dtype::{code_of, dtype_of};
pub use engine::{BlockGradients, Engine, EngineOptions, LayerMemory, Recomputed, View};
pub use error::{DisplayHandle, Result, TensorError};
pub use memory::Memory;
pub use operations::axis_weights;
pub use parameters::{Init, Kind, ParameterInfo};
pub use pool::{Idle, Left};
pub use random::{RandomState, Words, philox};
pub use trace::{Traced, TracedResult};
pub use value::{DeviceArray, Value, host_tensor, into_elements, with_bytes};
