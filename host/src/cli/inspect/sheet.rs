//! The text of `fluxbay inspect`.

use std::fmt::Write;

use serde_json::Value as Json;

use super::{ComponentSheet, PluginSheet};
use crate::bundle::BundleInfo;
use crate::display::{bytes, columns, number, width_of_stdout};
use crate::library::{ComponentManifest, Kind, escape};
use crate::run_file::schema::{default_text, type_text};

/// Width of wrapped text without a terminal, and its maximum on one.
const WIDTH: usize = 96;

/// Width of wrapped text.
fn width() -> usize {
    width_of_stdout().map_or(WIDTH, |width| width.clamp(40, WIDTH))
}

/// A plugin: origin, file, components.
pub(super) fn plugin(sheet: &PluginSheet) -> String {
    let info = &sheet.manifest.plugin;
    let mut out = format!("{} {}\n", escape::text(&info.name), escape::text(&info.version));
    paragraph(&mut out, &info.summary);
    let authors = info.authors.replace(':', ", ");
    let facts = [
        ("file", sheet.file.clone()),
        ("sha256", sheet.sha256.clone()),
        ("state", sheet.state.clone()),
        ("built", built(sheet)),
        ("contract", sheet.manifest.contract.to_string()),
        ("licence", info.license.clone()),
        ("authors", authors),
        ("home page", info.homepage.clone()),
    ];
    out.push('\n');
    for (name, value) in facts.iter().filter(|(_, value)| !value.is_empty()) {
        match *name {
            // Not wrapped, so that they can be copied.
            "file" | "sha256" => {
                let _ = writeln!(out, "{name:<11} {}", escape::text(value));
            }
            _ => wrapped(&mut out, &format!("{name:<11} "), value),
        }
    }
    for kind in Kind::ALL {
        let of_kind: Vec<&ComponentManifest> =
            sheet.manifest.components.iter().filter(|one| one.kind == kind).collect();
        let width = of_kind.iter().map(|one| one.name.len()).max().unwrap_or(0);
        if !of_kind.is_empty() {
            let _ = writeln!(out, "\n{}", kind.plural());
        }
        for one in of_kind {
            let _ = writeln!(out, "  {:width$}  {}", one.name, escape::text(&one.summary));
        }
    }
    out
}

/// A bundle whose files were verified: model, data, figures, plugins.
pub(super) fn bundle(info: &BundleInfo) -> String {
    let mut out =
        format!("{}: a bundle, all files are as they were written\n\n", escape::text(&info.run));
    let started = format!(
        "{}, begun {}, {} epochs, by fluxbay {}",
        info.status, info.started, info.epochs, info.fluxbay
    );
    wrapped(&mut out, &format!("{:<11} ", "training"), &escape::text(&started));
    for model in &info.models {
        let text = format!(
            "{} ({}), {} values in {} parameters and buffers",
            model.name, model.component, model.elements, model.tensors
        );
        wrapped(&mut out, &format!("{:<11} ", "model"), &escape::text(&text));
    }
    if let Some(data) = &info.data {
        let splits: Vec<String> =
            data.splits.iter().map(|split| format!("{} {}", split.samples, split.name)).collect();
        let text = format!("{}: {}", data.component, splits.join(", "));
        wrapped(&mut out, &format!("{:<11} ", "data"), &escape::text(&text));
        for field in &data.fields {
            let classes =
                field.classes.map_or(String::new(), |classes| format!(", {classes} classes"));
            let text = format!("{} {} {:?}{classes}", field.name, field.dtype, field.shape);
            wrapped(&mut out, &format!("{:<11} ", "field"), &escape::text(&text));
        }
    }
    let license = if info.license.is_empty() { "not stated" } else { &info.license };
    wrapped(&mut out, &format!("{:<11} ", "licence"), &escape::text(license));
    if !info.figures.is_empty() {
        let value = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), number);
        let rows: Vec<Vec<String>> = info
            .figures
            .iter()
            .map(|figure| {
                vec![
                    format!("  {}", escape::text(&figure.phase)),
                    escape::text(&figure.name),
                    value(figure.last),
                    figure.best.map_or_else(String::new, |best| format!("best {}", number(best))),
                ]
            })
            .collect();
        let _ = write!(out, "\nfigures\n{}", columns(&rows, "  ", &[2]));
    }
    out.push_str("\nplugins\n");
    for plugin in &info.plugins {
        let _ = writeln!(
            out,
            "  {} {} {} {}",
            escape::text(&plugin.name),
            escape::text(&plugin.version),
            escape::text(&plugin.license),
            escape::text(&plugin.sha256)
        );
    }
    out
}

