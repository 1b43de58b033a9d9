//! Differences between a run and the run of a checkpoint.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use crate::record::{Pairing, differences, plugin_differences, used_plugins};

/// Settings that may change: duration, threads, memory, retention of checkpoints, locations of files.
const FREE: [&str; 11] = [
    "run.epochs:",
    "run.max-time:",
    "run.threads:",
    "run.memory:",
    "run.base-dir:",
    "run.name:",
    "plugins.dirs",
    "checkpoints.",
    "communicator",
    "run.rank-timeout:",
    "run.shard-optimizer:",
];

/// Folders of the plugins in a `plugins.lock`.
pub fn folders(lock: &str) -> Vec<PathBuf> {
    let plugins = used_plugins(lock);
    let folders = plugins
        .iter()
        .filter(|plugin| !plugin.path.is_empty())
        .filter_map(|plugin| Path::new(&plugin.path).parent());
    folders.map(Path::to_owned).collect::<BTreeSet<_>>().into_iter().collect()
}

/// Plugins of the first lock that the second one lacks or has with another hash.
pub fn of_plugins(before: &str, now: &str) -> Vec<String> {
    let found = plugin_differences(&used_plugins(before), &used_plugins(now));
    let missed = found.into_iter().filter(|plugin| plugin.before.is_some());
    missed
        .map(|plugin| {
            let what = if plugin.now.is_some() {
                "has changed (its sha256 differs)"
            } else {
                "is missing"
            };
            format!("plugin `{}` {what}", plugin.name)
        })
        .collect()
}

/// Keys whose values differ between two resolved runs, except those that may change.
pub fn of_settings(before: &str, now: &str) -> Vec<String> {
    let (before, now): (toml::Table, toml::Table) =
        (before.parse().unwrap_or_default(), now.parse().unwrap_or_default());
    let said =
        |value: Option<toml::Value>| value.map_or("nothing".to_owned(), |value| value.to_string());
    let found = differences(&before, &now, Pairing::ByIndex).into_iter();
    let mut found: Vec<String> = found
        .map(|one| format!("{}: {} then, {} now", one.key, said(one.before), said(one.now)))
        .collect();
    found.retain(|change| {
        !FREE.iter().any(|free| change.starts_with(free)) && !is_recomputation(change)
    });
    found
}

/// Whether a change is that of a model's `recompute`, which changes no number.
fn is_recomputation(change: &str) -> bool {
    let key = change.split([':', '[']).next().unwrap_or_default();
    key.starts_with("model.") && key.ends_with(".recompute")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changed_settings_are_named_and_longer_training_is_allowed() {
        let before = "[run]\nseed = 1\nepochs = 3\n[checkpoints]\nkeep-last = 1\n[[callback]]\ncomponent = \"a\"\n";
        let now = "[run]\nseed = 2\nepochs = 9\n[checkpoints]\nkeep-last = 5\n[[callback]]\ncomponent = \"a\"\n[[callback]]\ncomponent = \"b\"\n";
        let found = of_settings(before, now);
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(
            found[0].starts_with("callback[1]: nothing then")
                && found[1] == "run.seed: 1 then, 2 now",
            "{found:?}"
        );
        assert!(of_settings(before, before).is_empty());
        let other = "[run]\nseed = 1\nepochs = 3\nmemory = \"1GiB\"\n[model]\nrecompute = [\"block.*\"]\n[checkpoints]\nkeep-last = 1\n[[callback]]\ncomponent = \"a\"\n";
        let without = other.replace("recompute = [\"block.*\"]\n", "");
        assert!(of_settings(&without, other).is_empty() && of_settings(other, &without).is_empty());
    }

    #[test]
    fn other_and_missing_plugins_are_named() {
        let lock = |name: &str, hash: &str| {
            format!("[[plugin]]\nname = \"{name}\"\nsha256 = \"{hash}\"\npath = \"/p/{name}.so\"\n")
        };
        let before = lock("a", "1") + &lock("b", "2") + &lock("c", "3");
        let now = lock("a", "1") + &lock("b", "9");
        let found = of_plugins(&before, &now);
        assert!(
            found.len() == 2
                && found[0].contains("`b` has changed")
                && found[1].contains("`c` is missing"),
            "{found:?}"
        );
        assert_eq!(folders(&before), [PathBuf::from("/p")]);
    }
}
