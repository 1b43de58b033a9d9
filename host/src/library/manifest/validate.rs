//! From JSON text to a checked [`Manifest`]: names, versions, state paths, schemas, limits.

use std::collections::BTreeMap;

use serde_json::Value;

use super::locate::{self, Step};
use super::{ComponentManifest, Kind, Manifest, ManifestError, SCHEMA};
use crate::library::escape;

/// The most components of one plugin.
const MAX_COMPONENTS: usize = 4096;
/// The most entries of one list of a component.
const MAX_LIST: usize = 1024;
/// The longest name, in bytes.
const MAX_NAME: usize = 64;
/// The longest state path or extension id, in bytes.
const MAX_PATH: usize = 256;

/// A problem with the path of the field that has it.
struct Problem(Vec<Step>, String);

type Checked = Result<(), Problem>;

fn key(name: &str) -> Step {
    Step::Key(name.to_owned())
}

fn problem(path: &[Step], text: impl Into<String>) -> Problem {
    Problem(path.to_vec(), text.into())
}

pub(super) fn parse(text: &str) -> Result<Manifest, ManifestError> {
    let placed = |Problem(path, problem): Problem| ManifestError {
        field: locate::display(&path),
        offset: locate::offset(text, &path),
        problem,
    };
    let value: Value = serde_json::from_str(text).map_err(|e| ManifestError {
        field: String::new(),
        offset: offset_of_line(text, e.line(), e.column()),
        problem: format!("the manifest is not JSON: {}", without_place(&e)),
    })?;
    // The schema's number first: everything else may differ in another schema.
    match value.get("schema") {
        None => {
            return Err(placed(problem(
                &[key("schema")],
                "missing; it is the number of the manifest's schema",
            )));
        }
        Some(number) if number.as_u64() != Some(SCHEMA) => {
            let found = escape::text(&number.to_string());
            return Err(placed(problem(
                &[key("schema")],
                format!("schema {found} is not known; this host reads {SCHEMA}"),
            )));
        }
        Some(_) => {}
    }
    // From the text once more, because only that refuses a field given twice.
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let manifest: Manifest = serde_path_to_error::deserialize(&mut deserializer).map_err(|e| {
        let path: Vec<Step> = e.path().iter().filter_map(step_of).collect();
        placed(Problem(path, escape::text(&without_place(e.inner()))))
    })?;
    check(&manifest).map_err(placed)?;
    Ok(manifest)
}

/// As [`parse`], without places.
pub(super) fn recall(text: &str) -> Option<Manifest> {
    let manifest: Manifest = serde_json::from_str(text).ok()?;
    (manifest.schema == SCHEMA && check(&manifest).is_ok()).then_some(manifest)
}

fn step_of(segment: &serde_path_to_error::Segment) -> Option<Step> {
    match segment {
        serde_path_to_error::Segment::Seq { index } => Some(Step::Index(*index)),
        serde_path_to_error::Segment::Map { key } => Some(Step::Key(key.clone())),
        serde_path_to_error::Segment::Enum { .. } | serde_path_to_error::Segment::Unknown => None,
    }
}

/// The message of a JSON error without its line and column, which mean little in a binary.
fn without_place(error: &serde_json::Error) -> String {
    let text = error.to_string();
    match text.rfind(" at line ") {
        Some(end) => text[..end].to_owned(),
        None => text,
    }
}

fn offset_of_line(text: &str, line: usize, column: usize) -> usize {
    let start: usize = text.split_inclusive('\n').take(line.saturating_sub(1)).map(str::len).sum();
    (start + column.saturating_sub(1)).min(text.len())
}

