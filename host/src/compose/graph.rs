//! The graph of which member runs before which, with the reasons of each edge.

use std::collections::{BTreeMap, VecDeque};

use super::reason::Reason;

/// One member runs before another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edge {
    /// Index of the member that runs first.
    pub before: usize,
    /// Index of the member that runs second.
    pub after: usize,
    /// Why, sorted; at least one.
    pub reasons: Vec<Reason>,
}

/// All edges, at most one for each ordered pair.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Graph {
    nodes: usize,
    edges: BTreeMap<(usize, usize), Vec<Reason>>,
}

impl Graph {
    /// A graph of `nodes` members without edges.
    pub fn new(nodes: usize) -> Self {
        Self { nodes, edges: BTreeMap::new() }
    }

    /// Number of members.
    pub fn nodes(&self) -> usize {
        self.nodes
    }

    /// Adds a reason for `before` to run before `after`; does nothing if they are equal.
    pub fn add(&mut self, before: usize, after: usize, reason: Reason) {
        if before == after {
            return;
        }
        let reasons = self.edges.entry((before, after)).or_default();
        if let Err(at) = reasons.binary_search(&reason) {
            reasons.insert(at, reason);
        }
    }

    /// The edges, sorted by their ends.
    pub fn edges(&self) -> impl Iterator<Item = Edge> {
        self.edges.iter().map(|((before, after), reasons)| Edge {
            before: *before,
            after: *after,
            reasons: reasons.clone(),
        })
    }

    /// The edge between two members.
    pub fn edge(&self, before: usize, after: usize) -> Option<Edge> {
        self.edges.get(&(before, after)).map(|reasons| Edge {
            before,
            after,
            reasons: reasons.clone(),
        })
    }

    /// Members that come directly after one, in their order.
    pub(super) fn successors(&self, of: usize) -> impl Iterator<Item = usize> {
        self.edges.range((of, 0)..=(of, usize::MAX)).map(|((_, after), _)| *after)
    }

    /// A shortest chain of edges from one member to another, if there is one.
    pub fn chain(&self, from: usize, to: usize) -> Option<Vec<Edge>> {
        self.search(from, to, |_| true)
    }

    /// A shortest chain of edges through members that `within` allows. With `from == to`, a cycle.
    pub(super) fn search(
        &self,
        from: usize,
        to: usize,
        within: impl Fn(usize) -> bool,
    ) -> Option<Vec<Edge>> {
        let mut came_from: BTreeMap<usize, usize> = BTreeMap::new();
        let mut queue = VecDeque::from([from]);
        while let Some(at) = queue.pop_front() {
            for next in self.successors(at) {
                if next == to {
                    return Some(self.walk_back(&came_from, from, at, to));
                }
                if within(next) && next != from && !came_from.contains_key(&next) {
                    came_from.insert(next, at);
                    queue.push_back(next);
                }
            }
        }
        None
    }

    fn walk_back(
        &self,
        came_from: &BTreeMap<usize, usize>,
        from: usize,
        last: usize,
        to: usize,
    ) -> Vec<Edge> {
        let mut stations = vec![to, last];
        let mut at = last;
        while at != from {
            at = came_from[&at];
            stations.push(at);
        }
        stations.reverse();
        stations.windows(2).filter_map(|pair| self.edge(pair[0], pair[1])).collect()
    }
}
