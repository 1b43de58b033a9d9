//! Training with an epoch of its own.

use fluxbay_plugin::{prelude::*, serde};

use crate::training::Training;

config! {
    /// When it is enough.
    pub struct Config {
        /// Mean loss of an epoch below which the fit ends.
        below: f64 = 0.1 => 0.0..,
    }
}

/// Training that ends the fit when the mean loss of an epoch is low.
pub struct LowLoss {
    below: f64,
    training: Training,
    loss: Read<f64>,
    gathered: Gathered,
}

/// What the running epoch has come to: state, so that a run can be resumed within the epoch.
#[derive(Clone, Copy, Debug, Default, serde::Serialize, serde::Deserialize)]
#[serde(crate = "fluxbay_plugin::serde")]
struct Gathered {
    total: f64,
    samples: usize,
}

impl Component for LowLoss {
    type Config = Config;

    fn new(config: Config, setup: &mut Setup) -> Result<Self> {
        Ok(LowLoss {
            below: config.below,
            training: Training,
            loss: setup.read("step.loss")?,
            gathered: Gathered::default(),
        })
    }

    fn save(&self) -> Result<Vec<u8>> {
        to_bytes(&self.gathered)
    }

    fn load(&mut self, _: u32, bytes: &[u8]) -> Result<()> {
        self.gathered = from_bytes(bytes)?;
        Ok(())
    }
}

impl Phase for LowLoss {
    fn step(&mut self, batch: &Batch, learner: &PhaseLearner) -> Result<()> {
        self.training.step(batch, learner)
    }

    fn epoch(&mut self, learner: &PhaseLearner) -> Result<()> {
        learner.run_epoch(|epoch| {
            while let Some(batch) = epoch.next_batch()? {
                self.step(&batch, learner)?;
                if let Some(loss) = learner.find(&self.loss)? {
                    self.gathered.total += loss * batch.samples() as f64;
                    self.gathered.samples += batch.samples();
                }
            }
            Ok(())
        })?;
        let Gathered { total, samples } = std::mem::take(&mut self.gathered);
        let mean = total / samples as f64;
        if mean < self.below {
            return Err(Error::cancel_fit(format!("mean loss {mean:.4} is below {}", self.below)));
        }
        Ok(())
    }
}
