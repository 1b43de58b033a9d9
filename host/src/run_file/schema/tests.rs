//! The schema subset, value by value.

use serde_json::{Value as Json, json};

use super::super::diagnostic::Diagnostics;
use super::{check_json, type_text};

fn check(schema: Json, config: Json) -> Result<Json, Vec<String>> {
    let schema = json!({ "type": "object", "additionalProperties": false, "properties": schema });
    let mut found = Diagnostics::new();
    let out = check_json(&schema, &config, "model `x`", &mut found);
    if found.is_empty() {
        Ok(Json::Object(out))
    } else {
        Err(found.iter().map(|d| d.message.clone()).collect())
    }
}

#[test]
fn types_must_fit_and_whole_numbers_are_numbers() {
    assert_eq!(
        check(json!({ "a": { "type": "number" } }), json!({ "a": 3 })),
        Ok(json!({ "a": 3 }))
    );
    for (kind, value, text) in [
        (
            "integer",
            json!(3.0),
            "`a` of model `x` must be a whole number, not a number with a fraction",
        ),
        ("string", json!(3), "`a` of model `x` must be text, not a whole number"),
        ("boolean", json!("yes"), "`a` of model `x` must be `true` or `false`, not text"),
        ("array", json!(1), "`a` of model `x` must be a list, not a whole number"),
        ("object", json!([]), "`a` of model `x` must be a table, not a list"),
    ] {
        assert_eq!(
            check(json!({ "a": { "type": kind } }), json!({ "a": value })),
            Err(vec![text.to_owned()])
        );
    }
}

#[test]
fn bounds_are_inclusive_or_exclusive_as_stated() {
    let schema = json!({ "a": { "type": "number", "minimum": 0, "exclusiveMaximum": 1 } });
    assert!(check(schema.clone(), json!({ "a": 0 })).is_ok());
    let wrong = check(schema, json!({ "a": 1 })).unwrap_err();
    assert_eq!(wrong, ["`a` of model `x` must be at least 0 and below 1, but is 1"]);
    let open = json!({ "a": { "type": "integer", "exclusiveMinimum": 0, "maximum": 2 } });
    assert!(check(open.clone(), json!({ "a": 0 })).is_err());
    assert!(check(open, json!({ "a": 2 })).is_ok());
}

#[test]
fn defaults_fill_nested_tables_and_list_items() {
    let item = json!({ "type": "object", "additionalProperties": false, "properties": { "k": { "type": "integer", "default": 5 } } });
    let schema = json!({ "list": { "type": "array", "items": item, "default": [{}] }, "opt": { "type": ["string", "null"], "default": null } });
    assert_eq!(check(schema.clone(), json!({})), Ok(json!({ "list": [{ "k": 5 }] })));
    assert_eq!(
        check(schema, json!({ "list": [{ "k": 1 }, {}] })),
        Ok(json!({ "list": [{ "k": 1 }, { "k": 5 }] }))
    );
}

#[test]
fn tagged_choices_are_told_apart_by_their_constant() {
    let schema = json!({ "s": { "oneOf": [
        { "type": "object", "required": ["kind", "n"], "additionalProperties": false,
          "properties": { "kind": { "const": "patience" }, "n": { "type": "integer" } } },
        { "type": "object", "additionalProperties": false, "properties": { "kind": { "const": "never" } } },
        { "type": "integer", "minimum": 1 } ] } });
    assert!(check(schema.clone(), json!({ "s": { "kind": "patience", "n": 3 } })).is_ok());
    assert!(check(schema.clone(), json!({ "s": 3 })).is_ok());
    let message = |config| check(schema.clone(), config).unwrap_err().join("; ");
    assert_eq!(
        message(json!({ "s": { "kind": "patience" } })),
        "model `x` needs `s.n`, which is not given"
    );
    assert_eq!(
        message(json!({ "s": { "kind": "nevr" } })),
        "`s.kind` of model `x` must be one of `patience`, `never`, but is \"nevr\""
    );
    assert_eq!(
        message(json!({ "s": {} })),
        "`s` of model `x` needs `kind`, which selects its form"
    );
    assert_eq!(
        message(json!({ "s": { "kind": "never", "n": 1 } })),
        "model `x` has no setting `n` in `s`"
    );
    assert_eq!(message(json!({ "s": 0 })), "`s` of model `x` must be at least 1, but is 0");
    assert!(
        message(json!({ "s": "x" }))
            .contains("must be a table with `kind` one of `patience`, `never`")
    );
}

#[test]
fn choices_items_and_free_tables_are_checked() {
    let schema = json!({ "mode": { "type": "string", "enum": ["min", "max"] },
        "sizes": { "type": "array", "minItems": 1, "items": { "type": "integer", "minimum": 1 } },
        "weights": { "type": "object", "additionalProperties": { "type": "number" } } });
    assert!(
        check(schema.clone(), json!({ "mode": "min", "sizes": [1], "weights": { "any": 1.5 } }))
            .is_ok()
    );
    let wrong =
        check(schema, json!({ "mode": "mix", "sizes": [1, 0, "x"], "weights": { "any": "x" } }))
            .unwrap_err();
    assert_eq!(
        wrong,
        [
            "`mode` of model `x` must be one of `min`, `max`, but is \"mix\"",
            "`sizes[1]` of model `x` must be at least 1, but is 0",
            "`sizes[2]` of model `x` must be a whole number (at least 1), not text",
            "`weights.any` of model `x` must be a number, not text",
        ]
    );
    let empty =
        check(json!({ "a": { "type": "array", "minItems": 1 } }), json!({ "a": [] })).unwrap_err();
    assert_eq!(empty, ["`a` of model `x` must have at least 1 items, but has 0"]);
}

#[test]
fn types_in_words() {
    assert_eq!(
        type_text(&json!({ "type": "integer", "minimum": 1 })),
        "a whole number (at least 1)"
    );
    assert_eq!(type_text(&json!({ "type": ["string", "null"] })), "text");
    assert_eq!(
        type_text(&json!({ "type": "array", "items": { "type": "number" } })),
        "a list, each item a number"
    );
    assert_eq!(type_text(&json!({ "enum": ["a", "b"] })), "one of `a`, `b`");
    assert_eq!(type_text(&json!({})), "any value");
}
