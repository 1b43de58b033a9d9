//! Brings batches into the form that the model wants: on the run's device, and with the element
//! type that is asked for.
//!
//! Models, their optimizers' states and batches lie on the run's device from the beginning
//! (`device` in `[run]`): nothing that an optimizer remembers is ever moved or lost. So what is
//! left to do here is to make sure that it is the device that is wanted, and to turn inputs such as
//! bytes of pictures into floats.

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
    /// Where batches go and what they become.
    pub struct Config {
        /// The device that the run must train on, such as `cpu` or `cuda:0`; by default any.
        device: Option<String> = null,
        /// Element type that inputs are turned into; by default they stay as they are.
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

    /// Whatever else changes the inputs works on what they have become.
    fn resolve(&self, _: &str, _: &str) -> Resolution {
        Resolution::RunFirst
    }
}
