//! Compositions of plain members: the rules one by one, then properties of random ones.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::rc::Rc;

use fluxbay_plugin::abi::event;
use proptest::prelude::*;

use super::*;
use crate::library::Kind;
use crate::run_file::{Colours, SourceKind, Sources, render};

fn callback(id: &str, reads: &[&str], writes: &[&str]) -> Member<'static> {
    let mut member = Member::new(Kind::Callback, id, &format!("callback/{id}"));
    member.access.reads = reads.iter().map(ToString::to_string).collect();
    member.access.writes = writes.iter().map(ToString::to_string).collect();
    member
}

fn answering(mut member: Member<'static>, answer: Resolution) -> Member<'static> {
    member.resolve = Box::new(move |_, _| answer);
    member
}

fn on(mut member: Member<'static>, events: &[&str]) -> Member<'static> {
    member.events = events.iter().map(ToString::to_string).collect();
    member
}

fn phase(id: &str, emits: &[&str]) -> Member<'static> {
    let mut member = Member::new(Kind::Phase, id, &format!("phase/{id}"));
    member.emits = emits.iter().map(ToString::to_string).collect();
    member
}

fn run(members: Vec<Member<'static>>) -> Result<Composition, Vec<Problem>> {
    compose(&Input { members, offers: Vec::new(), ranking: None })
}

fn ids(members: Vec<Member<'static>>) -> Vec<String> {
    let names: Vec<String> = members.iter().map(|member| member.id.clone()).collect();
    run(members).expect("a composition").order.into_iter().map(|at| names[at].clone()).collect()
}

fn codes(members: Vec<Member<'static>>) -> Vec<&'static str> {
    run(members).expect_err("problems").iter().map(Problem::code).collect()
}

#[test]
fn behaviour_17_unrelated_callbacks_run_in_the_order_of_the_run_file() {
    assert_eq!(
        ids(vec![
            callback("z", &[], &[]),
            callback("a", &["step.loss"], &[]),
            callback("m", &[], &["cbstate.m"])
        ]),
        ["z", "a", "m"]
    );
}

#[test]
fn behaviour_40_two_writers_need_a_resolution_from_either_side() {
    use Resolution::{NoConflict, NotDefined, RunFirst, Unresolvable};
    let both = |a, b| {
        vec![
            answering(callback("a", &[], &["cbstate.x"]), a),
            answering(callback("b", &[], &["cbstate.x.y"]), b),
        ]
    };
    assert_eq!(codes(both(NotDefined, NotDefined)), ["write-conflict"]);
    assert_eq!(codes(both(NotDefined, Unresolvable)), ["unresolvable-conflict"]);
    assert_eq!(codes(both(Unresolvable, Unresolvable)), ["unresolvable-conflict"]);
    assert_eq!(ids(both(NoConflict, NotDefined)), ["a", "b"]);
    assert_eq!(ids(both(NoConflict, NoConflict)), ["a", "b"]);
    assert_eq!(ids(both(RunFirst, NotDefined)), ["a", "b"]);
    assert_eq!(ids(both(NotDefined, RunFirst)), ["b", "a"]);
    for (a, b) in [
        (RunFirst, RunFirst),
        (RunFirst, NoConflict),
        (Unresolvable, RunFirst),
        (NoConflict, Unresolvable),
    ] {
        assert_eq!(codes(both(a, b)), ["contradicting-answers"], "{a:?} {b:?}");
    }
    assert_eq!(
        ids(vec![callback("a", &[], &["cbstate.x"]), callback("b", &[], &["cbstate.xy"])]),
        ["a", "b"]
    );
}

#[test]
fn behaviour_40_both_sides_are_asked_about_the_shared_path() {
    let mut a = callback("a", &[], &["cbstate"]);
    a.resolve = Box::new(|other, path| {
        assert_eq!((other, path), ("callback/b", "cbstate.x"));
        Resolution::NoConflict
    });
    assert_eq!(ids(vec![a, callback("b", &[], &["cbstate.x"])]), ["a", "b"]);
}

#[test]
fn behaviour_41_a_writer_runs_before_a_reader_unless_resolved_otherwise() {
    let reader = || callback("reader", &["cbstate.x"], &[]);
    let writer = || callback("writer", &[], &["cbstate"]);
    assert_eq!(ids(vec![reader(), writer()]), ["writer", "reader"]);
    assert_eq!(
        ids(vec![answering(reader(), Resolution::RunFirst), writer()]),
        ["reader", "writer"]
    );
    assert_eq!(
        ids(vec![reader(), answering(writer(), Resolution::NoConflict)]),
        ["reader", "writer"]
    );
}

#[test]
fn two_writers_that_also_read_follow_their_resolution() {
    let a = answering(callback("a", &["cbstate.x"], &["cbstate.x"]), Resolution::NotDefined);
    let b = answering(callback("b", &["cbstate.x"], &["cbstate.x"]), Resolution::RunFirst);
    assert_eq!(ids(vec![a, b]), ["b", "a"]);
}

#[test]
fn order_hints_name_components_kinds_or_instances() {
    for name in ["b", "callback/metrics", "metrics"] {
        let mut first = callback("a", &[], &[]);
        first.run_after = vec![name.to_owned(), "not-in-the-run".to_owned()];
        let mut second = callback("b", &[], &[]);
        second.component = "callback/metrics".to_owned();
        assert_eq!(ids(vec![first, second]), ["b", "a"], "{name}");
    }
    let mut last = callback("c", &[], &[]);
    last.run_before = vec!["a".to_owned()];
    assert_eq!(ids(vec![callback("a", &[], &[]), callback("b", &[], &[]), last]), ["b", "c", "a"]);
    let mut wrapped = callback("throttle", &[], &[]);
    wrapped.stands_for = vec!["callback/metrics".to_owned()];
    let mut after = callback("a", &[], &[]);
    after.run_after = vec!["metrics".to_owned()];
    assert_eq!(ids(vec![after, wrapped]), ["throttle", "a"]);
}

#[test]
fn behaviour_42_a_cycle_is_told_with_its_path_and_every_reason() {
    let mut a = callback("a", &[], &["cbstate.x"]);
    a.run_after = vec!["c".to_owned()];
    let members = vec![
        a,
        callback("b", &["cbstate.x"], &["cbstate.y"]),
        callback("c", &["cbstate.y"], &[]),
        callback("d", &["cbstate.x"], &[]),
    ];
    let problems = run(members).unwrap_err();
    let [Problem::Cycle { edges }] = problems.as_slice() else { panic!("{problems:?}") };
    let path: Vec<(usize, usize)> = edges.iter().map(|edge| (edge.before, edge.after)).collect();
    assert_eq!(path, [(0, 1), (1, 2), (2, 0)]);
    assert_eq!(edges[0].reasons, [Reason::WriterBeforeReader { path: "cbstate.x".into() }]);
    assert_eq!(edges[2].reasons, [Reason::RunAfter { name: "c".into() }]);
}

#[test]
fn two_separate_cycles_are_two_problems() {
    let knot = |one: &str, two: &str| {
        let path = |name: &str| format!("cbstate.{name}");
        vec![
            callback(one, &[&path(two)], &[&path(one)]),
            callback(two, &[&path(one)], &[&path(two)]),
        ]
    };
    let members = [knot("a", "b"), knot("c", "d")].into_iter().flatten().collect();
    assert_eq!(codes(members), ["cycle", "cycle"]);
}

#[test]
fn behaviour_43_a_read_of_callback_state_that_nobody_writes_names_who_would() {
    let offers = vec![Offer {
        component: "callback/metrics".into(),
        writes: vec!["cbstate.metrics".into()],
        emits: vec![],
    }];
    let members = vec![callback(
        "printer",
        &["cbstate.metrics.epoch", "step.loss", "params", "cbstate"],
        &[],
    )];
    let problems = compose(&Input { members, offers, ranking: None }).unwrap_err();
    assert_eq!(
        problems,
        [Problem::MissingWriter {
            member: 0,
            path: "cbstate.metrics.epoch".into(),
            writers: vec!["callback/metrics".into()]
        }]
    );
    let fine = vec![
        callback("printer", &["cbstate.metrics.epoch"], &[]),
        callback("metrics", &[], &["cbstate.metrics"]),
    ];
    assert_eq!(ids(fine), ["metrics", "printer"]);
}

#[test]
fn behaviour_11_a_custom_event_must_be_dispatched_by_a_phase_of_the_run() {
    let listener = || on(callback("listener", &[], &[]), &["loss-low", "step-end"]);
    assert_eq!(codes(vec![phase("training", &[]), listener()]), ["unknown-event"]);
    let composition =
        run(vec![phase("training", &[]), phase("low-loss", &["loss-low"]), listener()]).unwrap();
    let events = &composition.events;
    assert_eq!(events.number("loss-low"), Some(event::CUSTOM));
    assert_eq!(events.name(event::CUSTOM), Some("loss-low"));
    assert_eq!(composition.dispatch.of(Some(1), event::CUSTOM, events), [2]);
    assert_eq!(composition.dispatch.of(Some(0), event::CUSTOM, events), [0usize; 0]);
}

#[test]
fn behaviour_45_dispatch_lists_hold_subscribers_only_in_their_order() {
    let reader = on(callback("reader", &["cbstate.x"], &[]), &["step-end", "fit-begin"]);
    let writer = on(callback("writer", &[], &["cbstate.x"]), &["step-end"]);
    let silent = callback("silent", &[], &[]);
    let composition = run(vec![phase("training", &[]), reader, writer, silent]).unwrap();
    assert_eq!(composition.order, [2, 1, 3]);
    let of = |phase, number| composition.dispatch.of(phase, number, &composition.events).to_vec();
    assert_eq!(of(Some(0), event::STEP_END), [2, 1]);
    assert_eq!(of(None, event::FIT_BEGIN), [1]);
    assert_eq!(of(Some(0), event::STEP_BEGIN), [0usize; 0]);
    assert_eq!(of(Some(0), 50), [0usize; 0]);
    assert_eq!(of(Some(9), event::STEP_END), [0usize; 0]);
}

#[test]
fn behaviour_39_grants_must_lie_within_the_manifest() {
    let mut member = callback("a", &["step.loss", "step.xs.deep"], &["cbstate.a.x", "model"]);
    member.bound = Some(Access { reads: vec!["step.xs".into()], writes: vec!["cbstate.a".into()] });
    let problems = run(vec![member]).unwrap_err();
    assert_eq!(
        problems,
        [
            Problem::BeyondManifest { member: 0, path: "model".into(), right: Right::Write },
            Problem::BeyondManifest { member: 0, path: "step.loss".into(), right: Right::Read },
        ]
    );
}

#[test]
fn behaviour_44_all_problems_are_told_together_with_the_lines_of_the_run_file() {
    let text = "[[callback]]\ncomponent = 'one'\n[[callback]]\ncomponent = 'two'\n[[callback]]\ncomponent = 'three'\n[[callback]]\ncomponent = 'four'\n";
    let mut sources = Sources::new();
    let id = sources.add("run.toml", SourceKind::File, text);
    let mut members = vec![
        on(callback("one", &["cbstate.c"], &["cbstate.a", "cbstate.b"]), &["stepend"]),
        callback("two", &[], &["cbstate.a"]),
        callback("three", &["cbstate.b"], &["cbstate.c"]),
        callback("four", &["cbstate.nobody"], &[]),
    ];
    for member in &mut members {
        let start = text.find(&format!("'{}'", member.id)).unwrap();
        member.place = Some(Place { source: id, start, end: start + member.id.len() + 2 });
    }
    let input = Input { members, offers: Vec::new(), ranking: None };
    let found = diagnostics(&compose(&input).unwrap_err(), &input.members, &sources);
    insta::assert_snapshot!(render(&found, Colours::Never));
}

/// The messages of the diagnostics.
fn messages(members: Vec<Member<'static>>) -> Vec<String> {
    let input = Input { members, offers: Vec::new(), ranking: None };
    let problems = compose(&input).unwrap_err();
    let found = diagnostics(&problems, &input.members, &Sources::new());
    found.iter().map(|one| one.message.clone()).collect()
}

#[test]
fn many_writers_of_a_path_are_one_problem_and_each_is_asked_once() {
    let asked = Rc::new(Cell::new(0));
    let writer = |at: usize, path: &str| {
        let mut member = callback(&format!("c{at}"), &[], &[path]);
        member.component = "callback/writer".to_owned();
        let asked = Rc::clone(&asked);
        member.resolve = Box::new(move |_, _| {
            asked.set(asked.get() + 1);
            Resolution::NotDefined
        });
        member
    };
    let members = || (0..1000).map(|at| writer(at, "cbstate.x"));
    let problems = run(members().collect()).unwrap_err();
    let all: Vec<usize> = (0..1000).collect();
    assert_eq!(problems, [Problem::WriteConflict { writers: all, path: "cbstate.x".into() }]);
    assert_eq!(asked.get(), 2000);
    assert_eq!(
        messages(members().collect()),
        [
            "`c0`, `c1`, `c2`, `c3`, `c4`, `c5`, `c6`, `c7` and 992 more all write `cbstate.x`, and none defines which runs first"
        ]
    );
    // Two paths are two problems, in the order of the run file.
    let two = (0..4).map(|at| writer(at, if at % 2 == 0 { "cbstate.b" } else { "cbstate.a" }));
    let problems = run(two.collect()).unwrap_err();
    let conflict = |writers: [usize; 2], path: &str| Problem::WriteConflict {
        writers: writers.to_vec(),
        path: path.to_owned(),
    };
    assert_eq!(problems, [conflict([0, 2], "cbstate.b"), conflict([1, 3], "cbstate.a")]);
}

#[test]
fn instances_of_one_component_are_compared_by_their_own_answers() {
    use Resolution::{NoConflict, NotDefined, RunFirst};
    let of = |answers: &[Resolution]| -> Vec<Member<'static>> {
        let member = |(at, answer): (usize, &Resolution)| {
            let mut member = answering(callback(&format!("c{at}"), &[], &["cbstate.x"]), *answer);
            member.component = "callback/writer".to_owned();
            member
        };
        answers.iter().enumerate().map(member).collect()
    };
    // A single callback without an answer does not conflict with itself.
    assert_eq!(ids(of(&[NoConflict, NotDefined, NoConflict])), ["c0", "c1", "c2"]);
    assert_eq!(ids(of(&[NotDefined, RunFirst])), ["c1", "c0"]);
    let problems = run(of(&[NotDefined, NoConflict, NotDefined])).unwrap_err();
    let writers = vec![0, 2];
    assert_eq!(problems, [Problem::WriteConflict { writers, path: "cbstate.x".into() }]);
    assert_eq!(codes(of(&[RunFirst, RunFirst])), ["contradicting-answers"]);
}

#[test]
fn long_lists_of_problems_are_cut_with_a_count() {
    let members =
        (0..10_000).map(|at| callback(&format!("c{at}"), &[&format!("cbstate.x{at}")], &[]));
    let found = messages(members.collect());
    assert_eq!(found.len(), 21);
    assert!(found[0].starts_with("`c0` reads `cbstate.x0`"), "{}", found[0]);
    assert_eq!(found[20], "9980 more problems of this kind");
    // Each kind is counted apart.
    let mut members: Vec<_> =
        (0..30).map(|at| callback(&format!("c{at}"), &["cbstate.x"], &[])).collect();
    members.push(on(callback("listener", &[], &[]), &["nothing"]));
    let found = messages(members);
    assert_eq!(found.len(), 22, "{found:?}");
    assert!(found.iter().any(|message| message.contains("`nothing`")), "{found:?}");
}

#[test]
fn many_cycles_are_reported_once_each() {
    let knots = (0..300).flat_map(|knot| {
        let path = |end: &str| format!("cbstate.{end}{knot}");
        [("a", "b"), ("b", "a")]
            .map(|(one, other)| callback(&format!("{one}{knot}"), &[&path(other)], &[&path(one)]))
    });
    // A callback behind the cycles is no cycle.
    let last = callback("last", &["cbstate.a0"], &[]);
    let problems = run(knots.chain([last]).collect()).unwrap_err();
    assert_eq!(problems.len(), 300);
    assert!(
        problems
            .iter()
            .all(|problem| matches!(problem, Problem::Cycle { edges } if edges.len() == 2))
    );
}

use crate::run_file::Place;

#[derive(Clone, Debug)]
struct Plan {
    reads: Vec<u8>,
    writes: Vec<u8>,
    after: Vec<u8>,
}

fn plans() -> impl Strategy<Value = Vec<Plan>> {
    let few = || proptest::collection::vec(0_u8..6, 0..2);
    let plan =
        (few(), few(), few()).prop_map(|(reads, writes, after)| Plan { reads, writes, after });
    proptest::collection::vec(plan, 0..7)
}

fn member(at: usize, plan: &Plan) -> Member<'static> {
    let path = |number: &u8| {
        if *number == 5 { "cbstate".to_owned() } else { format!("cbstate.p{number}") }
    };
    let mut member = answering(callback(&format!("c{at}"), &[], &[]), Resolution::NotDefined);
    // What is read is written by someone, so that only order is at stake.
    member.access.reads = plan.reads.iter().map(path).collect();
    member.access.writes = plan.writes.iter().map(path).collect();
    member.run_after = plan.after.iter().map(|number| format!("c{number}")).collect();
    member
}

