//! `fluxbay list`: the components of the search path by kind, its plugins, and the refused files.

mod filter;

use std::fmt::Write as _;
use std::path::Path;

use serde::Serialize;

use filter::Filter;

use super::outcome::{Exit, Failure, Outcome};
use super::output::{print, print_json};
use super::plugin_path::PluginPath;
use crate::library::{
    Catalog, ComponentRef, DirReport, FileReport, FileState, Kind, RefusalReason, Standing, escape,
};

/// Arguments of `fluxbay list`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    path: PluginPath,
    #[command(flatten)]
    filter: Filter,
    /// Write JSON, as `fluxbay schema list` describes.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &Arguments) -> Outcome {
    let catalog = arguments.path.scan(&[]);
    let filter = &arguments.filter;
    filter.check(&catalog).map_err(|error| Failure::new(Exit::Configuration, error))?;
    if arguments.json {
        return print_json(&listing(&catalog, filter));
    }
    let width = crate::display::width_of_stdout().unwrap_or(usize::MAX);
    print(&text(&catalog, filter, width))
}

/// Characters of a summary that are shown at most.
const MAX_SUMMARY: usize = 300;

/// Numbers of listed things.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
struct Totals {
    plugins: usize,
    shadowed: usize,
    components: usize,
    refused: usize,
    ignored: usize,
    directories: usize,
}

impl Totals {
    fn of(catalog: &Catalog, filter: &Filter) -> Self {
        let files =
            |state: FileState| catalog.reports().iter().filter(|file| file.state == state).count();
        Self {
            plugins: if filter.is_open() {
                files(FileState::Ok) + files(FileState::Shadowed)
            } else {
                catalog.reports().iter().filter(|file| offers(catalog, file, filter)).count()
            },
            shadowed: files(FileState::Shadowed),
            components: catalog.components().filter(|one| filter.admits(one)).count(),
            refused: files(FileState::Refused)
                + catalog.dirs().iter().filter(|dir| dir.refusal.is_some()).count(),
            ignored: files(FileState::Ignored),
            directories: catalog.dirs().iter().filter(|dir| dir.exists).count(),
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Listing<'a> {
    /// Grows when a field changes its meaning.
    schema: u32,
    components: Vec<Component<'a>>,
    files: Vec<&'a FileReport>,
    directories: &'a [DirReport],
    ambiguous: Vec<String>,
    totals: Totals,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Component<'a> {
    kind: Kind,
    name: &'a str,
    id: String,
    qualified_id: String,
    state: &'static str,
    summary: &'a str,
    plugin: &'a str,
    version: &'a str,
    path: String,
    events: &'a [String],
    emits: &'a [String],
    reads: &'a [String],
    writes: &'a [String],
}

/// Whether a file offers a component that the filter admits.
fn offers(catalog: &Catalog, file: &FileReport, filter: &Filter) -> bool {
    matches!(file.state, FileState::Ok | FileState::Shadowed)
        && (filter.is_open()
            || catalog
                .all_components()
                .any(|one| one.plugin.path() == file.path && filter.admits(&one)))
}

fn standing(component: &ComponentRef<'_>) -> &'static str {
    match component.standing {
        Standing::Active => "ok",
        Standing::Shadowed { .. } => "shadowed",
        Standing::Tied { .. } => "ambiguous",
    }
}

fn listing<'a>(catalog: &'a Catalog, filter: &Filter) -> Listing<'a> {
    let component = |c: ComponentRef<'a>| Component {
        kind: c.manifest.kind,
        name: &c.manifest.name,
        id: c.id(),
        qualified_id: c.qualified_id(),
        state: standing(&c),
        summary: &c.manifest.summary,
        plugin: c.plugin.name(),
        version: c.plugin.version(),
        path: escape::path(c.plugin.path()),
        events: &c.manifest.events,
        emits: &c.manifest.emits,
        reads: &c.manifest.reads,
        writes: &c.manifest.writes,
    };
    let is_shown = |file: &&FileReport| {
        if filter.is_open() {
            file.state != FileState::Ignored
        } else {
            offers(catalog, file, filter)
        }
    };
    Listing {
        schema: 1,
        components: catalog
            .all_components()
            .filter(|one| filter.admits(one))
            .map(component)
            .collect(),
        files: catalog.reports().iter().filter(is_shown).collect(),
        directories: catalog.dirs(),
        ambiguous: catalog.ties().iter().map(ToString::to_string).collect(),
        totals: Totals::of(catalog, filter),
    }
}

