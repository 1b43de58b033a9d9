//! Rehearsed steps, as used by the learning-rate finder.

use fluxbay::learner::Ending;
use fluxbay::session::Session;

use crate::run::*;

/// A run with all kinds of state: random numbers of dropout, shuffled data, moments of Adam.
const RUN: &str = "[run]\nseed = 3\nthreads = 1\ndefault-callbacks = false\n[data]\ncomponent = \"triples\"\n[loader]\nbatch-size = 8\n[loss]\ncomponent = \
    \"mse\"\n[model]\ncomponent = \"mlp\"\nhidden = [8]\ndropout = 0.2\n[optimizer]\ncomponent = \"adam\"\nlearning-rate = 0.01\n[[phase]]\ncomponent \
    = \"training\"\n[[phase]]\ncomponent = \"validation\"\n[[callback]]\ncomponent = \"metrics\"\n[[callback]]\ncomponent = \"recorder\"\n";
const FINDER: &str = "[[callback]]\ncomponent = \"lr-finder\"\nsteps = 40\nstart = 1e-5\n";

/// The result of a run: parameters, optimizer, counts of updates and steps, random counters, and
/// the values of the callbacks.
fn left(session: &Session) -> (Vec<Vec<u8>>, serde_json::Value) {
    let files = session.checkpoint().unwrap();
    let mut state: serde_json::Value =
        serde_json::from_slice(&files["learner.json"].bytes()).unwrap();
    state.as_object_mut().unwrap().remove("instances");
    let values = state["values"].as_array_mut().unwrap();
    values.retain(|value| !value[0].as_str().unwrap().starts_with("cbstate.lr-finder"));
    values.sort_by_key(|value| value[0].as_str().unwrap().to_owned());
    (
        ["model.safetensors", "optimizer.safetensors"]
            .map(|name| files[name].bytes().into_owned())
            .to_vec(),
        state,
    )
}

fn trained(callbacks: &str) -> (Session, String) {
    let display = Recording::default();
    let session = whole_session(&format!("{RUN}{callbacks}"), display.surroundings());
    assert_eq!(session.fit_epochs(3).ending, Ending::Finished);
    (session, display.text())
}

#[test]
fn a_learning_rate_finder_leaves_no_trace_in_the_run() {
    let ((plain, _), (with, printed)) = (trained(""), trained(FINDER));
    assert!(left(&plain) == left(&with), "the run was changed");
    let losses = series(&with, "cbstate.lr-finder.loss");
    assert!(losses.len() > 10, "{losses:?}");
    assert!(losses.windows(2).all(|pair| pair[0].0 < pair[1].0), "rates grow: {losses:?}");
    let suggestion = with.number("cbstate.lr-finder.suggestion").unwrap();
    assert!((1e-5..10.0).contains(&suggestion), "{suggestion}");
    assert!(printed.contains("the loss falls fastest at optimizer.learning-rate ="), "{printed}");
    assert_eq!(with.number("optimizer.learning-rate"), Some(0.01));
}

#[test]
fn the_rate_that_was_found_is_applied_where_that_is_wanted() {
    let (session, _) = trained(&format!("{FINDER}apply = true\n"));
    assert_eq!(
        session.number("optimizer.learning-rate"),
        session.number("cbstate.lr-finder.suggestion")
    );
}

#[test]
fn a_finder_that_fails_on_its_way_leaves_the_run_as_it_was() {
    let session = whole_session(
        &RUN.replace("\"mlp\"\nhidden = [8]\ndropout = 0.2", "\"mlp\"\ninputs = 7")
            .replace("[[callback]]\ncomponent = \"metrics\"\n", FINDER),
        Default::default(),
    );
    let before = left(&session);
    let Ending::Failed(stop) = session.fit_epochs(1).ending else { panic!("it trains") };
    assert!(stop.to_string().contains("lr-finder"), "{stop}");
    assert!(before == left(&session));
    assert_eq!(session.number("optimizer.learning-rate"), Some(0.01));
}

#[test]
fn a_finder_and_a_scheduler_of_one_rate_live_together_and_the_finder_goes_first() {
    let scheduler = "[[callback]]\ncomponent = \"scheduler\"\n[callback.schedules]\n\"optimizer.learning-rate\" = 0.02\n";
    let (session, _) = trained(&format!("{scheduler}{FINDER}"));
    let ids: Vec<String> = session.callbacks().iter().map(|callback| callback.id.clone()).collect();
    assert!(
        ids.iter().position(|id| id == "lr-finder") < ids.iter().position(|id| id == "scheduler"),
        "{ids:?}"
    );
    assert!(left(&session) == left(&trained(scheduler).0));
}
