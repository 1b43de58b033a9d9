//! The phase `validation`.

use fluxbay_plugin::prelude::*;

/// Forward pass and loss. The host runs validation phases without gradients and without dropout.
pub struct Validation;

impl Component for Validation {
    type Config = NoConfig;

    fn new(_: NoConfig, _: &mut Setup) -> Result<Self> {
        Ok(Validation)
    }
}

impl Phase for Validation {
    fn step(&mut self, batch: &Batch, learner: &PhaseLearner) -> Result<()> {
        learner.run_step(batch, |step| {
            step.forward(&step.xs()?)?;
            step.dispatch(LossBegin)?;
            step.compute_loss(&step.yhats()?, &step.ys()?)?;
            Ok(())
        })
    }
}
