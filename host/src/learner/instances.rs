//! Instances of components: what the host knows of one, and how it is called.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;

use fluxbay_plugin::abi::{entry, event};

use super::control::{Flow, Stop, StopKind, StopReason};
use super::runtime::Runtime;
use crate::bridge::call::{Failure, PluginInstance};
use crate::supervisor::crumb;

/// What happens when an instance fails.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnError {
    /// The run ends.
    #[default]
    Stop,
    /// The instance is left out from then on; only for callbacks and loggers.
    Disable,
}

/// What a component's manifest allows its instances: the upper bound of what they may ask for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Declared {
    /// Events that it may handle.
    pub events: Vec<String>,
    /// State paths that it may read.
    pub reads: Vec<String>,
    /// State paths that it may write, and so read.
    pub writes: Vec<String>,
    /// Components or instances that it runs after.
    pub run_after: Vec<String>,
    /// Components or instances that it runs before.
    pub run_before: Vec<String>,
    /// Custom events that it dispatches.
    pub emits: Vec<String>,
    /// Hyper-parameters that it may declare.
    pub hyper_parameters: Vec<String>,
}

/// A component made ready by the catalog: found, loaded, its configuration checked and completed.
#[derive(Clone, Debug)]
pub struct Prepared {
    /// The component's functions.
    pub component: &'static entry::Component,
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

/// What an instance said of itself while it was created.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answers {
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
}

/// It is being called.
const BUSY: u8 = 1;
/// It panicked.
const POISONED: u8 = 2;
/// It failed and is left out.
const DISABLED: u8 = 4;

/// Scopes whose begin and end belong together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Span {
    /// From fit-begin to fit-end.
    Fit,
    /// From epoch-begin to epoch-end.
    Epoch,
    /// From step-begin to step-end.
    Step,
}

impl Span {
    /// All of them, from the inside out.
    pub const ALL: [Span; 3] = [Span::Step, Span::Epoch, Span::Fit];

    /// The event that begins it.
    pub fn begin(self) -> u32 {
        match self {
            Span::Fit => event::FIT_BEGIN,
            Span::Epoch => event::EPOCH_BEGIN,
            Span::Step => event::STEP_BEGIN,
        }
    }

    /// The event that ends it.
    pub fn end(self) -> u32 {
        match self {
            Span::Fit => event::FIT_END,
            Span::Epoch => event::EPOCH_END,
            Span::Step => event::STEP_END,
        }
    }
}

/// Events that begin or end a span; they have the numbers from 0 on.
const MARKS: usize = event::STEP_END as usize + 1;
const _: () = assert!(MARKS == 2 * Span::ALL.len());

/// One instance.
#[derive(Debug)]
pub struct Instance {
    /// Its number, by which the bridge knows the caller.
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
    /// What it said while it was created.
    pub answers: Answers,
    /// Instances that belong to it.
    pub children: Vec<Rc<Instance>>,
    plugin_side: Arc<PluginInstance>,
    /// Standard events that it handles, one bit each.
    subscribed: u32,
    /// Why it cannot be called now; 0 where it can.
    barred: Cell<u8>,
    /// The span of which it heard each of the events that begin or end one, see [`MARKS`].
    marks: [Cell<u64>; MARKS],
}

/// What identifies a new instance.
#[derive(Debug)]
pub(super) struct Identity {
    pub number: u32,
    pub id: String,
    pub on_error: OnError,
    pub owner: Option<u32>,
}

