//! Cancelled and failed spans, and their pairs of events: behaviours 7, 8 and 15.

use fluxbay::learner::{Ending, StopKind};

use crate::run::*;

/// Begin and end events of a span recorded by a probe; an error within the span counts as its end.
fn assert_paired(session: &fluxbay::session::Session, id: &str) {
    let seen = events(session, id);
    for span in ["step", "epoch", "fit"] {
        let mut open = 0;
        for event in &seen {
            let name = event.as_str();
            if name == format!("{span}-begin") {
                open += 1;
                assert_eq!(open, 1, "{id}: {span} begins twice in {seen:?}");
            }
            let notice = name == "fit-cancelled"
                || (name == "epoch-cancelled" && seen.contains(&"epoch-end".to_owned()));
            let ends = name == format!("{span}-end")
                || (name == format!("{span}-cancelled") && !notice)
                || (name == "error" && open == 1);
            if ends {
                assert_eq!(open, 1, "{id}: {span} ends without a begin in {seen:?}");
                open = 0;
            }
        }
        assert_eq!(open, 0, "{id}: {span} has no end in {seen:?}");
    }
}

#[test]
fn what_a_callback_forgave_is_not_told_of_the_next_that_stops() {
    for what in ["cancel-fit", "error"] {
        let stops = format!(
            "[[callback]]\ncomponent = \"probe\"\nid = \"stops\"\nscript = \"step-end:{what}:3\"\n"
        );
        let forgives = format!(
            "[[callback]]\ncomponent = \"forgiving\"\nid = \"forgives\"\nscript = \"step-end:{what}:3\"\n"
        );
        let session =
            session(&format!("{SCALAR}[[phase]]\ncomponent = \"training\"\n{forgives}{stops}"));
        let by = match session.fit_epochs(1).ending {
            Ending::Stopped { by, .. } => by,
            Ending::Failed(stop) => stop.0.by,
            other => panic!("{other:?}"),
        };
        assert_eq!(by, "stops", "{what}");
    }
}

#[test]
fn behaviour_07_a_cancelled_step_has_no_end_and_training_goes_on() {
    let session = probed(&["training"], &[("a", "loss-begin:cancel-step:3"), ("b", "")]);
    assert_eq!(session.fit_epochs(1).ending, Ending::Finished);
    for id in ["a", "b"] {
        let counts =
            ["step-begin", "step-end", "step-cancelled"].map(|event| count(&session, id, event));
        assert_eq!(counts, [16, 15, 1], "{id}");
        assert_paired(&session, id);
    }
}

#[test]
fn behaviour_08_a_cancelled_fit_is_left_with_its_reason_and_fit_end() {
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
        let session = probed(&["training"], &[("a", &format!("{at}:cancel-fit:1")), ("b", "")]);
        let report = session.fit_epochs(3);
        assert_eq!(
            report.ending,
            Ending::Stopped { reason: "scripted".into(), by: "a".into() },
            "{at}"
        );
        assert_eq!(count(&session, "a", "fit-end"), 1, "{at}");
        assert_paired(&session, "a");
        assert_paired(&session, "b");
    }
}

#[test]
fn behaviour_15_whoever_saw_a_begin_sees_exactly_one_end() {
    let scripts = ["cancel-step", "cancel-epoch", "cancel-fit", "error"];
    for at in ["step-begin", "loss-begin", "backward-end", "step-end"] {
        for what in scripts {
            let session =
                probed(&["training"], &[("a", ""), ("b", &format!("{at}:{what}:2")), ("c", "")]);
            session.fit_epochs(1);
            for id in ["a", "b", "c"] {
                assert_paired(&session, id);
            }
        }
    }
}

#[test]
fn behaviour_15_who_was_not_reached_by_a_begin_hears_nothing_of_its_end() {
    let session = probed(&["training"], &[("a", "step-begin:cancel-step:1"), ("b", "")]);
    session.fit_epochs(1);
    assert_eq!(
        (count(&session, "a", "step-cancelled"), count(&session, "b", "step-cancelled")),
        (1, 0)
    );
    assert_eq!((count(&session, "b", "step-begin"), count(&session, "b", "step-end")), (15, 15));
}

