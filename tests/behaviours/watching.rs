//! Callbacks that compare a metric between epochs: early-stopping, reduce-on-plateau, checkpointer.

use fluxbay::learner::Ending;
use fluxbay::session::Session;

use crate::run::*;

const TRAINING: &str = "[[phase]]\ncomponent = \"training\"\n";
const VALIDATION: &str = "[[phase]]\ncomponent = \"validation\"\n";

/// The metric `s` with one value per epoch, measured in `phase`.
fn metric(phase: &str, values: &[&str]) -> String {
    format!(
        "[[callback]]\ncomponent = \"metrics\"\nmetrics = [{{ component = \"scripted\", name = \"s\", phase = \"{phase}\", values = {values:?} }}]\n"
    )
}

/// A run of both phases with a callback that watches `s`.
fn watching(measured_in: &str, values: &[&str], callback: &str) -> Session {
    session(&format!(
        "{SCALAR}{TRAINING}{VALIDATION}{}[[callback]]\n{callback}\nmetric = \"s\"\n",
        metric(measured_in, values)
    ))
}

/// The epoch in which early stopping ends a fit of 9 epochs, if it does.
fn stops_in(measured_in: &str, values: &[&str], setting: &str) -> Option<usize> {
    let callback = format!("component = \"early-stopping\"\n{setting}");
    let session = watching(measured_in, values, &callback);
    match session.fit_epochs(9).ending {
        Ending::Finished => None,
        Ending::Stopped { by, .. } if by == "early-stopping" => {
            Some(self::values(&session, &format!("cbstate.metrics-epoch.{measured_in}.s")).len())
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_threshold_has_the_direction_of_the_metric() {
    let threshold = |value: &str, better: &str| {
        format!("criterion = {{ type = \"threshold\", value = {value} }}\nbetter = \"{better}\"")
    };
    let accuracy = ["0.6", "0.9", "0.99", "0.995"];
    assert_eq!(stops_in("validation", &accuracy, &threshold("0.99", "higher")), Some(4));
    let score = ["-3", "-2", "-1"];
    assert_eq!(stops_in("validation", &score, &threshold("-1.5", "higher")), Some(3));
    assert_eq!(stops_in("validation", &["3", "-1", "-2"], &threshold("-1.5", "lower")), Some(3));
}

#[test]
fn a_metric_that_is_never_a_number_runs_out_of_patience() {
    let lower = "better = \"lower\"\n";
    assert_eq!(stops_in("validation", &["nan"], &format!("{lower}patience = 3")), Some(3));
    assert_eq!(
        stops_in("validation", &["nan", "2", "nan"], &format!("{lower}patience = 2")),
        Some(4)
    );
    let increases = format!("{lower}criterion = {{ type = \"patience\", n = 2 }}");
    assert_eq!(stops_in("validation", &["1", "nan"], &increases), Some(3));
    assert_eq!(
        stops_in(
            "validation",
            &["nan", "9", "8", "7", "6", "5", "4", "3", "2"],
            &format!("{lower}patience = 2")
        ),
        None
    );
}

#[test]
fn the_phase_that_measures_a_metric_is_watched() {
    let values = ["3", "2", "2", "2"];
    for phase in ["training", "validation"] {
        assert_eq!(
            stops_in(phase, &values, "better = \"lower\"\npatience = 2"),
            Some(4),
            "{phase}"
        );
        let invalid = "better = \"lower\"\ncriterion = { type = \"invalid-value\" }";
        assert_eq!(stops_in(phase, &["3", "2", "nan"], invalid), Some(3), "{phase}");
        assert_eq!(stops_in(phase, &values, invalid), None, "{phase}");
    }
}

#[test]
fn a_metric_that_no_phase_measures_is_an_error_with_what_is_measured() {
    let unknown = "component = \"early-stopping\"\nbetter = \"lower\"";
    let text = format!(
        "{SCALAR}{TRAINING}{VALIDATION}[[callback]]\ncomponent = \"metrics\"\n[[callback]]\n{unknown}\nmetric = \"q\"\n"
    );
    let reason = match try_compose(&text).and_then(|composed| composed.open()) {
        Err(problems) => messages(&problems),
        Ok(session) => match session.fit_epochs(1).ending {
            Ending::Failed(stop) => stop.to_string(),
            other => panic!("{other:?}"),
        },
    };
    assert!(reason.contains("`q`") && reason.contains("loss"), "{reason}");
}

/// The learning rate after each of 8 epochs, as a share of the first one.
fn rates(measured_in: &str, values: &[&str], settings: &str) -> Vec<f64> {
    let callback = format!("component = \"reduce-on-plateau\"\nbetter = \"lower\"\n{settings}");
    let session = watching(measured_in, values, &callback);
    let rate = |_| {
        session.fit_epochs(1);
        session.number("optimizer.learning-rate").unwrap() / 0.001
    };
    (0..8).map(rate).collect()
}

#[test]
fn a_plateau_does_not_begin_with_a_value_that_is_no_number() {
    let falling = ["5", "4", "3", "2", "1", "0.5", "0.2"];
    for first in ["nan", "inf"] {
        let values: Vec<&str> = [first].into_iter().chain(falling).collect();
        assert_eq!(rates("validation", &values, "patience = 1"), [1.0; 8], "{first}");
        assert_eq!(rates("training", &values, "patience = 1"), [1.0; 8], "{first}");
    }
    let nan_for_ever = rates("validation", &["nan"], "patience = 2\nfactor = 0.5");
    assert_eq!(nan_for_ever, [1.0, 1.0, 0.5, 0.5, 0.5, 0.25, 0.25, 0.25]);
}
