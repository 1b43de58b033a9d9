//! Steps, epochs and fits that go well.

use super::fixture::*;
use crate::learner::ports::DataBatch;
use crate::learner::state::Value;
use crate::learner::*;

#[test]
fn a_fit_finds_the_factor() {
    let runtime = learner(&["training", "validation"], &[]);
    let report = runtime.fit(5);
    assert_eq!(report.ending, Ending::Finished);
    assert_eq!(report.epochs, 5);
    assert!((c(&runtime) - 3.0).abs() <= 0.1, "c = {}", c(&runtime));
}

#[test]
fn the_same_run_gives_the_same_bits() {
    let run = || {
        let runtime = learner(&["training"], &[("probe", "")]);
        runtime.fit(2);
        c(&runtime).to_bits()
    };
    assert_eq!(run(), run());
}

#[test]
fn events_come_in_order() {
    let runtime = learner(&["training", "validation"], &[("p", "")]);
    runtime.fit(1);
    let seen = seen_by(&seen(), "p");
    let step = "step-begin loss-begin backward-begin backward-end step-end ";
    let validation = "step-begin loss-begin step-end ";
    let expected = format!(
        "fit-begin epoch-begin {}epoch-end checkpoint epoch-begin {}epoch-end checkpoint fit-end",
        step.repeat(16),
        validation.repeat(16)
    );
    assert_eq!(seen, expected);
}

#[test]
fn the_step_state_is_there_after_a_step() {
    let runtime = learner(&["training", "validation"], &[]);
    runtime.run_step(0, batch(0)).unwrap();
    for path in ["step.xs", "step.ys", "step.yhats", "step.loss"] {
        assert!(matches!(runtime.state.borrow().value_at(path), Some(Value::Tensor(_))), "{path}");
    }
    assert!(runtime.step.has_gradients.get());
    let before = c(&runtime);
    runtime.run_step(1, batch(1)).unwrap();
    assert!(!runtime.step.has_gradients.get(), "a validation step has no gradients");
    assert_eq!(before, c(&runtime), "a validation step changes no parameter");
}

#[test]
fn steps_on_batches_of_ones_own_are_counted_and_stop_at_a_failure() {
    let runtime = learner(&["training"], &[]);
    runtime.run_steps(0, [batch(0), batch(1), batch(2)]).unwrap();
    assert_eq!(runtime.roles().unwrap().phases[0].total_steps.get(), 3);
    let wrong = DataBatch { fields: Vec::new(), samples: 0, index: 1 };
    assert!(runtime.run_steps(0, [batch(0), wrong, batch(2)]).is_err());
    assert_eq!(
        runtime.roles().unwrap().phases[0].total_steps.get(),
        5,
        "the batch after the failure was taken"
    );
}

#[test]
fn nothing_is_left_behind() {
    let runtime = learner(&["training", "validation"], &[("p", "")]);
    runtime.fit(1);
    runtime.empty_step_state().unwrap();
    let living = runtime.engine.borrow().living();
    runtime.fit(3);
    runtime.empty_step_state().unwrap();
    assert_eq!(living, runtime.engine.borrow().living());
    assert_eq!(runtime.engine.borrow().tape_length(), 0);
}

#[test]
fn hyper_parameters_are_in_the_state_tree() {
    let runtime = learner(&["training"], &[]);
    let before = c(&runtime);
    {
        let mut state = runtime.state.borrow_mut();
        assert_eq!(state.value_at("optimizer.learning-rate"), Some(&Value::Number(0.001)));
        let node = state.find("optimizer.learning-rate").unwrap();
        state.set(node, Value::Number(0.0));
    }
    runtime.fit(1);
    assert_eq!(before, c(&runtime), "the update follows the tree");
}
