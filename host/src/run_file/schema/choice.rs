//! Chooses the alternative of a `oneOf` by type, or by a property that is constant in each.

use serde_json::Value as Json;

use super::super::nearest;
use super::super::tree::{Node, Value};
use super::Checker;
use super::shape::{tag, tag_value, type_fits};
use super::text;

impl Checker<'_> {
    /// The alternative that fits the value; reports a fault if there is none.
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
                let text = format!("{} needs `{tag}`, which selects its form", self.key(path));
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
        // Prefer the alternative whose constants or choices allow the value.
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
