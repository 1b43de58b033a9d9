//! What can be wrong with a composition, and how it is told.

use super::graph::Edge;
use super::member::{Member, Resolution};
use super::paths::PROVIDED;
use crate::run_file::{Diagnostic, Place, Sources, nearest};

/// A right on a state path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Right {
    /// To read it.
    Read,
    /// To write it, and so to read it.
    Write,
}

/// One problem. Numbers are indices of the members.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Problem {
    /// An instance was granted more than its manifest declares.
    BeyondManifest {
        /// Who.
        member: usize,
        /// The path.
        path: String,
        /// What it wanted to do with it.
        right: Right,
    },
    /// An instance handles an event that nothing in the run dispatches.
    UnknownEvent {
        /// Who.
        member: usize,
        /// The event.
        event: String,
        /// Components of the catalog that dispatch it.
        emitters: Vec<String>,
        /// Events that are dispatched in the run.
        known: Vec<String>,
    },
    /// An instance reads state that nothing in the run writes.
    MissingWriter {
        /// Who.
        member: usize,
        /// The path.
        path: String,
        /// Components of the catalog that write it.
        writers: Vec<String>,
    },
    /// Two callbacks write one path, and neither says how they live together.
    WriteConflict {
        /// The first in the run file.
        first: usize,
        /// The second in the run file.
        second: usize,
        /// The path, the longer where one lies below the other.
        path: String,
    },
    /// Two callbacks cannot be in one run.
    Unresolvable {
        /// The first in the run file.
        first: usize,
        /// The second in the run file.
        second: usize,
        /// The path.
        path: String,
        /// Who says so.
        by: usize,
    },
    /// Two callbacks answer differently how they live together.
    Contradiction {
        /// The first in the run file.
        first: usize,
        /// The second in the run file.
        second: usize,
        /// The path.
        path: String,
        /// What the first and the second said.
        answers: (Resolution, Resolution),
    },
    /// Callbacks wait for each other.
    Cycle {
        /// The edges; each begins where the one before ends, the last ends where the first begins.
        edges: Vec<Edge>,
    },
}

