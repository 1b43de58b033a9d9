//! Measured values: behaviours 21, 22, 27 and 35.

use fluxbay::learner::Ending;

use crate::run::*;

const PHASES: &str = "[[phase]]\ncomponent = \"training\"\n[[phase]]\ncomponent = \"validation\"\n";

fn metrics(list: &str) -> String {
    format!("[[callback]]\ncomponent = \"metrics\"\nmetrics = {list}\n")
}

/// Two classes that follow from the inputs.
fn classes(right: f64, metrics: &str) -> String {
    format!(
        "[run]\nseed = 7\nthreads = 1\ndefault-callbacks = false\n[data]\ncomponent = \"rows\"\nright = {right:?}\n[loader]\nbatch-size = 8\n[loss]\n\
         component = \"mse\"\n[model]\ncomponent = \"same\"\n[optimizer]\ncomponent = \"sgd\"\nlearning-rate = 0.0\n{PHASES}{metrics}"
    )
}

#[test]
fn behaviour_21_a_metric_of_one_phase_is_absent_for_the_other_and_the_loss_comes_first() {
    let text = classes(1.0, &metrics("[{ component = \"accuracy\", phase = \"validation\" }]"));
    let session = whole_session(&text, Default::default());
    let report = session.fit_epochs(2);
    for when in ["step", "epoch"] {
        assert_eq!(session.names(&format!("cbstate.metrics-{when}.training")), ["loss"]);
        assert_eq!(
            session.names(&format!("cbstate.metrics-{when}.validation")),
            ["accuracy", "loss"]
        );
    }
    assert_eq!(
        values(&session, "cbstate.metrics-step.validation.accuracy").len(),
        6,
        "20 samples are 3 batches"
    );
    assert_eq!(values(&session, "cbstate.metrics-epoch.validation.accuracy").len(), 2);
    let names: Vec<(&str, &str)> =
        report.metrics.iter().map(|(phase, name, _)| (phase.as_str(), name.as_str())).collect();
    assert_eq!(names, [("training", "loss"), ("validation", "loss"), ("validation", "accuracy")]);
}

#[test]
fn behaviour_21_two_metrics_of_one_name_are_refused() {
    let text = refusal(&format!("{SCALAR}{PHASES}{}", metrics("[\"mae\", \"mae\"]")));
    assert!(text.contains("two metrics are called `mae`"), "{text}");
}

#[test]
fn behaviour_21_the_last_short_batch_weighs_by_its_samples() {
    let text = fixture(&format!("{SCALAR}{PHASES}{}", metrics("[\"mae\"]")));
    let text =
        text.replace("component = \"triples\"\n", "component = \"triples\"\nvalidation = 20\n");
    let session = whole_session(&text, Default::default());
    session.fit_epochs(1);
    for name in ["loss", "mae"] {
        let steps = values(&session, &format!("cbstate.metrics-step.validation.{name}"));
        assert_eq!(steps.len(), 3);
        let exact = (steps[0] * 8.0 + steps[1] * 8.0 + steps[2] * 4.0) / 20.0;
        let epoch = values(&session, &format!("cbstate.metrics-epoch.validation.{name}"));
        assert!((epoch[0] / exact - 1.0).abs() < 1e-6, "{name}: {epoch:?} is not {exact}");
        let mean = (steps[0] + steps[1] + steps[2]) / 3.0;
        assert!((mean / exact - 1.0).abs() > 1e-3, "{name}: the plain mean would do");
    }
}

#[test]
fn behaviour_22_the_right_class_is_right_however_sure() {
    for right in [1.0, 0.9] {
        let session =
            whole_session(&classes(right, &metrics("[\"accuracy\"]")), Default::default());
        session.fit_epochs(1);
        assert_eq!(values(&session, "cbstate.metrics-epoch.validation.accuracy"), [1.0], "{right}");
    }
    let session = whole_session(&classes(0.1, &metrics("[\"accuracy\"]")), Default::default());
    session.fit_epochs(1);
    assert_eq!(values(&session, "cbstate.metrics-epoch.validation.accuracy"), [0.0]);
}

#[test]
fn behaviour_27_traces_are_kept_of_one_phase() {
    let traces = "[[callback]]\ncomponent = \"traces\"\nvalues = { loss = \"step.loss\", rate = \"optimizer.learning-rate\" }\n";
    let session = session(&format!("{SCALAR}{PHASES}{traces}{}", metrics("[]")));
    session.fit_epochs(2);
    assert_eq!(session.names("cbstate.traces"), ["training"]);
    assert_eq!(session.names("cbstate.traces.training"), ["loss", "rate"]);
    assert_eq!(
        series(&session, "cbstate.traces.training.loss"),
        series(&session, "cbstate.metrics-step.training.loss")
    );
    assert_eq!(values(&session, "cbstate.traces.training.rate"), [0.001; 32]);
}

#[test]
fn behaviour_35_smooth_loss_weighs_the_old_value_with_98_percent() {
    let session = session(&format!("{SCALAR}{PHASES}{}", metrics("[\"smooth-loss\"]")));
    session.fit_epochs(1);
    let losses = values(&session, "cbstate.metrics-step.training.loss");
    let mut average = 0.0;
    let expected: Vec<f64> = losses
        .iter()
        .enumerate()
        .map(|(index, loss)| {
            average = 0.98 * average + 0.02 * loss;
            average / (1.0 - 0.98_f64.powi(index as i32 + 1))
        })
        .collect();
    let found = values(&session, "cbstate.metrics-step.training.smooth-loss");
    assert_eq!(found.len(), 16);
    for (found, expected) in found.iter().zip(&expected) {
        assert!((found / expected - 1.0).abs() < 1e-6, "{found} is not {expected}");
    }
}

#[test]
fn a_prediction_that_is_a_single_number_is_a_binary_logit() {
    let report = session(&format!(
        "{SCALAR}[[phase]]\ncomponent = \"training\"\n[[callback]]\ncomponent = \"judge\"\n"
    ))
    .fit_epochs(1);
    let Ending::Stopped { reason, .. } = report.ending else { panic!("{report:?}") };
    assert!(reason.contains("right 1, wrong 0"), "{reason}");
}
