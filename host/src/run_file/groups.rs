//! Parameter groups: `[[optimizer.group]]` and `decay-exempt`.
//!
//! A group is another instance of the optimizer for the parameters that it selects, with its own
//! settings over the optimizer's.

use std::collections::BTreeMap;

use serde_json::{Value as Json, json};

use super::description::GroupSpec;
use super::diagnostic::{Diagnostic, Diagnostics};
use super::layout::{DECAY_EXEMPT, GROUP, ID, is_kebab};
use super::selection::Selection;
use super::source::{Place, Sources};
use super::tree::{Entry, Node, Table, Value};

/// Value of [`DECAY_EXEMPT`]: parameters with at most one dimension.
pub const VECTORS: &str = "vectors";
/// Setting that [`DECAY_EXEMPT`] sets to 0.
pub const WEIGHT_DECAY: &str = "weight-decay";
/// Key of a group: patterns over parameter paths.
pub const MATCH: &str = "match";
/// Key of a group: most dimensions of its parameters.
pub const MAX_DIMENSIONS: &str = "max-dimensions";
/// Key of a group: hyper-parameters as multiples of the optimizer's.
pub const SCALE: &str = "scale";

/// A group as it was written.
#[derive(Clone, Debug)]
pub(super) struct RawGroup {
    pub name: String,
    pub selection: Selection,
    pub scale: BTreeMap<String, f64>,
    /// Its settings.
    pub config: Table,
    pub place: Option<Place>,
}

/// Reads the keys of groups out of an optimizer's table.
pub(super) struct GroupReader<'a> {
    pub sources: &'a Sources,
    pub diagnostics: &'a mut Diagnostics,
}

impl GroupReader<'_> {
    /// Takes `group` out of `config`.
    pub fn groups(&mut self, config: &mut Table) -> Vec<RawGroup> {
        let Some(entry) = config.remove(GROUP) else { return Vec::new() };
        let Value::List(items) = &entry.node.value else {
            let text = format!("`group` is a list of tables, not {}", entry.node.value.noun());
            self.fault(
                "not-a-list",
                text,
                entry.key_place,
                "write a table `[[optimizer.group]]` for each",
            );
            return Vec::new();
        };
        let mut groups: Vec<RawGroup> = Vec::new();
        for (at, item) in items.iter().enumerate() {
            let Some(group) = self.group(at, item) else { continue };
            if groups.iter().any(|other| other.name == group.name) {
                let text = format!("two groups of this optimizer are called `{}`", group.name);
                self.fault("duplicate-id", text, group.place, "give one of them another `id`");
                continue;
            }
            groups.push(group);
        }
        groups
    }

    fn group(&mut self, at: usize, node: &Node) -> Option<RawGroup> {
        let Some(table) = node.table() else {
            let text = format!("each `group` must be a table, not {}", node.value.noun());
            self.fault(
                "wrong-type",
                text,
                node.place,
                "write `[[optimizer.group]]` and its keys below",
            );
            return None;
        };
        let mut config = table.clone();
        let place = node.place.or(table.entries.first().and_then(|entry| entry.key_place));
        let name = match config.remove(ID) {
            None => Some(format!("group-{}", at + 1)),
            Some(entry) => self.name(&entry),
        };
        let patterns = config.remove(MATCH).and_then(|entry| self.patterns(MATCH, &entry));
        let max_dimensions =
            config.remove(MAX_DIMENSIONS).and_then(|entry| self.dimensions(&entry));
        let scale = config.remove(SCALE).map(|entry| self.scale(&entry)).unwrap_or_default();
        let selection = Selection { patterns: patterns.unwrap_or_default(), max_dimensions };
        if table.get(MATCH).is_none() && table.get(MAX_DIMENSIONS).is_none() {
            let help = "add `match = [\"*.bias\"]`, patterns over parameter paths, or `max-dimensions = 1`";
            let text = "a parameter group does not say which parameters it has".to_owned();
            self.fault("missing-key", text, place, help);
            return None;
        }
        Some(RawGroup { name: name?, selection, scale, config, place })
    }

    fn name(&mut self, entry: &Entry) -> Option<String> {
        let text = entry.node.text().filter(|text| is_kebab(text));
        if text.is_none() {
            let problem = format!("{} cannot be a group's id", entry.node.value.shown());
            let help = "use small letters, digits and hyphens, a letter first: `no-decay`";
            self.fault("bad-name", problem, entry.node.place, help);
        }
        text.map(str::to_owned)
    }

    /// A pattern, or a list of patterns.
    pub fn patterns(&mut self, key: &str, entry: &Entry) -> Option<Vec<String>> {
        let list = match &entry.node.value {
            Value::Text(text) => Some(vec![text.clone()]),
            Value::List(items) if !items.is_empty() => {
                items.iter().map(|item| item.text().map(str::to_owned)).collect()
            }
            _ => None,
        };
        if list.is_none() {
            let text = format!(
                "`{key}` must be a pattern or a list of patterns over parameter paths, but is {}",
                entry.node.value.shown()
            );
            self.fault(
                "wrong-type",
                text,
                entry.node.place,
                &format!("for example `{key} = [\"*.bias\"]`"),
            );
        }
        list
    }

    fn dimensions(&mut self, entry: &Entry) -> Option<usize> {
        match entry.node.value {
            Value::Integer(number) if number >= 0 => usize::try_from(number).ok(),
            _ => {
                let text = format!(
                    "`{MAX_DIMENSIONS}` must be a whole number from 0, but is {}",
                    entry.node.value.shown()
                );
                self.fault(
                    "wrong-type",
                    text,
                    entry.node.place,
                    "1 selects biases and the scales of norms",
                );
                None
            }
        }
    }

    fn scale(&mut self, entry: &Entry) -> BTreeMap<String, f64> {
        let help = "for example `scale = { learning-rate = 0.1 }`";
        let Some(table) = entry.node.table() else {
            let text = format!("`scale` must be a table, but is {}", entry.node.value.shown());
            self.fault("wrong-type", text, entry.node.place, help);
            return BTreeMap::new();
        };
        let mut scale = BTreeMap::new();
        for one in &table.entries {
            let factor = match one.node.value {
                Value::Integer(number) => number as f64,
                Value::Float(number) => number,
                _ => f64::NAN,
            };
            if factor.is_finite() && factor >= 0.0 {
                scale.insert(one.key.clone(), factor);
            } else {
                let text = format!(
                    "`scale.{}` must be a number from 0, but is {}",
                    one.key,
                    one.node.value.shown()
                );
                self.fault("out-of-range", text, one.node.place, help);
            }
        }
        scale
    }

    /// Takes `decay-exempt` out of `config`, with its place.
    pub fn decay_exempt(&mut self, config: &mut Table) -> Option<(Selection, Option<Place>)> {
        let entry = config.remove(DECAY_EXEMPT)?;
        let place = entry.key_place;
        if entry.node.text() == Some(VECTORS) {
            return Some((Selection { patterns: Vec::new(), max_dimensions: Some(1) }, place));
        }
        let patterns = self.patterns(DECAY_EXEMPT, &entry)?;
        Some((Selection { patterns, max_dimensions: None }, place))
    }

    fn fault(&mut self, code: &'static str, text: String, place: Option<Place>, help: &str) {
        let found = Diagnostic::error(code, text).help(help);
        self.diagnostics.push(match place {
            Some(place) => found.at(self.sources, place, ""),
            None => found,
        });
    }
}

