//! Composition of a run: behaviours 34 and 40 to 45.

use fluxbay::session::{Composed, Surroundings};

use crate::run::*;

const TRAINING: &str = "[[phase]]\ncomponent = \"training\"\n";
const RECORDER: &str = "[[callback]]\ncomponent = \"recorder\"\n";

/// A callback that reads and writes the listed paths.
fn link(id: &str, reads: &[&str], writes: &[&str], more: &str) -> String {
    format!(
        "[[callback]]\ncomponent = \"link\"\nid = \"{id}\"\nreads = {reads:?}\nwrites = {writes:?}\n{more}\n"
    )
}

fn run(callbacks: &str) -> String {
    format!("{SCALAR}{TRAINING}{callbacks}")
}

fn order(composed: &Composed) -> Vec<String> {
    let instances = composed.instances();
    composed.composition().order.iter().map(|index| instances[*index].id.clone()).collect()
}

fn composed(callbacks: &str) -> Vec<String> {
    order(
        &try_compose(&run(callbacks)).unwrap_or_else(|problems| panic!("{}", messages(&problems))),
    )
}

fn codes(callbacks: &str) -> Vec<String> {
    try_compose(&run(callbacks))
        .expect_err("it composes")
        .iter()
        .map(|one| one.code.to_string())
        .collect()
}

/// Ids of the callbacks of a run with default callbacks.
fn with_defaults(callbacks: &str) -> Vec<String> {
    let text =
        fixture(&run(callbacks)).replace("default-callbacks = false", "default-callbacks = true");
    let composed = try_compose_whole(&text, Surroundings::default())
        .unwrap_or_else(|problems| panic!("{}", messages(&problems)));
    composed.run().callbacks.iter().map(|spec| spec.id.clone()).collect()
}

#[test]
fn behaviour_34_defaults_are_there_unless_one_of_the_component_is_given_or_they_are_switched_off() {
    let all = ["progress", "metrics-printer", "stop-on-nan", "recorder", "metrics"];
    assert_eq!(with_defaults(""), all);
    let given = with_defaults("[[callback]]\ncomponent = \"recorder\"\nid = \"mine\"\n");
    assert_eq!(given, ["mine", "progress", "metrics-printer", "stop-on-nan", "metrics"]);
    assert_eq!(composed(""), [] as [&str; 0], "the fixture switches them off");
}

#[test]
fn behaviour_34_a_default_within_another_callback_is_given_too() {
    let throttled = "[[callback]]\ncomponent = \"throttle\"\nevery = 2\ncallback = \"recorder\"\n";
    assert_eq!(
        with_defaults(throttled),
        ["throttle", "progress", "metrics-printer", "stop-on-nan", "metrics"]
    );
    let nested = "[[callback]]\ncomponent = \"conditional\"\ncallback = { component = \"throttle\", every = 2, callback = \"recorder\" }\n";
    assert_eq!(
        with_defaults(nested),
        ["conditional", "progress", "metrics-printer", "stop-on-nan", "metrics"]
    );
}

