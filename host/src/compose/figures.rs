//! Figures of a run: the numbers that instances report at the end of an epoch, such as
//! `validation/accuracy`, and the instances and settings that rank by one.
//!
//! `resolve` finds the phase and direction of every watched figure before the first step, or
//! reports that there is no such figure.

use super::member::Member;
use super::problem::Problem;
pub use super::watched::{Reported, Watched, Watcher};
use crate::library::Kind;
use crate::record::{Better, Directions};
use crate::run_file::Place;

/// The figure that `[checkpoints]` ranks by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ranking {
    /// The figure.
    pub watched: Watched,
    /// Where the run file sets it.
    pub place: Option<Place>,
}

/// A figure of a phase.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Figure {
    /// Id of the phase.
    pub phase: String,
    /// Its name.
    pub name: String,
    /// Which values are better, if that is known.
    pub better: Option<Better>,
}

/// What a watched figure was resolved to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolved {
    /// Id of the phase.
    pub phase: String,
    /// Which values are better.
    pub better: Better,
}

/// The figures of a run, and what watches them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// All declared figures, in the order of the members and of the phases.
    pub all: Vec<Figure>,
    /// For each member, what its watched figures were resolved to, in the order of its requests.
    pub watched: Vec<Vec<Resolved>>,
    /// What the figure of `[checkpoints]` was resolved to, if it ranks by one.
    pub ranking: Option<Resolved>,
    /// Watched figures that no instance declares, but that an instance which declares none may
    /// report.
    pub doubts: Vec<Problem>,
}

impl Figures {
    /// The declared directions.
    pub fn directions(&self) -> Directions {
        let mut directions = Directions::default();
        for figure in &self.all {
            if let Some(better) = figure.better {
                directions.set(&figure.phase, &figure.name, better);
            }
        }
        directions
    }
}

/// Path of the state that epoch figures are published in.
const PUBLISHED: &str = "cbstate.metrics-epoch";

struct Run<'a> {
    /// (id, kind) of the phases, in their order.
    phases: Vec<(&'a str, &'a str)>,
    all: Vec<Figure>,
    /// Whether an instance may report figures without declaring them.
    undeclared: bool,
}

/// Resolves all watched figures. Reports unknown figures and phases, and unknown directions, if the
/// run has a training phase.
pub(super) fn resolve(
    members: &[Member<'_>],
    ranking: Option<&Ranking>,
    problems: &mut Vec<Problem>,
) -> Figures {
    let phases: Vec<(&str, &str)> = members
        .iter()
        .filter(|one| one.kind == Kind::Phase)
        .map(|one| (one.id.as_str(), one.phase_kind.as_str()))
        .collect();
    let publishes = |one: &Member<'_>| {
        one.access.writes.iter().any(|path| super::paths::overlap(path, PUBLISHED).is_some())
    };
    let undeclared = members.iter().any(|one| one.reports.is_empty() && publishes(one));
    let run = Run { all: declared(members, &phases), phases, undeclared };
    // `evaluate` leaves out the training phases, but not the callbacks that watch their figures.
    let trains = run.phases.iter().any(|(_, kind)| *kind == "training");
    let mut doubts = Vec::new();
    let mut find = |watched: &Watched, by: Watcher| {
        let (resolved, problem) = run.resolve(watched, by);
        match problem {
            Some(doubt @ Problem::UnknownFigure { certain: false, .. }) if trains => {
                doubts.push(doubt);
            }
            Some(problem) if trains => problems.push(problem),
            _ => {}
        }
        resolved
    };
    let mut watched = Vec::with_capacity(members.len());
    for (at, member) in members.iter().enumerate() {
        watched.push(member.watches.iter().map(|one| find(one, Watcher::Member(at))).collect());
    }
    let ranking =
        ranking.map(|ranking| find(&ranking.watched, Watcher::Checkpoints(ranking.place)));
    Figures { all: run.all, watched, ranking, doubts }
}

