//! A small catalog for the tests of run files and compositions.

use serde_json::{Value as Json, json};

use crate::library::{Catalog, Kind, Manifest};

/// One component of the fixture.
pub(crate) fn component(
    kind: Kind,
    name: &str,
    properties: Json,
    required: &[&str],
    more: Json,
) -> Json {
    let mut component = json!({
        "kind": kind.name(), "name": name, "summary": format!("The {kind} {name}."),
        "config": { "type": "object", "additionalProperties": false, "properties": properties, "required": required },
    });
    for (key, value) in more.as_object().into_iter().flatten() {
        component[key] = value.clone();
    }
    component
}

/// A catalog of one plugin with these components.
pub(crate) fn catalog_of(components: Vec<Json>) -> Catalog {
    let manifest = json!({ "schema": 1, "contract": "1.0", "plugin": { "name": "fixture", "version": "1.0.0" }, "components": components });
    Catalog::described([Manifest::parse(&manifest.to_string()).expect("the fixture is a manifest")])
}

/// The components that most tests need.
pub(crate) fn components() -> Vec<Json> {
    let rate = json!({ "type": "number", "exclusiveMinimum": 0, "default": 1e-3, "description": "Step size." });
    let none = || json!({});
    let every =
        json!({ "type": "integer", "minimum": 1, "default": 1, "description": "Every n-th step." });
    vec![
        component(Kind::Dataset, "digits", none(), &[], none()),
        component(
            Kind::Dataset,
            "csv",
            json!({ "path": { "type": "string", "description": "The file." }, "missing": { "type": "string", "enum": ["drop", "mean"], "default": "drop" } }),
            &["path"],
            none(),
        ),
        component(
            Kind::Model,
            "mlp",
            json!({ "hidden": { "type": "array", "items": { "type": "integer", "minimum": 1 }, "default": [128] },
                    "dropout": { "type": ["number", "null"], "minimum": 0, "exclusiveMaximum": 1, "default": null } }),
            &[],
            none(),
        ),
        component(
            Kind::Model,
            "sequential",
            json!({ "layers": { "type": "array", "items": { "oneOf": [
                { "type": "object", "additionalProperties": false, "required": ["kind", "out"],
                  "properties": { "kind": { "const": "linear" }, "out": { "type": "integer", "minimum": 1 } } },
                { "type": "object", "additionalProperties": false, "required": ["kind"],
                  "properties": { "kind": { "const": "relu" } } } ] } } }),
            &["layers"],
            none(),
        ),
        component(
            Kind::Loss,
            "cross-entropy",
            json!({ "label-smoothing": { "type": "number", "minimum": 0, "default": 0.0 } }),
            &[],
            none(),
        ),
        component(
            Kind::Optimizer,
            "adamw",
            json!({ "learning-rate": rate, "weight-decay": { "type": "number", "minimum": 0, "default": 0.01 } }),
            &[],
            json!({ "hyper-parameters": ["learning-rate"] }),
        ),
        component(
            Kind::Optimizer,
            "sgd",
            json!({ "learning-rate": { "type": "number" } }),
            &["learning-rate"],
            none(),
        ),
        component(Kind::Phase, "training", none(), &[], json!({ "phase-kind": "training" })),
        component(Kind::Phase, "validation", none(), &[], json!({ "phase-kind": "validation" })),
        component(Kind::Phase, "gan", none(), &[], json!({ "phase-kind": "training" })),
        component(Kind::Callback, "recorder", json!({ "every": every }), &[], none()),
        component(Kind::Callback, "progress", none(), &[], none()),
        component(Kind::Callback, "metrics-printer", none(), &[], none()),
        component(Kind::Callback, "stop-on-nan", none(), &[], none()),
        component(
            Kind::Callback,
            "metrics",
            json!({ "metrics": { "type": "array", "items": {}, "default": [] } }),
            &[],
            none(),
        ),
        component(
            Kind::Callback,
            "early-stopping",
            json!({ "patience": { "oneOf": [{ "type": "integer", "minimum": 1 }, { "type": "string", "enum": ["never"] }], "default": 3 } }),
            &[],
            none(),
        ),
        component(Kind::Logger, "jsonl", none(), &[], none()),
    ]
}
