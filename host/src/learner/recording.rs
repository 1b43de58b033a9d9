//! What callbacks report: figures for the record of the run, records for the loggers.

use fluxbay_plugin::abi::logger::{RecordRaw, scope};

use super::control::Worst;
use super::instances::{Doing, OnError};
use super::ports::Scope;
use super::runtime::{Answer, Refusal, Runtime};

/// A checkpoint that an instance asked for, and which of those that it asked for stay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckpointWish {
    /// The instance.
    pub by: String,
    /// Metric that ranks them, as `PHASE/NAME`.
    pub metric: String,
    /// How many of the best stay, beside the newest; none keeps all.
    pub keep: Option<u64>,
    /// Which values are better.
    pub higher_is_better: bool,
}

impl Runtime {
    /// Notes that an instance wants a checkpoint at the end of this epoch. Answers whether anybody keeps checkpoints.
    pub(crate) fn request_checkpoint(&self, caller: u32, metric: &str, keep: u64, higher_is_better: bool) -> Answer<bool> {
        if !metric.contains('/') {
            return Err(Refusal::Text(format!("`{metric}` is no metric of a phase: it is PHASE/NAME, such as `validation/loss`")));
        }
        let by = self.state.borrow().owner_id(caller);
        let wish = CheckpointWish { by, metric: metric.to_owned(), keep: (keep > 0).then_some(keep), higher_is_better };
        let mut wishes = self.wishes.borrow_mut();
        wishes.retain(|known| known.by != wish.by);
        wishes.push(wish);
        Ok(self.on_checkpoint.borrow().is_some())
    }

    /// Takes the wishes for checkpoints that came up since the last call.
    pub fn take_checkpoint_wishes(&self) -> Vec<CheckpointWish> {
        std::mem::take(&mut self.wishes.borrow_mut())
    }

    /// Takes a figure of the running phase.
    pub(crate) fn record_metric(&self, number: u32, name: &str, value: f64) -> Answer {
        let scope = match number {
            scope::STEP => Scope::Step,
            scope::EPOCH => Scope::Epoch,
            other => return Err(Refusal::Text(format!("{other} is no scope of a metric: 0 is step, 1 is epoch"))),
        };
        if self.muted.get() {
            return Ok(());
        }
        self.with_at(|at| self.ports.sink.metric(at, scope, name, value))?;
        if scope == Scope::Epoch {
            let phase = self.with_at(|at| at.phase.to_owned());
            let mut metrics = self.metrics.borrow_mut();
            match metrics.iter_mut().find(|(known_phase, known, _)| *known_phase == phase && known == name) {
                Some(known) => known.2 = value,
                None => metrics.push((phase, name.to_owned(), value)),
            }
        }
        Ok(())
    }

    /// Hands a record to every logger.
    pub(crate) fn record_log(&self, record: &RecordRaw) -> Answer {
        let Some(parts) = self.parts.get().filter(|_| !self.muted.get()) else { return Ok(()) };
        let time = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64());
        let record = RecordRaw { time, ..*record };
        let mut worst = Worst::default();
        for logger in parts.loggers.iter().filter(|logger| !logger.is_disabled()) {
            let flow = logger.call(self, Doing::Named("writing a record"), |plugin| plugin.logger_write(self, logger.number, &record));
            worst.note(match flow {
                Err(stop) if logger.on_error == OnError::Disable => {
                    logger.disable();
                    log::warn!("{stop}; it is left out from here on, as its `on-error = \"disable\"` says");
                    Ok(())
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
