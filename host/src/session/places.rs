//! Diagnostics at their places in the run file.

use crate::run_file::{Diagnostic, Diagnostics, InstanceSpec, Origin, Place, RunDescription};

/// The place at which the run file sets a key, or a key that begins with it.
pub(super) fn given_at(run: &RunDescription, key: &str) -> Option<Place> {
    let (_, origin) = run.origins.iter().find(|(known, _)| known.starts_with(key))?;
    match origin {
        Origin::Given(place) => Some(*place),
        _ => None,
    }
}

/// Why a setting cannot be applied.
#[derive(Debug)]
pub(super) struct Fault {
    /// The first line is the message, further lines are notes.
    pub text: String,
    /// What to do.
    pub help: Option<&'static str>,
}

impl Fault {
    fn diagnostic(self, code: &'static str) -> Diagnostic {
        let mut lines = self.text.lines();
        let mut diagnostic = Diagnostic::error(code, lines.next().unwrap_or_default());
        diagnostic.notes = lines.map(|line| line.trim().to_owned()).collect();
        diagnostic.help = self.help.map(str::to_owned);
        diagnostic
    }
}

impl From<String> for Fault {
    fn from(text: String) -> Fault {
        Fault { text, help: None }
    }
}

/// A setting that cannot be applied, with its place in the run file.
pub(super) fn faulty_setting(run: &RunDescription, key: &str, fault: Fault) -> Diagnostics {
    let diagnostic = fault.diagnostic("fine-tuning");
    let mut diagnostics = Diagnostics::new();
    diagnostics.push(match given_at(run, key) {
        Some(place) => diagnostic.at(&run.sources, place, ""),
        None => diagnostic,
    });
    diagnostics
}

/// Weights that an instance cannot use, with its place in the run file.
pub(super) fn faulty_instance(
    run: &RunDescription,
    spec: &InstanceSpec,
    fault: Fault,
) -> Diagnostics {
    let mut diagnostics = Diagnostics::new();
    diagnostics.push(placed(fault.diagnostic("weights"), run, Some(spec)));
    diagnostics
}

/// A diagnostic at the place of an instance, if the run file lists it.
pub(super) fn placed(
    diagnostic: Diagnostic,
    run: &RunDescription,
    spec: Option<&InstanceSpec>,
) -> Diagnostic {
    match spec.and_then(|spec| spec.place) {
        Some(place) => diagnostic.at(&run.sources, place, ""),
        None => diagnostic,
    }
}
