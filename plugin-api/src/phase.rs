//! Phases.

use crate::{Batch, Component, PhaseLearner, Result};

/// What a step and an epoch do. `[training thread]`
///
/// ```
/// # use fluxbay_plugin::prelude::*;
/// struct Training;
///
/// impl Component for Training {
///     type Config = NoConfig;
///     fn new(_: NoConfig, _: &mut Setup) -> Result<Self> {
///         Ok(Training)
///     }
/// }
///
/// impl Phase for Training {
///     fn step(&mut self, batch: &Batch, learner: &PhaseLearner) -> Result<()> {
///         learner.run_step(batch, |step| {
///             let yhats = step.forward(&step.xs()?)?;
///             step.dispatch(LossBegin)?;
///             let loss = step.loss(&yhats, &step.ys()?)?;
///             step.dispatch(BackwardBegin)?;
///             step.backward(&loss)?;
///             step.dispatch(BackwardEnd)?;
///             step.update()
///         })
///     }
/// }
/// ```
pub trait Phase: Component {
    /// Called once when the run is composed, before the first epoch: models and losses can be
    /// looked up here.
    fn init(&mut self, learner: &PhaseLearner) -> Result<()> {
        let _ = learner;
        Ok(())
    }

    /// One step on one batch. Normally it calls [`PhaseLearner::run_step`].
    fn step(&mut self, batch: &Batch, learner: &PhaseLearner) -> Result<()>;

    /// One epoch: by default, every batch of the phase's data goes through `step`.
    fn epoch(&mut self, learner: &PhaseLearner) -> Result<()> {
        learner.run_epoch(|epoch| {
            while let Some(batch) = epoch.next_batch()? {
                self.step(&batch, learner)?;
            }
            Ok(())
        })
    }
}
