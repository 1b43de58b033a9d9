//! Phases.

use crate::{Batch, Component, PhaseLearner, Result};

/// What a step and an epoch do. `[training thread]`
///
/// Callbacks may change `step.yhats` at loss-begin and `step.loss` at backward-begin, so a phase
/// reads both back after the event instead of using the values that it computed:
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
///             step.forward(&step.xs()?)?;
///             step.dispatch(LossBegin)?;
///             step.compute_loss(&step.yhats()?, &step.ys()?)?;
///             step.dispatch(BackwardBegin)?;
///             step.backward(&step.loss()?)?;
///             step.dispatch(BackwardEnd)?;
///             step.update()
///         })
///     }
/// }
/// # plugin! {
/// #     summary: "",
/// #     phase "training" => Training { summary: "", phase_kind: "training" },
/// # }
/// # fn main() {}
/// ```
///
/// Every phase may write `step`; its line in [`plugin!`](crate::plugin!) needs a `phase_kind`. The
/// host runs forward passes of a training phase in training mode and records them, and those of
/// other phases in evaluation mode.
pub trait Phase: Component {
    /// Called once, when all instances exist and before the first epoch: look up models and losses
    /// here.
    ///
    /// # Errors
    /// The run does not start.
    fn init(&mut self, learner: &PhaseLearner) -> Result<()> {
        let _ = learner;
        Ok(())
    }

    /// Runs one step on one batch, normally through [`PhaseLearner::run_step`].
    ///
    /// # Errors
    /// Errors of the learner's functions, returned with `?`: they carry cancelling too.
    fn step(&mut self, batch: &Batch, learner: &PhaseLearner) -> Result<()>;

    /// Runs one epoch. The default passes every batch of the phase's data to `step`.
    ///
    /// A run that is resumed within an epoch calls this anew: [`PhaseLearner::run_epoch`] then fires
    /// no epoch-begin, and the first batch is the one after the checkpoint. What the epoch sums up
    /// belongs into the saved state, not into local variables.
    ///
    /// # Errors
    /// As [`Phase::step`].
    fn epoch(&mut self, learner: &PhaseLearner) -> Result<()> {
        learner.run_epoch(|epoch| {
            while let Some(batch) = epoch.next_batch()? {
                self.step(&batch, learner)?;
            }
            Ok(())
        })
    }
}