fn members(plans: &[Plan], listing: &[usize]) -> Vec<Member<'static>> {
    let mut all: Vec<Member<'static>> = listing.iter().map(|at| member(*at, &plans[*at])).collect();
    let mut source = Member::new(Kind::Logger, "source", "logger/source");
    source.access.writes = (0..5).map(|number| format!("cbstate.p{number}")).collect();
    all.push(source);
    all
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn every_edge_is_kept_and_every_cycle_is_one(plans in plans()) {
        let listing: Vec<usize> = (0..plans.len()).collect();
        match run(members(&plans, &listing)) {
            Ok(composition) => {
                let mut place = vec![0; plans.len() + 1];
                for (rank, at) in composition.order.iter().enumerate() {
                    place[*at] = rank;
                }
                prop_assert_eq!(composition.order.iter().copied().collect::<BTreeSet<_>>().len(), plans.len());
                for edge in composition.graph.edges() {
                    prop_assert!(place[edge.before] < place[edge.after]);
                    prop_assert!(!edge.reasons.is_empty());
                }
                // Stable: a callback is overtaken by a later one of the file only if something
                // makes it wait.
                for (rank, at) in composition.order.iter().enumerate() {
                    let overtaken = composition.order[..rank].iter().any(|earlier| earlier > at);
                    prop_assert!(!overtaken || composition.graph.edges().any(|edge| edge.after == *at));
                }
            }
            Err(problems) => {
                for problem in &problems {
                    if let Problem::Cycle { edges } = problem {
                        prop_assert!(edges.windows(2).all(|pair| pair[0].after == pair[1].before));
                        prop_assert_eq!(edges.last().map(|edge| edge.after), edges.first().map(|edge| edge.before));
                    }
                }
                prop_assert!(problems.iter().all(|problem| matches!(problem.code(), "cycle" | "write-conflict")));
            }
        }
    }

    #[test]
    fn the_order_does_not_depend_on_the_listing_where_access_demands_one(length in 1_usize..7, seed in any::<u64>()) {
        // A chain: each reads what the one before writes.
        let chain = |at: usize| {
            let reads = if at == 0 { vec![] } else { vec![format!("cbstate.p{}", at - 1)] };
            let reads: Vec<&str> = reads.iter().map(String::as_str).collect();
            callback(&format!("c{at}"), &reads, &[&format!("cbstate.p{at}")])
        };
        let mut listing: Vec<usize> = (0..length).collect();
        let mut state = seed;
        for at in (1..length).rev() {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            listing.swap(at, (state >> 33) as usize % (at + 1));
        }
        let sorted = ids(listing.iter().map(|at| chain(*at)).collect());
        let expected: Vec<String> = (0..length).map(|at| format!("c{at}")).collect();
        prop_assert_eq!(sorted, expected);
    }

    #[test]
    fn the_same_members_give_the_same_composition(plans in plans()) {
        let listing: Vec<usize> = (0..plans.len()).collect();
        prop_assert_eq!(run(members(&plans, &listing)), run(members(&plans, &listing)));
    }
}
