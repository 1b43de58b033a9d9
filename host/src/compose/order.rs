//! The order of the callbacks: a topological sort that keeps the order of the run file where the
//! edges allow it.

use std::collections::{BTreeSet, HashMap};

use super::graph::Graph;
use super::member::Member;
use super::problem::Problem;
use super::reason::Reason;
use crate::library::Kind;

/// Adds the edges of `run-after` and `run-before`. Names that match no callback have no effect.
pub(super) fn add_named_edges(members: &[Member<'_>], graph: &mut Graph) {
    let callbacks =
        || members.iter().enumerate().filter(|(_, member)| member.kind == Kind::Callback);
    let mut called: HashMap<&str, Vec<usize>> = HashMap::new();
    for (at, member) in callbacks() {
        for name in member.names() {
            let found = called.entry(name).or_default();
            if found.last() != Some(&at) {
                found.push(at);
            }
        }
    }
    for (at, member) in callbacks() {
        let found = |name: &String| called.get(name.as_str()).into_iter().flatten().copied();
        for name in &member.run_after {
            for other in found(name) {
                graph.add(other, at, Reason::RunAfter { name: name.clone() });
            }
        }
        for name in &member.run_before {
            for other in found(name) {
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
fn report_cycles(graph: &Graph, mut left: BTreeSet<usize>, problems: &mut Vec<Problem>) {
    let mut before: HashMap<usize, Vec<usize>> = HashMap::new();
    for &at in &left {
        for after in graph.successors(at) {
            before.entry(after).or_default().push(at);
        }
    }
    let predecessors = |at: usize| before.get(&at).into_iter().flatten().copied();
    remove_without_successors(graph, &mut left, predecessors);
    while let Some(&at) = left.first() {
        let after = reachable(at, &left, |at| graph.successors(at));
        let mut group = reachable(at, &left, predecessors);
        group.retain(|other| after.contains(other));
        if group.is_empty() {
            left.remove(&at);
            continue;
        }
        if let Some(edges) = graph.search(at, at, |node| group.contains(&node)) {
            problems.push(Problem::Cycle { edges });
        }
        left.retain(|other| !group.contains(other));
        remove_without_successors(graph, &mut left, predecessors);
    }
}

/// Removes the nodes that lead to no cycle: those without successors, repeatedly.
fn remove_without_successors<I: Iterator<Item = usize>>(
    graph: &Graph,
    left: &mut BTreeSet<usize>,
    predecessors: impl Fn(usize) -> I,
) {
    let mut successors: HashMap<usize, usize> = left
        .iter()
        .map(|&at| (at, graph.successors(at).filter(|after| left.contains(after)).count()))
        .collect();
    let mut ends: Vec<usize> = left.iter().copied().filter(|at| successors[at] == 0).collect();
    while let Some(end) = ends.pop() {
        left.remove(&end);
        for at in predecessors(end).filter(|at| left.contains(at)) {
            if let Some(count) = successors.get_mut(&at) {
                *count -= 1;
                if *count == 0 {
                    ends.push(at);
                }
            }
        }
    }
}

/// The nodes within `left` that can be reached from one of them by at least one edge.
fn reachable<I: Iterator<Item = usize>>(
    from: usize,
    left: &BTreeSet<usize>,
    next: impl Fn(usize) -> I,
) -> BTreeSet<usize> {
    let mut found = BTreeSet::new();
    let mut open = vec![from];
    while let Some(at) = open.pop() {
        open.extend(next(at).filter(|node| left.contains(node) && found.insert(*node)));
    }
    found
}
