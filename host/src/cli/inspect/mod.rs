//! `fluxbay inspect`: shows the description of a plugin, file or component. Runs no code of a plugin.

pub(in crate::cli) mod sheet;
pub(in crate::cli) mod snippet;

use std::path::Path;

use clap_complete::engine::ArgValueCompleter;
use serde::Serialize;
use serde_json::{Value as Json, json};

use super::candidates;
use super::outcome::{Exit, Failure, Outcome};
use super::output::{print, print_json};
use super::plugin_path::PluginPath;
use crate::bundle::{self, BundleInfo};
use crate::library::{
    Built, Candidate, Catalog, ComponentManifest, FileReport, Inspection, Kind, Limits, Manifest,
    Quarantine, ScanOptions, escape,
};
use crate::run_file::nearest;

/// Arguments of `fluxbay inspect`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// A component (recorder, callback/recorder, PLUGIN:callback/recorder), a plugin's name, a
    /// file, or the folder of a bundle, whose files are verified.
    #[arg(value_name = "NAME|FILE", add = ArgValueCompleter::new(candidates::inspectable))]
    name: String,
    #[command(flatten)]
    path: PluginPath,
    /// Write JSON, as `fluxbay schema inspect` describes.
    #[arg(long)]
    json: bool,
}

/// A plugin and its file.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
struct PluginSheet {
    file: String,
    sha256: String,
    /// `ok`, `shadowed`, or why it is not used.
    state: String,
    /// How it was built, if the file says so.
    built: Option<Built>,
    #[serde(flatten)]
    manifest: Manifest,
}

/// A component with its plugin, and other components with the same writes.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
struct ComponentSheet {
    plugin: String,
    version: String,
    file: String,
    state: &'static str,
    #[serde(flatten)]
    manifest: ComponentManifest,
    /// Other components that write the same paths.
    writes_too: Vec<Neighbour>,
    snippet: String,
}

/// Another component and the paths that both write.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Neighbour {
    component: String,
    paths: Vec<String>,
}

pub(super) fn run(arguments: &Arguments) -> Outcome {
    let name = arguments.name.as_str();
    if bundle::is_bundle(Path::new(name)) {
        let (folder, failed) =
            (Path::new(name), |text: String| Failure::new(Exit::Configuration, text));
        bundle::verify(folder).map_err(failed)?;
        let info = BundleInfo::read(folder).map_err(failed)?;
        return if arguments.json { print_json(&info) } else { print(&sheet::bundle(&info)) };
    }
    if name.ends_with(".so") || Path::new(name).is_file() {
        let sheet = of_file(Path::new(name))?;
        return if arguments.json { print_json(&sheet) } else { print(&sheet::plugin(&sheet)) };
    }
    let catalog = arguments.path.scan(&[]);
    let (plugins, components) = of_name(&catalog, name)?;
    if arguments.json {
        let all: Vec<Json> = plugins
            .iter()
            .map(|sheet| json!(sheet))
            .chain(components.iter().map(|sheet| json!(sheet)))
            .collect();
        return match all.as_slice() {
            [only] => print_json(only),
            several => print_json(&several),
        };
    }
    let texts = plugins.iter().map(sheet::plugin).chain(components.iter().map(sheet::component));
    print(&texts.collect::<Vec<_>>().join("\n"))
}

/// Describes a file by its bytes alone: it need not be on the search path or trusted.
fn of_file(path: &Path) -> Result<PluginSheet, Failure> {
    let options = ScanOptions::default();
    let limits = Limits { file_size: options.max_file_size, host: options.host };
    let refused = |text: String| Failure::new(Exit::PluginRefused, text);
    match Candidate::named(path).inspect(&limits) {
        Ok(Inspection::Plugin(plugin)) => Ok(PluginSheet {
            file: escape::path(plugin.path()),
            sha256: plugin.sha256().hex(),
            state: match Quarantine::open().and_then(|quarantine| quarantine.get(plugin.sha256())) {
                Some(record) => {
                    format!("quarantined, described by its bytes alone: {}", record.refusal())
                }
                None => "not looked for, described by its bytes alone".to_owned(),
            },
            built: Built::read(plugin.resolved()),
            manifest: plugin.manifest().clone(),
        }),
        Ok(Inspection::OrdinaryLibrary) => {
            let text = format!(
                "{} is a shared library, but no plugin: it has no manifest; build it with the export macro",
                escape::path(path)
            );
            Err(refused(text))
        }
        Err(refusal) => Err(refused(format!("{} is refused: {refusal}", escape::path(path)))),
    }
}

