//! Step 4.

use fluxbay_plugin::prelude::*;

/// The complete training step with all events for callbacks.
pub struct FullTraining;

impl Component for FullTraining {
    type Config = NoConfig;

    fn new(_: NoConfig, _: &mut Setup) -> Result<Self> {
        Ok(FullTraining)
    }
}

impl Phase for FullTraining {
    fn step(&mut self, batch: &Batch, learner: &PhaseLearner) -> Result<()> {
        learner.run_step(batch, |step| {
            step.forward(&step.xs()?)?;
            step.dispatch(LossBegin)?;
            step.compute_loss(&step.yhats()?, &step.ys()?)?;
            step.dispatch(BackwardBegin)?;
            step.backward(&step.loss()?)?;
            step.dispatch(BackwardEnd)?;
            step.update()
        })
    }
}
