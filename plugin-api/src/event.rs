//! Events, as callbacks receive them.

use crate::{
    Result,
    abi::event::{self, EventRaw, phase_kind},
    trampoline::calls,
};

macro_rules! define_kinds {
    ($($(#[doc = $doc:literal])+ $constant:ident = $number:literal, $variant:ident, $name:literal;)+) => {
        /// Which event it is.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum EventKind {
            $( $(#[doc = $doc])+ $variant, )+
            /// An event that a phase declares and dispatches itself, by the number that
            /// [`Setup::event`](crate::Setup::event) returns for its name.
            Custom(u32),
        }

        /// Every standard event: `on: EVERY` in [`plugin!`](crate::plugin!) subscribes to all of them.
        pub const EVERY: [EventKind; event::STANDARD as usize] = [ $(EventKind::$variant),+ ];

        impl EventKind {
            /// The number of this event in the contract.
            pub const fn number(self) -> u32 {
                match self {
                    $( EventKind::$variant => $number, )+
                    EventKind::Custom(number) => number,
                }
            }
        }
    };
}

event::events!(define_kinds);

impl EventKind {
    pub(crate) const fn from_raw(kind: u32) -> EventKind {
        if kind < event::STANDARD { EVERY[kind as usize] } else { EventKind::Custom(kind) }
    }

    /// The name of a standard event; `custom` for a custom one, whose name only the run knows
    /// ([`Event::name`]).
    pub const fn name(self) -> &'static str {
        match self {
            EventKind::Custom(_) => "custom",
            standard => event::NAMES[standard.number() as usize],
        }
    }
}

/// What a phase is for; decides its mode and its data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PhaseKind {
    /// Updates parameters; reads the split `training`.
    Training,
    /// Measures, and parameters do not change; reads the split `validation`.
    Validation,
    /// Anything else; reads no data by default.
    Other,
}

impl PhaseKind {
    /// All kinds, with number and name.
    const ALL: [(PhaseKind, u32, &'static str); 3] = [
        (PhaseKind::Training, phase_kind::TRAINING, "training"),
        (PhaseKind::Validation, phase_kind::VALIDATION, "validation"),
        (PhaseKind::Other, phase_kind::OTHER, "other"),
    ];

    /// The number in the contract.
    pub fn number(self) -> u32 {
        PhaseKind::ALL[self as usize].1
    }

    /// The name in manifests and files: `training`, `validation`, `other`.
    pub fn name(self) -> &'static str {
        PhaseKind::ALL[self as usize].2
    }

    /// The kind called `name` in a manifest; an empty name is [`PhaseKind::Other`].
    pub fn named(name: &str) -> Option<PhaseKind> {
        let name = if name.is_empty() { "other" } else { name };
        PhaseKind::ALL.iter().find(|kind| kind.2 == name).map(|kind| kind.0)
    }

    /// The kind with this number in the contract; none for "no phase".
    pub(crate) fn from_raw(number: u32) -> Option<PhaseKind> {
        PhaseKind::ALL.iter().find(|kind| kind.1 == number).map(|kind| kind.0)
    }
}

/// An event, and where in the run it was fired.
#[derive(Clone, Copy, Debug, PartialEq)]
#[repr(transparent)]
pub struct Event(pub(crate) EventRaw);

impl Event {
    /// Which event it is.
    pub fn kind(&self) -> EventKind {
        EventKind::from_raw(self.0.kind)
    }

    /// Name of the event, also of a custom one.
    ///
    /// # Errors
    /// Outside a call of the host.
    pub fn name(&self) -> Result<String> {
        calls::event_name(self.0.kind)
    }

    /// The kind of the running phase; none outside phases (fit-begin, fit-end).
    pub fn phase_kind(&self) -> Option<PhaseKind> {
        PhaseKind::from_raw(self.0.phase_kind)
    }

    /// Whether the running phase is a training phase.
    pub fn is_training(&self) -> bool {
        self.phase_kind() == Some(PhaseKind::Training)
    }

    /// Whether the running phase is a validation phase.
    pub fn is_validation(&self) -> bool {
        self.phase_kind() == Some(PhaseKind::Validation)
    }

    /// Index of the running phase in the run; none outside phases.
    pub fn phase(&self) -> Option<usize> {
        (self.0.phase != u32::MAX).then_some(self.0.phase as usize)
    }

    /// Instance id of the running phase, such as `training`; empty outside phases.
    ///
    /// # Errors
    /// Outside a call of the host.
    pub fn phase_name(&self) -> Result<String> {
        match self.phase() {
            Some(_) => calls::phase_name(self.0.phase),
            None => Ok(String::new()),
        }
    }

    /// Epoch of the fit, counted from 1; 0 before the first.
    pub fn epoch(&self) -> u64 {
        self.0.epoch
    }

    /// Step within the epoch, counted from 1; 0 outside steps.
    pub fn step(&self) -> u64 {
        self.0.step
    }

    /// Number of steps that this phase has begun since the run began, this one included.
    pub fn total_steps(&self) -> u64 {
        self.0.total_steps
    }

    /// Number of steps in an epoch of this phase; none if unknown.
    pub fn steps_per_epoch(&self) -> Option<u64> {
        (self.0.steps_per_epoch > 0).then_some(self.0.steps_per_epoch)
    }

    pub(crate) fn raw(&self) -> &EventRaw {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_kinds_are_the_same_list() {
        for number in 0..event::STANDARD {
            assert_eq!(EventKind::from_raw(number).number(), number);
        }
        assert_eq!(EventKind::from_raw(70), EventKind::Custom(70));
        assert_eq!(EventKind::Checkpoint.name(), "checkpoint");
    }
}
