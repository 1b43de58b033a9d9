//! Callbacks that end a fit: behaviours 23, 24 and 30.

use fluxbay::learner::Ending;
use fluxbay::session::Session;

use crate::run::*;

const TRAINING: &str = "[[phase]]\ncomponent = \"training\"\n";
const PHASES: &str = "[[phase]]\ncomponent = \"training\"\n[[phase]]\ncomponent = \"validation\"\n";
const METRICS: &str = "[[callback]]\ncomponent = \"metrics\"\n";

fn stopped(session: &Session, epochs: u64) -> (String, String) {
    match session.fit_epochs(epochs).ending {
        Ending::Stopped { reason, by } => (reason, by),
        other => panic!("{other:?}"),
    }
}

#[test]
fn behaviour_23_a_loss_that_is_not_finite_ends_the_fit_before_the_update() {
    for loss in ["nan", "inf"] {
        let forced = |training: bool| {
            format!(
                "[[callback]]\ncomponent = \"forced\"\nloss = \"{loss}\"\nfrom-step = 3\ntraining = {training}\n"
            )
        };
        let others =
            "[[callback]]\ncomponent = \"stop-on-nan\"\n[[callback]]\ncomponent = \"recorder\"\n";
        let run = session(&format!("{SCALAR}{PHASES}{}{others}", forced(true)));
        let (reason, by) = stopped(&run, 5);
        assert_eq!(by, "stop-on-nan");
        assert!(reason.to_lowercase().contains(loss) && reason.contains("step 3"), "{reason}");
        assert_eq!(run.number("cbstate.history.training.epochs"), Some(0.0));
        assert_eq!(run.number("cbstate.history.training.steps"), Some(2.0));
        // Equal to a run without the third step.
        let two = session(&format!(
            "{SCALAR}{TRAINING}[[callback]]\ncomponent = \"probe\"\nid = \"p\"\nscript = \"step-end:cancel-fit:2\"\n"
        ));
        two.fit_epochs(1);
        assert_eq!(c(&run), c(&two), "the parameter was not touched");
        // A validation loss does not end the fit.
        let run = session(&format!("{SCALAR}{PHASES}{}{others}", forced(false)));
        assert_eq!(run.fit_epochs(2).ending, Ending::Finished);
    }
}

/// The epoch in which early stopping ends a fit of 12 epochs, if it does.
fn stops_in(rate: f64, criterion: &str) -> Option<u64> {
    let model = SCALAR.replace("0.001", &format!("{rate:?}"));
    let stopping =
        format!("[[callback]]\ncomponent = \"early-stopping\"\ncriterion = {criterion}\n");
    let session = session(&format!("{model}{PHASES}{stopping}{METRICS}"));
    let ending = session.fit_epochs(12).ending;
    let epochs = values(&session, "cbstate.metrics-epoch.validation.loss").len() as u64;
    match ending {
        Ending::Finished => None,
        Ending::Stopped { by, reason } => {
            assert_eq!(by, "early-stopping");
            assert!(reason.contains(&format!("stopped early in epoch {epochs}")), "{reason}");
            Some(epochs)
        }
        other => panic!("{criterion}: {other:?}"),
    }
}

#[test]
fn behaviour_24_a_plain_number_stops_a_rate_that_is_too_high() {
    let model = SCALAR.replace("0.001", "0.1");
    let session = session(&format!(
        "{model}{TRAINING}[[callback]]\ncomponent = \"early-stopping\"\ncriterion = 1\n{METRICS}"
    ));
    let (reason, by) = stopped(&session, 100);
    assert_eq!(by, "early-stopping");
    assert!(reason.contains("no new best value for 1 epoch"), "{reason}");
    let ids: Vec<String> = session.callbacks().iter().map(|callback| callback.id.clone()).collect();
    assert_eq!(ids, ["metrics", "early-stopping"], "it runs after metrics, wherever it is listed");
}

