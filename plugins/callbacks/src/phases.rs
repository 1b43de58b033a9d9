//! The `phase` setting of callbacks: the id or the kind of a phase.

use fluxbay_plugin::{PhaseKind, prelude::*};

const KINDS: [PhaseKind; 3] = [PhaseKind::Validation, PhaseKind::Training, PhaseKind::Other];

/// `training`, `validation` or `other`.
pub fn kind_name(kind: PhaseKind) -> &'static str {
    match kind {
        PhaseKind::Training => "training",
        PhaseKind::Validation => "validation",
        PhaseKind::Other => "other",
    }
}

/// The id of the phase selected by a setting that is an id or a kind: the phase itself, or the first
/// one of the kind. Without a setting: the first validation phase, else the first training phase,
/// else any.
///
/// # Errors
/// The run has no such phase.
pub fn default_phase(setting: Option<&str>, learner: &Learner) -> Result<String> {
    let names = learner.phase_names()?;
    if let Some(name) = setting.and_then(|wanted| names.iter().find(|name| *name == wanted)) {
        return Ok(name.clone());
    }
    for kind in KINDS {
        if setting.is_none_or(|wanted| wanted == kind_name(kind))
            && let Some(index) = learner.first_phase(kind)?
        {
            return Ok(names[index].clone());
        }
    }
    match setting {
        Some(wanted) => {
            bail!("there is no phase `{wanted}`; this run has {}", names.join(", "))
        }
        None => bail!("this run has no phases"),
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
