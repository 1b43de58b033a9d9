//! Which phases a callback is for, as run files write it: by a phase's id or by its kind.

use fluxbay_plugin::{PhaseKind, prelude::*};

/// All kinds.
pub const KINDS: [&str; 3] = ["training", "validation", "other"];

/// `training`, `validation` or `other`.
pub fn kind_name(kind: PhaseKind) -> &'static str {
    match kind {
        PhaseKind::Training => "training",
        PhaseKind::Validation => "validation",
        PhaseKind::Other => "other",
    }
}

/// The phases that something is for: all, or one by id, or all of a kind.
#[derive(Clone, Debug, Default)]
pub struct Chosen(Option<String>);

impl Chosen {
    /// From a configuration; none means all.
    pub fn new(phase: Option<String>) -> Chosen {
        Chosen(phase)
    }

    /// Whether the event's phase is one of them. Outside phases it is not, unless all are meant.
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
