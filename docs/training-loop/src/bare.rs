//! Step 1.

use fluxbay_plugin::prelude::*;

/// A step without a body.
pub struct Bare;

impl Component for Bare {
    type Config = NoConfig;

    fn new(_: NoConfig, _: &mut Setup) -> Result<Self> {
        Ok(Bare)
    }
}

impl Phase for Bare {
    fn step(&mut self, batch: &Batch, learner: &PhaseLearner) -> Result<()> {
        learner.run_step(batch, |_step| Ok(()))
    }
}
