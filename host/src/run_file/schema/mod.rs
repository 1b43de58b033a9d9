//! Checks a value against a JSON Schema subset and fills in defaults; reports every fault with its
//! place.
//!
//! The subset is the manifest's: `type` (one name, or `[name, "null"]`), `properties`, `required`,
//! `additionalProperties`, `items`, `enum`, `const`, `oneOf` (told apart by a constant property or
//! by type), the four bounds, `default`, `description`. Used for the sections of the host, for
//! configurations of components, and for those of children that a component creates.

mod choice;
mod shape;
mod text;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use serde_json::{Map, Number, Value as Json};

use super::diagnostic::{Diagnostic, Diagnostics};
use super::nearest;
use super::source::{Place, Sources};
use super::tree::{Entry, Node, Table, Value};

pub use text::{default_text, type_text};
pub(crate) use text::{key_text, toml_text};

/// Origin of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Written at this place.
    Given(Place),
    /// The schema's default.
    Default,
}

/// A checked configuration with all defaults.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Checked {
    /// The configuration.
    pub config: Map<String, Json>,
    /// Origin of each value, by its keys joined with dots (list items by their number).
    pub origins: BTreeMap<String, Origin>,
    /// Place of each key, by the same path.
    pub keys: BTreeMap<String, Place>,
}

/// The context of a check.
pub struct Checker<'a> {
    /// The texts that places refer to.
    pub sources: &'a Sources,
    /// Owner of the configuration, for messages: ``optimizer `adamw` ``.
    pub owner: &'a str,
    /// Place of the whole configuration, for faults without a place.
    pub place: Option<Place>,
    /// Further allowed keys, to suggest for an unknown key.
    pub also: &'a [&'a str],
    /// Receives the faults.
    pub diagnostics: &'a mut Diagnostics,
}

/// Checks a configuration without places, such as one that a component gives to a child.
pub fn check_json(
    schema: &Json,
    config: &Json,
    owner: &str,
    diagnostics: &mut Diagnostics,
) -> Map<String, Json> {
    let sources = Sources::new();
    let table = match Node::from_json(config) {
        Some(Node { value: Value::Table(table), .. }) => table,
        None => Table::default(),
        Some(other) => {
            let text =
                format!("the configuration of {owner} must be a table, not {}", other.value.noun());
            diagnostics.push(Diagnostic::error("wrong-type", text));
            return Map::new();
        }
    };
    Checker { sources: &sources, owner, place: None, also: &[], diagnostics }
        .check(schema, &table)
        .config
}

