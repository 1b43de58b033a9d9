//! `fluxbay runs compare`.

use std::ffi::OsString;

use serde_json::json;

use super::folder::{Place, names};
use crate::cli::outcome::Outcome;
use crate::cli::output::{json_number, print, print_json};
use crate::display::{columns, number};
use crate::library::escape;
use crate::record::{
    Difference, EpochMetric, Pairing, RunEntry, UsedPlugin, differences, plugin_differences,
};

/// Arguments of `fluxbay runs compare`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// A run's folder, its name or a part of it, or `last`.
    ///
    /// The beginning or the end of a name below `runs` is enough if only one run matches.
    #[arg(value_name = "RUN", add = names())]
    one: OsString,
    /// The other run.
    #[arg(value_name = "OTHER", add = names())]
    other: OsString,
    #[command(flatten)]
    place: Place,
    /// Write JSON, as `fluxbay schema runs-compare` describes.
    #[arg(long)]
    json: bool,
}

/// Two runs and what differs.
struct Comparison {
    one: RunEntry,
    other: RunEntry,
    configuration: Vec<Difference>,
    /// (name, version and hash in each run)
    plugins: Vec<(String, Option<String>, Option<String>)>,
    /// (phase, metric, its values in each run)
    figures: Vec<(String, String, Option<EpochMetric>, Option<EpochMetric>)>,
}

pub(super) fn run(arguments: &Arguments) -> Outcome {
    let comparison = Comparison::of(
        arguments.place.find(&arguments.one)?,
        arguments.place.find(&arguments.other)?,
    );
    if arguments.json { print_json(&comparison.json()) } else { print(&comparison.text()) }
}

impl Comparison {
    fn of(one: RunEntry, other: RunEntry) -> Comparison {
        let mut configuration = differences(&one.resolved(), &other.resolved(), Pairing::ById);
        // Folders of plugins do not matter: their hashes are compared.
        configuration.retain(|difference| {
            !matches!(difference.key.as_str(), "plugins.dirs" | "run.base-dir")
        });
        let (plugins, figures) = (plugins(&one, &other), figures(&one, &other));
        Comparison { one, other, configuration, plugins, figures }
    }

    fn json(&self) -> serde_json::Value {
        let value = |value: &Option<toml::Value>| {
            value.as_ref().and_then(|value| serde_json::to_value(value).ok())
        };
        let last =
            |figure: &Option<EpochMetric>| figure.as_ref().map(|figure| json_number(figure.last.0));
        let best = |figure: &Option<EpochMetric>| {
            figure.as_ref().and_then(|figure| Some(json_number(figure.best?.0)))
        };
        let configuration = self.configuration.iter().map(
            |one| json!({ "key": one.key, "one": value(&one.before), "other": value(&one.now) }),
        );
        let plugins = self
            .plugins
            .iter()
            .map(|(name, one, other)| json!({ "name": name, "one": one, "other": other }));
        let figures = self.figures.iter().map(|(phase, name, one, other)| {
            json!({ "phase": phase, "name": name, "one": { "last": last(one), "best": best(one) }, "other": { "last": last(other), "best": best(other) } })
        });
        json!({
            "schema": 1,
            "one": self.one.id,
            "other": self.other.id,
            "configuration": configuration.collect::<Vec<_>>(),
            "plugins": plugins.collect::<Vec<_>>(),
            "figures": figures.collect::<Vec<_>>(),
        })
    }

    fn text(&self) -> String {
        let mut out = String::new();
        let head = |label: &str| [label, "one", "other"].map(str::to_owned).to_vec();
        out.push_str(&columns(
            &[
                vec!["one".to_owned(), escape::text(&self.one.id), self.one.standing()],
                vec!["other".to_owned(), escape::text(&self.other.id), self.other.standing()],
            ],
            "",
            &[],
        ));
        let said = |value: &Option<toml::Value>| {
            value.as_ref().map_or("-".to_owned(), |value| escape::text(&brief(value)))
        };
        let configuration = self
            .configuration
            .iter()
            .map(|one| vec![escape::text(&one.key), said(&one.before), said(&one.now)]);
        section(
            &mut out,
            head("configuration"),
            configuration.collect(),
            "configuration: identical",
        );
        let hash = |text: &Option<String>| escape::text(text.as_deref().unwrap_or("-"));
        let plugins = self
            .plugins
            .iter()
            .map(|(name, one, other)| vec![escape::text(name), hash(one), hash(other)]);
        section(&mut out, head("plugins"), plugins.collect(), "plugins: identical");
        let best = |figure: &Option<EpochMetric>| {
            figure
                .as_ref()
                .and_then(|figure| figure.best)
                .map_or("-".to_owned(), |best| number(best.0))
        };
        let figures = self.figures.iter().map(|(phase, name, one, other)| {
            vec![escape::text(&format!("{phase} {name}")), best(one), best(other)]
        });
        section(
            &mut out,
            ["best metrics", "one", "other"].map(str::to_owned).to_vec(),
            figures.collect(),
            "metrics: none",
        );
        out
    }
}

fn section(out: &mut String, head: Vec<String>, rows: Vec<Vec<String>>, none: &str) {
    out.push('\n');
    if rows.is_empty() {
        out.push_str(none);
        out.push('\n');
        return;
    }
    let all: Vec<Vec<String>> = std::iter::once(head).chain(rows).collect();
    out.push_str(&columns(&all, "", &[]));
}

/// A value on one line, shortened so that two fit side by side.
fn brief(value: &toml::Value) -> String {
    let text = match value {
        toml::Value::Table(table) if table.contains_key("component") => "present".to_owned(),
        value => value.to_string(),
    };
    if text.chars().count() > 28 {
        text.chars().take(25).chain("...".chars()).collect()
    } else {
        text
    }
}

fn plugins(one: &RunEntry, other: &RunEntry) -> Vec<(String, Option<String>, Option<String>)> {
    let said = |plugin: UsedPlugin| {
        format!("{} {}", plugin.version, plugin.sha256.chars().take(12).collect::<String>())
    };
    let found = plugin_differences(&one.plugins(), &other.plugins()).into_iter();
    found.map(|plugin| (plugin.name, plugin.before.map(said), plugin.now.map(said))).collect()
}

fn figures(
    one: &RunEntry,
    other: &RunEntry,
) -> Vec<(String, String, Option<EpochMetric>, Option<EpochMetric>)> {
    let (mine, theirs) =
        (one.epoch_metrics().unwrap_or_default(), other.epoch_metrics().unwrap_or_default());
    let mut keys: Vec<(String, String)> = Vec::new();
    for figure in mine.iter().chain(&theirs) {
        let key = (figure.phase.clone(), figure.name.clone());
        if !keys.contains(&key) {
            keys.push(key);
        }
    }
    let find = |all: &[EpochMetric], key: &(String, String)| {
        all.iter().find(|figure| figure.phase == key.0 && figure.name == key.1).cloned()
    };
    keys.into_iter()
        .map(|key| (find(&mine, &key), find(&theirs, &key), key))
        .map(|(one, other, (phase, name))| (phase, name, one, other))
        .collect()
}
