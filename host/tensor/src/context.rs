//! What operations compute with: the backend, the random streams, the mode.

use super::backend::Backend;
use super::error::Result;
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

/// What every operation gets beside its inputs.
pub(crate) struct Context {
    pub backend: Box<dyn Backend>,
    pub random: Random,
    pub mode: Mode,
}

impl Context {
    /// The sum of two gradients, in the buffer of one of them if nothing else refers to it.
    pub fn accumulate(&mut self, a: Value, b: Value) -> Result<Value> {
        let (target, other) = if a.is_unique() || !b.is_unique() { (a, b) } else { (b, a) };
        self.backend.add_into(target, &other)
    }
}