impl Checker<'_> {
    /// Checks a whole configuration.
    pub fn check(&mut self, schema: &Json, table: &Table) -> Checked {
        let mut checked = Checked::default();
        let mut path = Vec::new();
        checked.config = self.object(
            schema,
            table,
            self.place,
            &mut path,
            &mut checked.origins,
            &mut checked.keys,
        );
        checked
    }

    fn object(
        &mut self,
        schema: &Json,
        table: &Table,
        place: Option<Place>,
        path: &mut Vec<String>,
        origins: &mut BTreeMap<String, Origin>,
        keys: &mut BTreeMap<String, Place>,
    ) -> Map<String, Json> {
        let empty = Map::new();
        let properties = schema.get("properties").and_then(Json::as_object).unwrap_or(&empty);
        let additional = schema.get("additionalProperties");
        let mut out = Map::new();
        for entry in &table.entries {
            path.push(entry.key.clone());
            let sub = properties.get(&entry.key).or(additional.filter(|schema| schema.is_object()));
            if sub.is_none() && additional == Some(&Json::Bool(false)) {
                self.unknown_key(entry, properties, table, path);
            } else {
                let joined = path.join(".");
                if let Some(place) = entry.key_place {
                    keys.insert(joined, place);
                }
                if let Some(value) =
                    self.value(sub.unwrap_or(&Json::Null), &entry.node, path, origins, keys)
                {
                    out.insert(entry.key.clone(), value);
                }
            }
            path.pop();
        }
        for (key, sub) in properties {
            if table.get(key).is_some() {
                continue;
            }
            path.push(key.clone());
            if let Some(default) = sub.get("default") {
                if let Some(node) = Node::from_json(default)
                    && let Some(value) = self.value(sub, &node, path, origins, keys)
                {
                    origins.insert(path.join("."), Origin::Default);
                    out.insert(key.clone(), value);
                }
            } else if is_required(schema, key) {
                self.missing_key(sub, place, path);
            }
            path.pop();
        }
        out
    }

    fn value(
        &mut self,
        schema: &Json,
        node: &Node,
        path: &mut Vec<String>,
        origins: &mut BTreeMap<String, Origin>,
        keys: &mut BTreeMap<String, Place>,
    ) -> Option<Json> {
        let joined = path.join(".");
        origins.insert(joined, node.place.map_or(Origin::Default, Origin::Given));
        if let Some(options) = schema.get("oneOf").and_then(Json::as_array) {
            let chosen = self.choose(options, node, path)?;
            return self.value(chosen, node, path, origins, keys);
        }
        if !self.type_fits(schema, node, path) {
            return None;
        }
        let json = match &node.value {
            Value::Flag(flag) => Json::Bool(*flag),
            Value::Text(text) => Json::String(text.clone()),
            Value::Integer(number) => Json::Number(Number::from(*number)),
            Value::Float(number) => match Number::from_f64(*number) {
                Some(number) => Json::Number(number),
                None => {
                    let text = format!("{} must be a finite number", self.key(path));
                    self.fault(
                        "out-of-range",
                        text,
                        node,
                        "not finite",
                        Some("write a number such as `1e-3`".to_owned()),
                    );
                    return None;
                }
            },
            Value::Date(_) => {
                let text = format!("{} is a date, which no setting takes", self.key(path));
                self.fault(
                    "wrong-type",
                    text,
                    node,
                    "a date",
                    Some("put it into double quotes to make it text".to_owned()),
                );
                return None;
            }
            Value::List(items) => Json::Array(self.list(schema, items, node, path, origins, keys)),
            Value::Table(table) => {
                Json::Object(self.object(schema, table, node.place, path, origins, keys))
            }
        };
        let fits = self.bounds(schema, node, path) && self.listed(schema, &json, node, path);
        fits.then_some(json)
    }

    fn list(
        &mut self,
        schema: &Json,
        items: &[Node],
        node: &Node,
        path: &mut Vec<String>,
        origins: &mut BTreeMap<String, Origin>,
        keys: &mut BTreeMap<String, Place>,
    ) -> Vec<Json> {
        let count = items.len() as u64;
        let limit = |name: &str| schema.get(name).and_then(Json::as_u64);
        if limit("minItems").is_some_and(|least| count < least)
            || limit("maxItems").is_some_and(|most| count > most)
        {
            let (least, most) = (limit("minItems").unwrap_or(0), limit("maxItems"));
            let range =
                most.map_or(format!("at least {least}"), |most| format!("{least} to {most}"));
            let text = format!("{} must have {range} items, but has {count}", self.key(path));
            self.fault("out-of-range", text, node, "", None);
        }
        let sub = schema.get("items").unwrap_or(&Json::Null);
        let mut out = Vec::with_capacity(items.len());
        for (at, item) in items.iter().enumerate() {
            path.push(at.to_string());
            out.extend(self.value(sub, item, path, origins, keys));
            path.pop();
        }
        out
    }

    fn type_fits(&mut self, schema: &Json, node: &Node, path: &[String]) -> bool {
        if shape::type_fits(schema, &node.value) {
            return true;
        }
        let wanted = type_text(schema);
        let text = format!("{} must be {wanted}, not {}", self.key(path), node.value.noun());
        let help = match (&node.value, shape::types(schema).as_slice()) {
            (Value::Float(number), [only, ..]) if *only == "integer" && number.fract() == 0.0 => {
                Some(format!("write `{number}` without a fraction"))
            }
            (Value::Integer(_) | Value::Float(_) | Value::Flag(_) | Value::Date(_), [only, ..])
                if *only == "string" =>
            {
                Some(format!("put it into double quotes: `\"{}\"`", node.value.shown()))
            }
            (Value::Text(text), [only, ..])
                if matches!(*only, "integer" | "number" | "boolean") =>
            {
                let plain: bool = text.parse::<f64>().is_ok() || text.parse::<bool>().is_ok();
                plain.then(|| format!("remove the quotes: `{text}`"))
            }
            (_, [only, ..]) if *only == "array" && !matches!(node.value, Value::Table(_)) => {
                Some(format!("write it as a list: `[{}]`", node.value.shown()))
            }
            _ => None,
        };
        let help = help.or_else(|| for_example(schema, path));
        self.fault("wrong-type", text, node, node.value.noun(), help);
        false
    }

    fn bounds(&mut self, schema: &Json, node: &Node, path: &[String]) -> bool {
        let number = match node.value {
            Value::Integer(number) => number as f64,
            Value::Float(number) => number,
            _ => return true,
        };
        let bound = |name: &str| schema.get(name).and_then(Json::as_f64);
        let outside = bound("minimum").is_some_and(|least| number < least)
            || bound("maximum").is_some_and(|most| number > most)
            || bound("exclusiveMinimum").is_some_and(|least| number <= least)
            || bound("exclusiveMaximum").is_some_and(|most| number >= most);
        if outside {
            let range = text::range(schema).unwrap_or_default();
            let text = format!("{} must be {range}, but is {}", self.key(path), node.value.shown());
            self.fault(
                "out-of-range",
                text,
                node,
                &format!("must be {range}"),
                for_example(schema, path),
            );
        }
        !outside
    }

    /// `enum` and `const`.
    fn listed(&mut self, schema: &Json, json: &Json, node: &Node, path: &[String]) -> bool {
        let choices: Vec<&Json> =
            match (schema.get("enum").and_then(Json::as_array), schema.get("const")) {
                (Some(choices), _) => choices.iter().collect(),
                (None, Some(only)) => vec![only],
                (None, None) => return true,
            };
        if choices.contains(&json) {
            return true;
        }
        let names: Vec<String> = choices.iter().map(|choice| text::choice(choice)).collect();
        let shown = node.value.shown();
        let text =
            format!("{} must be one of {}, but is {shown}", self.key(path), names.join(", "));
        let words = choices.iter().filter_map(|choice| choice.as_str());
        let near = node.text().and_then(|given| nearest::nearest(given, words));
        self.fault(
            "unknown-choice",
            text,
            node,
            "",
            near.map(|near| format!("did you mean `{near}`?")),
        );
        false
    }

    fn unknown_key(
        &mut self,
        entry: &Entry,
        properties: &Map<String, Json>,
        table: &Table,
        path: &[String],
    ) {
        let inside = match path {
            [_] => String::new(),
            [outer @ .., _] => format!(" in `{}`", outer.join(".")),
            [] => String::new(),
        };
        let text = format!("{} has no setting `{}`{inside}", self.owner, entry.key);
        let also = if path.len() == 1 { self.also } else { &[] };
        let named = properties.keys().map(String::as_str).chain(also.iter().copied());
        let free: Vec<&str> = named.filter(|key| table.get(key).is_none()).collect();
        let all = properties.keys().map(String::as_str);
        let help = match nearest::nearest(&entry.key, free) {
            Some(near) => Some(format!("did you mean `{near}`?")),
            None => nearest::suggestion(&entry.key, all)
                .or(Some("it takes no settings at all: remove the line".to_owned())),
        };
        let mut found = Diagnostic::error("unknown-key", text);
        found.help = help;
        self.push(found, entry.key_place, "unknown");
    }

    fn missing_key(&mut self, sub: &Json, place: Option<Place>, path: &[String]) {
        let text = format!("{} needs `{}`, which is not given", self.owner, dotted(path));
        let key = path.last().map_or("", String::as_str);
        let mut found = Diagnostic::error("missing-key", text);
        found.help = Some(match sub.get("description").and_then(Json::as_str) {
            Some(what) if !what.is_empty() => {
                format!("add `{key} = ...`: {}; {}", what.trim_end_matches('.'), type_text(sub))
            }
            _ => format!("add `{key} = ...`: {}", type_text(sub)),
        });
        self.push(found, place.or(self.place), "");
    }

    fn key(&self, path: &[String]) -> String {
        format!("`{}` of {}", dotted(path), self.owner)
    }

    fn fault(
        &mut self,
        code: &'static str,
        text: String,
        node: &Node,
        label: &str,
        help: Option<String>,
    ) {
        let mut found = Diagnostic::error(code, text);
        found.help = help;
        self.push(found, node.place, label);
    }

    fn push(&mut self, found: Diagnostic, place: Option<Place>, label: &str) {
        let found = match place.or(self.place) {
            Some(place) => found.at(self.sources, place, label),
            None => found,
        };
        self.diagnostics.push(found);
    }
}

