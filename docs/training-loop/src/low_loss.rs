//! Step 7.

use fluxbay_plugin::prelude::*;

use crate::training::FullTraining;

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
    training: FullTraining,
    loss: Read<f64>,
}

impl Component for LowLoss {
    type Config = Config;

    fn new(config: Config, setup: &mut Setup) -> Result<Self> {
        Ok(LowLoss { below: config.below, training: FullTraining, loss: setup.read("step.loss")? })
    }
}

impl Phase for LowLoss {
    fn step(&mut self, batch: &Batch, learner: &PhaseLearner) -> Result<()> {
        self.training.step(batch, learner)
    }

    fn epoch(&mut self, learner: &PhaseLearner) -> Result<()> {
        let (mut total, mut samples) = (0.0, 0);
        learner.run_epoch(|epoch| {
            while let Some(batch) = epoch.next_batch()? {
                self.step(&batch, learner)?;
                if let Some(loss) = learner.find(&self.loss)? {
                    total += loss * batch.samples() as f64;
                    samples += batch.samples();
                }
            }
            Ok(())
        })?;
        let mean = total / samples as f64;
        if mean < self.below {
            return Err(Error::cancel_fit(format!("mean loss {mean:.4} is below {}", self.below)));
        }
        Ok(())
    }
}
