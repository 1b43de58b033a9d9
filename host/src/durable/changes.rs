//! What differs between a run and the one that a checkpoint belongs to.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

/// Settings that may differ: how long to train, what is kept, where plugins and files are.
const FREE: [&str; 6] = ["run.epochs:", "run.max-time:", "run.base-dir:", "run.name:", "plugins.dirs", "checkpoints."];

/// Folders of the plugins that a lock names.
pub fn folders(lock: &str) -> Vec<PathBuf> {
    let paths: BTreeSet<PathBuf> =
        listed(lock).filter_map(|plugin| Some(Path::new(plugin.get("path")?.as_str()?).parent()?.to_owned())).collect();
    paths.into_iter().collect()
}

fn listed(lock: &str) -> impl Iterator<Item = toml::Table> {
    let table: toml::Table = lock.parse().unwrap_or_default();
    let plugins = table.get("plugin").and_then(toml::Value::as_array).cloned().unwrap_or_default();
    plugins.into_iter().filter_map(|plugin| plugin.as_table().cloned())
}

/// What differs between the plugins of two locks, by name.
pub fn of_plugins(before: &str, now: &str) -> Vec<String> {
    let hash = |plugin: &toml::Table| plugin.get("sha256").and_then(toml::Value::as_str).map(str::to_owned);
    let name = |plugin: &toml::Table| plugin.get("name").and_then(toml::Value::as_str).unwrap_or_default().to_owned();
    let now: Vec<_> = listed(now).map(|plugin| (name(&plugin), hash(&plugin))).collect();
    listed(before)
        .filter_map(|plugin| {
            let (name, hash) = (name(&plugin), hash(&plugin));
            if now.iter().any(|(other, found)| *other == name && *found == hash) {
                return None;
            }
            let is_there = now.iter().any(|(other, _)| *other == name);
            Some(format!("plugin `{name}` {}", if is_there { "is another file than then (its sha256 differs)" } else { "is missing" }))
        })
        .collect()
}

/// Keys whose values differ between two resolved runs, without those that may always change.
pub fn of_settings(before: &str, now: &str) -> Vec<String> {
    let (before, now): (toml::Table, toml::Table) = (before.parse().unwrap_or_default(), now.parse().unwrap_or_default());
    let mut found = Vec::new();
    compare("", Some(&toml::Value::Table(before)), Some(&toml::Value::Table(now)), &mut found);
    found.retain(|change| !FREE.iter().any(|free| change.starts_with(free)));
    found
}

fn compare(path: &str, before: Option<&toml::Value>, now: Option<&toml::Value>, found: &mut Vec<String>) {
    let below = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
    match (before, now) {
        (Some(toml::Value::Table(before)), Some(toml::Value::Table(now))) => {
            let names: BTreeSet<&String> = before.keys().chain(now.keys()).collect();
            names.iter().for_each(|name| compare(&below(name), before.get(*name), now.get(*name), found));
        }
        (Some(toml::Value::Array(before)), Some(toml::Value::Array(now))) => {
            for index in 0..before.len().max(now.len()) {
                compare(&format!("{path}[{index}]"), before.get(index), now.get(index), found);
            }
        }
        (before, now) if before == now => {}
        (before, now) => {
            let said = |value: Option<&toml::Value>| value.map_or("nothing".to_owned(), ToString::to_string);
            found.push(format!("{path}: {} then, {} now", said(before), said(now)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_of_the_configuration_are_named_and_longer_training_is_none() {
        let before = "[run]\nseed = 1\nepochs = 3\n[checkpoints]\nkeep-last = 1\n[[callback]]\ncomponent = \"a\"\n";
        let now =
            "[run]\nseed = 2\nepochs = 9\n[checkpoints]\nkeep-last = 5\n[[callback]]\ncomponent = \"a\"\n[[callback]]\ncomponent = \"b\"\n";
        let found = of_settings(before, now);
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found[0].starts_with("callback[1]: nothing then") && found[1] == "run.seed: 1 then, 2 now", "{found:?}");
        assert!(of_settings(before, before).is_empty());
    }

    #[test]
    fn other_and_missing_plugins_are_named() {
        let lock = |name: &str, hash: &str| format!("[[plugin]]\nname = \"{name}\"\nsha256 = \"{hash}\"\npath = \"/p/{name}.so\"\n");
        let before = lock("a", "1") + &lock("b", "2") + &lock("c", "3");
        let now = lock("a", "1") + &lock("b", "9");
        let found = of_plugins(&before, &now);
        assert!(found.len() == 2 && found[0].contains("`b` is another file") && found[1].contains("`c` is missing"), "{found:?}");
        assert_eq!(folders(&before), [PathBuf::from("/p")]);
    }
}
