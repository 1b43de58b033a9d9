//! The engine: all tensors of a run behind handles, operations on them, gradients, parameters,
//! random numbers.
//!
//! One thread owns it (it is `!Send`). The learner and the bridge to the plugins call it; it knows
//! neither of them. A wrong request returns a [`TensorError`] and changes nothing.

mod apply;
mod blocks;
mod gradients;
mod joint_blocks;
mod memory;
mod parameters;
mod recompute;
mod tensors;

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;

use candle_core::{CpuStorage, DType};

use super::anomaly::{Anomaly, Detected, Detection};
use super::backend::Backend;
use super::context::{AGAIN_FROM, Across, Behaviour, Context, Mode, Precision, Recording};
use super::cpu::Cpu;
use super::error::{Result, TensorError};
use super::parameters::Parameters;
use super::pool::{Idle, Pool};
use super::random::{Random, RandomState};
use super::slots::Slots;
use super::tape::Tape;
use super::trace::Traced;

pub use blocks::BlockGradients;
pub use memory::LayerMemory;
pub use recompute::Recomputed;
pub use tensors::View;

/// Options of an [`Engine`].
#[derive(Clone, Debug)]
pub struct EngineOptions {
    /// Seed of all random numbers.
    pub seed: u64,
    /// Threads of the kernels, including the calling one; 0 uses all that the machine has.
    pub threads: usize,
    /// Element type of new parameters: f32, or f64 for tests of gradients.
    pub parameter_dtype: DType,
    /// What operands of products are rounded to. Parameters, gradients and results stay f32.
    pub precision: Precision,
}

impl Default for EngineOptions {
    fn default() -> Self {
        Self { seed: 0, threads: 0, parameter_dtype: DType::F32, precision: Precision::default() }
    }
}

/// All tensors of a run: see the module's text.
pub struct Engine {
    context: Context,
    pool: Rc<Pool>,
    slots: Slots,
    tape: Tape,
    parameters: Parameters,
    parameter_dtype: DType,
    watched: u32,
    /// The block of samples that recorded operations belong to; 0 for none.
    block: u32,
    /// The blocks that operations are applied to together, if any.
    joint: Option<joint_blocks::JointBlocks>,
    returned: Vec<CpuStorage>,
    /// The operations applied since a trace began.
    trace: Option<Vec<Traced>>,
    /// What is computed again in backward passes, if anything.
    recomputation: Option<recompute::Recomputation>,
    /// The layers whose memory is counted, while it is.
    layers: Option<Box<memory::Layers>>,
}

/// Most buffers that are kept for [`Engine::take_returned`]; others are freed.
const MOST_RETURNED: usize = 16;

impl Engine {
    /// An engine without tensors, whose tensors are on the processor.
    ///
    /// # Errors
    /// If no thread can be started, or parameters are of another type than f32 or f64.
    pub fn new(options: EngineOptions) -> Result<Self> {
        Self::with_backend(options, |pool| Box::new(Cpu::new(pool)))
    }

    /// An engine without tensors, whose tensors are on a device. The device gets the engine's thread
    /// pool.
    ///
    /// # Errors
    /// See [`Engine::new`].
    pub(crate) fn with_backend(
        options: EngineOptions,
        backend: impl FnOnce(Rc<Pool>) -> Box<dyn Backend>,
    ) -> Result<Self> {
        if !matches!(options.parameter_dtype, DType::F32 | DType::F64) {
            return Err(TensorError::request(format!(
                "parameters are kept as f32 or f64, not {:?}",
                options.parameter_dtype
            )));
        }
        let threads = match options.threads {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            threads => threads,
        };
        let pool = Pool::new(threads).map_err(|error| {
            TensorError::request(format!(
                "cannot start {threads} threads for tensor kernels: {error}"
            ))
        })?;
        let pool = Rc::new(pool);
        Ok(Self {
            context: Context {
                backend: backend(pool.clone()),
                random: Random::new(options.seed),
                mode: Mode { recording: Recording::On, behaviour: Behaviour::Training },
                precision: options.precision,
                allowance: Cell::new(0),
                again_from: AGAIN_FROM,
                detection: None,
                cache: None,
                across: None,
                joint: None,
            },
            pool,
            slots: Slots::default(),
            tape: Tape::default(),
            parameters: Parameters::default(),
            parameter_dtype: options.parameter_dtype,
            watched: 0,
            block: 0,
            joint: None,
            returned: Vec::new(),
            trace: None,
            recomputation: None,
            layers: None,
        })
    }

