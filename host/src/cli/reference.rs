//! `fluxbay reference`: Markdown pages that describe all components found, from their manifests.

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;

use serde_json::Value as Json;

use super::inspect::sheet::part_in_a_run;
use super::inspect::snippet;
use super::outcome::{Exit, Failure, Outcome};
use super::plugin_path::PluginPath;
use crate::library::{Catalog, ComponentManifest, ComponentRef, Kind, escape};
use crate::run_file::schema::{default_text, type_text};

/// Arguments of `fluxbay reference`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Folder for the pages; created if it does not exist. Existing pages are replaced.
    #[arg(value_name = "DIR")]
    into: PathBuf,
    #[command(flatten)]
    path: PluginPath,
}

pub(super) fn run(arguments: &Arguments) -> Outcome {
    let catalog = arguments.path.scan(&[]);
    let failed = |error: std::io::Error| {
        Failure::new(
            Exit::Failed,
            format!("cannot write to {}: {error}", escape::path(&arguments.into)),
        )
    };
    fs::create_dir_all(&arguments.into).map_err(failed)?;
    for (name, text) in pages(&catalog) {
        fs::write(arguments.into.join(name), text).map_err(failed)?;
    }
    Ok(Exit::Done)
}

/// (file name, content) of each page: one for each kind in the catalog, and an index.
fn pages(catalog: &Catalog) -> Vec<(String, String)> {
    let mut pages = Vec::new();
    let mut index = String::from(
        "# Reference\n\nAll components of the standard plugins. Made by `fluxbay reference`; do not edit.\n",
    );
    for kind in Kind::ALL {
        let mut all: Vec<ComponentRef<'_>> = catalog.of_kind(kind).collect();
        all.sort_by(|a, b| a.manifest.name.cmp(&b.manifest.name));
        if all.is_empty() {
            continue;
        }
        let name = format!("{}.md", kind.plural().replace(' ', "-"));
        let _ = writeln!(index, "\n## [{}]({name})\n", capitalised(kind.plural()));
        let mut page = format!(
            "# {}\n\nMade by `fluxbay reference` from what the plugins say of themselves; do not edit.\n",
            capitalised(kind.plural())
        );
        for one in &all {
            let _ = writeln!(
                index,
                "- [{0}]({name}#{0}): {1}",
                one.manifest.name,
                escaped(&one.manifest.summary)
            );
            page.push_str(&section(one.manifest, one.plugin.name()));
        }
        pages.push((name, page));
    }
    pages.push(("README.md".to_owned(), index));
    pages
}

fn capitalised(text: &str) -> String {
    let mut characters = text.chars();
    characters
        .next()
        .map_or_else(String::new, |first| first.to_uppercase().chain(characters).collect())
}

/// Escapes text of a plugin for Markdown.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.split_whitespace().collect::<Vec<_>>().join(" ").chars() {
        if matches!(character, '*' | '_' | '<' | '[' | ']' | '|' | '\\') {
            out.push('\\');
        }
        out.push(character);
    }
    out
}

/// The section of one component.
fn section(manifest: &ComponentManifest, plugin: &str) -> String {
    let mut out = format!("\n## {}\n\n{}\n", manifest.name, escaped(&manifest.summary));
    if !manifest.details.is_empty() {
        let _ = writeln!(out, "\n{}", escaped(&manifest.details));
    }
    let _ = writeln!(out, "\n```toml\n{}```", snippet::of(manifest));
    out.push_str(&settings(manifest));
    let scheduled = ("can follow a schedule", manifest.hyper_parameters.as_slice());
    out.push('\n');
    for (name, values) in part_in_a_run(manifest)
        .into_iter()
        .chain([scheduled])
        .filter(|(_, values)| !values.is_empty())
    {
        let values: Vec<String> = values.iter().map(|value| format!("`{value}`")).collect();
        let _ = writeln!(out, "- {name}: {}", values.join(", "));
    }
    let _ = writeln!(out, "- plugin: `{plugin}`");
    out
}

/// The settings as a table.
fn settings(manifest: &ComponentManifest) -> String {
    let properties = manifest.config.get("properties").and_then(Json::as_object);
    let required = manifest.config.get("required").and_then(Json::as_array);
    let Some(properties) = properties.filter(|properties| !properties.is_empty()) else {
        return "\nNo settings.\n".to_owned();
    };
    let mut out = String::from("\n| setting | what | value | default |\n|---|---|---|---|\n");
    for (key, schema) in properties {
        let needed =
            required.is_some_and(|keys| keys.iter().any(|name| name.as_str() == Some(key)));
        let default = match (default_text(schema), needed) {
            (Some(default), _) => format!("`{default}`"),
            (None, true) => "required".to_owned(),
            (None, false) => "none".to_owned(),
        };
        let what = schema.get("description").and_then(Json::as_str).unwrap_or_default();
        let value = type_text(schema).replace('|', "\\|");
        let _ = writeln!(out, "| `{key}` | {} | {value} | {default} |", escaped(what));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run_file::fixture::components;

    #[test]
    fn a_page_has_the_settings_and_an_example_of_each_component() {
        for component in components() {
            let manifest: ComponentManifest = serde_json::from_value(component).unwrap();
            let text = section(&manifest, "fixture");
            assert!(text.starts_with(&format!("\n## {}\n", manifest.name)), "{text}");
            assert!(text.contains("```toml\n") && text.contains("- plugin: `fixture`"), "{text}");
            for key in
                manifest.config["properties"].as_object().into_iter().flatten().map(|(key, _)| key)
            {
                assert!(text.contains(&format!("| `{key}` |")), "{key}: {text}");
            }
        }
    }

    #[test]
    fn texts_of_plugins_are_plain_text() {
        assert_eq!(escaped("a *b* <c>\n [d](e)"), "a \\*b\\* \\<c> \\[d\\](e)");
    }
}
