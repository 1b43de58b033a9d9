//! The JSON Schema of run files, for editors: the host's sections and the configurations of all
//! components in a catalog.

use serde_json::{Map, Value as Json, json};

use super::layout::{self, SECTIONS, Section, SectionForm};
use super::resolve::INPUTS;
use super::{OnError, PhaseData, When, groups, settings};
use crate::library::{Catalog, Kind};

/// The schema of a run file that may use the components of `catalog`.
pub fn json_schema(catalog: &Catalog) -> Json {
    let mut properties = Map::new();
    for section in &SECTIONS {
        let schema = match (settings::schema(section.name), section.kind) {
            (Some(mut schema), _) => {
                schema["description"] = json!(section.summary);
                schema
            }
            (None, Some(kind)) => in_form(section, kind, catalog),
            (None, None) => json!({}),
        };
        properties.insert(section.name.to_owned(), schema);
    }
    json!({
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "fluxbay run file",
        "type": "object",
        "additionalProperties": false,
        "properties": properties,
    })
}

fn in_form(section: &Section, kind: Kind, catalog: &Catalog) -> Json {
    let instance = instance(kind, catalog);
    match section.form {
        SectionForm::List => {
            json!({ "type": "array", "description": section.summary, "items": instance })
        }
        SectionForm::OneOrNamed => json!({
            "description": section.summary,
            "if": { "type": "object", "required": [layout::COMPONENT] },
            "then": instance,
            "else": { "type": "object", "additionalProperties": instance },
        }),
        _ => instance,
    }
}

/// One alternative per component, selected by its name, so that an editor offers only its keys.
fn instance(kind: Kind, catalog: &Catalog) -> Json {
    let mut names = Vec::new();
    let mut branches = Vec::new();
    for component in catalog.of_kind(kind) {
        let manifest = component.manifest;
        if names.contains(&json!(manifest.name)) {
            continue;
        }
        names.push(json!(manifest.name));
        let mut schema = manifest.config.clone();
        if !schema.get("properties").is_some_and(Json::is_object) {
            schema["properties"] = json!({});
        }
        if kind == Kind::Optimizer {
            for (key, host) in groups::schema(&manifest.config) {
                schema["properties"][key] = host;
            }
        }
        for (key, host) in host_keys(kind) {
            schema["properties"][key] = host;
        }
        schema["properties"][layout::COMPONENT] =
            json!({ "const": manifest.name, "description": manifest.summary });
        let is_it = json!({ "properties": { layout::COMPONENT: { "const": manifest.name } }, "required": [layout::COMPONENT] });
        branches.push(json!({ "if": is_it, "then": schema }));
    }
    json!({
        "type": "object",
        "required": [layout::COMPONENT],
        "properties": { layout::COMPONENT: { "type": "string", "examples": names, "description": format!("Which {kind} it is.") } },
        "allOf": branches,
    })
}

fn host_keys(kind: Kind) -> Vec<(&'static str, Json)> {
    let mut keys = vec![
        (
            layout::ID,
            json!({ "type": "string", "pattern": "^[a-z][a-z0-9-]*$", "description": "Name of the instance, unique in the run." }),
        ),
        (
            layout::ON_ERROR,
            json!({ "enum": ["stop", "disable"], "default": OnError::default_of(kind).name(), "description": "What happens when the instance fails." }),
        ),
    ];
    if kind == Kind::Phase {
        let splits: Vec<&str> = PhaseData::ALL.iter().map(|data| data.name()).collect();
        keys.push((
            layout::DATA,
            json!({ "enum": splits, "description": "Which split of the data the phase reads." }),
        ));
    }
    if kind == Kind::Model {
        let texts = json!({ "type": "array", "items": { "type": "string" }, "minItems": 1 });
        keys.push((
            layout::RECOMPUTE,
            json!({ "anyOf": [{ "type": "string" }, texts], "description": "Blocks whose intermediate values are computed again in backward passes, as patterns over the beginning of parameter paths, in which * matches any text: block.* for block.0, block.1, ..." }),
        ));
    }
    if kind == Kind::Transform {
        keys.push((
            layout::WHEN,
            json!({ "enum": When::ALL.map(When::name), "description": "The samples that it is applied to; by default training for a random transform, and always for others." }),
        ));
        keys.push((
            layout::FIELD,
            json!({ "type": "string", "default": INPUTS, "description": "The field of the samples that it changes." }),
        ));
    }
    keys
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{catalog_of, components};
    use super::*;

    #[test]
    fn every_section_and_every_component_is_in_the_schema() {
        let catalog = catalog_of(components());
        let schema = json_schema(&catalog);
        for section in &SECTIONS {
            assert!(schema["properties"].get(section.name).is_some(), "{}", section.name);
        }
        let branches = |instance: &Json| instance["allOf"].as_array().unwrap().len();
        assert_eq!(branches(&schema["properties"]["model"]["then"]), 2);
        assert_eq!(branches(&schema["properties"]["callback"]["items"]), 6);
        let adamw = &schema["properties"]["optimizer"]["then"]["allOf"][0]["then"];
        assert_eq!(adamw["properties"]["component"]["const"], "adamw");
        assert_eq!(adamw["properties"]["learning-rate"]["exclusiveMinimum"], 0);
        assert_eq!(adamw["properties"]["on-error"]["default"], "stop");
        assert_eq!(adamw["additionalProperties"], false);
        let of = |kind: Kind| {
            host_keys(kind)
                .into_iter()
                .find(|(key, _)| *key == layout::ON_ERROR)
                .map(|(_, schema)| schema["default"].clone())
        };
        assert_eq!(of(Kind::Logger), Some("disable".into()));
        assert!(
            schema["properties"]["phase"]["items"]["allOf"][0]["then"]["properties"]
                .get("data")
                .is_some()
        );
    }
}