impl Instance {
    pub(super) fn new(
        identity: Identity,
        prepared: Prepared,
        answers: Answers,
        children: Vec<Rc<Instance>>,
        plugin_side: PluginInstance,
    ) -> Instance {
        let subscribed = answers
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
            answers,
            children,
            // Shared with the loader, whose threads use only what the contract lets loader threads
            // call.
            #[expect(
                clippy::arc_with_non_send_sync,
                reason = "the loader's view of it is what is sent"
            )]
            plugin_side: Arc::new(plugin_side),
            subscribed,
            barred: Cell::new(0),
            marks: Default::default(),
        }
    }

    /// The plugin's side, without any check; for `save`, `load` and `resolve`.
    pub fn plugin_side(&self) -> &Arc<PluginInstance> {
        &self.plugin_side
    }

    /// The kind of its component, a number of the contract's `kind`.
    pub fn kind(&self) -> u32 {
        self.plugin_side.kind()
    }

    /// Whether it handles an event.
    pub fn handles(&self, number: u32) -> bool {
        self.answers.events.contains(&number)
    }

    /// Whether it panicked.
    pub fn is_poisoned(&self) -> bool {
        self.barred.get() & POISONED != 0
    }

    /// Whether it was left out after an error.
    pub fn is_disabled(&self) -> bool {
        self.barred.get() & DISABLED != 0
    }

    fn bar(&self, reason: u8) {
        self.barred.set(self.barred.get() | reason);
    }

    /// Marks it as being called; false where it cannot be.
    #[inline]
    pub(super) fn claim(&self) -> bool {
        let free = self.barred.get() == 0;
        if free {
            self.barred.set(BUSY);
        }
        free
    }

    /// Ends what [`Instance::claim`] began.
    #[inline]
    pub(super) fn release(&self) {
        self.barred.set(self.barred.get() & !BUSY);
    }

    pub(super) fn disable(&self) {
        self.bar(DISABLED);
    }

    /// Takes down that it hears an event of the span with this serial number; nothing if the event
    /// begins and ends none.
    #[inline]
    pub(super) fn mark(&self, number: u32, serial: u64) {
        if let Some(mark) = self.marks.get(number as usize) {
            mark.set(serial);
        }
    }

    fn has_heard(&self, number: u32, serial: u64) -> bool {
        self.marks[number as usize].get() == serial
    }

    /// Whether it still has to hear how the span `serial` ended. One that does not handle the begin
    /// counts as having seen it.
    pub(super) fn is_owed(&self, span: Span, serial: u64) -> bool {
        let saw_begin =
            self.subscribed >> span.begin() & 1 == 0 || self.has_heard(span.begin(), serial);
        serial != 0 && saw_begin && !self.has_heard(span.end(), serial)
    }

    /// Calls the plugin's side: not while it is being called already, and never after a panic.
    #[inline]
    pub fn call<T>(
        &self,
        runtime: &Runtime,
        doing: Doing,
        f: impl FnOnce(&PluginInstance) -> Result<T, Failure>,
    ) -> Flow<T> {
        if self.barred.get() & BUSY != 0 {
            return Err(self.stop(
                runtime,
                StopKind::Error,
                doing,
                "it is being called already: an instance cannot be called again by what it does itself, such as dispatching the event \
                 that it is handling"
                    .into(),
            ));
        }
        self.bar(BUSY);
        let result = self.call_again(runtime, doing, f);
        self.release();
        result
    }

    /// As [`Instance::call`], also while it is being called: a phase's step within its own epoch.
    #[inline]
    pub fn call_again<T>(
        &self,
        runtime: &Runtime,
        doing: Doing,
        f: impl FnOnce(&PluginInstance) -> Result<T, Failure>,
    ) -> Flow<T> {
        if self.is_poisoned() {
            return Err(self.stop(
                runtime,
                StopKind::Error,
                doing,
                "it panicked before and cannot be called again".into(),
            ));
        }
        let trail = crumb::call(self.number, doing);
        let result = f(&self.plugin_side);
        trail.end();
        match result {
            Ok(value) => {
                runtime.forget_pending();
                Ok(value)
            }
            Err(failure) => Err(self.failed(runtime, doing, failure)),
        }
    }

    #[cold]
    #[inline(never)]
    pub(super) fn failed(&self, runtime: &Runtime, doing: Doing, failure: Failure) -> Stop {
        let kind = StopKind::from_status(failure.status);
        if kind == StopKind::Panic {
            self.bar(POISONED);
        }
        if let Some(pending) = runtime.take_pending(kind) {
            return pending;
        }
        let text =
            if failure.text.is_empty() { "it gave no reason".to_owned() } else { failure.text };
        self.stop(runtime, kind, doing, text)
    }

    #[cold]
    #[inline(never)]
    fn stop(&self, runtime: &Runtime, kind: StopKind, doing: Doing, text: String) -> Stop {
        Stop(Box::new(StopReason {
            kind,
            by: self.id.clone(),
            component: self.component.clone(),
            plugin: self.plugin.clone(),
            doing: runtime.describe(doing),
            text,
        }))
    }
}

