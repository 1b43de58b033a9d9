//! Which of several alternatives a value is: by its type, or by a property that has a constant in
//! each.

use serde_json::Value as Json;

use super::super::nearest;
use super::super::tree::{Node, Value};
use super::{Checker, text};

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

/// The property that tells the alternatives apart: the first that has a constant in every one.
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

fn tag_value<'a>(option: &'a Json, tag: &str) -> Option<&'a Json> {
    option.get("properties")?.get(tag)?.get("const")
}

impl Checker<'_> {
    /// The alternative that the value means; a fault is told where there is none.
    pub(super) fn choose<'s>(
        &mut self,
        options: &'s [Json],
        node: &Node,
        path: &[String],
    ) -> Option<&'s Json> {
        let fitting: Vec<&Json> =
            options.iter().filter(|option| type_fits(option, &node.value)).collect();
        if let Value::Table(table) = &node.value
            && let Some(tag) = tag(options)
        {
            let names: Vec<String> = fitting
                .iter()
                .filter_map(|option| tag_value(option, tag))
                .map(text::choice)
                .collect();
            let Some(given) = table.get(tag) else {
                let text = format!("{} needs `{tag}`, which says what it is", self.key(path));
                self.fault(
                    "missing-key",
                    text,
                    node,
                    "",
                    Some(format!("`{tag}` is one of {}", names.join(", "))),
                );
                return None;
            };
            let same = |option: &&&Json| match (tag_value(option, tag), &given.value) {
                (Some(Json::String(name)), Value::Text(given)) => name == given,
                (Some(Json::Number(number)), Value::Integer(given)) => {
                    number.as_i64() == Some(*given)
                }
                (Some(Json::Bool(flag)), Value::Flag(given)) => flag == given,
                _ => false,
            };
            if let Some(found) = fitting.iter().find(same) {
                return Some(found);
            }
            let mut tagged: Vec<String> = path.to_vec();
            tagged.push(tag.to_owned());
            let text = format!(
                "{} must be one of {}, but is {}",
                self.key(&tagged),
                names.join(", "),
                given.value.shown()
            );
            let words =
                fitting.iter().filter_map(|option| tag_value(option, tag)).filter_map(Json::as_str);
            let near = given.text().and_then(|given| nearest::nearest(given, words));
            self.fault(
                "unknown-choice",
                text,
                given,
                "",
                near.map(|near| format!("did you mean `{near}`?")),
            );
            return None;
        }
        // Among texts and numbers the one whose own constants or choices allow the value goes
        // first.
        let allowed = |option: &&&Json| match (
            &node.value,
            option.get("enum").and_then(Json::as_array),
            option.get("const"),
        ) {
            (Value::Text(given), Some(choices), _) => {
                choices.iter().any(|choice| choice.as_str() == Some(given))
            }
            (Value::Text(given), None, Some(only)) => only.as_str() == Some(given),
            _ => true,
        };
        if let Some(found) = fitting.iter().find(allowed).or(fitting.first()) {
            return Some(found);
        }
        let text = format!(
            "{} must be {}, not {}",
            self.key(path),
            text::options(options),
            node.value.noun()
        );
        self.fault("wrong-type", text, node, node.value.noun(), None);
        None
    }
}