/// `layers[2].out`.
fn dotted(path: &[String]) -> String {
    let mut name = String::new();
    for part in path {
        if part.bytes().all(|b| b.is_ascii_digit()) && !name.is_empty() {
            name.push_str(&format!("[{part}]"));
        } else {
            if !name.is_empty() {
                name.push('.');
            }
            name.push_str(part);
        }
    }
    name
}

fn is_required(schema: &Json, key: &str) -> bool {
    let required = schema.get("required").and_then(Json::as_array);
    required.is_some_and(|keys| keys.iter().any(|name| name.as_str() == Some(key)))
}

/// A help text with a valid line.
fn for_example(schema: &Json, path: &[String]) -> Option<String> {
    let key = path.iter().rfind(|part| !part.bytes().all(|byte| byte.is_ascii_digit()))?;
    let is_item = path.last() != Some(key);
    let example = example(schema)?;
    Some(if is_item {
        format!("for example `{key} = [{example}]`")
    } else {
        format!("for example `{key} = {example}`")
    })
}

/// A value that the schema allows: the default, or one of the right type.
fn example(schema: &Json) -> Option<String> {
    let by_type = || match shape::types(schema).first() {
        Some(&"array") => Some("[]".to_owned()),
        Some(&"object") => Some("{ }".to_owned()),
        Some(&"boolean") => Some("true".to_owned()),
        Some(&"string") => Some("\"text\"".to_owned()),
        Some(&("integer" | "number")) => number(schema),
        _ => None,
    };
    default_text(schema).or_else(by_type)
}

/// A number within the bounds.
fn number(schema: &Json) -> Option<String> {
    let bound =
        |names: [&str; 2]| names.iter().find_map(|name| schema.get(*name).and_then(Json::as_f64));
    let (least, most) =
        (bound(["minimum", "exclusiveMinimum"]), bound(["maximum", "exclusiveMaximum"]));
    let is_whole = shape::types(schema).first() == Some(&"integer");
    let value = match (least, most) {
        _ if is_whole => least.map_or(1.0, |least| least.max(1.0)),
        (Some(least), Some(most)) => f64::midpoint(least, most),
        (Some(least), None) => least + 1.0,
        (None, Some(most)) => most - 1.0,
        (None, None) => 1.0,
    };
    Some(value.to_string())
}
