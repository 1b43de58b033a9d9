//! Changing the callbacks of a session: behaviour 33.

use serde_json::json;

use crate::run::*;

#[test]
fn behaviour_33_callbacks_are_read_added_replaced_removed_and_set() {
    let session = probed(&["training"], &[("a", "")]);
    assert!(session.callback("a").is_some() && session.callback("b").is_none());
    session.add_callback("b", "probe", &json!({})).unwrap();
    assert!(session.add_callback("b", "probe", &json!({})).is_err(), "the id is taken");
    session.run_epoch(0).unwrap();
    assert_eq!((count(&session, "a", "step-begin"), count(&session, "b", "step-begin")), (16, 16));
    let old = session
        .replace_callback("b", "probe", &json!({ "script": "step-begin:cancel-epoch:1" }))
        .unwrap();
    assert_eq!(old.map(|old| old.id.clone()).as_deref(), Some("b"));
    assert!(session.replace_callback("z", "probe", &json!({})).unwrap().is_none());
    session.run_epoch(0).unwrap();
    assert_eq!(count(&session, "a", "step-begin"), 17);
    assert!(session.remove_callback("b").unwrap().is_some());
    assert!(session.remove_callback("b").unwrap().is_none());
    session.run_epoch(0).unwrap();
    assert_eq!(count(&session, "a", "step-begin"), 33);
    session.set_callbacks(&[("c", "probe", json!({})), ("d", "recorder", json!({}))]).unwrap();
    let ids: Vec<String> = session.callbacks().iter().map(|callback| callback.id.clone()).collect();
    assert_eq!(ids, ["c", "d"]);
    session.run_epoch(0).unwrap();
    assert_eq!((count(&session, "a", "step-begin"), count(&session, "c", "step-begin")), (33, 16));
}

#[test]
fn behaviour_33_adding_one_that_conflicts_leaves_the_learner_as_it_was() {
    let session = probed(&["training"], &[]);
    session.add_callback("first", "meddler", &json!({ "what": "none" })).unwrap();
    let refused =
        session.add_callback("second", "meddler", &json!({ "what": "none" })).unwrap_err();
    assert!(refused.to_string().contains("step.xs"), "{refused}");
    assert_eq!(session.callbacks().len(), 1);
    session.run_epoch(0).unwrap();
}
