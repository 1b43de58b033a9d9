//! Describes schemas in words: types, ranges, defaults. Used by messages, `inspect` and the
//! reference pages.

use serde_json::Value as Json;

use super::shape::{tag, types};

/// The values that a schema allows, such as "a whole number of at least 1" or "one of `a`, `b`".
pub fn type_text(schema: &Json) -> String {
    if let Some(choices) = schema.get("enum").and_then(Json::as_array) {
        let names: Vec<String> = choices.iter().map(choice).collect();
        return format!("one of {}", names.join(", "));
    }
    if let Some(only) = schema.get("const") {
        return choice(only);
    }
    if let Some(options) = schema.get("oneOf").and_then(Json::as_array) {
        return self::options(options);
    }
    let names: Vec<String> = types(schema).iter().map(|name| noun(name, schema)).collect();
    let base = if names.is_empty() { "any value".to_owned() } else { names.join(" or ") };
    match range(schema) {
        Some(range) => format!("{base} ({range})"),
        None => base,
    }
}

/// Alternatives in words.
pub(super) fn options(options: &[Json]) -> String {
    let Some(tag) = tag(options) else {
        return options.iter().map(type_text).collect::<Vec<_>>().join(" or ");
    };
    let constant = |option: &Json| option.get("properties")?.get(tag)?.get("const").map(choice);
    let names: Vec<String> = options.iter().filter_map(constant).collect();
    let others = options.iter().filter(|option| constant(option).is_none()).map(type_text);
    let table = format!("a table with `{tag}` one of {}", names.join(", "));
    std::iter::once(table).chain(others).collect::<Vec<_>>().join(" or ")
}

fn noun(name: &str, schema: &Json) -> String {
    match name {
        "boolean" => "`true` or `false`".to_owned(),
        "integer" => "a whole number".to_owned(),
        "number" => "a number".to_owned(),
        "string" => "text".to_owned(),
        "array" => match schema
            .get("items")
            .filter(|items| items.get("type").is_some() || items.get("oneOf").is_some())
        {
            Some(items) => format!("a list, each item {}", type_text(items)),
            None => "a list".to_owned(),
        },
        "object" => "a table".to_owned(),
        other => other.to_owned(),
    }
}

/// The bounds in words, such as "at least 0 and below 1".
pub(super) fn range(schema: &Json) -> Option<String> {
    let bound = |name: &str| schema.get(name).filter(|value| value.is_number());
    let mut parts = Vec::new();
    if let Some(least) = bound("minimum") {
        parts.push(format!("at least {least}"));
    }
    if let Some(least) = bound("exclusiveMinimum") {
        parts.push(format!("greater than {least}"));
    }
    if let Some(most) = bound("maximum") {
        parts.push(format!("at most {most}"));
    }
    if let Some(most) = bound("exclusiveMaximum") {
        parts.push(format!("below {most}"));
    }
    (!parts.is_empty()).then(|| parts.join(" and "))
}

/// The default as in a run file, if there is one.
pub fn default_text(schema: &Json) -> Option<String> {
    schema.get("default").filter(|default| !default.is_null()).map(toml_text)
}

pub(super) fn choice(value: &Json) -> String {
    match value {
        Json::String(text) => format!("`{text}`"),
        other => format!("`{other}`"),
    }
}

/// A JSON value as inline TOML.
pub(crate) fn toml_text(value: &Json) -> String {
    match value {
        Json::Null => "\"\"".to_owned(),
        Json::Bool(flag) => flag.to_string(),
        Json::Number(number) => number.to_string(),
        Json::String(text) => toml::Value::String(text.clone()).to_string(),
        Json::Array(items) => {
            format!("[{}]", items.iter().map(toml_text).collect::<Vec<_>>().join(", "))
        }
        Json::Object(map) if map.is_empty() => "{}".to_owned(),
        Json::Object(map) => {
            let entries: Vec<String> = map
                .iter()
                .filter(|(_, v)| !v.is_null())
                .map(|(k, v)| format!("{} = {}", key_text(k), toml_text(v)))
                .collect();
            format!("{{ {} }}", entries.join(", "))
        }
    }
}

/// A key in TOML, quoted only if needed.
pub(crate) fn key_text(key: &str) -> String {
    let bare =
        !key.is_empty() && key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
    if bare { key.to_owned() } else { toml::Value::String(key.to_owned()).to_string() }
}