/// All plugins and components that a name can refer to.
fn of_name(
    catalog: &Catalog,
    name: &str,
) -> Result<(Vec<PluginSheet>, Vec<ComponentSheet>), Failure> {
    let (plugin, rest) =
        name.split_once(':').map_or((None, name), |(plugin, rest)| (Some(plugin), rest));
    let (kind, bare) = match rest.split_once('/') {
        Some((kind, bare)) => (
            Some(kind.parse::<Kind>().map_err(|error| Failure::new(Exit::Configuration, error))?),
            bare,
        ),
        None => (None, rest),
    };
    let components: Vec<ComponentSheet> = catalog
        .all_components()
        .filter(|one| {
            one.manifest.name == bare && kind.is_none_or(|kind| kind == one.manifest.kind)
        })
        .filter(|one| plugin.is_none_or(|plugin| plugin == one.plugin.name()))
        .map(|one| ComponentSheet {
            plugin: one.plugin.name().to_owned(),
            version: one.plugin.version().to_owned(),
            file: escape::path(one.plugin.path()),
            state: match one.standing {
                crate::library::Standing::Active => "ok",
                crate::library::Standing::Shadowed { .. } => "shadowed",
                crate::library::Standing::Tied { .. } => "ambiguous",
            },
            writes_too: writers_of_the_same(catalog, one.manifest),
            snippet: snippet::of(one.manifest),
            manifest: one.manifest.clone(),
        })
        .collect();
    let is_asked = |entry: &&crate::library::PluginEntry| {
        plugin.is_none() && kind.is_none() && entry.name() == name
    };
    let plugins: Vec<PluginSheet> = catalog
        .plugins()
        .iter()
        .filter(is_asked)
        .map(|entry| PluginSheet {
            file: escape::path(entry.path()),
            sha256: entry.sha256().hex(),
            state: entry.state().name().to_owned(),
            built: Built::read(entry.path()),
            manifest: entry.manifest().clone(),
        })
        .collect();
    let of_plugin = |file: &&FileReport| file.plugin.as_deref() == Some(plugin.unwrap_or(name));
    let offers_it = catalog.refused_with(kind, bare);
    let barred = || {
        let mut refused = catalog.reports().iter().filter(|file| file.refusal.is_some());
        refused
            .clone()
            .find(of_plugin)
            .or_else(|| refused.find(|file| Some(file.path.as_path()) == offers_it))
    };
    if plugins.is_empty()
        && components.is_empty()
        && let Some(file) = barred()
    {
        // A refused plugin is described by its bytes alone, with the reason.
        let mut sheet = of_file(&file.path)?;
        if let Some(refusal) = &file.refusal {
            sheet.state = format!("not used: {refusal}");
        }
        let asked = sheet
            .manifest
            .components
            .iter()
            .filter(|one| one.name == bare && kind.is_none_or(|kind| kind == one.kind));
        let components = asked.map(|one| ComponentSheet {
            plugin: sheet.manifest.plugin.name.clone(),
            version: sheet.manifest.plugin.version.to_string(),
            file: sheet.file.clone(),
            state: "refused",
            writes_too: writers_of_the_same(catalog, one),
            snippet: snippet::of(one),
            manifest: one.clone(),
        });
        let components = components.collect();
        return Ok((vec![sheet], components));
    }
    if plugins.is_empty() && components.is_empty() {
        return Err(unknown(catalog, name, kind, bare));
    }
    Ok((plugins, components))
}

fn unknown(catalog: &Catalog, name: &str, kind: Option<Kind>, bare: &str) -> Failure {
    let of_kind =
        catalog.components().filter(|one| kind.is_none_or(|kind| kind == one.manifest.kind));
    let mut names: Vec<&str> = of_kind.map(|one| one.manifest.name.as_str()).collect();
    names.extend(catalog.plugins().iter().map(|plugin| plugin.name()));
    let mut help = match (nearest::nearest(bare, names.iter().copied()), names.is_empty()) {
        (Some(near), _) => format!("did you mean `{near}`?"),
        (None, true) => {
            "no plugin was found; name their directory with --plugin-dir DIR".to_owned()
        }
        (None, false) => "`fluxbay list` shows what there is".to_owned(),
    };
    // `fluxbay dev` installs to this folder. Run files name it, but this command has no run file.
    let own = Path::new("plugins");
    if own.is_dir() && catalog.dirs().iter().all(|dir| dir.path != own) {
        help.push_str("; the folder `plugins` was not searched: add `--plugin-dir plugins`");
    }
    Failure::new(
        Exit::Configuration,
        format!("no plugin, component or file is called `{}`; {help}", escape::text(name)),
    )
}

/// Callbacks whose writes overlap; in one run they need an order.
fn writers_of_the_same(catalog: &Catalog, manifest: &ComponentManifest) -> Vec<Neighbour> {
    if manifest.kind != Kind::Callback {
        return Vec::new();
    }
    let others = catalog
        .of_kind(Kind::Callback)
        .map(|one| one.manifest)
        .filter(|other| other.name != manifest.name);
    others
        .filter_map(|other| {
            let shared = |path: &String| {
                let mut all = other
                    .writes
                    .iter()
                    .filter_map(|theirs| crate::compose::paths::overlap(path, theirs));
                all.next().map(str::to_owned)
            };
            let mut paths: Vec<String> = manifest.writes.iter().filter_map(shared).collect();
            paths.dedup();
            (!paths.is_empty()).then(|| Neighbour { component: other.id(), paths })
        })
        .collect()
}
