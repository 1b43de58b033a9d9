//! The model card: what a bundle holds, for a reader, as Markdown with the front matter that model
//! hubs read.

use std::fmt::Write as _;

use super::info::BundleInfo;
use crate::library::escape;

/// Text for a cell of a table or a sentence: one line, without the characters that structure Markdown.
fn plain(text: &str) -> String {
    let text = escape::text(text);
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        if matches!(character, '|' | '`' | '*' | '[' | ']' | '<' | '>' | '#') {
            out.push('\\');
        }
        out.push(character);
    }
    out
}

/// 1234567 as `1,234,567`.
fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

fn value(value: Option<f64>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| format!("{value}"))
}

/// The card of a bundle.
pub(super) fn text(info: &BundleInfo) -> String {
    let mut out = String::new();
    let license = if info.license.is_empty() { "unknown" } else { &info.license };
    // A JSON string is a YAML string.
    let quoted = |text: &str| serde_json::Value::from(text).to_string();
    out.push_str("---\nlibrary_name: fluxbay\n");
    let _ = writeln!(out, "license: {}", quoted(license));
    out.push_str("tags:\n  - fluxbay\n");
    for model in &info.models {
        let _ = writeln!(out, "  - {}", quoted(&model.component));
    }
    let _ = writeln!(out, "---\n\n# {}\n", plain(&info.run));
    for model in &info.models {
        let _ = writeln!(
            out,
            "`{}` is a model of the component `{}` with {} values in {} parameters and buffers.",
            plain(&model.name),
            plain(&model.component),
            thousands(model.elements),
            model.tensors
        );
    }
    out.push_str("\n## Use\n\n```sh\nfluxbay predict FOLDER INPUT -o predictions.csv\nfluxbay inspect FOLDER\nsha256sum -c SHA256SUMS\n```\n");
    out.push_str("\n`FOLDER` is the folder of this file. The plugins below must be installed.\n");
    if let Some(data) = &info.data {
        let _ =
            writeln!(out, "\n## Data\n\nTrained on the data set `{}`.\n", plain(&data.component));
        out.push_str("| field | type | shape of a sample | classes |\n|---|---|---|---|\n");
        for field in &data.fields {
            let classes = field.classes.map_or("-".to_owned(), |classes| classes.to_string());
            let _ = writeln!(
                out,
                "| {} | {} | {:?} | {classes} |",
                plain(&field.name),
                plain(&field.dtype),
                field.shape
            );
        }
        out.push_str("\n| split | samples |\n|---|---|\n");
        for split in &data.splits {
            let _ =
                writeln!(out, "| {} | {} |", plain(&split.name), thousands(split.samples as u64));
        }
        if data.keeps_learnt {
            out.push_str("\nWhat the data set learnt from the training samples (statistics, categories, classes, vocabulary) is in `data-state.bin`.\n");
        }
        out.push_str("\nThe licence of the data is not known to fluxbay: state it here before sharing the model.\n");
    }
    out.push_str("\n## Figures\n\n");
    if info.figures.is_empty() {
        out.push_str("The run recorded none.\n");
    } else {
        out.push_str("| phase | figure | last | epoch | best |\n|---|---|---|---|---|\n");
        for figure in &info.figures {
            let _ = writeln!(
                out,
                "| {} | {} | {} | {} | {} |",
                plain(&figure.phase),
                plain(&figure.name),
                value(figure.last),
                figure.epoch,
                value(figure.best)
            );
        }
        out.push_str("\nThe run recorded them while it trained. Measured again, where its data is:\n\n```sh\nfluxbay evaluate FOLDER\n```\n");
    }
    let _ = write!(
        out,
        "\n## Training\n\nRun `{}`, {}, begun {}, {} epochs, by fluxbay {}",
        plain(&info.run),
        plain(&info.status),
        plain(&info.started),
        info.epochs,
        plain(&info.fluxbay)
    );
    if let Some(seed) = info.seed {
        let _ = write!(out, ", seed {seed}");
    }
    if !info.processor.is_empty() {
        let _ = write!(out, ", on {}", plain(&info.processor));
    }
    out.push_str(". All settings are in `resolved.toml`; with the same plugins and data, this trains it again:\n\n```sh\nfluxbay train FOLDER/resolved.toml\n```\n");
    out.push_str("\n## Plugins\n\n| plugin | version | licence | sha256 |\n|---|---|---|---|\n");
    for plugin in &info.plugins {
        let license = if plugin.license.is_empty() { "unknown" } else { &plugin.license };
        let _ = writeln!(
            out,
            "| {} | {} | {} | {} |",
            plain(&plugin.name),
            plain(&plugin.version),
            plain(license),
            plain(&plugin.sha256)
        );
    }
    let _ = writeln!(
        out,
        "\n## Licence\n\n{}",
        if info.license.is_empty() {
            "The licence of the parameters is not stated; `fluxbay export --license NAME` states it.".to_owned()
        } else {
            format!("The parameters are under {}.", plain(&info.license))
        }
    );
    out
}