#[test]
fn behaviour_40_two_writers_without_a_resolution_are_refused_with_the_two_ways_out() {
    let pair = |a: &str, b: &str| {
        let answer = |answer: &str| format!("answer = \"{answer}\"");
        link("a", &[], &["cbstate.x"], &answer(a))
            + &link("b", &[], &["cbstate.x.deeper"], &answer(b))
    };
    let text = refusal(&run(&pair("not-defined", "not-defined")));
    for part in ["`a` and `b` both write `cbstate.x.deeper`", "remove one", "resolve"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert_eq!(codes(&pair("unresolvable", "not-defined")), ["unresolvable-conflict"]);
    assert_eq!(codes(&pair("run-first", "no-conflict")), ["contradicting-answers"]);
    assert_eq!(composed(&pair("not-defined", "run-first")), ["b", "a"]);
    assert_eq!(composed(&pair("run-first", "not-defined")), ["a", "b"]);
    assert_eq!(composed(&pair("no-conflict", "not-defined")), ["a", "b"]);
}

#[test]
fn behaviour_41_a_writer_runs_before_a_reader_wherever_it_is_listed() {
    let reader = |more: &str| {
        link(
            "reader",
            &["cbstate.x"],
            &["cbstate.order"],
            &format!("answer = \"no-conflict\"\n{more}"),
        )
    };
    let writer = link("writer", &[], &["cbstate.x", "cbstate.order"], "answer = \"not-defined\"");
    assert_eq!(
        composed(&format!("{}{writer}", reader(""))),
        ["reader", "writer"],
        "no conflict, no edge"
    );
    let free = link("reader", &["cbstate.x"], &["cbstate.mine"], "");
    let free_writer = link("writer", &[], &["cbstate.x"], "");
    assert_eq!(composed(&format!("{free}{free_writer}")), ["writer", "reader"]);
    let first = link("reader", &["cbstate.x"], &["cbstate.mine"], "answer = \"run-first\"");
    assert_eq!(
        composed(&format!("{free_writer}{first}")),
        ["reader", "writer"],
        "unless resolved otherwise"
    );
}

#[test]
fn behaviour_41_the_order_is_the_order_of_the_calls() {
    let one = link("one", &[], &["cbstate.order"], "answer = \"run-first\"");
    let two = link("two", &[], &["cbstate.other"], "");
    let last = link("last", &[], &["cbstate.order"], "after = [\"two\"]");
    let session = session(&run(&format!("{two}{last}{one}")));
    session.run_step(0, crate::data::batch(0)).unwrap();
    assert_eq!(session.text("cbstate.order").as_deref(), Some("one last "));
}

#[test]
fn behaviour_42_a_cycle_is_reported_with_its_path_and_the_reason_of_every_edge() {
    let cycle = link("a", &["cbstate.z"], &["cbstate.x"], "")
        + &link("b", &["cbstate.x"], &["cbstate.y"], "")
        + &link("c", &[], &["cbstate.z"], "after = [\"b\"]");
    assert_eq!(codes(&cycle), ["cycle"]);
    let problems = try_compose(&run(&cycle)).unwrap_err();
    let text = fluxbay::run_file::render(&problems, fluxbay::run_file::Colours::Never);
    for part in ["`a`", "`b`", "`c`", "cbstate.x", "cbstate.z", "after"] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[test]
fn behaviour_43_a_read_that_nobody_writes_names_the_component_that_would() {
    let text = refusal(&run(&link("printer", &["cbstate.history.training"], &[], "")));
    assert!(
        text.contains(
            "`printer` reads `cbstate.history.training`, which nothing in this run writes"
        ),
        "{text}"
    );
    assert!(text.contains("callback/recorder"), "{text}");
    assert_eq!(
        composed(&format!("{}{RECORDER}", link("printer", &["cbstate.history.training"], &[], ""))),
        ["recorder", "printer"]
    );
}

/// Three faults: two writers of one path, a cycle, a read without a writer.
fn three_faults() -> String {
    link("first-writer", &[], &["cbstate.shared"], "")
        + &link("second-writer", &[], &["cbstate.shared"], "")
        + &link("early", &["cbstate.late"], &["cbstate.early"], "")
        + &link("late", &["cbstate.early"], &["cbstate.late"], "")
        + &link("lonely", &["cbstate.history"], &[], "")
}

#[test]
fn behaviour_44_three_faults_are_told_in_one_go_with_lines_and_mends_before_any_data_is_opened() {
    // Opening the data would fail and be reported.
    let text = fixture(&run(&three_faults())).replace(
        "component = \"triples\"",
        "component = \"csv\"\npath = \"nowhere.csv\"\ntarget = \"y\"",
    );
    let problems = try_compose_whole(&text, Surroundings::default()).unwrap_err();
    let mut codes: Vec<String> = problems.iter().map(|one| one.code.to_string()).collect();
    codes.sort_unstable();
    assert_eq!(codes, ["cycle", "missing-writer", "write-conflict"]);
    let told = fluxbay::run_file::render(&problems, fluxbay::run_file::Colours::Never);
    let line =
        |id: &str| 1 + text.lines().position(|line| line == format!("id = \"{id}\"")).unwrap();
    for id in ["lonely", "second-writer", "early"] {
        // The line of the component is above that of the id.
        let places = [line(id) - 2, line(id) - 1, line(id)].map(|line| format!("run.toml:{line}:"));
        assert!(
            places.iter().any(|place| told.contains(place)),
            "{id} in one of {places:?}:\n{told}"
        );
    }
    assert_eq!(told.matches("= help:").count(), 3, "{told}");
    assert!(!told.contains("nowhere"), "{told}");
    // Without the faults, the data is reported.
    let fine = fixture(&run("")).replace(
        "component = \"triples\"",
        "component = \"csv\"\npath = \"nowhere.csv\"\ntarget = \"y\"",
    );
    let opened = try_compose_whole(&fine, Surroundings::default()).unwrap().open();
    assert!(messages(&opened.unwrap_err()).contains("nowhere.csv"));
}

#[test]
fn behaviour_44_what_an_instance_refuses_is_told_together_with_the_composition_s_problems() {
    let callbacks = format!(
        "[[callback]]\ncomponent = \"throttle\"\ncallback = \"recorder\"\n{}",
        three_faults()
    );
    let mut found = codes(&callbacks);
    found.sort_unstable();
    assert_eq!(found, ["cycle", "instance-refused", "missing-writer", "write-conflict"]);
}

#[test]
fn behaviour_45_whoever_does_not_subscribe_is_in_no_list() {
    let listed = format!(
        "{RECORDER}[[callback]]\ncomponent = \"idle\"\n[[callback]]\ncomponent = \"stop-on-nan\"\n"
    );
    let composed = try_compose(&run(&listed).replace("\"training\"", "\"announcer\"")).unwrap();
    let composition = composed.composition();
    let of = |event: &str| -> Vec<String> {
        let number = composition.events.number(event).unwrap();
        composition
            .dispatch
            .of(Some(0), number, &composition.events)
            .iter()
            .map(|index| composed.instances()[*index].id.clone())
            .collect()
    };
    assert_eq!(of("step-end"), ["recorder", "stop-on-nan"]);
    assert_eq!(of("backward-begin"), ["stop-on-nan"]);
    assert_eq!(of("halfway"), ["idle"]);
    assert_eq!(of("step-begin"), [] as [&str; 0]);
}

#[test]
fn behaviour_45_whoever_does_not_subscribe_is_not_called() {
    let listener = "[[callback]]\ncomponent = \"listener\"\n";
    let session = session(&run(listener).replace("\"training\"", "\"announcer\""));
    session.fit_epochs(1);
    assert_eq!(events(&session, "listener"), ["halfway"; 16]);
}

/// The result of a run: parameters as bits, and every number and series of the callback state.
fn bits(session: &fluxbay::session::Session) -> Vec<u8> {
    let files = session.checkpoint().unwrap();
    let kept = ["model.safetensors", "optimizer.safetensors"];
    kept.iter().flat_map(|name| files[*name].bytes().into_owned()).collect()
}

#[test]
fn callbacks_in_any_order_that_access_allows_give_the_same_bits() {
    let callbacks = [
        "[[callback]]\ncomponent = \"metrics\"\nmetrics = [\"mae\"]\n",
        "[[callback]]\ncomponent = \"scheduler\"\n[callback.schedules]\n\"optimizer.learning-rate\" = { component = \"exp\", start = 0.001, decay = 0.99 }\n",
        "[[callback]]\ncomponent = \"early-stopping\"\ncriterion = { type = \"number-limit\", n = 3 }\n",
        "[[callback]]\ncomponent = \"recorder\"\n",
        "[[callback]]\ncomponent = \"log-hyperparameters\"\n",
        "[[callback]]\ncomponent = \"ema\"\ndecay = 0.9\n",
    ];
    let phases = format!("{TRAINING}[[phase]]\ncomponent = \"validation\"\n");
    let run = |order: &[usize]| {
        let listed: String = order.iter().map(|index| callbacks[*index]).collect();
        let session = session(&format!("{SCALAR}{phases}{listed}"));
        let report = session.fit_epochs(5);
        assert!(matches!(report.ending, fluxbay::learner::Ending::Stopped { .. }), "{report:?}");
        (
            bits(&session),
            report
                .metrics
                .iter()
                .map(|(phase, name, value)| (phase.clone(), name.clone(), value.to_bits()))
                .collect::<Vec<_>>(),
        )
    };
    let first = run(&[0, 1, 2, 3, 4, 5]);
    for order in [[5, 4, 3, 2, 1, 0], [2, 0, 4, 1, 5, 3], [3, 5, 1, 4, 0, 2], [4, 2, 5, 0, 3, 1]] {
        assert!(first == run(&order), "{order:?}");
    }
}
