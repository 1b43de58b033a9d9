//! Steps and epochs of phases: behaviours 1 to 6 and 9 to 14.

use fluxbay::learner::Ending;

use crate::data::batch;
use crate::run::*;

#[test]
fn behaviour_01_a_bare_step_writes_xs_ys_and_loss() {
    let session = probed(&["bare"], &[("p", "")]);
    session.run_step(0, batch(0)).unwrap();
    for path in ["step.xs", "step.ys", "step.loss"] {
        assert!(session.tensor(path).is_some(), "{path}");
    }
    assert_eq!(events(&session, "p"), ["step-begin", "step-end"]);
}

#[test]
fn behaviour_02_an_epoch_cancelled_in_its_body_returns_normally_and_ends() {
    let session = probed(&["quitter"], &[("p", "")]);
    session.run_epoch(0).unwrap();
    assert_eq!(
        events(&session, "p"),
        ["epoch-begin", "epoch-cancelled", "epoch-end", "checkpoint"]
    );
}

#[test]
fn behaviour_03_a_training_step_leaves_xs_ys_yhats_grads_and_loss() {
    let session = probed(&["training"], &[]);
    session.run_step(0, batch(0)).unwrap();
    for path in ["step.xs", "step.ys", "step.yhats", "step.loss"] {
        assert!(session.tensor(path).is_some(), "{path}");
    }
    assert!(session.gradient("model", "c").is_some());
}

#[test]
fn behaviour_04_a_validation_step_has_no_gradients_and_changes_nothing() {
    let session = probed(&["validation"], &[]);
    let before = c(&session);
    session.run_step(0, batch(0)).unwrap();
    for path in ["step.xs", "step.ys", "step.yhats", "step.loss"] {
        assert!(session.tensor(path).is_some(), "{path}");
    }
    assert!(session.gradient("model", "c").is_none());
    assert_eq!(before, c(&session));
}

#[test]
fn behaviour_05_a_fit_of_5_epochs_finds_the_factor() {
    let session = probed(&["training", "validation"], &[]);
    assert_eq!(session.fit().ending, Ending::Finished);
    assert!((c(&session) - 3.0).abs() <= 0.1, "c = {}", c(&session));
}

#[test]
fn behaviour_06_every_optimizer_finds_the_factor() {
    let optimizers = [
        ("sgd", 0.001),
        ("sgd\"\nmomentum = 0.5\nid = \"sgd", 0.0005),
        ("adam", 0.1),
        ("adamw", 0.1),
        ("rmsprop", 0.05),
        ("lion", 0.05),
    ];
    for (component, rate) in optimizers {
        let text = format!(
            "[model]\ncomponent = \"scalar\"\n[optimizer]\ncomponent = \"{component}\"\nlearning-rate = {rate}\n[[phase]]\ncomponent = \"training\"\n"
        );
        let session = session(&text);
        assert_eq!(session.fit_epochs(10).ending, Ending::Finished, "{component}");
        assert!((c(&session) - 3.0).abs() <= 0.15, "{component}: c = {}", c(&session));
    }
}

#[test]
fn behaviour_09_events_come_in_the_order_of_the_loop() {
    let session = probed(&["training", "validation"], &[("p", "")]);
    session.fit_epochs(1);
    let step =
        ["step-begin", "loss-begin", "backward-begin", "backward-end", "step-end"].repeat(16);
    let validation = ["step-begin", "loss-begin", "step-end"].repeat(16);
    let expected: Vec<&str> = ["fit-begin", "epoch-begin"]
        .into_iter()
        .chain(step)
        .chain(["epoch-end", "checkpoint", "epoch-begin"])
        .chain(validation)
        .chain(["epoch-end", "checkpoint", "fit-end"])
        .collect();
    assert_eq!(events(&session, "p"), expected);
}