#[test]
fn behaviour_15_checkpoint_follows_every_epoch_end() {
    let session = probed(&["training"], &[("a", ""), ("b", "")]);
    session.fit_epochs(3);
    for id in ["a", "b"] {
        let seen = events(&session, id);
        let ends = seen.iter().filter(|event| *event == "epoch-end").count();
        let pairs = seen
            .windows(2)
            .filter(|pair| pair[0] == "epoch-end" && pair[1] == "checkpoint")
            .count();
        assert_eq!((ends, pairs), (3, 3));
    }
}

#[test]
fn behaviour_15_an_error_takes_the_place_of_what_is_owed() {
    let session = probed(&["training"], &[("a", ""), ("b", "backward-end:error:2"), ("c", "")]);
    let report = session.fit_epochs(1);
    let Ending::Failed(stop) = report.ending else { panic!("{report:?}") };
    assert_eq!(
        (stop.0.by.as_str(), stop.0.text.as_str(), stop.kind()),
        ("b", "scripted", StopKind::Error)
    );
    assert!(
        stop.to_string().contains("handling backward-end in epoch 1, step 2 of phase training"),
        "{stop}"
    );
    for id in ["a", "b", "c"] {
        assert_eq!(events(&session, id).last().map(String::as_str), Some("error"), "{id}");
    }
}

#[test]
fn a_panic_names_its_instance_and_poisons_it() {
    let session = probed(&["training"], &[("a", "step-begin:panic:2"), ("b", "")]);
    let report = session.fit_epochs(1);
    let Ending::Failed(stop) = report.ending else { panic!("{report:?}") };
    assert_eq!((stop.0.by.as_str(), stop.kind()), ("a", StopKind::Panic));
    assert!(
        stop.0.text.contains("scripted") && stop.0.text.contains("lib.rs"),
        "message and place: {stop}"
    );
    assert!(session.callback("a").unwrap().is_poisoned());
    assert_eq!(events(&session, "a").last().map(String::as_str), Some("step-begin"));
    assert_eq!(events(&session, "b").last().map(String::as_str), Some("error"));
}

#[test]
fn an_instance_that_may_be_left_out_is_left_out_after_an_error() {
    let phase = "[[phase]]\ncomponent = \"training\"\n";
    let session = session(&format!(
        "{SCALAR}{phase}[[callback]]\ncomponent = \"probe\"\nid = \"a\"\nscript = \"step-end:error:1\"\non-error = \"disable\"\n"
    ));
    assert_eq!(session.fit_epochs(1).ending, Ending::Finished);
    assert!(session.callback("a").unwrap().is_disabled());
    assert_eq!(count(&session, "a", "step-end"), 1);
}

#[test]
fn behaviour_15_an_ordinary_error_closes_progress_bars_and_loggers_too() {
    let (dir, display) = (fluxbay_tests::scratch(), Recording::default());
    let mut surroundings = display.surroundings();
    surroundings.run_dir = dir.path().to_string_lossy().into_owned();
    let callbacks = "[[callback]]\ncomponent = \"progress\"\n[[callback]]\ncomponent = \"metrics\"\n[[callback]]\ncomponent = \"log-metrics\"\n\
                     [[callback]]\ncomponent = \"probe\"\nid = \"p\"\nscript = \"backward-end:error:3\"\n[[logger]]\ncomponent = \"jsonl\"\n";
    let session = whole_session(
        &fixture(&format!("{SCALAR}[[phase]]\ncomponent = \"training\"\n{callbacks}")),
        surroundings,
    );
    assert!(matches!(session.fit_epochs(1).ending, Ending::Failed(_)));
    assert_eq!(display.bars(), (Vec::new(), 1), "the bar was ended, and the display closed");
    session.finish().unwrap();
    let records = std::fs::read_to_string(dir.path().join("jsonl/records.jsonl")).unwrap();
    assert_eq!(records.lines().count(), 2, "the two steps before: {records}");
    assert!(records.ends_with('\n'));
}
