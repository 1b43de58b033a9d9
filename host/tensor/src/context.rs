//! What operations compute with: the thread pool, the random streams, the mode, the device.

use candle_core::{DType, Device};

use super::error::Result;
use super::kernels::elementwise;
use super::pool::Pool;
use super::random::Random;
use super::value::{Value, data, overwrite};

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
    /// Is the tape written?
    pub recording: Recording,
    /// Training or evaluation.
    pub behaviour: Behaviour,
}

/// What every operation gets beside its inputs.
pub(crate) struct Context {
    pub pool: Pool,
    pub random: Random,
    pub mode: Mode,
    pub device: Device,
}

impl Context {
    /// The sum of two gradients, into the buffer of one of them where nobody else uses it.
    pub fn accumulate(&mut self, a: Value, b: Value) -> Result<Value> {
        let (target, other) = if a.is_unique() || !b.is_unique() { (a, b) } else { (b, a) };
        let native =
            target.tensor.device().is_cpu() && matches!(target.dtype(), DType::F32 | DType::F64);
        if !native || !target.is_unique() {
            return Ok(Value::new((&target.tensor + &other.tensor)?));
        }
        let other = other.contiguous()?;
        match target.dtype() {
            DType::F32 => {
                let source = data::<f32>(&other.tensor)?;
                overwrite(&target.tensor, |into| elementwise::add_into(&self.pool, into, &source))?;
            }
            _ => {
                let source = data::<f64>(&other.tensor)?;
                overwrite(&target.tensor, |into| elementwise::add_into(&self.pool, into, &source))?;
            }
        }
        Ok(target)
    }
}
