//! `fluxbay resume`: goes on with a run from its newest whole checkpoint, as if it had never stopped.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    rc::Rc,
};

use super::{
    fit::{Ready, fit},
    keeping::{KeepArguments, MARKS, PLUGINS, RESOLVED},
    late::Record,
    plugins_lock, refusal, surroundings,
};
use crate::{
    cli::{Exit, Failure, Outcome, PluginPath, run_arguments::tell},
    display::Screen,
    library::shown,
    record::{
        Marks, RunDirectory, RunRecord,
        checkpoint::{CheckpointData, newest, read},
        file,
    },
    run_file::{Diagnostics, Draft, Inputs, resolve},
    session::{Composed, Session},
};

/// Arguments of `fluxbay resume`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Folder of the run.
    #[arg(value_name = "RUN_DIR")]
    run_dir: PathBuf,
    /// Go on from this checkpoint instead of the newest that is whole.
    #[arg(long, value_name = "CHECKPOINT")]
    from: Option<PathBuf>,
    /// Set one value, such as run.epochs=40; may be given several times.
    #[arg(long, value_name = "KEY.PATH=VALUE")]
    set: Vec<String>,
    /// Go on although the configuration or plugins differ from those of the checkpoint.
    #[arg(long)]
    allow_changes: bool,
    #[command(flatten)]
    keep: KeepArguments,
    #[command(flatten)]
    path: PluginPath,
}

pub fn run(arguments: &Arguments, screen: &Screen) -> Outcome {
    let configuration = |text: String| Failure::new(Exit::Configuration, text);
    let directory = RunDirectory::open(&arguments.run_dir).map_err(|error| configuration(error.to_string()))?;
    let data = checkpoint(arguments, screen).map_err(configuration)?;
    let marks: Marks = serde_json::from_slice(data.files.get(MARKS).map(Vec::as_slice).unwrap_or_default())
        .map_err(|error| configuration(format!("the checkpoint's `{MARKS}` cannot be used: {error}")))?;

    let mut diagnostics = Diagnostics::new();
    let inputs = Inputs { files: vec![directory.file(file::RESOLVED)], set: arguments.set.clone(), ..Inputs::default() };
    let draft = Draft::read(&inputs, &mut diagnostics);
    let mut dirs = draft.plugin_dirs();
    dirs.extend(folders(text(&data, PLUGINS)));
    let catalog = arguments.path.scan(&dirs);
    let run = resolve(draft, &catalog, &mut diagnostics);
    tell(&diagnostics);
    if diagnostics.has_errors() {
        return Ok(refusal(&diagnostics));
    }
    let mut changes = differences(text(&data, RESOLVED), &run.to_toml());
    let sink = Rc::new(Record::default());
    let composed = Composed::new(Rc::new(catalog), run, surroundings(&directory, &sink, screen)).and_then(Composed::open);
    let session = match composed {
        Ok(session) => session,
        Err(diagnostics) => {
            tell(&diagnostics);
            return Ok(refusal(&diagnostics));
        }
    };
    changes.extend(other_plugins(text(&data, PLUGINS), &plugins_lock(&session)));
    if !changes.is_empty() {
        let list = changes.iter().map(|change| format!("\n  {}", shown::text(change))).collect::<String>();
        if !arguments.allow_changes {
            return Err(configuration(format!(
                "the run is not the one that the checkpoint belongs to:{list}\nUndo the changes, or go on with `--allow-changes`"
            )));
        }
        log::warn!("going on although the run has changed:{list}");
    }
    session.restore(&data.files).map_err(|stop| configuration(format!("the checkpoint cannot be used: {stop}")))?;
    go_on(&session, directory, &marks, &sink, arguments, screen)
}

fn go_on(session: &Session, directory: RunDirectory, marks: &Marks, sink: &Rc<Record>, arguments: &Arguments, screen: &Screen) -> Outcome {
    let record = RunRecord::resume(directory, Some(marks)).map_err(|error| Failure::new(Exit::Failed, error))?;
    sink.begin(record);
    fit(&Ready { session, sink, keep: arguments.keep, plugins: plugins_lock(session) }, screen)
}

/// The checkpoint to go on from. Damaged ones that are passed over are named.
fn checkpoint(arguments: &Arguments, screen: &Screen) -> Result<CheckpointData, String> {
    let folder = arguments.run_dir.join(file::CHECKPOINTS);
    if let Some(path) = &arguments.from {
        return read(path).map_err(|damage| {
            let mend = "go on from the newest whole one by leaving `--from` away";
            format!("the checkpoint {} cannot be used: {damage}; {mend}", shown::path(path))
        });
    }
    let (found, passed) = newest(&folder);
    for (path, damage) in &passed {
        log::warn!("the checkpoint {} is passed over: {damage}", shown::path(path));
    }
    match found {
        Some((path, data)) => {
            screen.print(&format!("going on from {}", shown::path(&path)));
            Ok(data)
        }
        None => Err(format!(
            "{} has no whole checkpoint ({} damaged): begin anew with `fluxbay train {}`",
            shown::path(&folder),
            passed.len(),
            shown::path(&arguments.run_dir.join(file::RUN))
        )),
    }
}

fn text<'a>(data: &'a CheckpointData, name: &str) -> &'a str {
    data.files.get(name).and_then(|bytes| std::str::from_utf8(bytes).ok()).unwrap_or_default()
}

/// Folders of the plugins that a lock names.
fn folders(lock: &str) -> Vec<PathBuf> {
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
fn other_plugins(before: &str, now: &str) -> Vec<String> {
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

/// Keys whose values differ between two resolved runs. How long to train and where plugins are may always change.
fn differences(before: &str, now: &str) -> Vec<String> {
    let (before, now): (toml::Table, toml::Table) = (before.parse().unwrap_or_default(), now.parse().unwrap_or_default());
    let mut found = Vec::new();
    compare("", Some(&toml::Value::Table(before)), Some(&toml::Value::Table(now)), &mut found);
    found.retain(|change| !["run.epochs:", "plugins.dirs", "run.base-dir:"].iter().any(|free| change.starts_with(free)));
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
        let before = "[run]\nseed = 1\nepochs = 3\n[[callback]]\ncomponent = \"a\"\n";
        let now = "[run]\nseed = 2\nepochs = 9\n[[callback]]\ncomponent = \"a\"\n[[callback]]\ncomponent = \"b\"\n";
        let found = differences(before, now);
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found[0].starts_with("callback[1]: nothing then") && found[1] == "run.seed: 1 then, 2 now", "{found:?}");
        assert!(differences(before, before).is_empty());
    }

    #[test]
    fn other_and_missing_plugins_are_named() {
        let lock = |name: &str, hash: &str| format!("[[plugin]]\nname = \"{name}\"\nsha256 = \"{hash}\"\npath = \"/p/{name}.so\"\n");
        let before = lock("a", "1") + &lock("b", "2") + &lock("c", "3");
        let now = lock("a", "1") + &lock("b", "9");
        let found = other_plugins(&before, &now);
        assert!(found.len() == 2 && found[0].contains("`b` is another file") && found[1].contains("`c` is missing"), "{found:?}");
        assert_eq!(folders(&before), [PathBuf::from("/p")]);
    }
}
