//! Step 6.

use fluxbay_plugin::prelude::*;

use crate::training::FullTraining;

/// Training with an explicit copy of the default epoch loop.
pub struct DefaultEpoch(FullTraining);

impl Component for DefaultEpoch {
    type Config = NoConfig;

    fn new(_: NoConfig, _: &mut Setup) -> Result<Self> {
        Ok(DefaultEpoch(FullTraining))
    }
}

impl Phase for DefaultEpoch {
    fn step(&mut self, batch: &Batch, learner: &PhaseLearner) -> Result<()> {
        self.0.step(batch, learner)
    }

    fn epoch(&mut self, learner: &PhaseLearner) -> Result<()> {
        learner.run_epoch(|epoch| {
            while let Some(batch) = epoch.next_batch()? {
                self.step(&batch, learner)?;
            }
            Ok(())
        })
    }
}
