//! Logs histograms of weights and gradients under `step/histograms/weights/<path>` and
//! `step/histograms/gradients/<path>`.

use fluxbay_plugin::prelude::*;

config! {
    /// What is logged, and how often.
    pub struct Config {
        /// Number of training steps between records.
        every: u64 = 100 => 1..,
        /// Whether weights are logged.
        weights: bool = true,
        /// Whether gradients are logged, as they are before the update.
        gradients: bool = true,
    }
}

/// The callback `log-histograms`.
pub struct LogHistograms {
    every: u64,
    weights: Option<Read<Tensors>>,
    gradients: Option<Read<Tensors>>,
}

impl Component for LogHistograms {
    type Config = Config;

    fn new(config: Config, setup: &mut Setup) -> Result<Self> {
        Ok(LogHistograms {
            every: config.every,
            weights: config.weights.then(|| setup.read("params")).transpose()?,
            gradients: config.gradients.then(|| setup.read("step.grads")).transpose()?,
        })
    }
}

impl Callback for LogHistograms {
    fn on(&mut self, event: &Event, learner: &Learner) -> Result<()> {
        if !event.is_training()
            || !(event.total_steps() - 1).is_multiple_of(self.every)
            || learner.loggers()? == 0
        {
            return Ok(());
        }
        for (kind, tensors) in [("weights", &self.weights), ("gradients", &self.gradients)] {
            let Some(tensors) = tensors else { continue };
            for (index, path) in tensors.names()?.into_iter().enumerate() {
                if let Some(tensor) = tensors.get(index)? {
                    let tag = format!("step/histograms/{kind}/{path}");
                    learner.log(&Record::new(
                        tag,
                        event.total_steps(),
                        RecordValue::Histogram(tensor),
                    ))?;
                }
            }
        }
        Ok(())
    }
}
