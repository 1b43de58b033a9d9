//! State access of instances: behaviours 36 to 39.

use fluxbay::learner::Ending;

use crate::run::*;

fn intruder(what: &str) -> String {
    format!(
        "{SCALAR}[[phase]]\ncomponent = \"training\"\n[[callback]]\ncomponent = \"intruder\"\nwhat = \"{what}\"\n"
    )
}

#[test]
fn behaviour_36_reading_without_permission_names_callback_path_and_line() {
    let text = refusal(&intruder("read-undeclared"));
    for part in [
        "`intruder`",
        "`cbstate.secret`",
        "add \"cbstate.secret\" to the `reads` of callback/intruder",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[test]
fn behaviour_37_read_allows_reading_and_not_writing() {
    let text = refusal(&intruder("write-read"));
    assert!(
        text.contains("`intruder` may not write `step.loss`") && text.contains("`writes`"),
        "{text}"
    );
}

#[test]
fn behaviour_38_write_implies_read() {
    assert_eq!(session(&intruder("write-implies-read")).fit_epochs(1).ending, Ending::Finished);
}

#[test]
fn behaviour_39_a_nested_grant_refuses_its_neighbour() {
    let text = refusal(&intruder("sideways"));
    assert!(text.contains("`intruder` may not write `cbstate.a.b.y`"), "{text}");
}

#[test]
fn behaviour_39_a_read_grant_on_the_model_cannot_change_a_parameter() {
    let report = session(&intruder("model-in-place")).fit_epochs(1);
    let Ending::Failed(stop) = report.ending else { panic!("{report:?}") };
    assert!(stop.0.text.contains("`intruder` may read `params` but not change it"), "{stop}");
}

#[test]
fn every_way_to_ask_for_the_sizes_of_a_tensor_agrees() {
    let report = session(&format!(
        "{SCALAR}[[phase]]\ncomponent = \"training\"\n[[callback]]\ncomponent = \"surveyor\"\n"
    ))
    .fit_epochs(1);
    let Ending::Stopped { reason, .. } = report.ending else { panic!("{report:?}") };
    assert!(reason.contains("all sizes agree"), "{reason}");
}