impl Problem {
    /// Stable kebab-case name, for scripts.
    pub fn code(&self) -> &'static str {
        match self {
            Problem::BeyondManifest { .. } => "beyond-manifest",
            Problem::UnknownEvent { .. } => "unknown-event",
            Problem::MissingWriter { .. } => "missing-writer",
            Problem::WriteConflict { .. } => "write-conflict",
            Problem::Unresolvable { .. } => "unresolvable-conflict",
            Problem::Contradiction { .. } => "contradicting-answers",
            Problem::Cycle { .. } => "cycle",
        }
    }

    /// The problem with its places in the run file and its help.
    pub fn diagnostic(&self, members: &[Member<'_>], sources: &Sources) -> Diagnostic {
        let id = |at: usize| members[at].id.as_str();
        match self {
            Problem::BeyondManifest { member, path, right } => {
                let (verb, list) = match right {
                    Right::Read => ("read", "reads"),
                    Right::Write => ("write", "writes"),
                };
                let (id, component) = (id(*member), &members[*member].component);
                let text =
                    format!("`{id}` may not {verb} `{path}`: its manifest does not declare it");
                let found =
                    self.error(text).help(format!("its author adds \"{path}\" to the `{list}` of {component} in the plugin's manifest"));
                at(found, sources, members[*member].place, "")
            }
            Problem::UnknownEvent { member, event, emitters, known } => {
                let text = format!(
                    "`{}` handles the event `{event}`, which nothing in this run dispatches",
                    id(*member)
                );
                let help = match (
                    emitters.as_slice(),
                    nearest::nearest(event, known.iter().map(String::as_str)),
                ) {
                    ([], Some(near)) => {
                        format!("did you mean `{near}`? Otherwise remove `{}`", id(*member))
                    }
                    ([], None) => format!(
                        "no component that was found dispatches it: remove `{}`",
                        id(*member)
                    ),
                    (some, _) => format!("add a phase that dispatches it: {}", list(some)),
                };
                at(self.error(text).help(help), sources, members[*member].place, "")
            }
            Problem::MissingWriter { member, path, writers } => {
                let text =
                    format!("`{}` reads `{path}`, which nothing in this run writes", id(*member));
                let written = members.iter().flat_map(|one| &one.access.writes).map(String::as_str);
                let help =
                    match (writers.as_slice(), nearest::nearest(path, written.chain(PROVIDED))) {
                        ([], Some(near)) => format!(
                            "did its author mean `{near}`? Otherwise remove `{}`",
                            id(*member)
                        ),
                        ([], None) => format!(
                            "no component that was found writes it: remove `{}`",
                            id(*member)
                        ),
                        ([only], _) => add(only),
                        (some, _) => format!("add one that writes it: {}", list(some)),
                    };
                at(self.error(text).help(help), sources, members[*member].place, "")
            }
            Problem::WriteConflict { first, second, path } => {
                let text = format!(
                    "`{}` and `{}` both write `{path}`, and neither says which runs first",
                    id(*first),
                    id(*second)
                );
                let help = format!(
                    "remove one of them (`--remove {}`), or let one of the two answer `resolve` for the other (its author does)",
                    id(*second)
                );
                self.pair(text, members, sources, *first, *second).help(help)
            }
            Problem::Unresolvable { first, second, path, by } => {
                let text = format!("`{}` and `{}` cannot be in one run", id(*first), id(*second));
                let note =
                    format!("both write `{path}`, and `{}` says that this cannot work", id(*by));
                self.pair(text, members, sources, *first, *second)
                    .note(note)
                    .help(format!("remove one of them: `--remove {}`", id(*second)))
            }
            Problem::Contradiction { first, second, path, answers } => {
                let text = format!(
                    "`{}` and `{}` contradict each other about `{path}`",
                    id(*first),
                    id(*second)
                );
                let note = format!(
                    "`{}` says {}; `{}` says {}",
                    id(*first),
                    said(answers.0),
                    id(*second),
                    said(answers.1)
                );
                let help = format!(
                    "remove one of them (`--remove {}`); one of the two components has to change its answer",
                    id(*second)
                );
                self.pair(text, members, sources, *first, *second).note(note).help(help)
            }
            Problem::Cycle { edges } => self.cycle(edges, members, sources),
        }
    }

    fn cycle(&self, edges: &[Edge], members: &[Member<'_>], sources: &Sources) -> Diagnostic {
        let mut path: Vec<String> =
            edges.iter().map(|edge| format!("`{}`", members[edge.before].id)).collect();
        path.extend(path.first().cloned());
        let mut found =
            self.error(format!("callbacks wait for each other: {}", path.join(" before ")));
        for edge in edges {
            let (before, after) = (&members[edge.before], &members[edge.after]);
            let reasons: Vec<String> =
                edge.reasons.iter().map(|reason| reason.tell(before, after)).collect();
            found = found.note(format!(
                "`{}` before `{}`: {}",
                before.id,
                after.id,
                reasons.join("; ")
            ));
        }
        let mut places = edges.iter().filter_map(|edge| members[edge.before].place);
        if let Some(place) = places.next() {
            found = found.at(sources, place, "");
        }
        for place in places {
            found = found.related(sources, place, "");
        }
        let ids: Vec<String> = edges.iter().map(|edge| members[edge.before].id.clone()).collect();
        found.help(format!("remove one of {}", list(&ids)))
    }

    fn error(&self, text: String) -> Diagnostic {
        Diagnostic::error(self.code(), text)
    }

    fn pair(
        &self,
        text: String,
        members: &[Member<'_>],
        sources: &Sources,
        first: usize,
        second: usize,
    ) -> Diagnostic {
        let found = self.error(text);
        match (members[first].place, members[second].place) {
            (Some(one), Some(two)) => found.at(sources, two, "").related(sources, one, ""),
            (Some(one), None) | (None, Some(one)) => found.at(sources, one, ""),
            (None, None) => found,
        }
    }
}

fn at(found: Diagnostic, sources: &Sources, place: Option<Place>, label: &str) -> Diagnostic {
    match place {
        Some(place) => found.at(sources, place, label),
        None => found,
    }
}

fn list(names: &[String]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

/// How a component is added to a run file.
fn add(component: &str) -> String {
    match component.split_once('/') {
        Some((kind, name)) => format!(
            "`{component}` writes it: add `[[{kind}]]` with `component = \"{name}\"`, or `--add {component}`"
        ),
        None => format!("`{component}` writes it: add it to the run"),
    }
}

fn said(answer: Resolution) -> &'static str {
    match answer {
        Resolution::NotDefined => "nothing",
        Resolution::Unresolvable => "that they cannot be in one run",
        Resolution::RunFirst => "that it runs first",
        Resolution::NoConflict => "that there is no conflict",
    }
}
