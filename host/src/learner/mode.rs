//! The engine's mode in steps and outside of them, and whether an event may record.

use fluxbay_plugin::abi::event;

use super::ports::PhaseKind;
use crate::tensor::{Behaviour, Mode, Recording};

/// The mode outside of steps: no recording, evaluation.
pub(super) const OUTSIDE_STEPS: Mode =
    Mode { recording: Recording::Off, behaviour: Behaviour::Evaluation };

/// The mode in the steps of a phase.
pub(super) fn mode_of(kind: PhaseKind) -> Mode {
    match kind {
        PhaseKind::Training => Mode { recording: Recording::On, behaviour: Behaviour::Training },
        PhaseKind::Validation | PhaseKind::Other => OUTSIDE_STEPS,
    }
}

/// Whether what callbacks compute at an event can be part of the backward pass.
pub(super) fn records(event: u32) -> bool {
    matches!(event, event::STEP_BEGIN | event::LOSS_BEGIN | event::BACKWARD_BEGIN)
        || event >= event::CUSTOM
}
