//! Callbacks that wrap other callbacks: behaviours 19 and 20.

use crate::run::*;

const TRAINING: &str = "[[phase]]\ncomponent = \"training\"\n";
const VALIDATION: &str = "[[phase]]\ncomponent = \"validation\"\n";

fn throttle(callback: &str, event: &str, gate: &str) -> String {
    format!(
        "[[callback]]\ncomponent = \"throttle\"\nid = \"throttled-{callback}\"\ncallback = \"{callback}\"\nevent = \"{event}\"\n{gate}\n"
    )
}

fn history(session: &fluxbay::session::Session, phase: &str, name: &str) -> f64 {
    session.number(&format!("cbstate.history.{phase}.{name}")).unwrap()
}

#[test]
fn behaviour_19_a_throttled_recorder_records_every_nth_step_and_all_else() {
    for (gate, steps) in
        [("every = 2", 8.0), ("every = 16", 1.0), ("seconds = 0", 16.0), ("seconds = 10", 1.0)]
    {
        let session =
            session(&format!("{SCALAR}{TRAINING}{}", throttle("recorder", "step-end", gate)));
        session.fit_epochs(1);
        assert_eq!(history(&session, "training", "steps"), steps, "{gate}");
        assert_eq!(history(&session, "training", "epochs"), 1.0, "{gate}: other events pass");
    }
}

#[test]
fn behaviour_19_each_phase_is_counted_separately() {
    let session = session(&format!(
        "{SCALAR}{TRAINING}{VALIDATION}{}",
        throttle("recorder", "step-end", "every = 3")
    ));
    session.fit_epochs(1);
    assert_eq!(
        ["training", "validation"].map(|phase| history(&session, phase, "steps")),
        [6.0, 6.0]
    );
}

#[test]
fn behaviour_19_neither_and_both_settings_are_refused() {
    for (gate, part) in
        [("", "`every` (events) or `seconds`"), ("every = 2\nseconds = 1", "not both")]
    {
        let text =
            refusal(&format!("{SCALAR}{TRAINING}{}", throttle("recorder", "step-end", gate)));
        assert!(text.contains("throttle") && text.contains(part), "{text}");
    }
    let text =
        refusal(&format!("{SCALAR}{TRAINING}{}", throttle("recorder", "loss-begin", "every = 2")));
    assert!(text.contains("`recorder` does not handle loss-begin"), "{text}");
}

#[test]
fn behaviour_19_access_order_and_conflicts_are_those_of_the_wrapped_one() {
    let text = refusal(&format!(
        "{SCALAR}{TRAINING}{}",
        throttle("metrics-printer", "epoch-end", "every = 2")
    ));
    assert!(text.contains("`throttled-metrics-printer` reads `cbstate.metrics-epoch`"), "{text}");
    let both = format!(
        "{}[[callback]]\ncomponent = \"recorder\"\n",
        throttle("recorder", "step-end", "every = 2")
    );
    let text = refusal(&format!("{SCALAR}{TRAINING}{both}"));
    assert!(
        text.contains("`throttled-recorder` and `recorder` both write `cbstate.history`"),
        "{text}"
    );
    // Early stopping runs after metrics, throttled or not.
    let stopping = throttle("early-stopping", "epoch-end", "every = 2");
    let session =
        session(&format!("{SCALAR}{TRAINING}{stopping}[[callback]]\ncomponent = \"metrics\"\n"));
    let ids: Vec<String> = session.callbacks().iter().map(|callback| callback.id.clone()).collect();
    assert_eq!(ids, ["metrics", "throttled-early-stopping"]);
}

#[test]
fn behaviour_19_a_custom_event_is_throttled() {
    let announcer = "[[phase]]\ncomponent = \"announcer\"\n";
    let session =
        session(&format!("{SCALAR}{announcer}{}", throttle("listener", "halfway", "every = 4")));
    session.run_epoch(0).unwrap();
    assert_eq!(count(&session, "throttled-listener-listener", "halfway"), 4);
    let text =
        refusal(&format!("{SCALAR}{TRAINING}{}", throttle("listener", "halfway", "every = 4")));
    assert!(text.contains("`throttled-listener` handles the event `halfway`"), "{text}");
}

#[test]
fn conditions_apply_to_custom_events() {
    let phase = "[[phase]]\ncomponent = \"announcer\"\n";
    let conditional = "[[callback]]\ncomponent = \"conditional\"\ncallback = \"listener\"\nfrom-step = 5\nuntil-step = 7\n";
    let session = session(&format!("{SCALAR}{phase}{conditional}"));
    session.run_epoch(0).unwrap();
    assert_eq!(count(&session, "conditional-listener", "halfway"), 3);
}

#[test]
fn behaviour_20_a_throttled_canceller_cancels_every_second_step() {
    let recorder = "[[callback]]\ncomponent = \"recorder\"\n";
    let session = session(&format!(
        "{SCALAR}{TRAINING}{}{recorder}",
        throttle("canceller", "step-begin", "every = 2")
    ));
    session.fit_epochs(1);
    assert_eq!(history(&session, "training", "steps"), 8.0);
}