fn check(manifest: &Manifest) -> Checked {
    let plugin = [key("plugin")];
    let within = |name: &str| [plugin[0].clone(), key(name)];
    name(&manifest.plugin.name, &within("name"))?;
    if let Err(why) = semver::Version::parse(&manifest.plugin.version) {
        let version = escape::text(&manifest.plugin.version);
        return Err(problem(
            &within("version"),
            format!("`{version}` is no semantic version such as 1.2.0: {why}"),
        ));
    }
    if manifest.components.len() > MAX_COMPONENTS {
        let text =
            format!("{} components; at most {MAX_COMPONENTS} are read", manifest.components.len());
        return Err(problem(&[key("components")], text));
    }
    let mut first_with: BTreeMap<(Kind, &str), usize> = BTreeMap::new();
    for (index, component) in manifest.components.iter().enumerate() {
        let path = [key("components"), Step::Index(index)];
        check_component(component, &path)?;
        if let Some(first) = first_with.insert((component.kind, &component.name), index) {
            let text =
                format!("`{}` is offered twice, first as components[{first}]", component.id());
            return Err(problem(&[path[0].clone(), path[1].clone(), key("name")], text));
        }
    }
    Ok(())
}

fn check_component(component: &ComponentManifest, path: &[Step]) -> Checked {
    let within = |field: &str| -> Vec<Step> { path.iter().cloned().chain([key(field)]).collect() };
    name(&component.name, &within("name"))?;
    let lists = [
        ("events", &component.events, Item::Name),
        ("reads", &component.reads, Item::StatePath),
        ("writes", &component.writes, Item::StatePath),
        ("run-after", &component.run_after, Item::Name),
        ("run-before", &component.run_before, Item::Name),
        ("emits", &component.emits, Item::Name),
        ("hyper-parameters", &component.hyper_parameters, Item::StatePath),
        ("requires", &component.requires, Item::Extension),
    ];
    for (field, list, item) in lists {
        check_list(list, item, &within(field))?;
    }
    let kinds: &[&str] =
        if component.kind == Kind::Phase { &["training", "validation", "other"] } else { &[""] };
    let phase_kind = component.phase_kind.as_str();
    if !kinds.contains(&phase_kind) && !phase_kind.is_empty() {
        let found = escape::text(phase_kind);
        let text = if component.kind == Kind::Phase {
            format!("`{found}` is none of training, validation, other")
        } else {
            format!("`{found}` is given, but a {} has no phase kind", component.kind)
        };
        return Err(problem(&within("phase-kind"), text));
    }
    check_schema(&component.config, &within("config"))
}

#[derive(Clone, Copy)]
enum Item {
    Name,
    StatePath,
    Extension,
}

fn check_list(list: &[String], item: Item, path: &[Step]) -> Checked {
    if list.len() > MAX_LIST {
        return Err(problem(path, format!("{} entries; at most {MAX_LIST} are read", list.len())));
    }
    for (index, entry) in list.iter().enumerate() {
        let here = || -> Vec<Step> { path.iter().cloned().chain([Step::Index(index)]).collect() };
        match item {
            Item::Name => name(entry, &here())?,
            Item::StatePath if !is_state_path(entry) => {
                let text = format!("`{}` is no state path such as step.loss", escape::text(entry));
                return Err(problem(&here(), text));
            }
            Item::Extension if !is_extension(entry) => {
                let text =
                    format!("`{}` is no extension id such as fluxbay.state/1", escape::text(entry));
                return Err(problem(&here(), text));
            }
            Item::StatePath | Item::Extension => {}
        }
        if list[..index].contains(entry) {
            return Err(problem(&here(), format!("`{entry}` is listed twice")));
        }
    }
    Ok(())
}

fn name(text: &str, path: &[Step]) -> Checked {
    if is_name(text) {
        return Ok(());
    }
    let shown = escape::text(text);
    let why = if text.is_empty() {
        "empty; expected a name".to_owned()
    } else if text.len() > MAX_NAME {
        format!("a name of {} bytes; at most {MAX_NAME} are allowed", text.len())
    } else {
        format!("`{shown}` is no name: small letters, digits and hyphens, a letter first")
    };
    Err(problem(path, why))
}

