//! Composition: from the instances of a run to the order and dispatch of its callbacks.
//!
//! [`compose`] takes [`Member`]s in run-file order and returns a [`Composition`]: the order of the
//! callbacks with the reasons of every edge, and the callbacks to call for each phase and event. If
//! the members do not fit together, it returns all [`Problem`]s. Called by the session and by
//! `fluxbay compose`.
//!
//! It works on plain data: it loads no plugin and reads no tensor. The result does not depend on
//! hash order.
//!
//! - `member`, `from_manifests`: what is known of each instance.
//! - `needs`, `figures`, `conflicts`, `order`: the rules; `problem`: what they can report.
//! - `graph`, `reason`, `dispatch`, `paths`, `watched`: their data.
//! - `overview`: the composition as data; `listing` and `draw` print it.

#![forbid(unsafe_code)]

mod conflicts;
mod dispatch;
pub mod draw;
mod event_names;
pub mod figures;
pub mod from_manifests;
mod graph;
pub mod listing;
mod member;
mod needs;
mod order;
pub mod overview;
pub mod paths;
mod problem;
mod reason;
mod watched;

#[cfg(test)]
mod tests;
#[cfg(test)]
mod view_tests;

pub use dispatch::{Dispatch, EventTable};
pub use event_names::{EventNames, column};
pub use figures::{Figures, Ranking};
pub use graph::{Edge, Graph};
pub use member::{Access, Member, Offer, Resolution};
pub use problem::{Problem, Right, diagnostics};
pub use reason::Reason;

/// All that a composition is made from.
#[derive(Debug)]
pub struct Input<'a> {
    /// The instances of the run in the order of the run file.
    pub members: Vec<Member<'a>>,
    /// Components that could be added to the run, for the help of problems.
    pub offers: Vec<Offer>,
    /// The figure that `[checkpoints]` ranks by; none if it ranks by none, or if the figures of the
    /// members are not known.
    pub ranking: Option<Ranking>,
}

/// How a run is wired.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Composition {
    /// The callbacks in the order in which they run, as indices of the members.
    pub order: Vec<usize>,
    /// Why a callback runs before another.
    pub graph: Graph,
    /// Names and numbers of the events.
    pub events: EventTable,
    /// The callbacks of each event of each phase.
    pub dispatch: Dispatch,
    /// The figures of the run.
    pub figures: Figures,
}

/// Composes a run.
///
/// # Errors
/// All problems, in a fixed order: access, events, missing writers, figures, conflicts, cycles.
pub fn compose(input: &Input<'_>) -> Result<Composition, Vec<Problem>> {
    let mut problems = Vec::new();
    needs::within_bounds(input, &mut problems);
    let events = EventTable::of(&input.members);
    needs::events_are_emitted(input, &events, &mut problems);
    needs::reads_are_written(input, &mut problems);
    let figures = figures::resolve(&input.members, input.ranking.as_ref(), &mut problems);
    let mut graph = Graph::new(input.members.len());
    conflicts::add_edges(&input.members, &mut graph, &mut problems);
    order::add_named_edges(&input.members, &mut graph);
    let order = order::sort(&input.members, &graph, &mut problems);
    if !problems.is_empty() {
        return Err(problems);
    }
    let dispatch = Dispatch::build(&input.members, &order, &events);
    Ok(Composition { order, graph, events, dispatch, figures })
}