#[test]
fn behaviour_24_every_criterion_ends_a_run_where_it_should() {
    assert_eq!(stops_in(0.001, "{ type = \"never\" }"), None);
    assert_eq!(stops_in(0.001, "{ type = \"invalid-value\" }"), None);
    assert_eq!(stops_in(0.001, "{ type = \"time-limit\", seconds = 1e-9 }"), Some(1));
    assert_eq!(stops_in(0.001, "{ type = \"time-limit\", seconds = 1e6 }"), None);
    assert_eq!(stops_in(0.001, "{ type = \"number-limit\", n = 3 }"), Some(3));
    assert_eq!(stops_in(0.001, "{ type = \"threshold\", value = 1e6 }"), Some(1));
    assert_eq!(
        stops_in(
            0.001,
            "{ type = \"warmup\", n = 2, criterion = { type = \"number-limit\", n = 2 } }"
        ),
        Some(4)
    );
    assert_eq!(
        stops_in(
            0.001,
            "{ type = \"any-of\", criteria = [{ type = \"never\" }, { type = \"number-limit\", n = 5 }] }"
        ),
        Some(5)
    );
    assert_eq!(
        stops_in(0.001, "[{ type = \"number-limit\", n = 6 }, { type = \"number-limit\", n = 4 }]"),
        Some(4)
    );
}

/// The validation losses until the fit ends; they are forced up from epoch 4 on.
fn losses_until_a_stop(criterion: &str) -> Vec<f64> {
    let forced =
        "[[callback]]\ncomponent = \"forced\"\nloss = \"1e5\"\nfrom-epoch = 4\ntraining = false\n";
    let stopping =
        format!("[[callback]]\ncomponent = \"early-stopping\"\ncriterion = {criterion}\n");
    let session = session(&format!("{SCALAR}{PHASES}{forced}{stopping}{METRICS}"));
    stopped(&session, 12);
    values(&session, "cbstate.metrics-epoch.validation.loss")
}

#[test]
fn behaviour_24_criteria_that_look_back_see_the_loss_rise() {
    assert_eq!(losses_until_a_stop("{ type = \"gl\", alpha = 50.0 }").len(), 4);
    let losses = losses_until_a_stop("{ type = \"patience\", n = 1 }");
    let rises = losses.windows(2).position(|pair| pair[1] > pair[0]).map(|at| at + 2);
    assert_eq!(Some(losses.len()), rises, "it stops with the first rise: {losses:?}");
    assert!(losses.len() <= 4, "{losses:?}");
    assert!(losses_until_a_stop("{ type = \"pq\", alpha = 0.75, k = 2 }").len() <= 4);
    let losses = losses_until_a_stop("{ type = \"number-since-best\", n = 3 }");
    let best =
        losses.iter().enumerate().min_by(|a, b| a.1.total_cmp(b.1)).map(|(at, _)| at + 1).unwrap();
    assert!(best <= 3 && losses.len() == best + 3, "three epochs after the best: {losses:?}");
    let invalid = format!(
        "{SCALAR}{PHASES}[[callback]]\ncomponent = \"forced\"\nloss = \"nan\"\nfrom-epoch = 3\ntraining = false\n[[callback]]\ncomponent = \"early-stopping\"\ncriterion = {{ type = \"invalid-value\" }}\n{METRICS}"
    );
    let session = session(&invalid);
    stopped(&session, 12);
    assert_eq!(values(&session, "cbstate.metrics-epoch.validation.loss").len(), 3);
}

/// The output of the sanity check, and how the fit ends.
fn sanity(text: &str) -> (String, Ending) {
    let display = Recording::default();
    let session = whole_session(text, display.surroundings());
    let ending = session.fit_epochs(2).ending;
    (display.text(), ending)
}

const CHECK: &str = "[[callback]]\ncomponent = \"sanity-check\"\nsteps = 3\n";

