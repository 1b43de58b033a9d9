//! Components inside a configuration: a name, or a table with `component` and the component's own
//! keys.

use fluxbay_plugin::prelude::*;
use serde_json::{Map, Value};

/// A component and its configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct Nested {
    pub component: String,
    pub config: Value,
}

impl Nested {
    /// Parses a configuration value; `what` names it in error texts, such as `callback`.
    pub fn new(value: &Value, what: &str) -> Result<Nested> {
        match value {
            Value::String(component) => {
                Ok(Nested { component: component.clone(), config: Value::Object(Map::new()) })
            }
            Value::Object(table) => {
                let mut config = table.clone();
                match config.remove("component") {
                    Some(Value::String(component)) => {
                        Ok(Nested { component, config: Value::Object(config) })
                    }
                    _ => bail!("a {what}'s table needs `component`, a text; this one is {value}"),
                }
            }
            other => bail!("a {what} is a name or a table with `component`, not {other}"),
        }
    }
}

/// The name of a component without plugin and kind.
pub fn bare(component: &str) -> &str {
    component.rsplit(['/', ':']).next().unwrap_or(component)
}

/// Returns an error unless `text` can be part of a state path.
pub fn check_name(text: &str, what: &str) -> Result<()> {
    match text.chars().find(|c| !(c.is_ascii_alphanumeric() || matches!(c, '-' | '_'))) {
        _ if text.is_empty() => bail!("a {what} needs a name"),
        Some(character) => bail!(
            "{what} name `{text}` holds {character:?}; letters, digits, `-` and `_` can be part of it"
        ),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_name_or_a_table_is_a_component() {
        assert_eq!(Nested::new(&json!("exp"), "schedule").unwrap().config, json!({}));
        let table = Nested::new(&json!({"component": "exp", "start": 1}), "schedule").unwrap();
        assert_eq!(table, Nested { component: "exp".into(), config: json!({"start": 1}) });
        assert!(
            Nested::new(&json!({"start": 1}), "schedule")
                .unwrap_err()
                .message()
                .contains("schedule")
        );
        assert!(Nested::new(&json!(3), "schedule").is_err());
        assert_eq!(bare("own:metric/top-k"), "top-k");
        assert!(check_name("a.b", "metric").is_err());
    }
}
