//! Instances that belong to another instance, whatever plugin they come from.

use crate::{Event, EventKind, Result, metric::MetricInput, trampoline::calls};

/// A metric that belongs to this instance.
#[derive(Debug)]
pub struct ChildMetric(u32);

impl ChildMetric {
    pub(crate) fn new(index: u32) -> Self {
        ChildMetric(index)
    }

    /// Forgets what was gathered.
    pub fn reset(&self) -> Result<()> {
        calls::metric_reset(self.0)
    }

    /// Takes in one step and gives the value for that step alone.
    pub fn update(&self, input: &MetricInput) -> Result<f64> {
        calls::metric_update(self.0, &input.raw())
    }

    /// The value over everything gathered since `reset`; NaN where nothing was.
    pub fn compute(&self) -> Result<f64> {
        calls::metric_compute(self.0)
    }

    /// More than one number, as JSON; empty where there is no more.
    pub fn details(&self) -> Result<String> {
        calls::metric_details(self.0)
    }
}

/// A schedule that belongs to this instance.
#[derive(Debug)]
pub struct ChildSchedule(u32);

impl ChildSchedule {
    pub(crate) fn new(index: u32) -> Self {
        ChildSchedule(index)
    }

    /// Value at time `t`, from 1.
    pub fn value(&self, t: f64) -> Result<f64> {
        calls::schedule_value(self.0, t)
    }

    /// Number of times after which the value stays; none for a schedule without end.
    pub fn length(&self) -> Result<Option<u64>> {
        let length = calls::schedule_length(self.0)?;
        Ok((length > 0).then_some(length))
    }
}

/// A callback that belongs to this instance.
#[derive(Debug)]
pub struct ChildCallback(u32);

impl ChildCallback {
    pub(crate) fn new(index: u32) -> Self {
        ChildCallback(index)
    }

    /// Lets it handle an event, with its own grants.
    pub fn on(&self, event: &Event) -> Result<()> {
        calls::callback_on(self.0, event.raw())
    }

    /// The events that it subscribed to with their names, custom ones too.
    pub fn events(&self) -> Result<Vec<(EventKind, String)>> {
        let mut events = Vec::new();
        for event in EventKind::STANDARD {
            if self.handles(event)? {
                events.push((event, event.name().to_owned()));
            }
        }
        // Custom events are numbered one after the other; the first number without a name ends
        // them.
        for event in (crate::abi::event::CUSTOM..).map(EventKind::from_raw) {
            let Ok(name) = calls::event_name(event.number()) else { break };
            if self.handles(event)? {
                events.push((event, name));
            }
        }
        Ok(events)
    }

    /// Whether it subscribed to an event.
    pub fn handles(&self, event: EventKind) -> Result<bool> {
        calls::callback_handles(self.0, event.number())
    }
}
