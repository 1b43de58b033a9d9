//! Callbacks that access the same state path: which one runs first, or why they conflict.
//!
//! Two writers need a conflict resolution from at least one of them. A writer runs before a reader
//! unless a resolution says otherwise.
//!
//! Callbacks of one component with the same access form a class, and only classes that share a path
//! are compared. So the work grows with the callbacks and the edges, not with the pairs of callbacks.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::graph::Graph;
use super::member::{Access, Member, Resolution};
use super::paths::{overlap, prefixes};
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
    Contradiction,
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
        _ => Verdict::Contradiction,
    }
}

/// How a pair accesses a path.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sharing {
    BothWrite,
    FirstWrites,
    SecondWrites,
}

/// Callbacks of one component with the same access.
struct Class<'a> {
    access: &'a Access,
    /// Indices of the members.
    callbacks: Vec<usize>,
}

/// Adds the edges that follow from access to shared paths.
pub(super) fn add_edges(members: &[Member<'_>], graph: &mut Graph, problems: &mut Vec<Problem>) {
    let classes = classes(members);
    let mut conflicts = Conflicts::default();
    for (one, other) in pairs(&classes) {
        let (first, second) = (&classes[one], &classes[other]);
        for (path, sharing) in shared(first.access, second.access) {
            let mine = answers(members, first, second, &path);
            let theirs = answers(members, second, first, &path);
            for (my_answer, firsts) in &mine {
                for (their_answer, seconds) in &theirs {
                    // A callback does not conflict with itself.
                    if one == other && firsts == seconds && firsts.len() < 2 {
                        continue;
                    }
                    let pair = Pair { firsts, seconds, answers: (*my_answer, *their_answer) };
                    pair.decide(members, &path, sharing, graph, &mut conflicts);
                }
            }
        }
    }
    conflicts.report(members, problems);
}

/// The classes, in the order of their first callbacks.
fn classes<'a>(members: &'a [Member<'_>]) -> Vec<Class<'a>> {
    let mut classes: Vec<Class<'a>> = Vec::new();
    let mut known: HashMap<(&str, &[String], &Access), usize> = HashMap::new();
    for (at, member) in members.iter().enumerate().filter(|(_, one)| one.kind == Kind::Callback) {
        let key = (member.component.as_str(), member.stands_for.as_slice(), &member.access);
        let class = *known.entry(key).or_insert_with(|| {
            classes.push(Class { access: &member.access, callbacks: Vec::new() });
            classes.len() - 1
        });
        classes[class].callbacks.push(at);
    }
    classes
}

/// The pairs of classes that share a path which one of them writes, each once; a class forms a pair
/// with itself if it has several callbacks.
fn pairs(classes: &[Class<'_>]) -> BTreeSet<(usize, usize)> {
    let mut accessing: HashMap<&str, (Vec<usize>, Vec<usize>)> = HashMap::new();
    for (at, class) in classes.iter().enumerate() {
        for path in &class.access.writes {
            accessing.entry(path).or_default().0.push(at);
        }
        for path in &class.access.reads {
            accessing.entry(path).or_default().1.push(at);
        }
    }
    let mut pairs = BTreeSet::new();
    for (path, (writers, readers)) in &accessing {
        // The other path of a pair is this one or a prefix of it.
        for (other_writers, other_readers) in
            prefixes(path).filter_map(|prefix| accessing.get(prefix))
        {
            for &one in writers {
                for &other in other_writers.iter().chain(other_readers) {
                    pairs.insert((one.min(other), one.max(other)));
                }
            }
            for &one in readers {
                for &other in other_writers {
                    pairs.insert((one.min(other), one.max(other)));
                }
            }
        }
    }
    pairs.retain(|(one, other)| one != other || classes[*one].callbacks.len() > 1);
    pairs
}

/// The callbacks of a class by their resolution for another class and a path.
fn answers(
    members: &[Member<'_>],
    of: &Class<'_>,
    about: &Class<'_>,
    path: &str,
) -> Vec<(Resolution, Vec<usize>)> {
    let mut found: Vec<(Resolution, Vec<usize>)> = Vec::new();
    let Some(other) = about.callbacks.first().map(|&at| &members[at]) else { return found };
    for &at in &of.callbacks {
        let answer = members[at].resolution(other, path);
        match found.iter_mut().find(|(known, _)| *known == answer) {
            Some((_, callbacks)) => callbacks.push(at),
            None => found.push((answer, vec![at])),
        }
    }
    found
}

/// Callbacks of two classes; those of each side have the same resolution for the other side.
struct Pair<'a> {
    firsts: &'a [usize],
    seconds: &'a [usize],
    answers: (Resolution, Resolution),
}

impl Pair<'_> {
    fn decide(
        &self,
        members: &[Member<'_>],
        path: &str,
        sharing: Sharing,
        graph: &mut Graph,
        conflicts: &mut Conflicts,
    ) {
        let mut edges = |before: &[usize], after: &[usize], reason: Reason| {
            for &before in before {
                for &after in after {
                    // Duplicate ids are reported elsewhere.
                    if members[before].id != members[after].id {
                        graph.add(before, after, reason.clone());
                    }
                }
            }
        };
        let path = path.to_owned();
        match (verdict(self.answers.0, self.answers.1), sharing) {
            (Verdict::Free, _) => {}
            (Verdict::Open, Sharing::FirstWrites) => {
                edges(self.firsts, self.seconds, Reason::WriterBeforeReader { path });
            }
            (Verdict::Open, Sharing::SecondWrites) => {
                edges(self.seconds, self.firsts, Reason::WriterBeforeReader { path });
            }
            (Verdict::FirstLeads, _) => {
                edges(self.firsts, self.seconds, Reason::RunFirst { path });
            }
            (Verdict::SecondLeads, _) => {
                edges(self.seconds, self.firsts, Reason::RunFirst { path });
            }
            (Verdict::Open, Sharing::BothWrite) => conflicts.add(Conflict::Open, path, self),
            (Verdict::Impossible, _) => conflicts.add(Conflict::Impossible, path, self),
            (Verdict::Contradiction, _) => {
                conflicts.add(Conflict::Contradiction, path, self);
            }
        }
    }
}

/// Kinds of conflicts about a path.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Conflict {
    Open,
    Impossible,
    Contradiction,
}

/// The conflicts, one for each kind and path.
#[derive(Default)]
struct Conflicts(BTreeMap<(Conflict, String), Involved>);

/// The callbacks of a conflict.
#[derive(Default)]
struct Involved {
    callbacks: BTreeSet<usize>,
    /// The first two that conflict, in the order of the run file, with their answers.
    example: Option<[(usize, Resolution); 2]>,
}

impl Conflicts {
    fn add(&mut self, conflict: Conflict, path: String, pair: &Pair<'_>) {
        let involved = self.0.entry((conflict, path)).or_default();
        involved.callbacks.extend(pair.firsts.iter().chain(pair.seconds));
        let Some(&first) = pair.firsts.first() else { return };
        let Some(&second) = pair.seconds.iter().find(|at| **at != first) else { return };
        let mut example = [(first, pair.answers.0), (second, pair.answers.1)];
        example.sort_by_key(|(at, _)| *at);
        let key = |[first, second]: &[(usize, Resolution); 2]| (second.0, first.0);
        if involved.example.as_ref().is_none_or(|known| key(&example) < key(known)) {
            involved.example = Some(example);
        }
    }

    /// Adds the problems, in the order of their examples in the run file.
    fn report(self, members: &[Member<'_>], problems: &mut Vec<Problem>) {
        let mut found: Vec<((usize, usize), Problem)> = Vec::new();
        for ((conflict, path), involved) in self.0 {
            let Some([first, second]) = involved.example else { continue };
            let mut ids = BTreeSet::new();
            let callbacks: Vec<usize> =
                involved.callbacks.into_iter().filter(|at| ids.insert(&members[*at].id)).collect();
            // Duplicate ids are reported elsewhere.
            if callbacks.len() < 2 {
                continue;
            }
            let problem = match conflict {
                Conflict::Open => Problem::WriteConflict { writers: callbacks, path },
                Conflict::Impossible => {
                    let by = if first.1 == Resolution::Unresolvable { first } else { second };
                    Problem::Unresolvable { callbacks, path, by: by.0 }
                }
                Conflict::Contradiction => {
                    Problem::Contradiction { callbacks, path, answers: [first, second] }
                }
            };
            found.push(((second.0, first.0), problem));
        }
        found.sort_by_key(|(place, _)| *place);
        problems.extend(found.into_iter().map(|(_, problem)| problem));
    }
}

/// The paths that two callbacks share and at least one writes, without duplicates, sorted.
///
/// If both write a path, their reads of it and of paths below it are left out.
fn shared(first: &Access, second: &Access) -> Vec<(String, Sharing)> {
    let pairs = |ours: &[String], theirs: &[String], sharing: Sharing| -> Vec<(String, Sharing)> {
        let all =
            ours.iter().flat_map(|one| theirs.iter().filter_map(move |other| overlap(one, other)));
        all.map(|path| (path.to_owned(), sharing)).collect()
    };
    let mut found = pairs(&first.writes, &second.writes, Sharing::BothWrite);
    let written: Vec<String> = found.iter().map(|(path, _)| path.clone()).collect();
    let mut reading = pairs(&first.writes, &second.reads, Sharing::FirstWrites);
    reading.extend(pairs(&second.writes, &first.reads, Sharing::SecondWrites));
    reading.retain(|(path, _)| !written.iter().any(|both| overlap(both, path).is_some()));
    found.extend(reading);
    found.sort_by(|one, other| (&one.0, one.1 as u8).cmp(&(&other.0, other.1 as u8)));
    found.dedup();
    found
}
