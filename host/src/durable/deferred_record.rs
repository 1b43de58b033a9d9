//! A record that starts once all instances exist. Until then metrics and events are dropped.

use std::cell::OnceCell;

use crate::{
    learner::ports::{At, Scope, Sink, SinkError},
    record::RunRecord,
};

/// A record of a run that may not have started.
#[derive(Debug, Default)]
pub struct DeferredRecord(OnceCell<RunRecord>);

impl DeferredRecord {
    /// The record, once it has started.
    pub fn get(&self) -> Option<&RunRecord> {
        self.0.get()
    }

    /// Starts the record.
    pub fn begin(&self, record: RunRecord) -> &RunRecord {
        self.0.get_or_init(|| record)
    }
}

impl Sink for DeferredRecord {
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
