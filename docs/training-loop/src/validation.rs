//! Step 5.

use fluxbay_plugin::prelude::*;

/// Forward pass and loss.
pub struct FullValidation;

impl Component for FullValidation {
    type Config = NoConfig;

    fn new(_: NoConfig, _: &mut Setup) -> Result<Self> {
        Ok(FullValidation)
    }
}

impl Phase for FullValidation {
    fn step(&mut self, batch: &Batch, learner: &PhaseLearner) -> Result<()> {
        learner.run_step(batch, |step| {
            step.forward(&step.xs()?)?;
            step.dispatch(LossBegin)?;
            step.compute_loss(&step.yhats()?, &step.ys()?)?;
            Ok(())
        })
    }
}