#[test]
fn behaviour_10_values_are_there_from_the_event_on_that_says_so() {
    let session = probed(&["training"], &[("p", "")]);
    session.run_step(0, batch(0)).unwrap();
    let expected = "step-begin[xs,ys] loss-begin[xs,ys,yhats] backward-begin[xs,ys,yhats,loss] backward-end[xs,ys,yhats,loss,grads] \
                    step-end[xs,ys,yhats,loss,grads]";
    assert_eq!(log(&session, "p"), expected);
    let session = probed(&["validation"], &[("p", "")]);
    session.run_step(0, batch(0)).unwrap();
    assert_eq!(
        log(&session, "p"),
        "step-begin[xs,ys] loss-begin[xs,ys,yhats] step-end[xs,ys,yhats,loss]"
    );
}

#[test]
fn behaviour_10_what_a_callback_changes_is_what_is_computed_with() {
    let meddle = |what: &str| {
        let session = session(&format!(
            "{SCALAR}[[phase]]\ncomponent = \"training\"\n[[callback]]\ncomponent = \"meddler\"\nwhat = \"{what}\"\n"
        ));
        let before = c(&session);
        session.run_step(0, batch(0)).unwrap();
        (before, c(&session), session)
    };
    let (before, after, session) = meddle("xs");
    let yhats =
        session.tensor("step.yhats").unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
    assert!(yhats.iter().all(|yhat| *yhat == 0.0), "{yhats:?}");
    assert_eq!(before, after, "inputs of 0 give a gradient of 0");
    let (before, after, _) = meddle("grads");
    assert_eq!(before, after, "the update is made with the callback's gradients");
}

#[test]
fn behaviour_11_a_phase_dispatches_an_event_of_its_own() {
    let listener = "[[callback]]\ncomponent = \"listener\"\n";
    let session = session(&format!("{SCALAR}[[phase]]\ncomponent = \"announcer\"\n{listener}"));
    session.run_epoch(0).unwrap();
    assert_eq!(count(&session, "listener", "halfway"), 16);
    let problems = try_compose(&format!("{SCALAR}[[phase]]\ncomponent = \"training\"\n{listener}"))
        .unwrap_err();
    assert!(messages(&problems).contains("halfway"), "{}", messages(&problems));
}

#[test]
fn behaviour_12_a_phase_drives_its_own_epoch_and_ends_the_fit() {
    let session = probed(&["bounded"], &[("p", "")]);
    let report = session.fit_epochs(50);
    assert_eq!(
        report.ending,
        Ending::Stopped { reason: "the loss is below 5".into(), by: "bounded".into() }
    );
    assert!(report.epochs < 50);
    assert!(count(&session, "p", "step-end") > 1);
}

#[test]
fn behaviour_13_two_models_learn_in_one_step_and_only_those_that_are_updated() {
    let run = |critic: bool| {
        let text = format!(
            "[model.generator]\ncomponent = \"scalar\"\n[model.critic]\ncomponent = \"scalar\"\n\
             [optimizer.generator]\ncomponent = \"sgd\"\nlearning-rate = 1e-5\n[optimizer.critic]\ncomponent = \"sgd\"\nlearning-rate = 1e-5\n\
             [[phase]]\ncomponent = \"pair\"\ncritic = {critic}\n"
        );
        let session = session(&text);
        let before = (parameter(&session, "generator.c"), parameter(&session, "critic.c"));
        session.run_step(0, batch(0)).unwrap();
        (before, (parameter(&session, "generator.c"), parameter(&session, "critic.c")))
    };
    let (before, after) = run(true);
    assert!(before.0 != after.0 && before.1 != after.1, "{before:?} {after:?}");
    assert_ne!(before.0, before.1, "the models' first values differ");
    let (before, after) = run(false);
    assert!(before.0 != after.0 && before.1 == after.1, "{before:?} {after:?}");
}

#[test]
fn behaviour_14_a_step_keeps_any_value_and_the_next_begins_empty() {
    let session = probed(&["keeper"], &[]);
    session.run_epoch(0).unwrap();
    assert_eq!(session.text("step.note").as_deref(), Some("batch 15"));
}
