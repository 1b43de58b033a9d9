//! How trainings of a component end, and why it trains in no generated run.

use crate::learner::{Ending, FitReport, Stop, StopKind};
use crate::library::Kind;

/// Why a component trains in no generated run.
#[derive(Clone, Debug)]
pub(super) enum Untrained {
    /// It was refused, or refused its inputs, in each of them: it may need others.
    Needs(String),
    /// It has a fault.
    Fails(String),
}

impl From<Untrained> for String {
    fn from(untrained: Untrained) -> String {
        let (Untrained::Needs(problem) | Untrained::Fails(problem)) = untrained;
        problem
    }
}

impl Untrained {
    /// A run with a component that cannot be opened. A panic is a fault in any case, and so is a callback
    /// that does not fit into a run, since any run may have it.
    pub(super) fn unopened(kind: Kind, problem: String) -> Untrained {
        match problem.contains("panicked") || kind == Kind::Callback {
            true => Untrained::Fails(problem),
            false => Untrained::Needs(problem),
        }
    }

    /// A training that did not end as it should. What is no callback may refuse its inputs with a text.
    pub(super) fn ended(kind: Kind, report: &FitReport) -> Option<Untrained> {
        let problem = finished(report).err()?;
        let refuses = matches!(&report.ending, Ending::Failed(stop) if stop.kind() == StopKind::Error)
            && without_panic(report).is_ok();
        Some(match refuses && kind != Kind::Callback {
            true => Untrained::Needs(problem),
            false => Untrained::Fails(problem),
        })
    }
}

/// Ok if a fit ran to its end.
pub(super) fn finished(report: &FitReport) -> Result<(), String> {
    match &report.ending {
        Ending::Finished => Ok(()),
        Ending::Stopped { by, reason } => Err(format!("`{by}` ended it early: {reason}")),
        Ending::Failed(stop) => Err(stop.to_string()),
    }
}

/// Ok unless a fit ended by a panic or by an error without a text.
pub(super) fn without_panic(report: &FitReport) -> Result<(), String> {
    match &report.ending {
        Ending::Failed(stop) if stop.kind() == StopKind::Panic => Err(stop.to_string()),
        Ending::Failed(stop) if words(stop).is_empty() => {
            Err("it failed with an error without text".to_owned())
        }
        _ => Ok(()),
    }
}

fn words(stop: &Stop) -> &str {
    stop.0.text.trim()
}
