//! The `phase` setting of callbacks: the id or the kind of a phase.

use fluxbay_plugin::{PhaseKind, prelude::*};

/// Names of all kinds.
pub const KINDS: [&str; 3] = ["training", "validation", "other"];

/// `training`, `validation` or `other`.
pub fn kind_name(kind: PhaseKind) -> &'static str {
    match kind {
        PhaseKind::Training => "training",
        PhaseKind::Validation => "validation",
        PhaseKind::Other => "other",
    }
}

/// The selected phases: all, one by id, or all of a kind.
#[derive(Clone, Debug, Default)]
pub struct Chosen(Option<String>);

impl Chosen {
    /// From a setting; `None` selects all phases.
    pub fn new(phase: Option<String>) -> Chosen {
        Chosen(phase)
    }

    /// Whether the phase of the event is selected. Events outside phases match only `None`.
    pub fn includes(&self, event: &Event) -> Result<bool> {
        match &self.0 {
            None => Ok(true),
            Some(wanted) if event.phase_kind().is_some_and(|kind| kind_name(kind) == wanted) => {
                Ok(true)
            }
            Some(wanted) => Ok(event.phase_name()? == *wanted),
        }
    }
}
