//! A record that begins when the run stands: while instances are created there is nothing to tell
//! yet.

use std::cell::OnceCell;

use crate::{
    learner::ports::{At, Scope, Sink, SinkError},
    record::RunRecord,
};

/// A record of a run that may not have begun. See the module.
#[derive(Debug, Default)]
pub struct Record(OnceCell<RunRecord>);

impl Record {
    /// The record, once it has begun.
    pub fn get(&self) -> Option<&RunRecord> {
        self.0.get()
    }

    /// Begins it.
    pub fn begin(&self, record: RunRecord) -> &RunRecord {
        self.0.get_or_init(|| record)
    }
}

impl Sink for Record {
    fn metric(&self, at: &At<'_>, scope: Scope, name: &str, value: f64) -> Result<(), SinkError> {
        self.get().map_or(Ok(()), |record| record.metric(at, scope, name, value))
    }

    fn event(&self, at: &At<'_>, kind: &str, by: &str, detail: &str) -> Result<(), SinkError> {
        self.get().map_or(Ok(()), |record| record.event(at, kind, by, detail))
    }

    fn flush(&self) -> Result<(), SinkError> {
        self.get().map_or(Ok(()), Sink::flush)
    }
}
