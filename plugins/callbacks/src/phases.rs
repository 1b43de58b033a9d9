//! Names of phase kinds, as run files write them.

use fluxbay_plugin::PhaseKind;

/// `training`, `validation` or `other`.
pub fn kind_name(kind: PhaseKind) -> &'static str {
    match kind {
        PhaseKind::Training => "training",
        PhaseKind::Validation => "validation",
        PhaseKind::Other => "other",
    }
}
