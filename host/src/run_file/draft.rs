//! Reads sections and instances from the merged tree: all that can be checked without the catalog.
//!
//! A [`Draft`] has the plugin directories; [`super::resolve()`] then checks it against the catalog.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde_json::{Value as Json, json};

use super::diagnostic::{Diagnostic, Diagnostics};
use super::inputs::Inputs;
use super::instance::RawInstance;
use super::instance_reader::{InstanceReader, not_a_table};
use super::layers;
use super::layout::{self, SECTIONS, Section, SectionForm};
use super::merge::{self, Layered};
use super::nearest;
use super::schema::{Checked, Checker, Origin};
use super::settings::{
    self, CheckpointSettings, Device, FineTuningSettings, LoaderSettings, MemoryLimit,
    PluginSettings, Precision, RunSettings,
};
use super::source::{Place, SourceKind, Sources};
use super::tree::{Node, Table, Value};
use crate::library::{Catalog, FindError, Kind};

/// A run whose components have not been looked up yet.
#[derive(Clone, Debug)]
pub struct Draft {
    /// The texts that places refer to.
    pub sources: Sources,
    /// `[run]`.
    pub run: RunSettings,
    /// `[plugins]`, directories already absolute.
    pub plugins: PluginSettings,
    /// `[loader]`.
    pub loader: LoaderSettings,
    /// `[checkpoints]`.
    pub checkpoints: CheckpointSettings,
    /// `[fine-tuning]`.
    pub fine_tuning: FineTuningSettings,
    /// Origin of each value of these sections, by `section.key`.
    pub origins: BTreeMap<String, Origin>,
    /// All instances in the order of the sections.
    pub(super) instances: Vec<RawInstance>,
    /// Ids of default callbacks to leave out.
    pub(super) removed: Vec<(String, Place)>,
    /// Sections that misspelt ones probably mean; they are not reported as missing.
    pub(super) misspelt: Vec<&'static str>,
}

impl Draft {
    /// Removes callbacks and loggers that no usable plugin offers, and returns their ids with the
    /// reasons. For commands that only measure a model.
    pub fn remove_unavailable(&mut self, catalog: &Catalog) -> Vec<(String, FindError)> {
        let mut removed = Vec::new();
        self.instances.retain(|instance| {
            let lookup = match &instance.plugin {
                Some(plugin) => format!("{plugin}:{}/{}", instance.kind, instance.component),
                None => instance.component.clone(),
            };
            match catalog.find(instance.kind, &lookup) {
                Err(error) if matches!(instance.kind, Kind::Callback | Kind::Logger) => {
                    removed.push((instance.id.clone(), error));
                    false
                }
                _ => true,
            }
        });
        removed
    }

    /// Keeps only the models, and the data set with its transforms if `data` is set: what a trained
    /// model is applied with.
    pub fn keep_models(&mut self, data: bool) {
        self.instances.retain(|instance| {
            let is_data = matches!(instance.kind, Kind::Dataset | Kind::Transform);
            instance.kind == Kind::Model || data && is_data
        });
        self.run.default_callbacks = false;
        self.removed.clear();
        self.fine_tuning.from.clear();
        self.fine_tuning.freeze.clear();
    }

    /// Reads run files and overrides. Errors are added to `diagnostics`; the readable rest is
    /// returned nevertheless, so that `resolve` can report its errors too.
    pub fn read(inputs: &Inputs, diagnostics: &mut Diagnostics) -> Draft {
        let layered = layers::read(inputs, diagnostics);
        let mut misspelt = unknown_sections(&layered, diagnostics);
        if diagnostics.iter().any(|one| one.code == "missing-file") {
            // The content of the missing file is unknown, so no section is reported as missing.
            misspelt.extend(SECTIONS.iter().map(|section| section.name));
        }
        let mut origins = BTreeMap::new();
        let run = run_settings(&layered, inputs, &mut origins, diagnostics);
        let plugins = plugin_settings(&layered, &mut origins, diagnostics);
        let loader = typed(&layered, "loader", json!({}), &mut origins, diagnostics);
        let checkpoints = typed(&layered, "checkpoints", json!({}), &mut origins, diagnostics);
        let fine_tuning = typed(&layered, "fine-tuning", json!({}), &mut origins, diagnostics);
        let instances = instances(&layered, &misspelt, diagnostics);
        unique_ids(&layered.sources, &instances, diagnostics);
        let Layered { sources, removed, .. } = layered;
        Draft {
            sources,
            run,
            plugins,
            loader,
            checkpoints,
            fine_tuning,
            origins,
            instances,
            removed,
            misspelt,
        }
    }

    /// The plugin directories of the project, absolute; the first one wins.
    pub fn plugin_dirs(&self) -> Vec<PathBuf> {
        self.plugins.dirs.iter().map(PathBuf::from).collect()
    }
}

