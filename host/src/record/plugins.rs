//! The plugins of a run, read from the `plugins.lock` of its record or checkpoint.

use std::collections::BTreeSet;

/// One plugin that a run used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsedPlugin {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// sha256 of the file, in hexadecimal.
    pub sha256: String,
    /// Path of the file.
    pub path: String,
}

/// A plugin that differs between two runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PluginDifference {
    /// Its name.
    pub name: String,
    /// The plugin of the first run.
    pub before: Option<UsedPlugin>,
    /// The plugin of the second run.
    pub now: Option<UsedPlugin>,
}

/// The plugins in the text of a `plugins.lock`; empty if it cannot be parsed.
pub fn used_plugins(lock: &str) -> Vec<UsedPlugin> {
    let table: toml::Table = lock.parse().unwrap_or_default();
    let listed = table.get("plugin").and_then(toml::Value::as_array).cloned().unwrap_or_default();
    let text = |plugin: &toml::Value, key: &str| {
        plugin.get(key).and_then(toml::Value::as_str).unwrap_or_default().to_owned()
    };
    let used = |plugin| UsedPlugin {
        name: text(plugin, "name"),
        version: text(plugin, "version"),
        sha256: text(plugin, "sha256"),
        path: text(plugin, "path"),
    };
    listed.iter().map(used).collect()
}

/// The differing plugins of two runs, by name.
pub fn plugin_differences(before: &[UsedPlugin], now: &[UsedPlugin]) -> Vec<PluginDifference> {
    let is_in = |all: &[UsedPlugin], one: &UsedPlugin| {
        all.iter().any(|other| other.name == one.name && other.sha256 == one.sha256)
    };
    let names: BTreeSet<&String> = before
        .iter()
        .chain(now)
        .filter(|one| !is_in(before, one) || !is_in(now, one))
        .map(|one| &one.name)
        .collect();
    let of = |all: &[UsedPlugin], name: &str| all.iter().find(|one| one.name == name).cloned();
    names
        .into_iter()
        .map(|name| PluginDifference {
            name: name.clone(),
            before: of(before, name),
            now: of(now, name),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plugins_are_compared_by_their_bytes() {
        let lock = |name: &str, version: &str, hash: &str| {
            format!(
                "[[plugin]]\nname = \"{name}\"\nversion = \"{version}\"\nsha256 = \"{hash}\"\npath = \"/p/{name}.so\"\n"
            )
        };
        let before = used_plugins(
            &(lock("a", "1.0.0", "1") + &lock("b", "1.0.0", "2") + &lock("c", "1.0.0", "3")),
        );
        let now = used_plugins(
            &(lock("a", "1.0.1", "1") + &lock("b", "1.0.0", "9") + &lock("d", "1.0.0", "4")),
        );
        let found = plugin_differences(&before, &now);
        let said = found
            .iter()
            .map(|one| (one.name.as_str(), one.before.is_some(), one.now.is_some()))
            .collect::<Vec<_>>();
        assert_eq!(said, [("b", true, true), ("c", true, false), ("d", false, true)]);
        assert_eq!(before[0].path, "/p/a.so");
        assert_eq!(used_plugins("nonsense ="), []);
    }
}
