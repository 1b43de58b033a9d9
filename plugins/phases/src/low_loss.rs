//! A training phase with its own epoch loop.

use fluxbay_plugin::{prelude::*, serde};

use crate::training::Training;

config! {
    /// When the fit ends.
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
    epoch: EpochLoss,
}

/// Loss of the running epoch; saved, so that a run can be resumed within the epoch.
#[derive(Clone, Copy, Debug, Default, serde::Serialize, serde::Deserialize)]
#[serde(crate = "fluxbay_plugin::serde")]
struct EpochLoss {
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
            epoch: EpochLoss::default(),
        })
    }

    state!(epoch);
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
                    self.epoch.total += loss * batch.samples() as f64;
                    self.epoch.samples += batch.samples();
                }
            }
            Ok(())
        })?;
        let EpochLoss { total, samples } = std::mem::take(&mut self.epoch);
        let mean = total / samples as f64;
        if mean < self.below {
            return Err(Error::cancel_fit(format!("mean loss {mean:.4} is below {}", self.below)));
        }
        Ok(())
    }
}
