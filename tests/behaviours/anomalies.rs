//! The callback anomaly-detection: which operation first produced a NaN or an infinity.

use fluxbay::learner::Ending;

use crate::run::*;

const PHASES: &str = "[[phase]]\ncomponent = \"training\"\n[[phase]]\ncomponent = \"validation\"\n";

fn detection(settings: &str) -> String {
    format!("[[callback]]\ncomponent = \"anomaly-detection\"\n{settings}")
}

/// The report and how the fit ends.
fn reported(model: &str, more: &str, settings: &str) -> (String, Ending) {
    let session = session(&format!("{model}{PHASES}{}{more}", detection(settings)));
    let ending = session.fit_epochs(2).ending;
    (session.text("cbstate.anomaly").unwrap_or_default(), ending)
}

#[test]
fn an_update_that_overflows_is_named_with_its_parameter() {
    let (report, ending) = reported(&SCALAR.replace("0.001", "1e38"), "", "");
    let expected = "anomaly in phase `training`, epoch 1, step 1: `sgd-update` returned an infinity, in the layer of `model.c`; all inputs of it were finite";
    assert!(report.starts_with(expected), "{report}");
    assert!(matches!(ending, Ending::Stopped { by, .. } if by == "anomaly-detection"));
}

#[test]
fn a_nan_of_a_phase_is_found_before_other_callbacks_stop_the_fit() {
    let forced = |training: bool| {
        format!(
            "[[callback]]\ncomponent = \"forced\"\nloss = \"nan\"\nfrom-step = 3\ntraining = {training}\n[[callback]]\ncomponent = \"stop-on-nan\"\n"
        )
    };
    let (report, _) = reported(SCALAR, &forced(true), "");
    let expected = "anomaly in phase `training`, epoch 1, step 3: `affine` returned NaN, after the layer of `model.c`";
    assert!(report.starts_with(expected), "{report}");
    let (report, _) = reported(SCALAR, &forced(false), "");
    assert!(report.starts_with("anomaly in phase `validation`, epoch 1, step 3"), "{report}");
    let (report, ending) = reported(SCALAR, &forced(false), "phase = \"training\"\n");
    assert_eq!((report.as_str(), ending), ("", Ending::Finished));
    let (report, ending) = reported(SCALAR, &forced(false), "stop = false\n");
    assert!(report.starts_with("anomaly in phase `validation`, epoch 1, step 3"), "{report}");
    assert_eq!(ending, Ending::Finished);
}

#[test]
fn a_run_without_anomalies_is_not_changed() {
    let run = |callbacks: &str| {
        let session = session(&format!("{SCALAR}{PHASES}{callbacks}"));
        session.fit_epochs(2);
        (c(&session), session.text("cbstate.anomaly"))
    };
    assert_eq!(run(&detection("")), run(""));
}
