//! What is recorded: events and metrics of the run, records for the loggers.

use fluxbay_plugin::abi::handle::Handle;
use fluxbay_plugin::abi::logger::{RecordRaw, record as kind, scope};

use super::control::{Flow, Stop, Worst};
use super::instance::OnError;
use super::ports::{At, Scope, SinkError};
use super::refusal::{Answer, Refusal};
use super::runtime::Runtime;
use crate::breadcrumb::Activity;

impl Runtime {
    /// Records an event in the life of the run.
    pub(crate) fn record_event(&self, kind: &str, by: &str, detail: &str) -> Flow {
        if self.rehearsals.is_muted() {
            return Ok(());
        }
        self.with_at(|at| self.ports.sink.event(at, kind, by, detail)).map_err(unwritten)
    }

    /// Writes what is buffered of the record to the disk.
    pub(super) fn flush_record(&self) -> Flow {
        self.ports.sink.flush().map_err(unwritten)
    }

    /// Records a value of a metric of the running phase.
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
        if self.rehearsals.is_muted() {
            return Ok(());
        }
        // The value of an epoch within a training epoch has the step of the latter.
        let within = self.intervals.outer_step().filter(|_| scope == Scope::Epoch);
        self.with_at(|at| {
            let at = At { step: within.unwrap_or(at.step), ..*at };
            self.ports.sink.metric(&at, scope, name, value)
        })?;
        if scope == Scope::Epoch {
            let updates = self.model_updates();
            self.with_at(|at| self.metrics.borrow_mut().set(at.phase, name, value, updates));
        }
        Ok(())
    }

    /// Checks a record and passes it to every logger. `text` is the text of the record.
    pub(crate) fn record_log(&self, record: &RecordRaw, text: &str) -> Answer {
        let tensor = self.check_record(record, text)?;
        let Some(roles) = self.roles.get().filter(|_| !self.rehearsals.is_muted()) else {
            return Ok(());
        };
        let time = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .map_or(0.0, |since| since.as_secs_f64());
        let record = RecordRaw { time, tensor, ..*record };
        let mut worst = Worst::default();
        for logger in roles.loggers.iter().filter(|logger| !logger.is_disabled()) {
            let flow = logger.call(self, Activity::Recording, |call| call.logger_write(&record));
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

    /// Checks that loggers can use a record. Returns the tensor that they get.
    fn check_record(&self, record: &RecordRaw, text: &str) -> Answer<Handle> {
        match record.kind {
            kind::SCALAR | kind::TEXT => Ok(Handle::NONE),
            kind::HYPER_PARAMETERS => match serde_json::from_str(text) {
                Ok(serde_json::Value::Object(_)) => Ok(Handle::NONE),
                _ => Err("a record of hyper-parameters needs a JSON object as its text".into()),
            },
            kind::HISTOGRAM | kind::IMAGE => {
                let engine = self.engine.borrow();
                let shape = engine.shape(record.tensor)?;
                if record.kind == kind::IMAGE && !matches!(shape.len(), 2 | 3) {
                    return Err(Refusal::Text(format!(
                        "an image is [height, width] or [channels, height, width], not {shape:?}"
                    )));
                }
                Ok(record.tensor)
            }
            other => Err(Refusal::Text(format!(
                "{other} is no kind of record: 0 is a scalar, 1 a text, 2 a histogram, 3 an image, \
                 4 hyper-parameters"
            ))),
        }
    }

    /// Number of loggers of the run.
    pub(crate) fn logger_count(&self) -> usize {
        self.roles.get().map_or(0, |roles| roles.loggers.len())
    }
}

#[cold]
fn unwritten(error: SinkError) -> Stop {
    Stop::host(format!("the record of the run cannot be written: {error}"))
}