/// How it was built, on one line.
fn built(sheet: &PluginSheet) -> String {
    let Some(built) = &sheet.built else { return String::new() };
    let compilers = if built.compilers.is_empty() {
        String::new()
    } else {
        format!(", by {}", built.compilers.join(", "))
    };
    let debug = if built.debug_info { ", with debug information" } else { "" };
    format!("for {}, {}{debug}{compilers}", built.machine, bytes(built.bytes))
}

/// Labels and values of what a component does in a run; a value may be empty.
pub(in crate::cli) fn part_in_a_run(
    manifest: &ComponentManifest,
) -> [(&'static str, &[String]); 7] {
    let kind = std::slice::from_ref(&manifest.phase_kind);
    [
        ("phase kind", if manifest.phase_kind.is_empty() { &[] } else { kind }),
        ("handles", &manifest.events),
        ("emits", &manifest.emits),
        ("reads", &manifest.reads),
        ("writes", &manifest.writes),
        ("runs after", &manifest.run_after),
        ("runs before", &manifest.run_before),
    ]
}

/// A component: description, access, settings, example.
pub(super) fn component(sheet: &ComponentSheet) -> String {
    let manifest = &sheet.manifest;
    let mut out = format!("{}\n", manifest.id());
    paragraph(&mut out, &manifest.summary);
    paragraph(&mut out, &manifest.details);
    let _ = writeln!(
        out,
        "\nfrom        {} {} ({}), {}",
        sheet.plugin, sheet.version, sheet.state, sheet.file
    );
    let last = [
        ("schedulable", manifest.hyper_parameters.as_slice()),
        ("requires", manifest.requires.as_slice()),
    ];
    for (name, values) in
        part_in_a_run(manifest).into_iter().chain(last).filter(|(_, values)| !values.is_empty())
    {
        wrapped(&mut out, &format!("{name:<11} "), &values.join(", "));
    }
    for other in &sheet.writes_too {
        let text = format!(
            "{} writes {} too: in one run they need an order",
            other.component,
            other.paths.join(", ")
        );
        wrapped(&mut out, "conflicts   ", &text);
    }
    settings(&mut out, manifest);
    let _ = writeln!(out, "\nin a run file");
    for line in sheet.snippet.lines() {
        let _ = writeln!(out, "{}", format!("  {}", escape::text(line)).trim_end());
    }
    out
}

fn settings(out: &mut String, manifest: &ComponentManifest) {
    let properties = manifest.config.get("properties").and_then(Json::as_object);
    let required = manifest.config.get("required").and_then(Json::as_array);
    let Some(properties) = properties.filter(|properties| !properties.is_empty()) else {
        out.push_str("\nno settings\n");
        return;
    };
    out.push_str("\nsettings\n");
    for (key, schema) in properties {
        let needed =
            required.is_some_and(|keys| keys.iter().any(|name| name.as_str() == Some(key)));
        let default = match (default_text(schema), needed) {
            (Some(default), _) => format!("default {default}"),
            (None, true) => "required".to_owned(),
            (None, false) => "optional".to_owned(),
        };
        wrapped(out, &format!("  {key}  "), &format!("{}; {default}", type_text(schema)));
        if let Some(what) =
            schema.get("description").and_then(Json::as_str).filter(|what| !what.is_empty())
        {
            wrapped(out, "      ", what);
        }
    }
}

fn paragraph(out: &mut String, text: &str) {
    if !text.is_empty() {
        wrapped(out, "", text);
    }
}

/// Text after a beginning, wrapped at words and indented below it.
fn wrapped(out: &mut String, beginning: &str, text: &str) {
    let (most, indent) = (width(), " ".repeat(beginning.chars().count().min(WIDTH / 3)));
    let mut line = beginning.to_owned();
    let mut empty = true;
    for word in escape::text(text).split_whitespace() {
        if !empty && line.chars().count() + 1 + word.chars().count() > most {
            let _ = writeln!(out, "{}", line.trim_end());
            line.clone_from(&indent);
            empty = true;
        }
        if !empty {
            line.push(' ');
        }
        line.push_str(word);
        empty = false;
    }
    let _ = writeln!(out, "{}", line.trim_end());
}
