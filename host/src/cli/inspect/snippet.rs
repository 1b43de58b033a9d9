//! A piece of a run file that uses a component, ready to paste.

use serde_json::Value as Json;

use crate::library::{ComponentManifest, Kind};
use crate::run_file::layout::{header, section_of};
use crate::run_file::schema::{default_text, type_text};

/// The author's example, or one made from the schema: required settings to be filled in, the others
/// commented out.
pub(in crate::cli) fn of(manifest: &ComponentManifest) -> String {
    if !manifest.example.trim().is_empty() {
        return manifest.example.trim_end().to_owned() + "\n";
    }
    let mut out = match (section_of(manifest.kind), manifest.kind) {
        (Some(section), _) => format!("{}\n", header(section)),
        (None, Kind::Metric) => {
            "# in the `metrics` of the callback metrics, as a table of its own\n".to_owned()
        }
        (None, _) => "# where a callback takes a schedule, as a table of its own\n".to_owned(),
    };
    out.push_str(&format!("component = \"{}\"\n", manifest.name));
    let required = manifest.config.get("required").and_then(Json::as_array);
    for (key, schema) in
        manifest.config.get("properties").and_then(Json::as_object).into_iter().flatten()
    {
        let needed =
            required.is_some_and(|keys| keys.iter().any(|name| name.as_str() == Some(key)));
        match default_text(schema) {
            Some(default) => out.push_str(&format!("# {key} = {default}\n")),
            None if needed => {
                out.push_str(&format!("{key} = {}  # {}\n", placeholder(schema), type_text(schema)))
            }
            None => out.push_str(&format!("# {key} = {}\n", placeholder(schema))),
        }
    }
    out
}

/// A value of the right type.
fn placeholder(schema: &Json) -> String {
    if let Some(first) =
        schema.get("enum").and_then(Json::as_array).and_then(|choices| choices.first())
    {
        return first.to_string();
    }
    let name = match schema.get("type") {
        Some(Json::Array(names)) => names.first().and_then(Json::as_str),
        Some(name) => name.as_str(),
        None => None,
    };
    let least = schema.get("minimum").and_then(Json::as_f64);
    match name {
        Some("integer") => format!("{}", least.unwrap_or(1.0)),
        Some("number") => format!("{:?}", least.unwrap_or(1.0)),
        Some("boolean") => "true".to_owned(),
        Some("array") => "[]".to_owned(),
        Some("object") => "{}".to_owned(),
        _ => "\"...\"".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run_file::fixture::components;

    #[test]
    fn snippets_are_toml_and_hold_every_required_setting() {
        for component in components() {
            let manifest: ComponentManifest = serde_json::from_value(component).unwrap();
            let snippet = of(&manifest);
            let parsed: toml::Table =
                toml::from_str(&snippet).unwrap_or_else(|error| panic!("{error}\n{snippet}"));
            let section = parsed.values().next().unwrap();
            let table = section.as_array().map_or(section, |list| &list[0]).as_table().unwrap();
            assert_eq!(table["component"].as_str(), Some(manifest.name.as_str()));
            for key in manifest.config["required"]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(Json::as_str)
            {
                assert!(table.contains_key(key), "{key} in\n{snippet}");
            }
        }
    }
}
