//! The phase `training`.

use fluxbay_plugin::prelude::*;

/// Forward pass, loss, backward pass, update.
pub struct Training;

impl Component for Training {
    type Config = NoConfig;

    fn new(_: NoConfig, _: &mut Setup) -> Result<Self> {
        Ok(Training)
    }
}

impl Phase for Training {
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
