//! Events: what a phase dispatches and a callback handles.

use abi_stable::StableAbi;

/// Passes the table of the standard events to macro `$define`.
///
/// One line per event: documentation, constant, number, variant of `EventKind`, name. Constants,
/// [`EVENTS`], `EventKind`, the C header, completions and the host's lists all follow from this
/// table. A released number never changes its meaning.
macro_rules! events {
    ($define:ident) => {
        $define! {
            /// Before the first epoch of a fit.
            FIT_BEGIN = 0, FitBegin, "fit-begin";
            /// After the last epoch of a fit, however the fit ended.
            FIT_END = 1, FitEnd, "fit-end";
            /// Before the first step of a phase's epoch.
            EPOCH_BEGIN = 2, EpochBegin, "epoch-begin";
            /// After the last step of a phase's epoch; also after a cancelled epoch.
            EPOCH_END = 3, EpochEnd, "epoch-end";
            /// A batch is ready: `step.xs` and `step.ys` may be read and changed.
            STEP_BEGIN = 4, StepBegin, "step-begin";
            /// The step is complete.
            STEP_END = 5, StepEnd, "step-end";
            /// `step.yhats` is set, `step.loss` is not.
            LOSS_BEGIN = 6, LossBegin, "loss-begin";
            /// `step.loss` is set, the gradients are not.
            BACKWARD_BEGIN = 7, BackwardBegin, "backward-begin";
            /// `step.grads` is set, the parameters are not updated yet.
            BACKWARD_END = 8, BackwardEnd, "backward-end";
            /// The step was cancelled. Fired instead of step-end.
            STEP_CANCELLED = 9, StepCancelled, "step-cancelled";
            /// The epoch was cancelled. Fired before epoch-end, or instead of it if the fit ends too.
            EPOCH_CANCELLED = 10, EpochCancelled, "epoch-cancelled";
            /// The fit was cancelled. Fired before fit-end.
            FIT_CANCELLED = 11, FitCancelled, "fit-cancelled";
            /// The run failed. Fired instead of the end events that subscribers still await.
            ERROR = 12, Error, "error";
            /// Every callback has handled epoch-end: state may be saved now.
            CHECKPOINT = 13, Checkpoint, "checkpoint";
        }
    };
}
pub(crate) use events;

macro_rules! define_constants {
    ($($(#[doc = $doc:literal])+ $constant:ident = $number:literal, $variant:ident, $name:literal;)+) => {
        $( $(#[doc = $doc])+ pub const $constant: u32 = $number; )+

        /// The standard events, by number.
        pub const EVENTS: &[EventInfo] = &[ $( EventInfo {
            number: $number,
            name: $name,
            constant: stringify!($constant),
            variant: stringify!($variant),
            doc: concat!($($doc),+),
        } ),+ ];

        /// Names of the standard events, by number.
        pub const NAMES: [&str; STANDARD as usize] = [ $($name),+ ];
    };
}

/// What the table of standard events says about one of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventInfo {
    /// Number in [`EventRaw::kind`].
    pub number: u32,
    /// Name in kebab-case, as written in manifests and run files.
    pub name: &'static str,
    /// Name of its constant in this module.
    pub constant: &'static str,
    /// Name of its variant in `EventKind`.
    pub variant: &'static str,
    /// Its documentation, one line.
    pub doc: &'static str,
}

impl EventInfo {
    /// The documentation without the space that a doc comment begins with.
    pub fn summary(&self) -> &'static str {
        self.doc.trim_start()
    }
}

events!(define_constants);

/// Number of standard events.
pub const STANDARD: u32 = EVENTS.len() as u32;
/// First number of a custom event. Custom events are numbered anew in each run.
pub const CUSTOM: u32 = 64;

const _: () = {
    let mut index = 0;
    while index < EVENTS.len() {
        assert!(EVENTS[index].number as usize == index, "events are listed by number");
        index += 1;
    }
    assert!(STANDARD <= CUSTOM, "the numbers of standard events reach into the custom ones");
};

/// Kinds of phases.
pub mod phase_kind {
    /// Updates parameters.
    pub const TRAINING: u32 = 0;
    /// Measures; parameters do not change.
    pub const VALIDATION: u32 = 1;
    /// Anything else.
    pub const OTHER: u32 = 2;
    /// No phase is running (fit-begin, fit-end).
    pub const NONE: u32 = 3;
}

/// One event, as a callback receives it. Borrowed for the call; not to be written to.
#[repr(C)]
#[derive(StableAbi, Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventRaw {
    /// A number of this module, or a custom one.
    pub kind: u32,
    /// Index of the running phase in the run; `u32::MAX` if none is running.
    pub phase: u32,
    /// A number of [`phase_kind`].
    pub phase_kind: u32,
    /// 0.
    pub reserved: u32,
    /// Epoch of the fit, counted from 1; 0 before the first.
    pub epoch: u64,
    /// Step within the epoch, counted from 1; 0 outside steps.
    pub step: u64,
    /// Number of steps that this phase has begun since the run began, this one included.
    pub total_steps: u64,
    /// Number of steps in an epoch of this phase; 0 if unknown.
    pub steps_per_epoch: u64,
}
