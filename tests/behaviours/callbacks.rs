//! Callbacks at events: behaviours 16 to 18 and 45.

use fluxbay::learner::Ending;

use crate::run::*;

const TRAINING: &str = "[[phase]]\ncomponent = \"training\"\n";
const RECORDER: &str = "[[callback]]\ncomponent = \"recorder\"\n";
const CANCEL: &str =
    "[[callback]]\ncomponent = \"probe\"\nid = \"custom\"\nscript = \"step-end:cancel-fit:1\"\n";

fn history(session: &fluxbay::session::Session, name: &str) -> f64 {
    session.number(&format!("cbstate.history.training.{name}")).unwrap_or(0.0)
}

#[test]
fn behaviour_16_a_callback_on_step_begin_is_called_16_times_an_epoch() {
    let session = probed(&["training"], &[("p", "")]);
    session.run_epoch(0).unwrap();
    assert_eq!(count(&session, "p", "step-begin"), 16);
}

#[test]
fn behaviour_17_unrelated_callbacks_run_in_the_order_of_the_run_file() {
    for (callbacks, steps) in
        [(format!("{RECORDER}{CANCEL}"), 1.0), (format!("{CANCEL}{RECORDER}"), 0.0)]
    {
        let session = session(&format!("{SCALAR}{TRAINING}{callbacks}"));
        assert!(matches!(session.fit().ending, Ending::Stopped { .. }));
        assert_eq!((history(&session, "steps"), history(&session, "epochs")), (steps, 0.0));
    }
}

#[test]
fn behaviour_18_the_recorder_counts_epochs_and_steps() {
    let session = session(&format!("{SCALAR}{TRAINING}{RECORDER}"));
    assert_eq!((history(&session, "epochs"), history(&session, "steps")), (0.0, 0.0));
    session.fit_epochs(10);
    let counts = ["epochs", "epoch-steps", "steps"].map(|name| history(&session, name));
    assert_eq!(counts, [10.0, 16.0, 160.0]);
}

#[test]
fn behaviour_45_the_order_is_the_same_in_every_composition() {
    let ids = || {
        probed(&["training"], &[("a", ""), ("b", ""), ("c", "")])
            .callbacks()
            .iter()
            .map(|callback| callback.id.clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(ids(), ["a", "b", "c"]);
    assert_eq!(ids(), ids());
}
