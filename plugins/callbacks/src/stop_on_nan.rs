//! Ends the fit when a training loss is NaN or infinite, before the parameters are updated with it.

use fluxbay_plugin::prelude::*;

/// The callback `stop-on-nan`.
pub struct StopOnNan {
    loss: Read<f64>,
}

impl Component for StopOnNan {
    type Config = NoConfig;

    fn new(_: NoConfig, setup: &mut Setup) -> Result<Self> {
        Ok(StopOnNan { loss: setup.read("step.loss")? })
    }
}

impl Callback for StopOnNan {
    fn on(&mut self, event: &Event, learner: &Learner) -> Result<()> {
        if !event.is_training() {
            return Ok(());
        }
        match learner.find(&self.loss)? {
            Some(loss) if !loss.is_finite() => Err(Error::cancel_fit(format!(
                "the loss of phase `{}` is {loss} in epoch {}, step {}; the parameters were not updated with it",
                event.phase_name()?,
                event.epoch(),
                event.step()
            ))),
            _ => Ok(()),
        }
    }
}
