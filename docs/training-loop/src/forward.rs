//! Step 2.

use fluxbay_plugin::prelude::*;

/// A forward pass and a loss.
pub struct Forward;

impl Component for Forward {
    type Config = NoConfig;

    fn new(_: NoConfig, _: &mut Setup) -> Result<Self> {
        Ok(Forward)
    }
}

impl Phase for Forward {
    fn step(&mut self, batch: &Batch, learner: &PhaseLearner) -> Result<()> {
        learner.run_step(batch, |step| {
            let yhats = step.forward(&step.xs()?)?;
            step.compute_loss(&yhats, &step.ys()?)?;
            Ok(())
        })
    }
}