/// The listing for people, in lines of at most `width` characters where possible.
fn text(catalog: &Catalog, filter: &Filter, width: usize) -> String {
    let mut out = String::new();
    for kind in Kind::ALL {
        let of_kind =
            catalog.all_components().filter(|one| one.manifest.kind == kind && filter.admits(one));
        let rows: Vec<_> = of_kind.map(|one| component_row(&one)).collect();
        match rows.first().map(|row| row[1].clone()) {
            // On a terminal, a plugin that offers all components of a kind is named in the heading,
            // so that there is space for the summaries.
            Some(plugin) if width < usize::MAX && rows.iter().all(|row| row[1] == plugin) => {
                let rows: Vec<_> = rows
                    .into_iter()
                    .map(|[name, _, summary]| [name, String::new(), summary])
                    .collect();
                section(&mut out, &format!("{} of {plugin}", kind.plural()), &rows, width);
            }
            _ => section(&mut out, kind.plural(), &rows, width),
        }
    }
    let plugins: Vec<_> = catalog
        .reports()
        .iter()
        .filter(|file| offers(catalog, file, filter))
        .map(plugin_row)
        .collect();
    // Paths are never cut.
    section(&mut out, "plugins", &plugins, usize::MAX);
    if filter.is_open() {
        refused(&mut out, catalog);
        ties(&mut out, catalog);
    }
    let totals = Totals::of(catalog, filter);
    if !filter.is_open() {
        let count =
            |n: usize, one: &str, many: &str| format!("{n} {}", if n == 1 { one } else { many });
        let (components, plugins) = (
            count(totals.components, "component", "components"),
            count(totals.plugins, "plugin", "plugins"),
        );
        let _ = writeln!(out, "{components} of {plugins}");
        return out;
    }
    if totals.plugins == 0 {
        out.push_str(&nothing(catalog));
    }
    out.push_str(&totals_line(&totals));
    out
}

fn component_row(component: &ComponentRef<'_>) -> [String; 3] {
    let note = match component.standing {
        Standing::Active => String::new(),
        _ => format!("({}) ", standing(component)),
    };
    let plugin = format!("{} {}", component.plugin.name(), component.plugin.version());
    let summary = escape::text(&component.manifest.summary);
    [component.manifest.name.clone(), plugin, note + &cut(&summary, MAX_SUMMARY)]
}

fn plugin_row(file: &FileReport) -> [String; 3] {
    let name = format!(
        "{} {}",
        file.plugin.as_deref().unwrap_or_default(),
        file.version.as_deref().unwrap_or_default()
    );
    let mut place = escape::path(&file.path);
    if let Some(resolved) = &file.resolved {
        let _ = write!(place, " -> {}", escape::path(resolved));
    }
    let _ = write!(place, "  [{}]", file.origin.label());
    if !file.also_at.is_empty() {
        let _ =
            write!(place, ", the same file as {}", paths(file.also_at.iter().map(|p| p.as_path())));
    }
    if !file.shadowed_by.is_empty() {
        let how_much =
            if file.state == FileState::Shadowed { "shadowed" } else { "partly shadowed" };
        let _ = write!(
            place,
            ", {how_much} by {}",
            paths(file.shadowed_by.iter().map(|p| p.as_path()))
        );
    }
    [name, file.state.name().to_owned(), place]
}

fn paths<'a>(paths: impl Iterator<Item = &'a Path>) -> String {
    paths.map(escape::path).collect::<Vec<_>>().join(", ")
}

/// A heading and rows of three columns. The first two are padded; lines are cut to `most` characters.
fn section(out: &mut String, heading: &str, rows: &[[String; 3]], most: usize) {
    if rows.is_empty() {
        return;
    }
    let width =
        |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let (first, second) = (width(0), width(1));
    let _ = writeln!(out, "{heading}");
    for [a, b, c] in rows {
        let line = if second == 0 {
            format!("  {a:first$}  {c}")
        } else {
            format!("  {a:first$}  {b:second$}  {c}")
        };
        let _ = writeln!(out, "{}", cut(line.trim_end(), most));
    }
    out.push('\n');
}

/// A line of at most `most` characters.
fn cut(line: &str, most: usize) -> std::borrow::Cow<'_, str> {
    if line.chars().count() <= most {
        return line.into();
    }
    let mut short: String = line.chars().take(most.saturating_sub(3)).collect();
    short.truncate(short.trim_end().len());
    (short + "...").into()
}

/// The state of a refused file in one word.
fn fate(reason: RefusalReason) -> &'static str {
    match reason {
        RefusalReason::Quarantined => "quarantined",
        RefusalReason::Untrusted => "untrusted",
        RefusalReason::NotLocked => "not locked",
        RefusalReason::Disabled => "disabled",
        _ => "refused",
    }
}

fn refused(out: &mut String, catalog: &Catalog) {
    let dirs = catalog.dirs().iter().filter_map(|dir| Some((&dir.path, dir.refusal.as_ref()?)));
    let files =
        catalog.reports().iter().filter_map(|file| Some((&file.path, file.refusal.as_ref()?)));
    let all: Vec<_> = dirs.chain(files).collect();
    if all.is_empty() {
        return;
    }
    out.push_str("refused\n");
    for (path, refusal) in all {
        let _ = writeln!(out, "  {}: {}", fate(refusal.reason), escape::path(path));
        let _ = writeln!(
            out,
            "      {} ({}): {}",
            refusal.reason,
            refusal.stage.name(),
            refusal.message
        );
        let _ = writeln!(out, "      help: {}", refusal.help);
    }
    out.push('\n');
}

