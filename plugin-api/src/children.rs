//! Instances that belong to another instance. Their components may come from any plugin.

use crate::{Event, EventKind, Result, event::EVERY, metric::MetricInput, trampoline::calls};

/// A metric that belongs to this instance, from [`Setup::metric`](crate::Setup::metric).
#[derive(Debug)]
pub struct ChildMetric(u32);

impl ChildMetric {
    pub(crate) fn new(index: u32) -> Self {
        ChildMetric(index)
    }

    pub(crate) fn index(&self) -> u32 {
        self.0
    }

    /// Forgets all steps.
    ///
    /// # Errors
    /// Those of the metric.
    pub fn reset(&self) -> Result<()> {
        calls::metric_reset(self.0)
    }

    /// Adds one step and returns the value of that step alone.
    ///
    /// # Errors
    /// Those of the metric.
    pub fn update(&self, input: &MetricInput) -> Result<f64> {
        calls::metric_update(self.0, &input.raw())
    }

    /// The value over all steps since `reset`; NaN if there were none.
    ///
    /// # Errors
    /// Those of the metric.
    pub fn compute(&self) -> Result<f64> {
        calls::metric_compute(self.0)
    }

    /// More than one number, as a JSON text; empty if there is nothing more.
    ///
    /// # Errors
    /// Those of the metric.
    pub fn details(&self) -> Result<String> {
        calls::metric_details(self.0)
    }
}

/// A schedule that belongs to this instance, from [`Setup::schedule`](crate::Setup::schedule).
#[derive(Debug)]
pub struct ChildSchedule(u32);

impl ChildSchedule {
    pub(crate) fn new(index: u32) -> Self {
        ChildSchedule(index)
    }

    /// The value at time `t`, counted from 1.
    ///
    /// # Errors
    /// Those of the schedule.
    pub fn value(&self, t: f64) -> Result<f64> {
        calls::schedule_value(self.0, t)
    }

    /// The time from which the value no longer changes; none if there is no such time.
    ///
    /// # Errors
    /// Those of the schedule.
    pub fn length(&self) -> Result<Option<u64>> {
        let length = calls::schedule_length(self.0)?;
        Ok((length > 0).then_some(length))
    }
}

/// A callback that belongs to this instance, from [`Setup::callback`](crate::Setup::callback).
#[derive(Debug)]
pub struct ChildCallback(u32);

impl ChildCallback {
    pub(crate) fn new(index: u32) -> Self {
        ChildCallback(index)
    }

    /// Lets it handle an event, with its own access to the state.
    ///
    /// # Errors
    /// Those of the callback, including its cancelling.
    pub fn on(&self, event: &Event) -> Result<()> {
        calls::callback_on(self.0, event.raw())
    }

    /// The events that it subscribes to, with their names, custom events included.
    ///
    /// # Errors
    /// Outside a call of the host.
    pub fn events(&self) -> Result<Vec<(EventKind, String)>> {
        let mut events = Vec::new();
        for event in EVERY {
            if self.handles(event)? {
                events.push((event, event.name().to_owned()));
            }
        }
        // Custom events are numbered without gaps: the first number without a name ends them.
        for event in (crate::abi::event::CUSTOM..).map(EventKind::from_raw) {
            let Ok(name) = calls::event_name(event.number()) else { break };
            if self.handles(event)? {
                events.push((event, name));
            }
        }
        Ok(events)
    }

    /// Whether it subscribes to an event.
    ///
    /// # Errors
    /// Outside a call of the host.
    pub fn handles(&self, event: EventKind) -> Result<bool> {
        calls::callback_handles(self.0, event.number())
    }
}
