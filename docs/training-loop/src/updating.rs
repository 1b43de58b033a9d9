//! Step 3.

use fluxbay_plugin::prelude::*;

/// A step that updates the parameters.
pub struct Updating;

impl Component for Updating {
    type Config = NoConfig;

    fn new(_: NoConfig, _: &mut Setup) -> Result<Self> {
        Ok(Updating)
    }
}

impl Phase for Updating {
    fn step(&mut self, batch: &Batch, learner: &PhaseLearner) -> Result<()> {
        learner.run_step(batch, |step| {
            let yhats = step.forward(&step.xs()?)?;
            let loss = step.compute_loss(&yhats, &step.ys()?)?;
            step.backward(&loss)?;
            step.update()
        })
    }
}
