//! The settings of a run as rows of key, value and where the value was given.

use std::{collections::HashSet, fs, path::Path};

use serde_json::{Value as Json, json};
use toml::{Table, Value};

use crate::record::file;

/// Rows `[key, value, given]`: `given` is `run file` for a key that one of the run's files sets, and `default`
/// for one that was filled in or came from the command line.
pub(super) fn rows(resolved: &Table, folder: &Path) -> Json {
    let given = given(folder);
    let mut rows = Vec::new();
    table("", resolved, &mut |key, value| {
        let from = if given.contains(key) { "run file" } else { "default or command line" };
        rows.push(json!([key, value, from]));
    });
    rows.into()
}

/// Keys that the run files set.
fn given(folder: &Path) -> HashSet<String> {
    let mut keys = HashSet::new();
    for number in 1.. {
        let name = if number == 1 { file::RUN.to_owned() } else { format!("run-{number}.toml") };
        let Ok(text) = fs::read_to_string(folder.join(name)) else { return keys };
        if let Ok(layer) = text.parse::<Table>() {
            table("", &layer, &mut |key, _| {
                keys.insert(key.to_owned());
            });
        }
    }
    keys
}

fn table(prefix: &str, content: &Table, take: &mut dyn FnMut(&str, String)) {
    for (key, value) in content {
        let path = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
        match value {
            Value::Table(inner) => table(&path, inner, take),
            Value::Array(items) if !items.is_empty() && items.iter().all(Value::is_table) => {
                for (index, item) in items.iter().filter_map(Value::as_table).enumerate() {
                    // An instance is known by its id, which a run file may leave out.
                    let id = ["id", "component"].iter().find_map(|key| item.get(*key)?.as_str());
                    let id = id.map_or_else(|| index.to_string(), str::to_owned);
                    table(&format!("{path}.{id}"), item, take);
                }
            }
            other => take(&path, other.to_string()),
        }
    }
}
