//! Cancelled and failed runs, and the events that callbacks receive.

use super::fixture::*;
use crate::learner::*;

fn count(text: &str, event: &str) -> usize {
    text.split(' ').filter(|seen| *seen == event).count()
}

/// A callback that received a begin received exactly one end.
fn assert_paired(seen: &str) {
    assert_eq!(
        count(seen, "step-begin"),
        count(seen, "step-end")
            + count(seen, "step-cancelled")
            + count(seen, "error").min(1) * open(seen, "step"),
        "{seen}"
    );
    assert_eq!(count(seen, "fit-begin"), count(seen, "fit-end") + count(seen, "error"), "{seen}");
}

/// Whether `error` came within a step.
fn open(seen: &str, span: &str) -> usize {
    let before = seen.split(" error").next().unwrap_or_default();
    count(before, &format!("{span}-begin"))
        - count(before, &format!("{span}-end"))
        - count(before, &format!("{span}-cancelled"))
}

#[test]
fn a_cancelled_step_goes_on_with_the_next() {
    let runtime = learner(&["training"], &[("a", "loss-begin:step:3"), ("b", "")]);
    let report = runtime.fit(1);
    assert_eq!(report.ending, Ending::Finished);
    let seen = seen();
    for id in ["a", "b"] {
        let seen = seen_by(&seen, id);
        assert_eq!(
            (count(&seen, "step-begin"), count(&seen, "step-end"), count(&seen, "step-cancelled")),
            (16, 15, 1),
            "{id}"
        );
        assert_paired(&seen);
    }
}

#[test]
fn a_callback_that_a_begin_did_not_reach_receives_no_end() {
    let runtime = learner(&["training"], &[("a", ""), ("b", "step-begin:step:1"), ("c", "")]);
    runtime.fit(1);
    let seen = seen();
    assert_eq!(count(&seen_by(&seen, "a"), "step-cancelled"), 1);
    assert_eq!(count(&seen_by(&seen, "b"), "step-cancelled"), 1);
    let c = seen_by(&seen, "c");
    assert_eq!(
        (count(&c, "step-begin"), count(&c, "step-end"), count(&c, "step-cancelled")),
        (15, 15, 0)
    );
}

#[test]
fn a_callback_that_received_the_end_does_not_receive_the_cancellation() {
    let runtime = learner(&["training"], &[("a", ""), ("b", "step-end:fit:1"), ("c", "")]);
    let report = runtime.fit(3);
    assert_eq!(report.ending, Ending::Stopped { reason: "scripted".into(), by: "b".into() });
    let seen = seen();
    assert_eq!(
        seen_by(&seen, "a"),
        "fit-begin epoch-begin step-begin loss-begin backward-begin backward-end step-end epoch-cancelled fit-cancelled fit-end"
    );
    assert_eq!(
        seen_by(&seen, "c"),
        "fit-begin epoch-begin step-begin loss-begin backward-begin backward-end step-cancelled epoch-cancelled fit-cancelled fit-end"
    );
}

#[test]
fn a_cancelled_epoch_still_ends() {
    let runtime = learner(&["training", "validation"], &[("a", "step-end:epoch:2")]);
    let report = runtime.fit(1);
    assert_eq!(report.ending, Ending::Finished);
    let seen = seen_by(&seen(), "a");
    assert!(seen.contains("step-end epoch-cancelled epoch-end checkpoint epoch-begin"), "{seen}");
    assert_eq!(count(&seen, "epoch-end"), 2);
    assert_paired(&seen);
}

