//! Logs the values of `metrics` under `step/<phase>/metrics/<name>` and
//! `epoch/<phase>/metrics/<name>`.

use fluxbay_plugin::prelude::*;

config! {
    /// How often values are logged.
    pub struct Config {
        /// Number of steps between records of step values; 0 disables them.
        every: u64 = 1,
    }
}

/// The callback `log-metrics`.
pub struct LogMetrics {
    every: u64,
    step: Read<Node>,
    epoch: Read<Node>,
}

impl Component for LogMetrics {
    type Config = Config;

    fn new(config: Config, setup: &mut Setup) -> Result<Self> {
        Ok(LogMetrics {
            every: config.every,
            step: setup.read("cbstate.metrics-step")?,
            epoch: setup.read("cbstate.metrics-epoch")?,
        })
    }
}

/// Logs the series of a phase that have a point at `x`, under `prefix/<name>`.
pub fn log_series(
    node: &Read<Node>,
    phase: &str,
    x: u64,
    prefix: &str,
    learner: &Learner,
) -> Result<()> {
    let node: Read<Node> = node.child(phase)?;
    for name in node.names()? {
        if let Some(point) =
            node.child::<Series>(&name)?.last()?.filter(|point| point.x == x as f64)
        {
            learner.log(&Record::scalar(format!("{prefix}/{name}"), x, point.y))?;
        }
    }
    Ok(())
}

impl Callback for LogMetrics {
    fn on(&mut self, event: &Event, learner: &Learner) -> Result<()> {
        if learner.loggers()? == 0 {
            return Ok(());
        }
        let phase = event.phase_name()?;
        match event.kind() {
            StepEnd if self.every > 0 && (event.total_steps() - 1).is_multiple_of(self.every) => {
                log_series(
                    &self.step,
                    &phase,
                    event.total_steps(),
                    &format!("step/{phase}/metrics"),
                    learner,
                )
            }
            EpochEnd => log_series(
                &self.epoch,
                &phase,
                event.epoch(),
                &format!("epoch/{phase}/metrics"),
                learner,
            ),
            _ => Ok(()),
        }
    }
}
