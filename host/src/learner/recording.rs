//! What callbacks report: figures for the record of the run, records for the loggers.

use fluxbay_plugin::abi::logger::{RecordRaw, scope};

use super::control::Worst;
use super::instances::{Doing, OnError};
use super::ports::Scope;
use super::runtime::{Answer, Refusal, Runtime};

impl Runtime {
    /// Takes a figure of the running phase.
    pub(crate) fn record_metric(&self, number: u32, name: &str, value: f64) -> Answer {
        let scope = match number {
            scope::STEP => Scope::Step,
            scope::EPOCH => Scope::Epoch,
            other => {
                return Err(Refusal::Text(format!(
                    "{other} is no scope of a metric: 0 is step, 1 is epoch"
                )));
            }
        };
        if self.muted.get() {
            return Ok(());
        }
        self.with_at(|at| self.ports.sink.metric(at, scope, name, value))?;
        if scope == Scope::Epoch {
            let phase = self.with_at(|at| at.phase.to_owned());
            let mut metrics = self.metrics.borrow_mut();
            match metrics
                .iter_mut()
                .find(|(known_phase, known, _)| *known_phase == phase && known == name)
            {
                Some(known) => known.2 = value,
                None => metrics.push((phase, name.to_owned(), value)),
            }
        }
        Ok(())
    }

    /// Hands a record to every logger.
    pub(crate) fn record_log(&self, record: &RecordRaw) -> Answer {
        let Some(parts) = self.parts.get().filter(|_| !self.muted.get()) else { return Ok(()) };
        let time = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .map_or(0.0, |since| since.as_secs_f64());
        let record = RecordRaw { time, ..*record };
        let mut worst = Worst::default();
        for logger in parts.loggers.iter().filter(|logger| !logger.is_disabled()) {
            let flow = logger.call(self, Doing::Recording, |plugin| {
                plugin.logger_write(self, logger.number, &record)
            });
            worst.note(match flow {
                Err(stop) if logger.on_error == OnError::Disable => {
                    logger.disable();
                    log::error!("{stop}; the run goes on without this logger (`on-error = \"stop\"` would end it)");
                    self.record_event("instance-disabled", &logger.id, &stop.0.text)
                }
                flow => flow,
            });
        }
        worst.flow().map_err(Refusal::Stop)
    }

    /// How many loggers the run has.
    pub(crate) fn logger_count(&self) -> usize {
        self.parts.get().map_or(0, |parts| parts.loggers.len())
    }
}
