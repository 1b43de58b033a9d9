//! Which operation of a step first produced a NaN or an infinity.

use crate::{Learner, Result, abi::anomaly::detect, trampoline::calls};

/// A result of an operation that has an element that is NaN or infinite.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Anomaly {
    /// Name of the operation, such as `log`.
    pub operation: String,
    /// Whether it is a gradient, computed in a backward pass.
    pub backward: bool,
    /// Whether the element is NaN; otherwise it is infinite.
    pub nan: bool,
    /// Whether an input of the operation had such an element already.
    pub from_input: bool,
    /// Model and path of the parameter that was used last, such as `model.hidden.0.weight`.
    pub parameter: Option<String>,
    /// Whether the operation uses the parameter; otherwise the parameter was used before it.
    pub direct: bool,
    /// Number of results that were read before it since detection began.
    pub number: u64,
}

/// Detection of NaN and infinities.
impl Learner {
    /// Starts detection of NaN, and of infinities if asked for, in the results of all operations and
    /// gradients. An earlier result is dropped. Steps are several times slower until
    /// [`Learner::end_detection`].
    ///
    /// # Errors
    /// In a host without the extension `fluxbay.anomaly/1`.
    pub fn detect_anomalies(&self, infinities: bool) -> Result<()> {
        calls::anomaly_watch(if infinities { detect::NAN | detect::INFINITE } else { detect::NAN })
    }

    /// Ends detection and drops its result.
    ///
    /// # Errors
    /// In a host without the extension `fluxbay.anomaly/1`.
    pub fn end_detection(&self) -> Result<()> {
        calls::anomaly_watch(0)
    }

    /// The first anomaly since detection began.
    ///
    /// # Errors
    /// In a host without the extension `fluxbay.anomaly/1`.
    pub fn first_anomaly(&self) -> Result<Option<Anomaly>> {
        calls::anomaly_first()
    }
}
