//! A callback wrapped by another callback.

use fluxbay_plugin::{ChildCallback, EventKind, prelude::*};

use crate::nested::Nested;

/// The wrapped callback and the events that it handles.
pub struct Inner {
    callback: ChildCallback,
    events: Vec<EventKind>,
}

impl Inner {
    /// Creates it and subscribes the wrapper to the same events.
    pub fn new(nested: &Nested, setup: &mut Setup) -> Result<Inner> {
        let callback = setup
            .callback(&nested.component, &nested.config)
            .context(format_args!("callback `{}`", nested.component))?;
        let events = callback.events()?;
        for (_, name) in &events {
            setup.subscribe(name)?;
        }
        if events.is_empty() {
            bail!("`{}` handles no event", nested.component);
        }
        Ok(Inner { callback, events: events.into_iter().map(|(event, _)| event).collect() })
    }

    /// Whether it handles an event.
    pub fn handles(&self, event: EventKind) -> bool {
        self.events.contains(&event)
    }

    /// Passes an event to it.
    pub fn on(&self, event: &Event) -> Result<()> {
        self.callback.on(event)
    }
}