/// The declared figures of all phases; the first declaration of a figure counts.
fn declared(members: &[Member<'_>], phases: &[(&str, &str)]) -> Vec<Figure> {
    let mut all: Vec<Figure> = Vec::new();
    for reported in members.iter().flat_map(|one| &one.reports) {
        for (phase, _) in phases.iter().filter(|phase| is_called(phase, &reported.phase)) {
            if !all.iter().any(|one| one.phase == *phase && one.name == reported.name) {
                all.push(Figure {
                    phase: (*phase).to_owned(),
                    name: reported.name.clone(),
                    better: reported.better,
                });
            }
        }
    }
    all
}

/// Whether a phase has an id or kind; every phase has the empty name.
fn is_called((id, kind): &(&str, &str), name: &str) -> bool {
    name.is_empty() || *id == name || *kind == name
}

impl Run<'_> {
    /// The phases that a watcher may mean: validation first, then training, then others.
    fn candidates(&self, watched: &Watched) -> Vec<&str> {
        let rank = |kind: &str| match kind {
            "validation" => 0,
            "training" => 1,
            _ => 2,
        };
        let mut phases: Vec<&(&str, &str)> =
            self.phases.iter().filter(|phase| is_called(phase, &watched.phase)).collect();
        phases.sort_by_key(|(_, kind)| rank(kind));
        phases.into_iter().map(|(id, _)| *id).collect()
    }

    /// The resolved figure. With a problem it is a stand-in that lets composing continue.
    fn resolve(&self, watched: &Watched, by: Watcher) -> (Resolved, Option<Problem>) {
        let candidates = self.candidates(watched);
        let resolved = |phase: &str, better: Option<Better>| Resolved {
            phase: phase.to_owned(),
            better: better.unwrap_or(Better::Lower),
        };
        let Some(first) = candidates.first() else {
            let known = self.phases.iter().map(|(id, _)| (*id).to_owned()).collect();
            let problem = Problem::UnknownPhase { by, phase: watched.phase.clone(), known };
            return (resolved(&watched.phase, watched.better), Some(problem));
        };
        let of = |phase: &&str| {
            self.all.iter().find(|one| one.phase == **phase && one.name == watched.metric)
        };
        let found = candidates.iter().find_map(of);
        let phase = found.map_or(*first, |one| one.phase.as_str());
        let better = watched
            .better
            .or_else(|| found.and_then(|one| one.better))
            .or_else(|| Better::of_undeclared(&watched.metric));
        if found.is_none() {
            let problem = Problem::UnknownFigure {
                by,
                metric: watched.metric.clone(),
                phase: watched.phase.clone(),
                known: self.all.iter().map(|one| format!("{}/{}", one.phase, one.name)).collect(),
                certain: !self.undeclared,
            };
            if !self.undeclared || better.is_some() {
                return (resolved(phase, better), Some(problem));
            }
        }
        if better.is_none() {
            let figure = format!("{phase}/{}", watched.metric);
            let problem = Problem::UnknownDirection { by, figure };
            return (resolved(phase, None), Some(problem));
        }
        (resolved(phase, better), None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compose::{Input, compose};

    fn phase(id: &str, kind: &str) -> Member<'static> {
        let mut member = Member::new(Kind::Phase, id, &format!("phase/{id}"));
        member.phase_kind = kind.to_owned();
        member
    }

    fn metrics(figures: &[(&str, &str, Option<Better>)]) -> Member<'static> {
        let mut member = Member::new(Kind::Callback, "metrics", "callback/metrics");
        member.access.writes = vec![PUBLISHED.to_owned()];
        let reported = |(phase, name, better): &(&str, &str, Option<Better>)| Reported {
            phase: (*phase).to_owned(),
            name: (*name).to_owned(),
            better: *better,
        };
        member.reports = figures.iter().map(reported).collect();
        member
    }

    fn watched(metric: &str, phase: &str, better: Option<Better>) -> Watched {
        Watched { metric: metric.to_owned(), phase: phase.to_owned(), better }
    }

    fn watching(watches: Vec<Watched>) -> Member<'static> {
        let mut member = Member::new(Kind::Callback, "stopper", "callback/early-stopping");
        member.watches = watches;
        member
    }

    /// The standard phases, the usual figures, and a watcher.
    fn run(watches: Vec<Watched>) -> Vec<Member<'static>> {
        vec![
            phase("training", "training"),
            phase("check", "validation"),
            metrics(&[
                ("", "loss", Some(Better::Lower)),
                ("", "f1", Some(Better::Higher)),
                ("validation", "accuracy", Some(Better::Higher)),
                ("training", "speed", None),
            ]),
            watching(watches),
        ]
    }

    fn composed(members: Vec<Member<'static>>) -> Result<Figures, Vec<Problem>> {
        let input = Input { members, offers: Vec::new(), ranking: None };
        compose(&input).map(|composition| composition.figures)
    }

    fn resolved(phase: &str, better: Better) -> Resolved {
        Resolved { phase: phase.to_owned(), better }
    }

    #[test]
    fn a_watched_figure_is_that_of_the_phase_that_reports_it_with_its_direction() {
        let figures = composed(run(vec![
            watched("accuracy", "", None),
            watched("loss", "", None),
            watched("loss", "training", None),
            watched("f1", "check", Some(Better::Lower)),
            watched("speed", "", Some(Better::Higher)),
            watched("loss", "validation", None),
        ]))
        .unwrap();
        assert_eq!(
            figures.watched[3],
            [
                resolved("check", Better::Higher),
                resolved("check", Better::Lower),
                resolved("training", Better::Lower),
                resolved("check", Better::Lower),
                resolved("training", Better::Higher),
                resolved("check", Better::Lower),
            ]
        );
        let directions = figures.directions();
        assert_eq!(directions.better("check", "accuracy"), Some(Better::Higher));
        assert_eq!(directions.better("training", "speed"), None);
        assert_eq!(directions.better("elsewhere", "loss"), Some(Better::Lower));
    }

    #[test]
    fn unknown_figures_phases_and_directions_are_problems() {
        let codes = |watches| -> Vec<&str> {
            composed(run(watches)).unwrap_err().iter().map(Problem::code).collect()
        };
        assert_eq!(codes(vec![watched("acuracy", "", None)]), ["unknown-figure"]);
        assert_eq!(codes(vec![watched("accuracy", "training", None)]), ["unknown-figure"]);
        assert_eq!(codes(vec![watched("loss", "test", None)]), ["unknown-phase"]);
        assert_eq!(codes(vec![watched("speed", "", None)]), ["unknown-direction"]);
        let ranking = |metric: &str| {
            let watched = watched(metric, "check", None);
            let ranking = Some(Ranking { watched, place: None });
            let input = Input { members: run(Vec::new()), offers: Vec::new(), ranking };
            compose(&input).map(|composition| composition.figures.ranking)
        };
        assert_eq!(ranking("f1").unwrap(), Some(resolved("check", Better::Higher)));
        assert_eq!(ranking("f2").unwrap_err()[0].code(), "unknown-figure");
    }

    #[test]
    fn a_run_without_a_training_phase_may_watch_figures_of_one() {
        let watches = vec![watched("speed", "training", None), watched("f1", "", None)];
        let mut members = run(watches);
        members.remove(0);
        let figures = composed(members).unwrap();
        assert_eq!(figures.watched[2][1], resolved("check", Better::Higher));
        assert_eq!(figures.doubts, []);
    }

    #[test]
    fn a_component_that_declares_no_figures_may_still_report_them() {
        let members = |watches| {
            let mut members = run(watches);
            members[2].reports.clear();
            members
        };
        let figures = composed(members(vec![
            watched("anything", "", Some(Better::Higher)),
            watched("loss", "", None),
        ]))
        .unwrap();
        assert_eq!(figures.doubts.len(), 2);
        let expected = [resolved("check", Better::Higher), resolved("check", Better::Lower)];
        assert_eq!(figures.watched[3], expected);
        // Without a direction, `better` is still required.
        let problems = composed(members(vec![watched("anything", "", None)])).unwrap_err();
        assert_eq!(problems[0].code(), "unknown-direction");
    }
}
