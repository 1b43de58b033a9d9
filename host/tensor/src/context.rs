//! What operations compute with: the backend, the random streams, the mode.

use std::cell::Cell;

use candle_core::DType;

use super::anomaly::Detection;
use super::backend::{Backend, LARGE};
use super::cache::Cache;
use super::error::{Result, TensorError};
use super::operations::BlockStatistics;
use super::random::Random;
use super::value::Value;

/// Whether operations are recorded for a backward pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recording {
    /// Recorded wherever a parameter or watched tensor takes part.
    On,
    /// Not recorded: results are constants.
    Off,
}

/// How layers behave that differ between training and evaluation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Behaviour {
    /// Dropout drops, batch normalisation uses the batch's statistics.
    Training,
    /// Dropout passes, batch normalisation uses the running statistics.
    Evaluation,
}

/// Both settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mode {
    /// Whether the tape is written.
    pub recording: Recording,
    /// Training or evaluation.
    pub behaviour: Behaviour,
}

/// Sends numbers to all processes of a run, and returns those of each, as many as were sent. The error says
/// why the others cannot be reached.
pub type Across = Box<dyn Fn(&[f64]) -> std::result::Result<Vec<Vec<f64>>, String>>;

/// What the operands of products are rounded to before they are multiplied. Sums, results and
/// everything else are f32 in either case.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Precision {
    /// They are not rounded.
    #[default]
    F32,
    /// Operands of matrix products, convolutions and attention are rounded to bf16 if they are f32.
    Bf16,
}

/// What every operation gets beside its inputs.
pub(crate) struct Context {
    pub backend: Box<dyn Backend>,
    pub random: Random,
    pub mode: Mode,
    /// What operands of products are rounded to.
    pub precision: Precision,
    /// Bytes of large tensors that fit without asking the backend.
    pub allowance: Cell<u64>,
    /// Bytes from which on a value is computed again rather than kept, where that is cheap.
    pub again_from: u64,
    /// Detection of NaN and infinities, if it is on.
    pub detection: Option<Box<Detection>>,
    /// Keys and values of attention while a text is generated.
    pub cache: Option<Box<Cache>>,
    /// How batch normalisation has the statistics of all processes, if it does.
    pub across: Option<Across>,
    /// The statistics that the next batch normalisation uses, if they were taken of several blocks.
    pub joint: Option<BlockStatistics>,
}

/// What [`Context::again_from`] is in runs: smaller values are not worth the time.
pub(crate) const AGAIN_FROM: u64 = 4 << 20;

impl Context {
    /// Whether a value is so large that it is computed again rather than kept, where that is cheap.
    #[inline]
    pub fn is_large(&self, value: &Value) -> bool {
        value.bytes() >= self.again_from
    }

    /// Whether operands of this type are rounded to bf16 before they are multiplied.
    #[inline]
    pub fn rounds(&self, dtype: DType) -> bool {
        self.precision == Precision::Bf16 && dtype == DType::F32
    }

    /// An operand of a product, rounded if that is asked for.
    pub fn operand(&self, value: &Value, rounded: bool) -> Result<Value> {
        self.backend.operand(value.clone(), rounded)
    }

    /// A product of operands that were rounded if `rounded` says so.
    pub fn product(&self, a: &Value, b: &Value, batch: &[usize], rounded: bool) -> Result<Value> {
        match rounded {
            true => self.backend.matmul_rounded(a, b, batch),
            false => self.backend.matmul(a, b, batch),
        }
    }

    /// The sum of two gradients, in the buffer of one of them if nothing else refers to it.
    pub fn accumulate(&mut self, a: Value, b: Value) -> Result<Value> {
        let (target, other) = if a.is_unique() || !b.is_unique() { (a, b) } else { (b, a) };
        self.backend.add_into(target, &other)
    }

    /// Checks that a tensor of this shape can be allocated. Operations call it before they compute a
    /// result that is larger than their inputs.
    ///
    /// # Errors
    /// If the bytes cannot be addressed, or the device does not have the memory: with shape, element
    /// type and bytes.
    #[inline]
    pub fn admit(&self, dtype: DType, dims: &[usize]) -> Result<()> {
        match bytes(dtype, dims) {
            Some(bytes) if bytes < LARGE => Ok(()),
            _ => self.admit_large(dtype, dims),
        }
    }

    #[cold]
    #[inline(never)]
    fn admit_large(&self, dtype: DType, dims: &[usize]) -> Result<()> {
        let bytes = self.addressable(dtype, dims)?;
        if let Some(left) = self.allowance.get().checked_sub(bytes as u64) {
            self.allowance.set(left);
            return Ok(());
        }
        let allowance = self.backend.fits(bytes).map_err(|left| {
            let left = left.map_or_else(String::new, |left| format!("; {left} are available"));
            TensorError::request(format!(
                "there is no memory for a tensor of shape {dims:?} of {dtype:?}, which takes {bytes} bytes{left}"
            ))
        })?;
        self.allowance.set(allowance);
        Ok(())
    }

    /// Bytes of a tensor.
    ///
    /// # Errors
    /// If they cannot be addressed.
    pub fn addressable(&self, dtype: DType, dims: &[usize]) -> Result<usize> {
        bytes(dtype, dims).ok_or_else(|| {
            let size = dtype.size_in_bytes() as f64;
            let bytes = dims.iter().fold(size, |bytes, &size| bytes * size as f64);
            TensorError::request(format!(
                "a tensor of shape {dims:?} of {dtype:?} takes {bytes:.3e} bytes: more than can be addressed"
            ))
        })
    }
}

/// Bytes of a tensor, if they can be addressed.
#[inline]
fn bytes(dtype: DType, dims: &[usize]) -> Option<usize> {
    dims.iter()
        .try_fold(dtype.size_in_bytes(), |bytes, &size| bytes.checked_mul(size))
        .filter(|&bytes| bytes <= isize::MAX as usize)
}
