//! Tests of the manifest's reader.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn good() -> Value {
    json!({
        "schema": 1, "contract": "1.0",
        "plugin": {"name": "demo", "version": "0.1.0", "summary": "a demo"},
        "components": [
            {"kind": "callback", "name": "recorder", "events": ["step-end"], "reads": ["step.loss"],
             "config": {"type": "object", "additionalProperties": false, "required": ["path"],
                        "properties": {"path": {"type": "string"}, "every": {"type": ["integer", "null"], "minimum": 1}}},
             "requires": ["fluxbay.state/1"], "of-the-future": true},
            {"kind": "phase", "name": "recorder", "phase-kind": "training"}
        ]
    })
}

fn with(pointer: &str, value: Value) -> String {
    let mut manifest = good();
    let (parent, field) = pointer.rsplit_once('/').expect("a pointer has a slash");
    let parent = manifest.pointer_mut(parent).expect("the parent exists");
    match parent {
        Value::Object(map) => {
            map.insert(field.to_owned(), value);
        }
        Value::Array(list) => list[field.parse::<usize>().expect("an index")] = value,
        _ => unreachable!(),
    }
    manifest.to_string()
}

#[test]
fn a_good_manifest_is_read_with_its_defaults() {
    let manifest = Manifest::from_section(&encode(&good().to_string())).expect("it is good");
    assert_eq!(manifest.plugin.name, "demo");
    assert_eq!(manifest.contract, ContractVersion::new(1, 0));
    assert_eq!(manifest.components[0].id(), "callback/recorder");
    assert_eq!(manifest.components[1].state_version, 1);
    assert_eq!(manifest.components[1].config["type"], "object");
}

#[test]
fn zero_padding_is_accepted_and_anything_else_after_the_text_is_not() {
    let mut bytes = encode(&good().to_string());
    let end = bytes.len();
    bytes.extend([0; 9]);
    assert!(Manifest::from_section(&bytes).is_ok());
    bytes[end + 3] = 1;
    assert_eq!(Manifest::from_section(&bytes).expect_err("garbage follows").offset, end + 3);
}

#[test]
fn a_wrong_envelope_is_named_with_its_offset() {
    let bytes = encode(&good().to_string());
    let offset = |bytes: &[u8]| Manifest::from_section(bytes).expect_err("it is broken").offset;
    assert_eq!(offset(&bytes[..10]), 10);
    assert_eq!(offset(&bytes[..bytes.len() - 1]), 12);
    let mut other = bytes.clone();
    other[0] = b'X';
    assert_eq!(offset(&other), 0);
    let mut other = bytes.clone();
    other[8] = 2;
    assert_eq!(offset(&other), 8);
    let mut other = bytes.clone();
    other[HEADER + 5] = 0xff;
    assert_eq!(offset(&other), HEADER + 5);
    assert_eq!(offset(&vec![b'F'; MAX_BYTES + 1]), 0);
}

#[test]
fn each_wrong_field_is_named_and_placed() {
    let long = "a".repeat(65);
    let cases = [
        ("/schema", json!(2), "schema"),
        ("/schema", json!("1"), "schema"),
        ("/contract", json!("1"), "contract"),
        ("/contract", json!("1.x"), "contract"),
        ("/plugin/name", json!("Demo"), "plugin.name"),
        ("/plugin/name", json!(""), "plugin.name"),
        ("/plugin/name", json!(long), "plugin.name"),
        ("/plugin/version", json!("one"), "plugin.version"),
        ("/plugin/summary", json!(3), "plugin.summary"),
        ("/components/0/kind", json!("calback"), "components[0].kind"),
        ("/components/0/name", json!("../x"), "components[0].name"),
        ("/components/1/events", json!(["a", "\u{1b}[31m"]), "components[1].events[1]"),
        ("/components/0/reads", json!(["step..loss"]), "components[0].reads[0]"),
        ("/components/0/writes", json!(["step.loss", "step.loss"]), "components[0].writes[1]"),
        ("/components/0/requires", json!(["fluxbay.state"]), "components[0].requires[0]"),
        ("/components/0/phase-kind", json!("training"), "components[0].phase-kind"),
        ("/components/1/phase-kind", json!("train"), "components[1].phase-kind"),
        ("/components/0/state-version", json!(-1), "components[0].state-version"),
        ("/components/0/config", json!([]), "components[0].config"),
        (
            "/components/0/config/properties/path",
            json!({"type": "text"}),
            "components[0].config.properties.path.type",
        ),
        ("/components/0/config/properties/path", json!(1), "components[0].config.properties.path"),
        ("/components/0/config/required", json!(["pth"]), "components[0].config.required[0]"),
        ("/components/1", json!({"kind": "callback", "name": "recorder"}), "components[1].name"),
    ];
    for (pointer, value, field) in cases {
        let text = with(pointer, value.clone());
        let error = Manifest::parse(&text).expect_err(&text);
        assert_eq!(error.field, field, "{pointer} = {value}: {error}");
        assert!(error.offset > 0 && error.offset < text.len(), "{error}");
        assert!(!error.to_string().contains('\u{1b}'), "escape codes are shown escaped");
    }
}

#[test]
fn a_missing_field_and_a_field_given_twice_are_errors() {
    let error = Manifest::parse(r#"{"schema":1,"contract":"1.0","plugin":{"name":"a"}}"#)
        .expect_err("no version");
    assert!(error.problem.contains("version"), "{error}");
    assert_eq!(error.field, "plugin");
    let text =
        r#"{"schema":1,"contract":"1.0","plugin":{"name":"a","name":"b","version":"1.0.0"}}"#;
    let error = Manifest::parse(text).expect_err("two names");
    assert!(error.problem.contains("duplicate"), "{error}");
}

#[test]
fn deep_nesting_and_absurd_counts_end_in_an_error() {
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    assert!(Manifest::parse(&deep).is_err());
    let many: Vec<Value> =
        (0..5000).map(|i| json!({"kind": "loss", "name": format!("l{i}")})).collect();
    let error = Manifest::parse(&with("/components", Value::from(many))).expect_err("too many");
    assert_eq!(error.field, "components");
}

#[test]
fn kinds_and_contract_versions_read_back_as_written() {
    for kind in Kind::ALL {
        assert_eq!(kind.name().parse::<Kind>(), Ok(kind));
        assert_eq!(serde_json::to_value(kind).expect("plain"), json!(kind.name()));
    }
    assert_eq!("12.3".parse(), Ok(ContractVersion::new(12, 3)));
    for wrong in ["", "1", "1.", ".1", "1.2.3", "01.0", "+1.0", "1.-0", "70000.1"] {
        assert!(wrong.parse::<ContractVersion>().is_err(), "{wrong}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn damaged_sections_never_panic(flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..8), cut in any::<prop::sample::Index>(), shorten: bool) {
        let mut bytes = encode(&good().to_string());
        for (at, value) in flips {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        if shorten {
            bytes.truncate(cut.index(bytes.len()));
        }
        if let Err(error) = Manifest::from_section(&bytes) {
            prop_assert!(error.offset <= bytes.len());
            prop_assert!(!error.to_string().chars().any(char::is_control));
        }
    }

    #[test]
    fn arbitrary_text_never_panics(text in "[\\[\\]{}:,\"\\\\a-c0-9 ]{0,80}") {
        prop_assert!(Manifest::parse(&text).is_err());
    }
}