fn failure(ending: Ending) -> String {
    match ending {
        Ending::Failed(stop) => stop.to_string(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn behaviour_30_a_sane_run_is_checked_once_and_trains_as_if_it_had_not_been() {
    let text = fixture(&format!("{SCALAR}{PHASES}{CHECK}[[callback]]\ncomponent = \"recorder\"\n"));
    let (printed, ending) = sanity(&text);
    assert_eq!(
        (printed.as_str(), ending),
        ("sanity check: 0 of 8 checks failed\n", Ending::Finished)
    );
    let run = |text: &str| {
        let session = whole_session(text, Default::default());
        session.fit_epochs(2);
        session.fit_epochs(1);
        (
            c(&session),
            session.number("cbstate.history.training.steps"),
            session.number("cbstate.history.validation.steps"),
        )
    };
    assert_eq!(run(&text), run(&text.replace(CHECK, "")));
}

#[test]
fn behaviour_30_no_validation_data_is_a_warning() {
    let text = fixture(&format!("{SCALAR}{TRAINING}{CHECK}"))
        .replace("component = \"triples\"\n", "component = \"triples\"\nvalidation = 0\n");
    let (printed, ending) = sanity(&text);
    assert!(
        printed.starts_with(
            "sanity check: 1 of 5 checks failed\n  warning: validation data: there are no samples"
        ),
        "{printed}"
    );
    assert_eq!(ending, Ending::Finished);
}

#[test]
fn behaviour_30_no_training_data_ends_the_run() {
    let common = "[run]\ndefault-callbacks = false\n[model]\ncomponent = \"mlp\"\ninputs = 1\noutputs = 1\n[optimizer]\ncomponent = \"sgd\"\n";
    let (printed, ending) =
        sanity(&format!("{common}[[phase]]\ncomponent = \"quitter\"\ndata = \"none\"\n{CHECK}"));
    assert!(
        printed.starts_with(
            "sanity check: 2 of 2 checks failed\n  error: training data: there are no samples"
        ),
        "{printed}"
    );
    assert!(failure(ending).contains("the sanity check failed: training data"));
    // A data set with an empty training split is refused before.
    let text = fixture(&format!("{SCALAR}{TRAINING}{CHECK}"))
        .replace("component = \"triples\"\n", "component = \"triples\"\ntraining = 0\n");
    let refused = try_compose_whole(&text, Default::default()).unwrap().open().unwrap_err();
    assert!(messages(&refused).contains("no samples for training"), "{}", messages(&refused));
}

#[test]
fn behaviour_30_a_batch_without_targets_ends_the_run() {
    let text = fixture(&format!("{SCALAR}{TRAINING}{CHECK}"))
        .replace("component = \"triples\"\n", "component = \"triples\"\ntargets = false\n");
    let (printed, ending) = sanity(&text);
    assert!(
        printed.contains("error: inputs and targets of a training batch: the batch has no targets"),
        "{printed}"
    );
    failure(ending);
}

#[test]
fn behaviour_30_a_model_or_loss_that_cannot_run_ends_the_run_with_the_true_cause() {
    let model = SCALAR.replace("\"scalar\"", "\"mlp\"\ninputs = 5");
    let text = fixture(&format!("{model}{PHASES}{CHECK}"));
    let (printed, ending) = sanity(&text);
    let plain = whole_session(&text.replace(CHECK, ""), Default::default());
    let Ending::Failed(stop) = plain.fit_epochs(1).ending else { panic!("it trains") };
    assert!(
        printed.contains("error: model and loss on a training batch")
            && printed.contains(&stop.0.text),
        "{printed}\n{stop}"
    );
    assert!(printed.contains("(batch 1)"), "{printed}");
    assert!(failure(ending).contains(&stop.0.text));
}

#[test]
fn behaviour_30_a_loss_that_is_not_finite_is_found_in_a_later_batch() {
    let text = fixture(&format!("{SCALAR}{TRAINING}{CHECK}"))
        .replace("learning-rate = 0.001", "learning-rate = 1e38");
    let (printed, ending) = sanity(&text);
    assert!(printed.contains("error: training loss: it is"), "{printed}");
    assert!(printed.contains("(batch 2)") || printed.contains("(batch 3)"), "{printed}");
    failure(ending);
}