/// Whether `text` is a kebab-case name.
fn is_name(text: &str) -> bool {
    text.len() <= MAX_NAME
        && text.bytes().next().is_some_and(|b| b.is_ascii_lowercase())
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

fn is_state_path(text: &str) -> bool {
    let word = |part: &str| {
        !part.is_empty()
            && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    text.len() <= MAX_PATH && text.split('.').all(word)
}

fn is_extension(text: &str) -> bool {
    let Some((id, version)) = text.split_once('/') else { return false };
    is_state_path(id)
        && version.len() <= 4
        && version.parse::<u16>().is_ok()
        && version.bytes().all(|b| b.is_ascii_digit())
}

/// Checks that a schema has the shape that the host's own checker understands.
fn check_schema(schema: &Value, path: &[Step]) -> Checked {
    if schema.get("type") != Some(&Value::from("object")) {
        return Err(problem(path, "a configuration's schema has `type: \"object\"`"));
    }
    check_schema_node(schema, path)
}

fn check_schema_node(schema: &Value, path: &[Step]) -> Checked {
    let within = |field: &str| -> Vec<Step> { path.iter().cloned().chain([key(field)]).collect() };
    let Some(fields) = schema.as_object() else {
        return Err(problem(path, "a schema is an object"));
    };
    for (field, value) in fields {
        match field.as_str() {
            "type" => check_type(value, &within(field))?,
            "properties" => {
                let Some(properties) = value.as_object() else {
                    return Err(problem(
                        &within(field),
                        "expected an object from names to schemas",
                    ));
                };
                for (property, schema) in properties {
                    let here: Vec<Step> =
                        within(field).into_iter().chain([key(property)]).collect();
                    check_schema_node(schema, &here)?;
                }
            }
            "items" => check_schema_node(value, &within(field))?,
            "additionalProperties" if value.is_boolean() => {}
            "additionalProperties" => check_schema_node(value, &within(field))?,
            "oneOf" => {
                let choices = value.as_array().filter(|list| !list.is_empty());
                let choices =
                    choices.ok_or_else(|| problem(&within(field), "expected a list of schemas"))?;
                for (index, choice) in choices.iter().enumerate() {
                    let here: Vec<Step> =
                        within(field).into_iter().chain([Step::Index(index)]).collect();
                    check_schema_node(choice, &here)?;
                }
            }
            "enum" if value.as_array().is_none_or(Vec::is_empty) => {
                return Err(problem(&within(field), "expected a list of values"));
            }
            "required" => check_required(value, schema, &within(field))?,
            "minimum" | "maximum" | "exclusiveMinimum" | "exclusiveMaximum"
                if !value.is_number() =>
            {
                return Err(problem(&within(field), "expected a number"));
            }
            "description" if !value.is_string() => {
                return Err(problem(&within(field), "expected text"));
            }
            _ => {}
        }
    }
    Ok(())
}

fn check_type(value: &Value, path: &[Step]) -> Checked {
    const TYPES: [&str; 7] = ["object", "array", "string", "number", "integer", "boolean", "null"];
    let known = |v: &Value| v.as_str().is_some_and(|t| TYPES.contains(&t));
    let fine = known(value)
        || value.as_array().is_some_and(|list| !list.is_empty() && list.iter().all(known));
    if fine {
        return Ok(());
    }
    let found = escape::text(&value.to_string());
    Err(problem(path, format!("{found} is none of {}", TYPES.join(", "))))
}

fn check_required(value: &Value, schema: &Value, path: &[Step]) -> Checked {
    let Some(names) = value.as_array() else {
        return Err(problem(path, "expected a list of names"));
    };
    for (index, name) in names.iter().enumerate() {
        let here: Vec<Step> = path.iter().cloned().chain([Step::Index(index)]).collect();
        let Some(name) = name.as_str() else {
            return Err(problem(&here, "expected a name"));
        };
        if schema.get("properties").and_then(|p| p.get(name)).is_none() {
            return Err(problem(
                &here,
                format!("`{}` is required but is none of the properties", escape::text(name)),
            ));
        }
    }
    Ok(())
}