    /// Sets the bytes from which on values are computed again where that is cheap.
    #[cfg(test)]
    pub(crate) fn set_again_from(&mut self, bytes: u64) {
        self.context.again_from = bytes;
    }

    /// Name of the device that tensors are on, such as `cpu`.
    pub fn device_name(&self) -> String {
        self.context.backend.name()
    }

    /// Computes `task` for each number below `count` on the threads of the kernels, the caller's
    /// among them.
    pub fn share(&self, count: usize, task: &(dyn Fn(usize) + Sync)) {
        self.pool.run(count, task);
    }

    /// Sets a task for threads that would otherwise wait for the next kernel; it replaces the one
    /// before. It is called piece by piece; a kernel starts without the threads that are in a piece,
    /// so pieces should be short. No thread is woken for it, and it may never be called.
    pub fn idle(&self, task: Arc<Idle>) {
        self.pool.idle(task);
    }

    /// Sets recording and behaviour of the following operations.
    #[inline]
    pub fn set_mode(&mut self, mode: Mode) {
        self.context.mode = mode;
    }

    /// Lets batch normalisation use the statistics of all processes of a run in training: each runs the
    /// same operations on other samples of a batch, on one block or on several jointly.
    pub fn normalize_across(&mut self, across: Across) {
        self.context.across = Some(across);
    }

    /// The current mode.
    pub fn mode(&self) -> Mode {
        self.context.mode
    }

    /// Begins to keep the keys and values of causal attention from one forward pass to the next, so
    /// that passes can be given the new tokens only. What was kept before is dropped. Attention that is
    /// not causal, or has a bias or lengths, is an error until [`Engine::end_cache`].
    pub fn begin_cache(&mut self) {
        self.context.cache = Some(Box::default());
    }

    /// Begins a forward pass of `count` tokens that follow those of the passes before.
    pub fn cached_pass(&mut self, count: usize) {
        if let Some(cache) = &mut self.context.cache {
            cache.begin_pass(count);
        }
    }

    /// Drops the keys and values that were kept.
    pub fn end_cache(&mut self) {
        self.context.cache = None;
    }

    /// Number of tokens that the forward passes before the current one have seen; 0 without a cache.
    pub fn first_position(&self) -> usize {
        self.context.cache.as_ref().map_or(0, |cache| cache.first())
    }

    /// Starts detection of NaN and infinities anew, or ends it.
    pub fn detect_anomalies(&mut self, detected: Option<Detected>) {
        self.context.detection = detected.map(|detected| Box::new(Detection::new(detected)));
    }

    /// The first anomaly since detection began.
    pub fn first_anomaly(&self) -> Option<&Anomaly> {
        self.context.detection.as_ref()?.first.as_ref()
    }

    /// Begins to record the operations that are applied.
    pub fn begin_trace(&mut self) {
        self.trace = Some(Vec::new());
    }

    /// Ends the recording, and returns the operations in their order; none if there was no recording.
    pub fn end_trace(&mut self) -> Vec<Traced> {
        self.trace.take().unwrap_or_default()
    }

    /// Threads that kernels compute on.
    pub fn threads(&self) -> usize {
        self.pool.threads()
    }

    /// The number of the random stream of this name, for operations that take one.
    pub fn stream(&mut self, name: &str) -> i64 {
        self.context.random.stream(name) as i64
    }

    /// Makes a stream the current one; returns the number of the one before.
    pub fn set_stream(&mut self, stream: i64) -> i64 {
        self.context.random.set_current(usize::try_from(stream).unwrap_or(0)) as i64
    }

    /// Seed and counters of all streams.
    pub fn random_state(&self) -> RandomState {
        self.context.random.state()
    }

    /// Restores a state.
    pub fn set_random_state(&mut self, state: &RandomState) {
        self.context.random.restore(state);
    }
}