/// Reports unknown sections; returns the known ones that they probably mean.
fn unknown_sections(layered: &Layered, diagnostics: &mut Diagnostics) -> Vec<&'static str> {
    let mut meant = Vec::new();
    for entry in &layered.root.entries {
        if layout::section(&entry.key).is_some() {
            continue;
        }
        meant.extend(nearest::nearest(&entry.key, layout::section_names()));
        let is_section = matches!(entry.node.value, Value::Table(_) | Value::List(_));
        let text = if is_section {
            format!("a run file has no section `{}`", entry.key)
        } else {
            format!("`{}` is outside of any section", entry.key)
        };
        let owner = ["run", "loader", "plugins", "checkpoints", "fine-tuning"].into_iter().find(
            |section| {
                let schema = settings::schema(section).unwrap_or_default();
                schema["properties"].get(&entry.key).is_some()
            },
        );
        let help = match owner {
            Some(section) => Some(format!("`{}` belongs to `[{section}]`", entry.key)),
            None => nearest::suggestion(&entry.key, layout::section_names()),
        };
        let mut found = Diagnostic::error("unknown-section", text);
        found.help = help;
        if let Some(place) = entry.key_place {
            found = found.at(&layered.sources, place, "unknown");
        }
        diagnostics.push(found);
    }
    meant
}

fn run_settings(
    layered: &Layered,
    inputs: &Inputs,
    origins: &mut BTreeMap<String, Origin>,
    diagnostics: &mut Diagnostics,
) -> RunSettings {
    let stem =
        inputs.files.first().and_then(|file| file.file_stem()).and_then(|stem| stem.to_str());
    let fallback =
        json!({ "name": stem.unwrap_or("run"), "base-dir": layered.base_dir.to_string_lossy() });
    let mut run: RunSettings = typed(layered, "run", fallback, origins, diagnostics);
    run.base_dir = layered.base_dir.join(&run.base_dir).to_string_lossy().into_owned();
    run
}

/// Relative directories start at the folder of the file that names them, or at the current folder
/// for overrides.
fn plugin_settings(
    layered: &Layered,
    origins: &mut BTreeMap<String, Origin>,
    diagnostics: &mut Diagnostics,
) -> PluginSettings {
    let mut plugins: PluginSettings = typed(layered, "plugins", json!({}), origins, diagnostics);
    for (at, dir) in plugins.dirs.iter_mut().enumerate() {
        let source = match origins.get(&format!("plugins.dirs.{at}")) {
            Some(Origin::Given(place)) => Some(layered.sources.get(place.source)),
            _ => None,
        };
        let file = source
            .filter(|source| source.kind == SourceKind::File)
            .map(|source| Path::new(&source.name));
        let folder = file.and_then(Path::parent).unwrap_or(Path::new(""));
        let full = folder.join(&*dir);
        *dir = std::path::absolute(&full).unwrap_or(full).to_string_lossy().into_owned();
    }
    plugins
}

/// A section of settings in its typed form. Wrong values are reported and replaced by defaults.
fn typed<T: DeserializeOwned>(
    layered: &Layered,
    section: &str,
    fallback: Json,
    origins: &mut BTreeMap<String, Origin>,
    diagnostics: &mut Diagnostics,
) -> T {
    let schema = settings::schema(section).unwrap_or_default();
    let empty = Table::default();
    let node = layered.root.get(section);
    let table = match node {
        None => &empty,
        Some(Node { value: Value::Table(table), .. }) => table,
        Some(other) => {
            diagnostics.push(not_a_table(&layered.sources, section, other));
            &empty
        }
    };
    let owner = format!("[{section}]");
    let place = node.and_then(|node| node.place);
    let mut checked =
        Checker { sources: &layered.sources, owner: &owner, place, also: &[], diagnostics }
            .check(&schema, table);
    device(layered, &mut checked, diagnostics);
    precision(layered, &mut checked, diagnostics);
    validate_every(layered, &mut checked, diagnostics);
    memory(layered, &mut checked, diagnostics);
    for (path, origin) in checked.origins {
        origins.insert(format!("{section}.{path}"), origin);
    }
    let mut value = defaults(&schema, fallback);
    if let Json::Object(all) = &mut value {
        all.extend(checked.config);
    }
    serde_json::from_value(value).expect("a checked section fits its schema")
}

fn defaults(schema: &Json, fallback: Json) -> Json {
    let mut value = fallback;
    let properties = schema["properties"].as_object();
    for (key, property) in properties.into_iter().flatten() {
        if let Some(default) = property.get("default") {
            value[key] = default.clone();
        }
    }
    value
}

