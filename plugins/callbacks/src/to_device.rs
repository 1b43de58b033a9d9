//! Converts the inputs of batches to an element type, such as image bytes to floats, and checks the
//! device of the run.
//!
//! It moves nothing: the host creates models, optimizer states and batches on the device of the run
//! (`device` in `[run]`).

use fluxbay_plugin::prelude::*;

choice! {
    /// Element types of inputs.
    pub enum Elements {
        /// 32 bits.
        F32,
        /// 64 bits.
        F64,
        /// 16 bits.
        F16,
        /// 16 bits with the range of 32.
        Bf16,
    }
}

config! {
    /// The required device and the element type of the inputs.
    pub struct Config {
        /// Device that the run must use, such as `cpu` or `cuda:0`; by default any.
        device: Option<String> = null,
        /// Element type to which inputs are converted; by default they are left unchanged.
        dtype: Option<Elements> = null,
    }
}

/// The callback `to-device`.
pub struct ToDevice {
    device: Option<String>,
    dtype: Option<DType>,
    xs: Write<Tensor>,
}

impl Component for ToDevice {
    type Config = Config;

    fn new(config: Config, setup: &mut Setup) -> Result<Self> {
        let dtype = config.dtype.map(|elements| match elements {
            Elements::F32 => DType::F32,
            Elements::F64 => DType::F64,
            Elements::F16 => DType::F16,
            Elements::Bf16 => DType::BF16,
        });
        Ok(ToDevice { device: config.device, dtype, xs: setup.write("step.xs")? })
    }
}

impl Callback for ToDevice {
    fn init(&mut self, learner: &Learner) -> Result<()> {
        let device = learner.device()?;
        match &self.device {
            Some(wanted) if *wanted != device => {
                bail!(
                    "this run trains on `{device}`, not on `{wanted}`: set `device = \"{wanted}\"` in `[run]`"
                )
            }
            _ => Ok(()),
        }
    }

    fn on(&mut self, _: &Event, learner: &Learner) -> Result<()> {
        let Some(dtype) = self.dtype else { return Ok(()) };
        match learner.find(&self.xs)? {
            Some(xs) if xs.dtype()? != dtype => learner.set(&self.xs, xs.to_dtype(dtype)?),
            _ => Ok(()),
        }
    }

    /// Runs before other writers of the inputs, which get the converted ones.
    fn resolve(&self, _: &str, _: &str) -> Resolution {
        Resolution::RunFirst
    }
}
