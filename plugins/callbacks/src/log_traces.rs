//! Logs the values of `traces` under `step/<phase>/traces/<name>`.

use fluxbay_plugin::prelude::*;

use crate::log_metrics::log_series;

/// The callback `log-traces`.
pub struct LogTraces {
    traces: Read<Node>,
}

impl Component for LogTraces {
    type Config = NoConfig;

    fn new(_: NoConfig, setup: &mut Setup) -> Result<Self> {
        Ok(LogTraces { traces: setup.read("cbstate.traces")? })
    }
}

impl Callback for LogTraces {
    fn on(&mut self, event: &Event, learner: &Learner) -> Result<()> {
        if learner.loggers()? == 0 {
            return Ok(());
        }
        let phase = event.phase_name()?;
        log_series(
            &self.traces,
            &phase,
            event.total_steps(),
            &format!("step/{phase}/traces"),
            learner,
        )
    }
}
