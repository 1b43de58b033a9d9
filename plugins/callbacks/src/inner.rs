//! A callback within a callback: created, asked for its events, called.

use fluxbay_plugin::{ChildCallback, EventKind, prelude::*};

use crate::nested::Nested;

/// The standard events.
const EVENTS: [EventKind; 14] = [
    FitBegin,
    FitEnd,
    EpochBegin,
    EpochEnd,
    StepBegin,
    StepEnd,
    LossBegin,
    BackwardBegin,
    BackwardEnd,
    StepCancelled,
    EpochCancelled,
    FitCancelled,
    EventKind::Error,
    Checkpoint,
];

/// A callback that belongs to this one, with the events that it handles.
pub struct Inner {
    callback: ChildCallback,
    events: Vec<EventKind>,
}

impl Inner {
    /// Creates it, and subscribes its owner to the same events.
    pub fn new(nested: &Nested, setup: &mut Setup) -> Result<Inner> {
        let callback = setup.callback(&nested.component, &nested.config).context(format_args!("callback `{}`", nested.component))?;
        let mut events = Vec::new();
        for event in EVENTS {
            if callback.handles(event)? {
                setup.subscribe(event.name())?;
                events.push(event);
            }
        }
        if events.is_empty() {
            bail!("`{}` handles no standard event", nested.component);
        }
        Ok(Inner { callback, events })
    }

    /// Whether it handles an event.
    pub fn handles(&self, event: EventKind) -> bool {
        self.events.contains(&event)
    }

    /// Lets it handle an event.
    pub fn on(&self, event: &Event) -> Result<()> {
        self.callback.on(event)
    }
}