#[test]
fn an_error_takes_the_place_of_the_ends() {
    let runtime = learner(&["training"], &[("a", ""), ("b", "backward-end:error:2"), ("c", "")]);
    let before = c(&runtime);
    let report = runtime.fit(1);
    let Ending::Failed(stop) = report.ending else { panic!("{report:?}") };
    assert_eq!((stop.0.by.as_str(), stop.0.text.as_str()), ("b", "scripted"));
    assert!(
        stop.to_string().contains("handling backward-end in epoch 1, step 2 of phase training"),
        "{stop}"
    );
    let seen = seen();
    for id in ["a", "b", "c"] {
        let seen = seen_by(&seen, id);
        assert!(seen.ends_with(" error"), "{seen}");
        assert_eq!(count(&seen, "error"), 1);
        assert_eq!(count(&seen, "fit-end") + count(&seen, "epoch-end"), 0);
    }
    assert_ne!(before, c(&runtime), "the first step was applied");
}

#[test]
fn a_panic_poisons_its_instance_only() {
    let runtime = learner(&["training"], &[("a", "step-begin:panic:2"), ("b", "")]);
    let report = runtime.fit(1);
    let Ending::Failed(stop) = report.ending else { panic!("{report:?}") };
    assert_eq!((stop.kind(), stop.0.by.as_str()), (StopKind::Panic, "a"));
    assert!(stop.0.text.contains("scripted"), "{stop}");
    let first = seen();
    assert!(!seen_by(&first, "a").ends_with("error"), "a poisoned instance is not called again");
    assert!(seen_by(&first, "b").ends_with("error"));
    let again = runtime.fit(1);
    let Ending::Failed(stop) = again.ending else { panic!("{again:?}") };
    assert!(stop.0.text.contains("panicked before"), "{stop}");
}

#[test]
fn the_reason_of_a_cancelled_fit_reaches_the_report() {
    for at in [
        "fit-begin",
        "epoch-begin",
        "step-begin",
        "loss-begin",
        "backward-begin",
        "backward-end",
        "step-end",
        "epoch-end",
    ] {
        let runtime = learner(&["training"], &[("a", &format!("{at}:fit:1")), ("b", "")]);
        let report = runtime.fit(2);
        assert_eq!(
            report.ending,
            Ending::Stopped { reason: "scripted".into(), by: "a".into() },
            "{at}"
        );
        let seen = seen();
        let b = seen_by(&seen, "b");
        assert_eq!(count(&b, "fit-begin"), count(&b, "fit-end"), "{at}: {b}");
        assert_eq!(count(&seen_by(&seen, "a"), "fit-end"), 1, "{at}");
    }
}

#[test]
fn a_step_cancelled_where_none_runs_is_an_error() {
    let runtime = learner(&["training"], &[("a", "epoch-begin:step:1")]);
    let report = runtime.fit(1);
    assert!(
        matches!(&report.ending, Ending::Failed(stop) if stop.0.text.contains("where none was running")),
        "{report:?}"
    );
}

#[test]
fn a_read_grant_does_not_let_a_parameter_be_changed_in_place() {
    let runtime = learner(&["training"], &[("a", "step-begin:poke:1")]);
    let before = c(&runtime);
    let report = runtime.fit(1);
    let Ending::Failed(stop) = report.ending else { panic!("{report:?}") };
    assert!(
        stop.0.text.contains("`a` may read `params` but not change it")
            && stop.0.text.contains("setup.write(\"params\")"),
        "{stop}"
    );
    assert_eq!(before, c(&runtime));
    let runtime = learner(&["training"], &[("a", "step-begin:poke-xs:1")]);
    let report = runtime.fit(1);
    let Ending::Failed(stop) = report.ending else { panic!("{report:?}") };
    assert!(stop.0.text.contains("`a` may read `step.xs` but not change it"), "{stop}");
}

#[test]
fn a_signal_ends_the_fit_after_the_step() {
    let runtime = learner(&["training"], &[("a", "")]);
    runtime.interrupt().end(2);
    let report = runtime.fit(1);
    assert!(matches!(report.ending, Ending::Stopped { .. }), "{report:?}");
    assert!(seen_by(&seen(), "a").ends_with("fit-cancelled fit-end"));
}
