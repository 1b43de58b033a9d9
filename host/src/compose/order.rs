//! The order of the callbacks: a topological sort that keeps the order of the run file where the
//! edges allow it.

use std::collections::BTreeSet;

use super::graph::Graph;
use super::member::Member;
use super::problem::Problem;
use super::reason::Reason;
use crate::library::Kind;

/// Adds the edges of `run-after` and `run-before`. Names that match no callback have no effect.
pub(super) fn add_named_edges(members: &[Member<'_>], graph: &mut Graph) {
    let callbacks =
        || members.iter().enumerate().filter(|(_, member)| member.kind == Kind::Callback);
    for (at, member) in callbacks() {
        for (other, _) in callbacks().filter(|(other, _)| *other != at) {
            for name in member.run_after.iter().filter(|name| members[other].is_called(name)) {
                graph.add(other, at, Reason::RunAfter { name: name.clone() });
            }
            for name in member.run_before.iter().filter(|name| members[other].is_called(name)) {
                graph.add(at, other, Reason::RunBefore { name: name.clone() });
            }
        }
    }
}

/// Sorts the callbacks topologically; among those that are ready, the first in the run file comes
/// next. Reports cycles.
pub(super) fn sort(
    members: &[Member<'_>],
    graph: &Graph,
    problems: &mut Vec<Problem>,
) -> Vec<usize> {
    let mut waiting_for = vec![0_usize; members.len()];
    for edge in graph.edges() {
        waiting_for[edge.after] += 1;
    }
    let is_callback = |at: &usize| members[*at].kind == Kind::Callback;
    let mut ready: BTreeSet<usize> =
        (0..members.len()).filter(is_callback).filter(|at| waiting_for[*at] == 0).collect();
    let mut order = Vec::new();
    while let Some(next) = ready.pop_first() {
        order.push(next);
        for after in graph.successors(next) {
            waiting_for[after] -= 1;
            if waiting_for[after] == 0 {
                ready.insert(after);
            }
        }
    }
    let left: BTreeSet<usize> =
        (0..members.len()).filter(is_callback).filter(|at| waiting_for[*at] > 0).collect();
    report_cycles(graph, left, problems);
    order
}

/// Reports a shortest cycle for each group of callbacks that wait for each other.
fn report_cycles(graph: &Graph, left: BTreeSet<usize>, problems: &mut Vec<Problem>) {
    let mut reported: BTreeSet<usize> = BTreeSet::new();
    for at in left.iter().copied() {
        if reported.contains(&at) {
            continue;
        }
        if let Some(edges) = graph.search(at, at, |node| left.contains(&node)) {
            // Report each group once.
            let group = left.iter().copied().filter(|other| {
                let there = graph.search(at, *other, |node| left.contains(&node)).is_some();
                there && graph.search(*other, at, |node| left.contains(&node)).is_some()
            });
            reported.extend(group);
            problems.push(Problem::Cycle { edges });
        }
    }
}