/// Checks `device`, whose form the schema subset cannot express.
fn device(layered: &Layered, checked: &mut Checked, diagnostics: &mut Diagnostics) {
    let Some(Json::String(text)) = checked.config.get("device") else { return };
    if let Err(problem) = Device::try_from(text.clone()) {
        let mut found =
            Diagnostic::error("unknown-choice", problem).help("write `device = \"cpu\"`");
        if let Some(Origin::Given(place)) = checked.origins.get("device") {
            found = found.at(&layered.sources, *place, "");
        }
        diagnostics.push(found);
        checked.config.remove("device");
    }
}

/// Checks `precision`, for which the schema has no reason why a name is refused.
fn precision(layered: &Layered, checked: &mut Checked, diagnostics: &mut Diagnostics) {
    let Some(Json::String(text)) = checked.config.get("precision") else { return };
    if let Err(problem) = Precision::try_from(text.clone()) {
        let mut found = Diagnostic::error("unknown-choice", problem)
            .help("write `precision = \"bf16\"` or `\"f32\"`");
        if let Some(Origin::Given(place)) = checked.origins.get("precision") {
            found = found.at(&layered.sources, *place, "");
        }
        diagnostics.push(found);
        checked.config.remove("precision");
    }
}

/// Checks `memory`, whose form the schema subset cannot express.
fn memory(layered: &Layered, checked: &mut Checked, diagnostics: &mut Diagnostics) {
    let Some(Json::String(text)) = checked.config.get("memory") else { return };
    if let Err(problem) = MemoryLimit::try_from(text.clone()) {
        let mut found = Diagnostic::error("wrong-value", problem)
            .help("write a number and a unit, such as `memory = \"2GiB\"` or `\"500MB\"`");
        if let Some(Origin::Given(place)) = checked.origins.get("memory") {
            found = found.at(&layered.sources, *place, "");
        }
        diagnostics.push(found);
        checked.config.remove("memory");
    }
}

/// Checks that `validate-every` is a whole number of steps or a share of an epoch.
fn validate_every(layered: &Layered, checked: &mut Checked, diagnostics: &mut Diagnostics) {
    let Some(every) = checked.config.get("validate-every").and_then(Json::as_f64) else { return };
    if every < 1.0 || every.fract() == 0.0 {
        return;
    }
    let text = format!("`validate-every` of [run] must be a whole number of steps, but is {every}");
    let help = "write a whole number of steps, or a share of an epoch below 1, such as `0.25`";
    let mut found = Diagnostic::error("out-of-range", text).help(help);
    if let Some(Origin::Given(place)) = checked.origins.get("validate-every") {
        found = found.at(&layered.sources, *place, "");
    }
    diagnostics.push(found);
    checked.config.remove("validate-every");
}

fn instances(
    layered: &Layered,
    misspelt: &[&str],
    diagnostics: &mut Diagnostics,
) -> Vec<RawInstance> {
    let mut all = Vec::new();
    for section in SECTIONS.iter() {
        let Some(kind) = section.kind else { continue };
        let before = all.len();
        if let Some(node) = layered.root.get(section.name) {
            let mut reader =
                InstanceReader { sources: &layered.sources, section, kind, diagnostics };
            match section.form {
                SectionForm::List => reader.listed(node, &mut all),
                SectionForm::OneOrNamed if merge::is_named(node) => reader.named(node, &mut all),
                _ => all.extend(reader.single(section.name, section.name, node)),
            }
        } else if kind == Kind::Phase {
            all.extend(["training", "validation"].map(|name| RawInstance::default_of(kind, name)));
        } else if kind == Kind::Model && !misspelt.contains(&section.name) {
            diagnostics.push(missing_model(&layered.sources));
        }
        debug_assert!(all[before..].iter().all(|raw: &RawInstance| raw.kind == kind));
    }
    all
}

fn missing_model(sources: &Sources) -> Diagnostic {
    let found = Diagnostic::error("missing-section", "this run has no `[model]`")
        .help("add a section `[model]` with `component = \"mlp\"` or another of `fluxbay list --kind model`");
    match sources.end_of_files() {
        Some(place) => found.at(sources, place, "it could be added below"),
        None => found,
    }
}

fn unique_ids(sources: &Sources, instances: &[RawInstance], diagnostics: &mut Diagnostics) {
    for (at, later) in instances.iter().enumerate() {
        let Some(first) = instances[..at].iter().find(|first| first.id == later.id) else {
            continue;
        };
        let text = format!("two instances of this run have the id `{}`", later.id);
        let help = format!("give one of them another name: `id = \"{}-2\"`", later.id);
        let mut found = Diagnostic::error("duplicate-id", text).help(help);
        if let Some(place) = later.place {
            found = found.at(sources, place, "the second");
        }
        if let Some(place) = first.place {
            found = found.related(sources, place, "the first");
        }
        diagnostics.push(found);
    }
}

/// The header of the section for a kind, for messages.
pub(super) fn header_of(kind: Kind) -> String {
    layout::section_of(kind).map(|section: &Section| layout::header(section)).unwrap_or_default()
}
