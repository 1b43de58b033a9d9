//! Events to several callbacks in a row, without looking anything up.

use std::sync::Arc;

use fluxbay_plugin::abi::{entry, event::EventRaw};

use super::PluginInstance;
use super::context::{self, Entered, Host, NO_INSTANCE};

/// A callback's function for events, ready to be called.
#[derive(Clone, Debug)]
pub struct EventHandler {
    pub(super) on: unsafe extern "C" fn(entry::Instance, *const EventRaw) -> i32,
    pub(super) raw: entry::Instance,
    pub(super) number: u32,
    /// Keeps `raw` alive.
    pub(super) _instance: Arc<PluginInstance>,
}

impl EventHandler {
    /// Number of the instance.
    #[inline]
    pub fn number(&self) -> u32 {
        self.number
    }
}

/// Calls of several callbacks in a row, for one host.
pub struct EventRound(Entered);

impl EventRound {
    /// Begins a round; it ends when dropped.
    #[inline]
    pub fn begin<H: Host>(host: &H) -> EventRound {
        EventRound(context::enter(host, NO_INSTANCE))
    }

    /// Calls a callback for event `kind` at position `at` and returns its status. Each callback gets
    /// an event of its own, so that what one writes there does not reach the next one.
    ///
    /// The event is made here and not copied: a copy would load a whole vector from memory to which
    /// `kind` was just written alone, and wait until that write has left the store buffer.
    #[inline(always)]
    pub fn call(&self, handler: &EventHandler, kind: u32, at: &EventRaw) -> i32 {
        self.0.switch_to(handler.number);
        let mut event = EventRaw { kind, ..*at };
        // SAFETY: `raw` belongs to the component of `on`, and the handler keeps it alive; the event
        // is lent for the call.
        unsafe { (handler.on)(handler.raw, &raw mut event) }
    }

    /// Whether the call that returned OK had set an error text, which is dropped, or a pending
    /// stop.
    #[inline]
    pub fn take_leftovers(&self) -> bool {
        self.0.take_leftovers()
    }
}
