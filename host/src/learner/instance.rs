//! Instances of components: what the host knows of one.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use fluxbay_plugin::abi::{entry, event};

use super::span::{Marks, Span, SpanMarks};
use super::state::Range;
use crate::calls::PluginInstance;
use crate::library::ComponentRows;
pub use crate::run_file::OnError;

/// What a component's manifest allows its instances: the upper bound of what they may ask for.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Declared {
    /// Events that it may handle.
    pub events: Vec<String>,
    /// State paths that it may read.
    pub reads: Vec<String>,
    /// State paths that it may write, and therefore read.
    pub writes: Vec<String>,
    /// Components or instances that it runs after.
    pub run_after: Vec<String>,
    /// Components or instances that it runs before.
    pub run_before: Vec<String>,
    /// Custom events that it dispatches.
    pub emits: Vec<String>,
    /// Hyper-parameters that it may declare.
    pub hyper_parameters: Vec<String>,
    /// Values that they can have, by name.
    pub ranges: BTreeMap<String, Range>,
}

/// A component that the catalog found and loaded, with a checked and complete configuration.
#[derive(Clone, Debug)]
pub struct Prepared {
    /// The component's functions.
    pub component: &'static entry::Component,
    /// What it offers beyond contract 1.0.
    pub rows: ComponentRows,
    /// Its id, such as `callback/recorder`.
    pub name: String,
    /// Name of its plugin.
    pub plugin: String,
    /// The complete configuration, a JSON object.
    pub config: String,
    /// What its manifest allows.
    pub declared: Declared,
}

/// Where components come from: the catalog, or a table of a test.
pub trait Components {
    /// Finds component `name` of a kind (a number of the contract's `kind`), loads it, and
    /// completes `config`, a JSON object, by its schema. The error text says what is wrong and what
    /// to do.
    fn prepare(&self, kind: u32, name: &str, config: &str) -> Result<Prepared, String>;
}

/// What an instance asked for in its setup.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Requested {
    /// Paths that it reads.
    pub reads: Vec<String>,
    /// Paths that it writes.
    pub writes: Vec<String>,
    /// Components or instances that it runs after.
    pub run_after: Vec<String>,
    /// Components or instances that it runs before.
    pub run_before: Vec<String>,
    /// Events that it handles.
    pub events: Vec<u32>,
    /// Names of the tensors that an optimizer keeps per parameter.
    pub optimizer_state: Vec<String>,
    /// Hyper-parameters, by state path.
    pub hyper_parameters: Vec<String>,
    /// Figures that it reports at the end of an epoch.
    pub reports: Vec<ReportedFigure>,
    /// Figures that it watches.
    pub watches: Vec<WatchedFigure>,
    /// Whether it asked for the folder where relative paths start.
    pub base_dir: bool,
}

/// A figure that an instance reports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReportedFigure {
    /// Id or kind of the phase; empty for every phase that the instance handles.
    pub phase: String,
    /// Its name.
    pub name: String,
    /// A number of the contract's `metric::direction`.
    pub direction: u32,
}

/// A figure that an instance watches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WatchedFigure {
    /// Name of the figure.
    pub metric: String,
    /// Id or kind of the phase; empty for the phase that reports it.
    pub phase: String,
    /// A number of the contract's `metric::direction`; unknown for the declared one.
    pub better: u32,
}

/// What a watched figure was resolved to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResolvedFigure {
    /// Id of the phase.
    pub phase: String,
    /// A number of the contract's `metric::direction`.
    pub direction: u32,
}

/// It is being called.
const BUSY: u8 = 1;
/// It panicked.
const POISONED: u8 = 2;
/// It failed and is no longer called.
const DISABLED: u8 = 4;

/// One instance.
#[derive(Debug)]
pub struct Instance {
    /// Its number, by which the bridge identifies the caller.
    pub number: u32,
    /// Its id in the run.
    pub id: String,
    /// Its component, such as `callback/recorder`.
    pub component: String,
    /// Its plugin.
    pub plugin: String,
    /// What happens when it fails.
    pub on_error: OnError,
    /// Number of the instance that it belongs to.
    pub owner: Option<u32>,
    /// What its manifest allows.
    pub declared: Declared,
    /// What it asked for in its setup.
    pub requested: Requested,
    /// Instances that belong to it.
    pub children: Vec<Rc<Instance>>,
    /// Which values of it are better, if it is a metric; a number of the contract's
    /// `metric::direction`.
    pub direction: u32,
    /// What the figures that it watches were resolved to.
    pub(super) watched: RefCell<Vec<ResolvedFigure>>,
    plugin_side: Arc<PluginInstance>,
    /// Standard events that it handles, one bit each.
    subscribed: u32,
    /// Why it cannot be called now; 0 if it can.
    barred: Cell<u8>,
    marks: SpanMarks,
}

