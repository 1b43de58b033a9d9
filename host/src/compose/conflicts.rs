//! Callbacks that access the same state path: which one runs first, or why they conflict.
//!
//! Two writers need a conflict resolution from at least one of them. A writer runs before a reader
//! unless a resolution says otherwise.

use super::graph::Graph;
use super::member::{Member, Resolution};
use super::paths::overlap;
use super::problem::Problem;
use super::reason::Reason;
use crate::library::Kind;

/// The combined resolutions of both callbacks.
enum Verdict {
    /// Neither defines a resolution.
    Open,
    /// No order is needed.
    Free,
    /// The first of the pair runs first.
    FirstLeads,
    /// The second of the pair runs first.
    SecondLeads,
    /// At least one cannot be in a run with the other.
    Impossible,
    /// The resolutions contradict each other.
    Contradiction(Resolution, Resolution),
}

fn verdict(first: Resolution, second: Resolution) -> Verdict {
    use Resolution::{NoConflict, NotDefined, RunFirst, Unresolvable};
    match (first, second) {
        (NotDefined, NotDefined) => Verdict::Open,
        (Unresolvable, NotDefined | Unresolvable) | (NotDefined, Unresolvable) => {
            Verdict::Impossible
        }
        (NoConflict, NotDefined | NoConflict) | (NotDefined, NoConflict) => Verdict::Free,
        (RunFirst, NotDefined) => Verdict::FirstLeads,
        (NotDefined, RunFirst) => Verdict::SecondLeads,
        (first, second) => Verdict::Contradiction(first, second),
    }
}

/// How a pair accesses a path.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sharing {
    BothWrite,
    FirstWrites,
    SecondWrites,
}

/// Adds the edges that follow from access to shared paths.
pub(super) fn add_edges(members: &[Member<'_>], graph: &mut Graph, problems: &mut Vec<Problem>) {
    for second in 0..members.len() {
        for first in 0..second {
            // Duplicate ids are reported elsewhere.
            let differ = members[first].id != members[second].id;
            if differ
                && members[first].kind == Kind::Callback
                && members[second].kind == Kind::Callback
            {
                pair(members, first, second, graph, problems);
            }
        }
    }
}

fn pair(
    members: &[Member<'_>],
    first: usize,
    second: usize,
    graph: &mut Graph,
    problems: &mut Vec<Problem>,
) {
    for (path, sharing) in shared(&members[first], &members[second]) {
        let (a, b) = (&members[first], &members[second]);
        let (mine, theirs) = (a.resolution(b, &path), b.resolution(a, &path));
        match (verdict(mine, theirs), sharing) {
            (Verdict::Open, Sharing::BothWrite) => {
                problems.push(Problem::WriteConflict { first, second, path })
            }
            (Verdict::Open, Sharing::FirstWrites) => {
                graph.add(first, second, Reason::WriterBeforeReader { path })
            }
            (Verdict::Open, Sharing::SecondWrites) => {
                graph.add(second, first, Reason::WriterBeforeReader { path })
            }
            (Verdict::Free, _) => {}
            (Verdict::FirstLeads, _) => graph.add(first, second, Reason::RunFirst { path }),
            (Verdict::SecondLeads, _) => graph.add(second, first, Reason::RunFirst { path }),
            (Verdict::Impossible, _) => {
                let by = if mine == Resolution::Unresolvable { first } else { second };
                problems.push(Problem::Unresolvable { first, second, path, by });
            }
            (Verdict::Contradiction(mine, theirs), _) => {
                problems.push(Problem::Contradiction {
                    first,
                    second,
                    path,
                    answers: (mine, theirs),
                });
            }
        }
    }
}

/// The paths that two members share and at least one writes, without duplicates, sorted.
///
/// If both write a path, their reads of it and of paths below it are left out.
fn shared(first: &Member<'_>, second: &Member<'_>) -> Vec<(String, Sharing)> {
    let pairs = |ours: &[String], theirs: &[String], sharing: Sharing| -> Vec<(String, Sharing)> {
        let all =
            ours.iter().flat_map(|one| theirs.iter().filter_map(move |other| overlap(one, other)));
        all.map(|path| (path.to_owned(), sharing)).collect()
    };
    let mut found = pairs(&first.access.writes, &second.access.writes, Sharing::BothWrite);
    let written: Vec<String> = found.iter().map(|(path, _)| path.clone()).collect();
    let mut reading = pairs(&first.access.writes, &second.access.reads, Sharing::FirstWrites);
    reading.extend(pairs(&second.access.writes, &first.access.reads, Sharing::SecondWrites));
    reading.retain(|(path, _)| !written.iter().any(|both| overlap(both, path).is_some()));
    found.extend(reading);
    found.sort_by(|one, other| (&one.0, one.1 as u8).cmp(&(&other.0, other.1 as u8)));
    found.dedup();
    found
}
