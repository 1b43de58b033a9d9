//! Run description and catalog to wiring: everything about a run that can be decided before its
//! first batch is decided here.
//!
//! [`compose`] takes plain data, [`Member`]s in run-file order, and gives a [`Composition`]: the
//! order of the callbacks with the reason of every edge, dispatch lists for each phase and event,
//! numbers for custom events and state paths. Or it gives all [`Problem`]s at once. Called by the
//! learner's start and by `fluxbay compose`. It loads nothing, knows no tensors, and the same
//! members give the same composition: no hash order leaks into it.

#![forbid(unsafe_code)]

mod conflicts;
mod dispatch;
pub mod draw;
pub mod from_manifests;
mod graph;
mod member;
mod needs;
mod order;
pub mod overview;
pub mod page;
pub mod paths;
mod problem;
mod reason;

#[cfg(test)]
mod tests;
#[cfg(test)]
mod view_tests;

pub use dispatch::{Dispatch, EventTable};
pub use graph::{Edge, Graph};
pub use member::{Access, Member, Offer, Resolution};
pub use problem::{Problem, Right};
pub use reason::Reason;

/// All that a composition is made from.
#[derive(Debug)]
pub struct Input<'a> {
    /// The instances of the run in the order of the run file.
    pub members: Vec<Member<'a>>,
    /// Components that could be added to the run; only for the mends of problems.
    pub offers: Vec<Offer>,
}

/// How a run is wired.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Composition {
    /// The callbacks in the order in which they run, as indices of the members.
    pub order: Vec<usize>,
    /// Why one comes before another.
    pub graph: Graph,
    /// Names and numbers of events.
    pub events: EventTable,
    /// Who is called at which event of which phase.
    pub dispatch: Dispatch,
    /// All state paths that a member reads or writes, sorted; a path's slot is its index.
    pub slots: Vec<String>,
}

/// Composes a run.
///
/// # Errors
/// Every problem of the composition, in a fixed order: access, events, missing writers, conflicts,
/// cycles.
pub fn compose(input: &Input<'_>) -> Result<Composition, Vec<Problem>> {
    let mut problems = Vec::new();
    needs::within_bounds(input, &mut problems);
    let events = EventTable::of(&input.members);
    needs::events_are_emitted(input, &events, &mut problems);
    needs::reads_are_written(input, &mut problems);
    let mut graph = Graph::new(input.members.len());
    conflicts::add_edges(&input.members, &mut graph, &mut problems);
    order::add_named_edges(&input.members, &mut graph);
    let order = order::sort(&input.members, &graph, &mut problems);
    if !problems.is_empty() {
        return Err(problems);
    }
    let dispatch = Dispatch::build(&input.members, &order, &events);
    Ok(Composition { order, graph, events, dispatch, slots: slots(&input.members) })
}

impl Composition {
    /// The slot of a state path; none for one that no member named.
    pub fn slot(&self, path: &str) -> Option<usize> {
        self.slots.binary_search_by(|known| known.as_str().cmp(path)).ok()
    }
}

fn slots(members: &[Member<'_>]) -> Vec<String> {
    let mut all: Vec<String> = members
        .iter()
        .flat_map(|member| member.access.reads.iter().chain(&member.access.writes))
        .cloned()
        .collect();
    all.sort();
    all.dedup();
    all
}
