//! Problems of a composition, and their diagnostics.

use fluxbay_plugin::abi::event;

use super::graph::Edge;
use super::member::{Member, Resolution};
use super::paths::PROVIDED;
use super::watched::Watcher;
use crate::run_file::{Diagnostic, Diagnostics, Place, Sources, nearest};

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
    /// A watched figure that no instance of the run reports.
    UnknownFigure {
        /// What watches it.
        by: Watcher,
        /// Name of the figure.
        metric: String,
        /// The phase that it was asked for; empty for any.
        phase: String,
        /// The figures of the run, as `PHASE/NAME`.
        known: Vec<String>,
        /// Whether all instances that report figures declare them.
        certain: bool,
    },
    /// A figure is watched in a phase that the run does not have.
    UnknownPhase {
        /// What watches it.
        by: Watcher,
        /// The phase.
        phase: String,
        /// Ids of the phases of the run.
        known: Vec<String>,
    },
    /// It is not known which values of a watched figure are better.
    UnknownDirection {
        /// What watches it.
        by: Watcher,
        /// The figure, as `PHASE/NAME`.
        figure: String,
    },
    /// Callbacks write the same path, and define no resolution.
    WriteConflict {
        /// The callbacks, in the order of the run file; at least two.
        writers: Vec<usize>,
        /// The path, the longer one if one lies below the other.
        path: String,
    },
    /// Callbacks cannot be in one run.
    Unresolvable {
        /// The callbacks, in the order of the run file; at least two.
        callbacks: Vec<usize>,
        /// The path.
        path: String,
        /// The first one that says so.
        by: usize,
    },
    /// The conflict resolutions of callbacks contradict each other.
    Contradiction {
        /// The callbacks, in the order of the run file; at least two.
        callbacks: Vec<usize>,
        /// The path.
        path: String,
        /// Two of them, with their resolutions.
        answers: [(usize, Resolution); 2],
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
            Problem::UnknownFigure { .. } => "unknown-figure",
            Problem::UnknownPhase { .. } => "unknown-phase",
            Problem::UnknownDirection { .. } => "unknown-direction",
            Problem::WriteConflict { .. } => "write-conflict",
            Problem::Unresolvable { .. } => "unresolvable-conflict",
            Problem::Contradiction { .. } => "contradicting-answers",
            Problem::Cycle { .. } => "cycle",
        }
    }

    /// The problem with its places in the run file and its help.
    fn diagnostic(&self, members: &[Member<'_>], sources: &Sources) -> Diagnostic {
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
            Problem::UnknownEvent { member, event, emitters } => {
                let emitted = members.iter().flat_map(|one| &one.emits).map(String::as_str);
                let known = event::NAMES.iter().copied().chain(emitted);
                let text = format!(
                    "`{}` handles the event `{event}`, which nothing in this run dispatches",
                    id(*member)
                );
                let help = match (emitters.as_slice(), nearest::nearest(event, known)) {
                    ([], Some(near)) => {
                        format!("did you mean `{near}`? Otherwise remove `{}`", id(*member))
                    }
                    ([], None) => {
                        format!("no available component dispatches it: remove `{}`", id(*member))
                    }
                    (some, _) => format!("add a phase that dispatches it: {}", quoted(some)),
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
                        (some, _) => format!("add a component that writes it: {}", quoted(some)),
                    };
                at(self.error(text).help(help), sources, members[*member].place, "")
            }
            Problem::UnknownFigure { by, metric, phase, known, .. } => {
                let of = match phase.as_str() {
                    "" => String::new(),
                    phase => format!(" of phase `{phase}`"),
                };
                let text = format!(
                    "{} by the figure `{metric}`{of}, which nothing in this run reports",
                    ranks(*by, members)
                );
                let names = known.iter().filter_map(|one| one.split_once('/')).map(|one| one.1);
                let near = nearest::nearest(metric, names);
                let help = match (near.filter(|near| near != metric), known.is_empty()) {
                    (_, true) => "no figures are reported: add the callback `metrics`".to_owned(),
                    (Some(near), _) => {
                        format!("did you mean `{near}`? Figures of this run: {}", quoted(known))
                    }
                    (None, _) => format!("figures of this run: {}", quoted(known)),
                };
                watcher_at(self.error(text).help(help), sources, *by, members)
            }
            Problem::UnknownPhase { by, phase, known } => {
                let text = format!(
                    "{} by a figure of phase `{phase}`, which this run does not have",
                    ranks(*by, members)
                );
                let help = format!("phases of this run: {}", quoted(known));
                watcher_at(self.error(text).help(help), sources, *by, members)
            }
            Problem::UnknownDirection { by, figure } => {
                let text = format!(
                    "{} by `{figure}`, but it is not known whether lower or higher values are better",
                    ranks(*by, members)
                );
                let help = match by {
                    Watcher::Member(_) => "set `better = \"lower\"` or `better = \"higher\"`",
                    Watcher::Checkpoints(_) => {
                        "set `better = \"lower\"` or `better = \"higher\"` in [checkpoints]"
                    }
                };
                watcher_at(self.error(text).help(help), sources, *by, members)
            }
            Problem::WriteConflict { writers, path } => {
                let names = ids(members, writers);
                let (quantity, none) = quantity(writers);
                let text = format!(
                    "{names} {quantity} write `{path}`, and {none} defines which runs first"
                );
                let help = format!(
                    "{}, or have the author of one implement `resolve` for the other",
                    remove(members, writers)
                );
                self.several(text, members, sources, writers).help(help)
            }
            Problem::Unresolvable { callbacks, path, by } => {
                let text = format!("{} cannot be in one run", ids(members, callbacks));
                let (quantity, _) = quantity(callbacks);
                let others = if callbacks.len() == 2 { "the other" } else { "the others" };
                let note =
                    format!("{quantity} access `{path}`, and `{}` rejects {others}", id(*by));
                self.several(text, members, sources, callbacks)
                    .note(note)
                    .help(remove(members, callbacks))
            }
            Problem::Contradiction { callbacks, path, answers } => {
                let text =
                    format!("{} contradict each other about `{path}`", ids(members, callbacks));
                let [one, other] =
                    answers.map(|(at, answer)| format!("`{}` answers {}", id(at), name_of(answer)));
                let help = format!(
                    "{}, or have the author of one change its `resolve`",
                    remove(members, callbacks)
                );
                self.several(text, members, sources, callbacks)
                    .note(format!("{one}; {other}"))
                    .help(help)
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
        let callbacks: Vec<usize> = edges.iter().map(|edge| edge.before).collect();
        found.help(format!("remove one of {}", listed(callbacks.iter().map(|at| &members[*at].id))))
    }

    fn error(&self, text: String) -> Diagnostic {
        Diagnostic::error(self.code(), text)
    }

    /// A diagnostic at the second callback, with the first one as a related place.
    fn several(
        &self,
        text: String,
        members: &[Member<'_>],
        sources: &Sources,
        callbacks: &[usize],
    ) -> Diagnostic {
        let found = self.error(text);
        let mut places = callbacks.iter().filter_map(|at| members[*at].place);
        match (places.next(), places.next()) {
            (Some(one), Some(two)) => found.at(sources, two, "").related(sources, one, ""),
            (Some(one), None) => found.at(sources, one, ""),
            _ => found,
        }
    }
}

/// Number of names in a list, and of diagnostics of one code, before they are cut.
const MOST_NAMES: usize = 8;
const MOST_OF_ONE_CODE: usize = 20;

/// The problems as diagnostics. Long lists of one code are cut, and a last diagnostic counts those
/// that are left out.
pub fn diagnostics(problems: &[Problem], members: &[Member<'_>], sources: &Sources) -> Diagnostics {
    let mut found = Diagnostics::new();
    let mut counts: Vec<(&'static str, usize)> = Vec::new();
    for problem in problems {
        let code = problem.code();
        let at = counts.iter().position(|(known, _)| *known == code).unwrap_or_else(|| {
            counts.push((code, 0));
            counts.len() - 1
        });
        counts[at].1 += 1;
        if counts[at].1 <= MOST_OF_ONE_CODE {
            found.push(problem.diagnostic(members, sources));
        }
    }
    for (code, count) in counts.into_iter().filter(|(_, count)| *count > MOST_OF_ONE_CODE) {
        let text = format!("{} more problems of this kind", count - MOST_OF_ONE_CODE);
        found.push(Diagnostic::error(code, text));
    }
    found
}

fn at(found: Diagnostic, sources: &Sources, place: Option<Place>, label: &str) -> Diagnostic {
    match place {
        Some(place) => found.at(sources, place, label),
        None => found,
    }
}

/// `X ranks`, for a watcher.
fn ranks(by: Watcher, members: &[Member<'_>]) -> String {
    match by {
        Watcher::Member(at) => format!("`{}` ranks", members[at].id),
        Watcher::Checkpoints(_) => "`checkpoints.metric` ranks".to_owned(),
    }
}

fn watcher_at(
    found: Diagnostic,
    sources: &Sources,
    by: Watcher,
    members: &[Member<'_>],
) -> Diagnostic {
    let place = match by {
        Watcher::Member(member) => members[member].place,
        Watcher::Checkpoints(place) => place,
    };
    at(found, sources, place, "")
}

fn quoted(names: &[String]) -> String {
    listed(names.iter())
}

/// `a`, `b`, `c` and 5 more.
fn listed<'a>(names: impl ExactSizeIterator<Item = &'a String>) -> String {
    let more = names.len().saturating_sub(MOST_NAMES);
    let shown: Vec<String> = names.take(MOST_NAMES).map(|name| format!("`{name}`")).collect();
    let shown = shown.join(", ");
    if more == 0 { shown } else { format!("{shown} and {more} more") }
}

/// `a` and `b`, or `a`, `b`, `c` and 5 more.
fn ids(members: &[Member<'_>], callbacks: &[usize]) -> String {
    match callbacks {
        [one, other] => format!("`{}` and `{}`", members[*one].id, members[*other].id),
        several => listed(several.iter().map(|at| &members[*at].id)),
    }
}

/// Words for two or for several callbacks.
fn quantity(callbacks: &[usize]) -> (&'static str, &'static str) {
    if callbacks.len() == 2 { ("both", "neither") } else { ("all", "none") }
}

fn remove(members: &[Member<'_>], callbacks: &[usize]) -> String {
    let number = if callbacks.len() == 2 { "one" } else { "all but one" };
    let last = callbacks.get(1).map_or("ID", |at| members[*at].id.as_str());
    format!("remove {number} of them (`--remove {last}`)")
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
