//! Checks of the file, without running its code.

use serde_json::{Value, json};

use super::Check;
use super::report::{Found, failed, passed, skipped, warning};
use crate::library::elf::linking::{COMMON_LIBRARIES, Linking};
use crate::library::{ComponentManifest, Kind, Manifest};
use crate::run_file::{Diagnostics, check_json, layout};

/// Size in bytes from which there is a warning.
const LARGE: usize = 32 << 20;

/// All checks of the file but `file-readable` and `file-kept-from-others`, which the caller does.
pub(super) fn checks(bytes: &[u8], manifest: &Manifest) -> Vec<(Check, Option<String>, Found)> {
    let mut found = vec![(Check::FileSmall, None, small(bytes.len()))];
    match Linking::of(bytes) {
        Ok(linking) => found.extend([
            (Check::StackNotExecutable, None, stack(&linking)),
            (Check::NoRunPath, None, run_path(&linking)),
            (Check::CommonLibrariesOnly, None, libraries(&linking)),
        ]),
        Err(error) => found.push((
            Check::StackNotExecutable,
            None,
            skipped(format!("its dynamic section cannot be read: {error}")),
        )),
    }
    found.push((Check::SummaryGiven, None, summary(manifest)));
    found.push((Check::LicenceGiven, None, licence(manifest)));
    for component in &manifest.components {
        let of = |check: Check, verdict| (check, Some(component.id()), verdict);
        found.push(of(Check::SettingsDescribed, described(component)));
        found.push(of(Check::DefaultsFit, defaults(component)));
        found.push(of(Check::ExampleFits, example_fits(component)));
        found.push(of(Check::SubscriptionsKnown, subscriptions(component)));
    }
    found
}

fn small(size: usize) -> Found {
    if size < LARGE {
        return passed();
    }
    warning(format!(
        "it has {} MiB: strip its debug information (`strip = true` in the profile)",
        size >> 20
    ))
}

fn stack(linking: &Linking) -> Found {
    if !linking.executable_stack {
        return passed();
    }
    failed("it requests an executable stack for the whole process: link it with -Wl,-z,noexecstack")
}

fn run_path(linking: &Linking) -> Found {
    match &linking.run_path {
        None => passed(),
        Some(path) => warning(format!(
            "it searches {path} for libraries, which is a folder of the machine that built it: link it without -rpath"
        )),
    }
}

fn libraries(linking: &Linking) -> Found {
    let others: Vec<&str> = linking
        .needed
        .iter()
        .map(String::as_str)
        .filter(|name| !COMMON_LIBRARIES.contains(name))
        .collect();
    if others.is_empty() {
        return passed();
    }
    warning(format!(
        "it needs {}, which other systems may not have: link it statically, or document it",
        others.join(", ")
    ))
}

fn summary(manifest: &Manifest) -> Found {
    let without: Vec<String> = manifest
        .components
        .iter()
        .filter(|one| one.summary.trim().is_empty())
        .map(ComponentManifest::id)
        .collect();
    if !without.is_empty() {
        return warning(format!("without a summary: {}", without.join(", ")));
    }
    if manifest.plugin.summary.trim().is_empty() {
        warning("the plugin has no summary")
    } else {
        passed()
    }
}

fn licence(manifest: &Manifest) -> Found {
    if manifest.plugin.license.trim().is_empty() {
        warning("it has no licence, so nobody may use it")
    } else {
        passed()
    }
}

/// Calls `f` for every setting below `schema` with its path.
fn each_setting(schema: &Value, path: &str, f: &mut impl FnMut(&str, &Value)) {
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        f(&path, property);
        each_setting(property, &path, f);
    }
}

fn described(component: &ComponentManifest) -> Found {
    let mut without = Vec::new();
    each_setting(&component.config, "", &mut |path, setting| {
        if setting["description"].as_str().unwrap_or_default().trim().is_empty() {
            without.push(path.to_owned());
        }
    });
    if without.is_empty() {
        passed()
    } else {
        warning(format!("without a description: {}", without.join(", ")))
    }
}

fn problems(schema: &Value, config: &Value) -> Vec<String> {
    let mut diagnostics = Diagnostics::new();
    check_json(schema, config, "it", &mut diagnostics);
    diagnostics.iter().map(|one| one.message.clone()).collect()
}

fn defaults(component: &ComponentManifest) -> Found {
    let mut wrong = Vec::new();
    each_setting(&component.config, "", &mut |path, setting| {
        let Some(default) = setting.get("default") else { return };
        let schema = json!({ "type": "object", "properties": { "it": setting } });
        // `null` means that there is no default.
        if !default.is_null() && !problems(&schema, &json!({ "it": default })).is_empty() {
            wrong.push(format!("{path} = {default}"));
        }
    });
    if wrong.is_empty() {
        passed()
    } else {
        failed(format!("defaults that the schema does not allow: {}", wrong.join(", ")))
    }
}

/// Keys of an instance's table that are the host's.
fn is_hosts(kind: Kind, key: &str) -> bool {
    // The callback `metrics` gives its metrics names and phases.
    let of_metrics = kind == Kind::Metric && ["name", "phase"].contains(&key);
    layout::reserved(kind).contains(&key) || key == layout::DATA || of_metrics
}