/// The value of `decay-exempt` for a selection.
pub(super) fn exempt_json(selection: &Selection) -> Json {
    match selection.max_dimensions {
        Some(_) => json!(VECTORS),
        None => json!(selection.patterns),
    }
}

/// The keys of a group, as a run file has them.
pub(super) fn group_json(group: &GroupSpec) -> serde_json::Map<String, Json> {
    let mut table = serde_json::Map::new();
    table.insert(ID.into(), json!(group.name));
    for selection in &group.selections {
        if !selection.patterns.is_empty() {
            table.insert(MATCH.into(), json!(selection.patterns));
        }
        if let Some(most) = selection.max_dimensions {
            table.insert(MAX_DIMENSIONS.into(), json!(most));
        }
    }
    if !group.scale.is_empty() {
        table.insert(SCALE.into(), json!(group.scale));
    }
    for key in &group.own {
        if let Some(value) = group.spec.config.get(key) {
            table.insert(key.clone(), value.clone());
        }
    }
    table
}

/// JSON Schema of the keys of groups in the table of an optimizer with these `settings`.
pub(super) fn schema(settings: &Json) -> Vec<(&'static str, Json)> {
    let texts = json!({ "type": "array", "items": { "type": "string" }, "minItems": 1 });
    let mut properties = settings["properties"].clone();
    if !properties.is_object() {
        properties = json!({});
    }
    // The optimizer's value is the default.
    for property in properties.as_object_mut().into_iter().flatten().map(|(_, value)| value) {
        property.as_object_mut().map(|property| property.remove("default"));
    }
    properties[ID] = json!({ "type": "string", "pattern": "^[a-z][a-z0-9-]*$", "description": "Name of the group; its hyper-parameters are optimizer.NAME.*." });
    properties[MATCH] = json!({ "anyOf": [{ "type": "string" }, texts], "description": "Patterns over parameter paths, in which * matches any text." });
    properties[MAX_DIMENSIONS] = json!({ "type": "integer", "minimum": 0, "description": "Most dimensions of the group's parameters; 1 selects biases and the scales of norms." });
    properties[SCALE] = json!({ "type": "object", "additionalProperties": { "type": "number", "minimum": 0 }, "description": "Hyper-parameters as multiples of the optimizer's, which they follow." });
    let group =
        json!({ "type": "object", "additionalProperties": false, "properties": properties });
    vec![
        (
            GROUP,
            json!({ "type": "array", "items": group, "description": "Parameter groups with settings of their own; the first that matches a parameter has it." }),
        ),
        (
            DECAY_EXEMPT,
            json!({ "anyOf": [{ "const": VECTORS }, { "type": "string" }, texts],
                "description": "Parameters without weight decay: \"vectors\" for all with at most one dimension, or patterns over parameter paths." }),
        ),
    ]
}