macro_rules! activities {
    ($($(#[$doc:meta])* $variant:ident = $number:literal, $phrase:literal,)+) => {
        /// What an instance is called for, for messages and for the breadcrumb.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Doing {
            /// Handling an event.
            Event(u32),
            $($(#[$doc])* $variant,)+
        }

        /// All but events, with their numbers and words.
        const ACTIVITIES: &[(Doing, u32, &str)] = &[$((Doing::$variant, $number, $phrase),)+];

        impl Doing {
            /// Its number, for the breadcrumb; never 0.
            #[inline]
            pub fn code(self) -> u32 {
                match self {
                    Doing::Event(number) => EVENTS.saturating_add(number),
                    $(Doing::$variant => $number,)+
                }
            }
        }
    };
}

activities! {
    /// `create`.
    Creating = 1, "while it was created",
    /// A phase's or callback's `init`.
    Init = 2, "in its init",
    /// A data set's `open`.
    OpeningData = 3, "while its data was opened",
    /// A data set's `prepare`.
    PreparingData = 4, "while it prepared an epoch",
    /// A data set's `fill`.
    Filling = 5, "filling a batch",
    /// A logger's `open`.
    Opening = 6, "while it was opened",
    /// A logger's `write`.
    Recording = 7, "writing a record",
    /// A logger's `flush` and `close`.
    Closing = 8, "while it was closed",
    /// A model's `build`.
    Building = 9, "while it was built",
    /// A model's `forward`.
    Forward = 10, "in its forward pass",
    /// A loss's `forward`.
    Judging = 11, "computing the loss",
    /// A phase's `step`.
    Step = 12, "in its step",
    /// A phase's `epoch`.
    Epoch = 13, "in its epoch",
    /// An optimizer's `begin`.
    Preparing = 14, "at the begin of an update",
    /// An optimizer's `update`.
    Updating = 15, "updating a parameter",
    /// A metric's `reset`.
    Resetting = 16, "in its reset",
    /// A metric's `update`.
    TakingIn = 17, "taking in a step",
    /// A metric's `compute`.
    Computing = 18, "computing its value",
    /// A metric's `details`.
    Details = 19, "giving details",
    /// A schedule's `value`.
    Value = 20, "giving a value",
    /// A schedule's `length`.
    Length = 21, "giving its length",
    /// A callback's `resolve`.
    Resolving = 22, "answering a conflict",
    /// `save`.
    Saving = 23, "while its state was saved",
    /// `load`.
    Loading = 24, "while its state was loaded",
    /// `destroy`.
    Destroying = 25, "while it was ended",
}

/// Codes from here on are events.
const EVENTS: u32 = 0x100;

impl Doing {
    /// The one with that number.
    pub fn from_code(code: u32) -> Option<Doing> {
        match code.checked_sub(EVENTS) {
            Some(number) => Some(Doing::Event(number)),
            None => {
                ACTIVITIES.iter().find(|(_, number, _)| *number == code).map(|(doing, ..)| *doing)
            }
        }
    }

    /// Words for a message; `event` names an event.
    pub fn phrase(self, event: impl FnOnce(u32) -> Option<String>) -> String {
        match self {
            Doing::Event(number) => {
                format!("handling {}", event(number).unwrap_or_else(|| format!("event {number}")))
            }
            activity => ACTIVITIES
                .iter()
                .find(|(known, ..)| *known == activity)
                .map(|(.., phrase)| (*phrase).to_owned())
                .unwrap_or_default(),
        }
    }
}

/// The position in words, such as ` in epoch 2, step 17 of phase training`; begins with a space
/// unless empty.
pub fn place(phase: &str, epoch: u64, step: u64) -> String {
    match (phase, epoch, step) {
        ("", 0, _) => String::new(),
        ("", epoch, _) => format!(" after epoch {epoch}"),
        (phase, epoch, 0) => format!(" in epoch {epoch} of phase {phase}"),
        (phase, epoch, step) => format!(" in epoch {epoch}, step {step} of phase {phase}"),
    }
}