/// The configuration in the component's example; `None` if it has no example, or none that
/// configures it.
pub(super) fn example(component: &ComponentManifest) -> Result<Option<Value>, String> {
    if component.example.trim().is_empty() {
        return Ok(None);
    }
    let table: toml::Table =
        component.example.parse().map_err(|error: toml::de::Error| error.message().to_owned())?;
    let Some(found) = table.values().find_map(|value| naming(value, &component.name)) else {
        return Ok(None);
    };
    let own = found
        .iter()
        .filter(|(key, _)| !is_hosts(component.kind, key))
        .map(|(key, value)| Ok((key.clone(), serde_json::to_value(value)?)));
    let own: Result<serde_json::Map<String, Value>, serde_json::Error> = own.collect();
    own.map(|own| Some(Value::Object(own))).map_err(|error| error.to_string())
}

/// The sections of other components in the component's example that a generated run can have: its model,
/// loss and optimizer.
pub(super) fn companions(component: &ComponentManifest) -> Vec<(&'static str, Value)> {
    let Ok(table) = component.example.parse::<toml::Table>() else { return Vec::new() };
    let section = |name: &'static str| {
        let value = table.get(name)?;
        let other = value.get(layout::COMPONENT)?.as_str()? != component.name;
        other.then(|| serde_json::to_value(value).ok().map(|value| (name, value)))?
    };
    ["model", "loss", "optimizer"].into_iter().filter_map(section).collect()
}

/// Finds the table that configures a component. It may be nested in that of another component, such
/// as a schedule in a scheduler.
fn naming<'a>(value: &'a toml::Value, component: &str) -> Option<&'a toml::Table> {
    match value {
        toml::Value::Table(table)
            if table.get(layout::COMPONENT).and_then(toml::Value::as_str) == Some(component) =>
        {
            Some(table)
        }
        toml::Value::Table(table) => table.values().find_map(|value| naming(value, component)),
        toml::Value::Array(values) => values.iter().find_map(|value| naming(value, component)),
        _ => None,
    }
}

fn example_fits(component: &ComponentManifest) -> Found {
    match example(component) {
        Err(error) => failed(format!("its example is no TOML: {error}")),
        Ok(None) if component.example.trim().is_empty() => passed(),
        Ok(None) => passed(),
        Ok(Some(config)) => {
            let problems = problems(&component.config, &config);
            if problems.is_empty() { passed() } else { failed(problems.join("\n")) }
        }
    }
}

fn subscriptions(component: &ComponentManifest) -> Found {
    let is_callback = component.kind == Kind::Callback;
    if is_callback && component.events.is_empty() {
        return warning("it handles no event, so it is never called");
    }
    if !is_callback && !component.events.is_empty() {
        return failed(format!(
            "only callbacks handle events, but it names {}",
            component.events.join(", ")
        ));
    }
    let known = |event: &String| fluxbay_plugin::abi::event::NAMES.contains(&event.as_str());
    let custom: Vec<&str> =
        component.events.iter().filter(|event| !known(event)).map(String::as_str).collect();
    if custom.is_empty() {
        passed()
    } else {
        (super::Verdict::Passed, format!("custom events: {}", custom.join(", ")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Verdict;

    fn component(extra: Value) -> ComponentManifest {
        let mut text = json!({ "kind": "callback", "name": "x", "events": ["step-end"] });
        text.as_object_mut()
            .expect("an object")
            .extend(extra.as_object().cloned().unwrap_or_default());
        serde_json::from_value(text).expect("a component")
    }

    #[test]
    fn settings_without_words_and_defaults_that_do_not_fit_are_found() {
        let schema = json!({ "type": "object", "properties": { "a": { "type": "integer", "minimum": 3, "default": 1 } } });
        let bad = component(json!({ "config": schema }));
        assert_eq!(described(&bad), warning("without a description: a"));
        assert_eq!(defaults(&bad), failed("defaults that the schema does not allow: a = 1"));
        assert_eq!(defaults(&component(json!({}))), passed());
    }

    #[test]
    fn the_example_has_to_be_what_the_schema_allows() {
        let schema = json!({ "type": "object", "additionalProperties": false, "properties": { "a": { "type": "integer", "default": 1 } } });
        let with = |example: &str| component(json!({ "config": schema, "example": example }));
        assert_eq!(
            example(&with("[[callback]]\ncomponent = \"x\"\nid = \"y\"\na = 2")),
            Ok(Some(json!({ "a": 2 })))
        );
        assert_eq!(
            example_fits(&with("[[callback]]\ncomponent = \"x\"\nb = 2")).0,
            Verdict::Failed
        );
        assert_eq!(example_fits(&with("[[callback")).0, Verdict::Failed);
    }

    #[test]
    fn only_callbacks_handle_events() {
        assert_eq!(subscriptions(&component(json!({ "events": [] }))).0, Verdict::Warning);
        assert_eq!(subscriptions(&component(json!({ "kind": "loss" }))).0, Verdict::Failed);
    }
}
