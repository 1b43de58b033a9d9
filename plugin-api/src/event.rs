//! Events, as callbacks see them.

use crate::{
    Result,
    abi::event::{self, EventRaw, phase_kind},
    trampoline::calls,
};

/// Which event it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EventKind {
    /// Before the first epoch of a fit.
    FitBegin,
    /// After the last epoch of a fit, however it ended.
    FitEnd,
    /// Before the first step of a phase's epoch.
    EpochBegin,
    /// After the last step of a phase's epoch; also after a cancelled one.
    EpochEnd,
    /// A batch is there: `step.xs` and `step.ys` may be read and changed.
    StepBegin,
    /// The step is complete.
    StepEnd,
    /// `step.yhats` is there, the loss is not.
    LossBegin,
    /// `step.loss` is there, the gradients are not.
    BackwardBegin,
    /// `step.grads` is there, the parameters are not updated yet.
    BackwardEnd,
    /// The step was cancelled; takes the place of step-end.
    StepCancelled,
    /// The epoch was cancelled; epoch-end follows.
    EpochCancelled,
    /// The fit was cancelled; fit-end follows.
    FitCancelled,
    /// Something failed; takes the place of the ends that are still owed.
    Error,
    /// Every reader of epoch-end has run: state may be saved now.
    Checkpoint,
    /// An event of a phase's own, by the number that `Setup::event` gave for its name.
    Custom(u32),
}

impl EventKind {
    pub(crate) const STANDARD: [EventKind; event::STANDARD as usize] = [
        EventKind::FitBegin,
        EventKind::FitEnd,
        EventKind::EpochBegin,
        EventKind::EpochEnd,
        EventKind::StepBegin,
        EventKind::StepEnd,
        EventKind::LossBegin,
        EventKind::BackwardBegin,
        EventKind::BackwardEnd,
        EventKind::StepCancelled,
        EventKind::EpochCancelled,
        EventKind::FitCancelled,
        EventKind::Error,
        EventKind::Checkpoint,
    ];

    pub(crate) const fn from_raw(kind: u32) -> EventKind {
        if kind < event::STANDARD {
            EventKind::STANDARD[kind as usize]
        } else {
            EventKind::Custom(kind)
        }
    }

    /// The number of this event in the contract.
    pub const fn number(self) -> u32 {
        match self {
            EventKind::FitBegin => event::FIT_BEGIN,
            EventKind::FitEnd => event::FIT_END,
            EventKind::EpochBegin => event::EPOCH_BEGIN,
            EventKind::EpochEnd => event::EPOCH_END,
            EventKind::StepBegin => event::STEP_BEGIN,
            EventKind::StepEnd => event::STEP_END,
            EventKind::LossBegin => event::LOSS_BEGIN,
            EventKind::BackwardBegin => event::BACKWARD_BEGIN,
            EventKind::BackwardEnd => event::BACKWARD_END,
            EventKind::StepCancelled => event::STEP_CANCELLED,
            EventKind::EpochCancelled => event::EPOCH_CANCELLED,
            EventKind::FitCancelled => event::FIT_CANCELLED,
            EventKind::Error => event::ERROR,
            EventKind::Checkpoint => event::CHECKPOINT,
            EventKind::Custom(number) => number,
        }
    }

    /// The name of a standard event; custom ones are known by name to the run alone
    /// (`Event::name`).
    pub const fn name(self) -> &'static str {
        match self {
            EventKind::Custom(_) => "custom",
            standard => event::NAMES[standard.number() as usize],
        }
    }
}

/// What a phase is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PhaseKind {
    /// It updates parameters.
    Training,
    /// It measures; parameters stay as they are.
    Validation,
    /// Anything else.
    Other,
}

/// An event and where in the run it happened.
#[derive(Clone, Copy, Debug, PartialEq)]
#[repr(transparent)]
pub struct Event(pub(crate) EventRaw);

impl Event {
    /// Which event it is.
    pub fn kind(&self) -> EventKind {
        EventKind::from_raw(self.0.kind)
    }

    /// Name of the event, also of a custom one.
    pub fn name(&self) -> Result<String> {
        calls::event_name(self.0.kind)
    }

    /// What the running phase is for; none outside phases (fit-begin, fit-end).
    pub fn phase_kind(&self) -> Option<PhaseKind> {
        match self.0.phase_kind {
            phase_kind::TRAINING => Some(PhaseKind::Training),
            phase_kind::VALIDATION => Some(PhaseKind::Validation),
            phase_kind::OTHER => Some(PhaseKind::Other),
            _ => None,
        }
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
    pub fn phase_name(&self) -> Result<String> {
        match self.phase() {
            Some(_) => calls::phase_name(self.0.phase),
            None => Ok(String::new()),
        }
    }

    /// Epoch of the fit, from 1; 0 before the first.
    pub fn epoch(&self) -> u64 {
        self.0.epoch
    }

    /// Step within the epoch, from 1; 0 outside steps.
    pub fn step(&self) -> u64 {
        self.0.step
    }

    /// Steps that this phase has begun since the run began, this one included.
    pub fn total_steps(&self) -> u64 {
        self.0.total_steps
    }

    /// Steps that an epoch of this phase has; none where unknown.
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
