//! The types that a schema allows, and the property that tells alternatives apart.

use serde_json::Value as Json;

use super::super::tree::Value;

/// The type names of a schema without `null`; none means any.
pub(super) fn types(schema: &Json) -> Vec<&str> {
    match schema.get("type") {
        Some(Json::String(name)) => vec![name],
        Some(Json::Array(names)) => {
            names.iter().filter_map(Json::as_str).filter(|name| *name != "null").collect()
        }
        _ => Vec::new(),
    }
}

/// Whether a value has the type that the schema asks for.
pub(super) fn type_fits(schema: &Json, value: &Value) -> bool {
    let names = types(schema);
    names.is_empty()
        || names.iter().any(|name| {
            matches!(
                (*name, value),
                ("boolean", Value::Flag(_))
                    | ("integer" | "number", Value::Integer(_))
                    | ("number", Value::Float(_))
                    | ("string", Value::Text(_))
                    | ("array", Value::List(_))
                    | ("object", Value::Table(_))
            )
        })
}

/// The first property that has a constant in every alternative.
pub(super) fn tag(options: &[Json]) -> Option<&str> {
    let constant = |option: &Json, key: &str| {
        option.get("properties").and_then(|p| p.get(key)).and_then(|p| p.get("const")).is_some()
    };
    let first =
        options.iter().find_map(|option| option.get("properties").and_then(Json::as_object))?;
    let tables = || {
        options.iter().filter(|option| {
            types(option).first() == Some(&"object") || option.get("properties").is_some()
        })
    };
    first.keys().map(String::as_str).find(|key| tables().all(|option| constant(option, key)))
}

/// The constant of the property `tag` in one alternative.
pub(super) fn tag_value<'a>(option: &'a Json, tag: &str) -> Option<&'a Json> {
    option.get("properties")?.get(tag)?.get("const")
}
