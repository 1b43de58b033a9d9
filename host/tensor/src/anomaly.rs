//! Detection of NaN and infinities in the results of operations, for the callback
//! `anomaly-detection`.
//!
//! While it is on, the results of every operation, the tensors that it overwrites and the gradients
//! of every backward pass are read; the first one with such an element is kept. It is off by default
//! and then costs one comparison per operation.

use candle_core::DType;

use super::backend::Backend;
use super::dtype::is_floating;
use super::error::Result;
use super::value::Value;

/// Which elements are detected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Detected {
    /// NaN.
    pub nan: bool,
    /// Infinities of either sign.
    pub infinite: bool,
}

/// The first result with a detected element.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Anomaly {
    /// Name of the operation.
    pub operation: &'static str,
    /// Whether it is a gradient, computed in a backward pass.
    pub backward: bool,
    /// How many results were read before it since detection began.
    pub number: u64,
    /// Whether the element is NaN; otherwise it is infinite.
    pub nan: bool,
    /// Whether an input of the operation had such an element already.
    pub from_input: bool,
    /// Index of the parameter that the operation uses; else of the one that was used last before it.
    pub parameter: Option<usize>,
    /// Whether the operation uses the parameter.
    pub direct: bool,
}

/// Detection that is on.
#[derive(Debug)]
pub(crate) struct Detection {
    detected: Detected,
    count: u64,
    last_parameter: Option<usize>,
    pub first: Option<Anomaly>,
}

/// A computation whose results are read.
pub(crate) struct Computed<'a, 'v> {
    pub operation: &'static str,
    pub backward: bool,
    pub inputs: &'a [&'v Value],
    pub results: &'a [&'v Value],
    /// Index of the parameter among its inputs.
    pub parameter: Option<usize>,
    /// Index of the parameter that was used before it, where the caller knows.
    pub earlier: Option<usize>,
}

impl Detection {
    pub fn new(detected: Detected) -> Detection {
        Detection { detected, count: 0, last_parameter: None, first: None }
    }

    /// Whether a value has a detected element, and if so, whether it is NaN.
    fn find(&self, backend: &dyn Backend, values: &[&Value]) -> Result<Option<bool>> {
        let Detected { nan, infinite } = self.detected;
        for value in values.iter().filter(|value| is_floating(value.dtype())) {
            let host = backend.download(value)?.flatten_all()?.to_dtype(DType::F64)?;
            let elements = host.to_vec1::<f64>()?;
            let found =
                elements.iter().find(|x| (nan && x.is_nan()) || (infinite && x.is_infinite()));
            if let Some(element) = found {
                return Ok(Some(element.is_nan()));
            }
        }
        Ok(None)
    }

    /// Reads the results of a computation.
    pub fn read(&mut self, backend: &dyn Backend, computed: &Computed) -> Result<()> {
        if !computed.backward && computed.parameter.is_some() {
            self.last_parameter = computed.parameter;
        }
        if self.first.is_some() {
            return Ok(());
        }
        if let Some(nan) = self.find(backend, computed.results)? {
            self.first = Some(Anomaly {
                operation: computed.operation,
                backward: computed.backward,
                number: self.count,
                nan,
                from_input: self.find(backend, computed.inputs)?.is_some(),
                parameter: computed.parameter.or(computed.earlier).or(self.last_parameter),
                direct: computed.parameter.is_some(),
            });
        }
        self.count += 1;
        Ok(())
    }
}
