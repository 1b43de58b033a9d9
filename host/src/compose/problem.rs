//! Problems of a composition, and their diagnostics.

use super::graph::Edge;
use super::member::{Member, Resolution};
use super::paths::PROVIDED;
use crate::run_file::{Diagnostic, Place, Sources, nearest};

/// Access to a state path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Right {
    /// Read it.
    Read,
    /// Write it, which includes reading it.
    Write,
}

/// One problem. Numbers are indices of the members.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Problem {
    /// An instance asks for access that its manifest does not declare.
    BeyondManifest {
        /// The instance.
        member: usize,
        /// The path.
        path: String,
        /// The access that it asked for.
        right: Right,
    },
    /// An instance handles an event that nothing in the run dispatches.
    UnknownEvent {
        /// The instance.
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
        /// The instance.
        member: usize,
        /// The path.
        path: String,
        /// Components of the catalog that write it.
        writers: Vec<String>,
    },
    /// Two callbacks write the same path, and neither defines a resolution.
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
        /// The one that says so.
        by: usize,
    },
    /// The conflict resolutions of two callbacks contradict each other.
    Contradiction {
        /// The first in the run file.
        first: usize,
        /// The second in the run file.
        second: usize,
        /// The path.
        path: String,
        /// The resolutions of the first and the second.
        answers: (Resolution, Resolution),
    },
    /// Callbacks wait for each other.
    Cycle {
        /// The edges of the cycle, in order.
        edges: Vec<Edge>,
    },
}

impl Problem {
    /// Stable name in kebab-case, for scripts.
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
                    self.error(text).help(format!("the author of the plugin has to add \"{path}\" to the `{list}` of {component} in its manifest"));
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
                    ([], None) => {
                        format!("no available component dispatches it: remove `{}`", id(*member))
                    }
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
                        ([], Some(near)) => {
                            format!("is `{near}` meant? Otherwise remove `{}`", id(*member))
                        }
                        ([], None) => {
                            format!("no available component writes it: remove `{}`", id(*member))
                        }
                        ([only], _) => add(only),
                        (some, _) => format!("add a component that writes it: {}", list(some)),
                    };
                at(self.error(text).help(help), sources, members[*member].place, "")
            }
            Problem::WriteConflict { first, second, path } => {
                let text = format!(
                    "`{}` and `{}` both write `{path}`, and neither defines which runs first",
                    id(*first),
                    id(*second)
                );
                let help = format!(
                    "remove one of them (`--remove {}`), or have the author of one implement `resolve` for the other",
                    id(*second)
                );
                self.pair(text, members, sources, *first, *second).help(help)
            }
            Problem::Unresolvable { first, second, path, by } => {
                let text = format!("`{}` and `{}` cannot be in one run", id(*first), id(*second));
                let note = format!("both access `{path}`, and `{}` rejects the other", id(*by));
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
                    "`{}` answers {}; `{}` answers {}",
                    id(*first),
                    name_of(answers.0),
                    id(*second),
                    name_of(answers.1)
                );
                let help = format!(
                    "remove one of them (`--remove {}`), or have the author of one change its `resolve`",
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
                edge.reasons.iter().map(|reason| reason.sentence(before, after)).collect();
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

/// How to add a component to the run.
fn add(component: &str) -> String {
    match component.split_once('/') {
        Some((kind, name)) => format!(
            "`{component}` writes it: add `[[{kind}]]` with `component = \"{name}\"`, or `--add {component}`"
        ),
        None => format!("`{component}` writes it: add it to the run"),
    }
}

fn name_of(answer: Resolution) -> &'static str {
    match answer {
        Resolution::NotDefined => "not defined",
        Resolution::Unresolvable => "unresolvable",
        Resolution::RunFirst => "run first",
        Resolution::NoConflict => "no conflict",
    }
}