fn ties(out: &mut String, catalog: &Catalog) {
    let ties = catalog.ties();
    if ties.is_empty() {
        return;
    }
    out.push_str("ambiguous\n");
    for tie in ties {
        let _ = writeln!(out, "  {tie}");
    }
    out.push('\n');
}

fn nothing(catalog: &Catalog) -> String {
    let mut out = String::from("No plugins were found. Looked in:\n");
    for dir in catalog.dirs() {
        let missing = if dir.exists { "" } else { ", does not exist" };
        let _ = writeln!(out, "  {} ({}{missing})", escape::path(&dir.path), dir.origin.label());
    }
    out.push_str("Name the directory that holds them with --plugin-dir DIR.\n\n");
    out
}

fn totals_line(totals: &Totals) -> String {
    let count =
        |n: usize, one: &str, many: &str| format!("{n} {}", if n == 1 { one } else { many });
    let mut parts = vec![
        count(totals.plugins, "plugin", "plugins"),
        count(totals.components, "component", "components"),
    ];
    for (n, what) in [(totals.shadowed, "shadowed"), (totals.refused, "refused")] {
        if n > 0 {
            parts.push(format!("{n} {what}"));
        }
    }
    if totals.ignored > 0 {
        parts
            .push(format!("{} ignored", count(totals.ignored, "other library", "other libraries")));
    }
    format!(
        "{}; {} searched\n",
        parts.join(", "),
        count(totals.directories, "directory", "directories")
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::library::Manifest;

    fn catalog() -> Catalog {
        let manifest = |text: &str| Manifest::parse(text).expect("good");
        Catalog::described([
            manifest(
                r#"{"schema":1,"contract":"1.0","plugin":{"name":"standard","version":"0.1.0"},"components":[
                {"kind":"phase","name":"training","summary":"forward, backward, update"},
                {"kind":"callback","name":"recorder","summary":"keeps what \u001b[31m was logged"}]}"#,
            ),
            manifest(
                r#"{"schema":1,"contract":"1.0","plugin":{"name":"other","version":"2.0.0-beta.1"},"components":[
                {"kind":"callback","name":"recorder"}]}"#,
            ),
        ])
    }

    #[test]
    fn components_come_by_kind_and_nothing_is_printed_raw() {
        insta::assert_snapshot!(text(&catalog(), &Filter::default(), usize::MAX), @r"
        phases
          training  standard 0.1.0  forward, backward, update

        callbacks
          recorder  standard 0.1.0      (ambiguous) keeps what \x1b[31m was logged
          recorder  other 2.0.0-beta.1  (ambiguous)

        plugins
          standard 0.1.0      ok  described/standard.so  [--plugin-dir]
          other 2.0.0-beta.1  ok  described/other.so  [--plugin-dir]

        ambiguous
          callback `recorder` is offered by several plugins in the same directory (described/standard.so, described/other.so); write one of other:callback/recorder, standard:callback/recorder

        2 plugins, 1 component; 0 directories searched
        ");
    }

    #[test]
    fn on_a_terminal_lines_fit_and_what_is_common_stands_once() {
        let text = text(&catalog(), &Filter::default(), 50);
        assert!(
            text.contains("phases of standard 0.1.0\n  training  forward, backward, update\n"),
            "{text}"
        );
        assert!(text.contains("\n  recorder  standard 0.1.0      (ambiguous) kee...\n"), "{text}");
    }

    #[test]
    fn a_huge_summary_is_cut() {
        let summary = "long ".repeat(100_000);
        let manifest = serde_json::json!({ "schema": 1, "contract": "1.0", "plugin": { "name": "a", "version": "1.0.0" },
            "components": [{ "kind": "loss", "name": "l", "summary": summary }] });
        let catalog = Catalog::described([Manifest::parse(&manifest.to_string()).expect("good")]);
        let text = text(&catalog, &Filter::default(), usize::MAX);
        assert!(text.len() < 1000 && text.contains("..."), "{}", text.len());
    }

    #[test]
    fn json_says_the_same() {
        let value =
            serde_json::to_value(listing(&catalog(), &Filter::default())).expect("plain data");
        assert_eq!(value["totals"]["plugins"], 2);
        assert_eq!(value["totals"]["components"], 1, "the tied ones have no bare name");
        assert_eq!(value["components"][1]["state"], "ambiguous");
        assert_eq!(value["components"][1]["qualified-id"], "standard:callback/recorder");
    }
}