/// What identifies a new instance.
#[derive(Debug)]
pub(super) struct Identity {
    pub number: u32,
    pub id: String,
    pub on_error: OnError,
    pub owner: Option<u32>,
    pub direction: u32,
}

impl Instance {
    pub(super) fn new(
        identity: Identity,
        prepared: Prepared,
        requested: Requested,
        children: Vec<Rc<Instance>>,
        plugin_side: PluginInstance,
    ) -> Instance {
        let subscribed = requested
            .events
            .iter()
            .filter(|&&number| number < event::STANDARD)
            .fold(0, |bits, number| bits | 1 << number);
        Instance {
            number: identity.number,
            id: identity.id,
            component: prepared.name,
            plugin: prepared.plugin,
            on_error: identity.on_error,
            owner: identity.owner,
            declared: prepared.declared,
            requested,
            children,
            direction: identity.direction,
            watched: RefCell::default(),
            // Shared with the loader, whose threads use only what the contract allows there.
            #[expect(
                clippy::arc_with_non_send_sync,
                reason = "only the loader's view of it is sent to other threads"
            )]
            plugin_side: Arc::new(plugin_side),
            subscribed,
            barred: Cell::new(0),
            marks: SpanMarks::default(),
        }
    }

    /// The plugin's side, which can be called without any check.
    pub fn plugin_side(&self) -> &Arc<PluginInstance> {
        &self.plugin_side
    }

    /// The kind of its component, a number of the contract's `kind`.
    pub fn kind(&self) -> u32 {
        self.plugin_side.kind()
    }

    /// Whether it handles an event.
    pub fn handles(&self, number: u32) -> bool {
        self.requested.events.contains(&number)
    }

    /// Whether it asked for the folder where relative paths start.
    pub fn asks_for_base_dir(&self) -> bool {
        self.requested.base_dir
    }

    /// Whether it is being called.
    #[inline]
    pub(super) fn is_busy(&self) -> bool {
        self.barred.get() & BUSY != 0
    }

    /// Whether it panicked.
    pub fn is_poisoned(&self) -> bool {
        self.barred.get() & POISONED != 0
    }

    /// Whether it was disabled after an error.
    pub fn is_disabled(&self) -> bool {
        self.barred.get() & DISABLED != 0
    }

    fn bar(&self, reason: u8) {
        self.barred.set(self.barred.get() | reason);
    }

    /// Marks it as being called; false if it cannot be called.
    #[inline]
    pub(super) fn try_enter(&self) -> bool {
        let free = self.barred.get() == 0;
        if free {
            self.barred.set(BUSY);
        }
        free
    }

    /// Marks it as being called, whatever its state.
    #[inline]
    pub(super) fn enter(&self) {
        self.bar(BUSY);
    }

    /// Ends [`Instance::try_enter`] or [`Instance::enter`].
    #[inline]
    pub(super) fn leave(&self) {
        self.barred.set(self.barred.get() & !BUSY);
    }

    pub(super) fn poison(&self) {
        self.bar(POISONED);
    }

    pub(super) fn disable(&self) {
        self.bar(DISABLED);
    }

    /// Records that it receives an event of the span `serial`, see [`SpanMarks::mark`].
    #[inline]
    pub(super) fn mark(&self, event: u32, serial: u64) {
        self.marks.mark(event, serial);
    }

    /// The spans whose begin and end it received last.
    pub(super) fn marks(&self) -> Marks {
        self.marks.get()
    }

    /// Sets the spans whose begin and end it received last.
    pub(super) fn set_marks(&self, marks: Marks) {
        self.marks.set(marks);
    }

    /// Whether it still has to receive the end of the span `serial`: it received the begin, or does
    /// not handle it.
    pub(super) fn awaits_end(&self, span: Span, serial: u64) -> bool {
        let saw_begin = self.subscribed >> span.begin() & 1 == 0
            || self.marks.has_received(span.begin(), serial);
        serial != 0 && saw_begin && !self.marks.has_received(span.end(), serial)
    }
}
