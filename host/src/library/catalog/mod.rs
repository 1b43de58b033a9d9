//! All components that the search path offers, and which of them a name means.
//!
//! Scanning discovers, inspects and judges every file; no code of a plugin runs. Where several
//! files offer the same component, the first directory on the path wins and the others are
//! shadowed; two in the same directory are a tie, which no rule can settle, so asking for that
//! component by its bare name is an error. The same bytes under several names are one plugin.

mod find;
mod scan;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

pub use find::FindError;
pub use scan::ScanOptions;

use super::discover::{DirReport, Origin};
use super::inspect::Sha256;
use super::manifest::{ComponentManifest, Kind, Manifest};
use super::report::{FileReport, Refusal, State};
use super::trust::Trusted;

/// Whether a component is reached by its bare name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It is what the bare name means.
    Active,
    /// Another plugin, earlier on the search path, offers the same.
    Shadowed {
        /// Index of that plugin in [`Catalog::plugins`].
        by: usize,
    },
    /// Another plugin in the same directory offers the same.
    Tied {
        /// Index of that plugin in [`Catalog::plugins`].
        with: usize,
    },
}

/// A plugin of the catalog.
#[derive(Clone, Debug)]
pub struct PluginEntry {
    trusted: Trusted,
    also_at: Vec<PathBuf>,
    standings: Vec<Standing>,
}

impl PluginEntry {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.manifest().plugin.name
    }

    /// Its version.
    pub fn version(&self) -> &str {
        &self.manifest().plugin.version
    }

    /// Hash of the file.
    pub fn sha256(&self) -> Sha256 {
        self.trusted.0.sha256()
    }

    /// Where it was found.
    pub fn path(&self) -> &Path {
        self.trusted.0.path()
    }

    /// Other files with the same bytes.
    pub fn also_at(&self) -> &[PathBuf] {
        &self.also_at
    }

    /// Which part of the search path led to it.
    pub fn origin(&self) -> Origin {
        self.trusted.0.origin()
    }

    /// Its description.
    pub fn manifest(&self) -> &Manifest {
        self.trusted.0.manifest()
    }

    /// What the stages so far have established; the way to loading it.
    pub fn trusted(&self) -> &Trusted {
        &self.trusted
    }

    /// `ok`, or `shadowed` when none of its components is reached by a bare name.
    pub fn state(&self) -> State {
        let all_shadowed = !self.standings.is_empty()
            && self.standings.iter().all(|s| matches!(s, Standing::Shadowed { .. }));
        if all_shadowed { State::Shadowed } else { State::Ok }
    }
}

/// One component together with its plugin.
#[derive(Clone, Copy, Debug)]
pub struct ComponentRef<'a> {
    /// The plugin that offers it.
    pub plugin: &'a PluginEntry,
    /// Its description.
    pub manifest: &'a ComponentManifest,
    /// Whether its bare name means it.
    pub standing: Standing,
}

impl ComponentRef<'_> {
    /// `kind/name`.
    pub fn id(&self) -> String {
        self.manifest.id()
    }

    /// `plugin:kind/name`.
    pub fn qualified_id(&self) -> String {
        format!("{}:{}", self.plugin.name(), self.manifest.id())
    }
}

/// A plugin that is described but may not be used.
#[derive(Clone, Debug)]
struct Barred {
    path: PathBuf,
    manifest: Manifest,
    refusal: Refusal,
}

/// All that a search path offers.
#[derive(Clone, Debug, Default)]
pub struct Catalog {
    plugins: Vec<PluginEntry>,
    barred: Vec<Barred>,
    files: Vec<FileReport>,
    dirs: Vec<DirReport>,
}

impl Catalog {
    /// A report for every file whose name ends in `.so`, in the order of the search path, then by
    /// name. Other names of the same bytes are listed with the first.
    pub fn reports(&self) -> &[FileReport] {
        &self.files
    }

    /// A report for every directory of the search path.
    pub fn dirs(&self) -> &[DirReport] {
        &self.dirs
    }

    /// The plugins that may be used, in the order of the search path.
    pub fn plugins(&self) -> &[PluginEntry] {
        &self.plugins
    }

    /// Every component, also shadowed and tied ones, by kind, then name, then search path.
    pub fn all_components(&self) -> impl Iterator<Item = ComponentRef<'_>> {
        let mut all: Vec<ComponentRef<'_>> =
            self.plugins.iter().flat_map(plugin_components).collect();
        all.sort_by(|a, b| {
            (a.manifest.kind, &a.manifest.name).cmp(&(b.manifest.kind, &b.manifest.name))
        });
        all.into_iter()
    }

    /// The components that their bare names mean, by kind, then name.
    pub fn components(&self) -> impl Iterator<Item = ComponentRef<'_>> {
        self.all_components().filter(|component| component.standing == Standing::Active)
    }

    /// The components of one kind that their bare names mean, by name.
    pub fn of_kind(&self, kind: Kind) -> impl Iterator<Item = ComponentRef<'_>> {
        self.components().filter(move |component| component.manifest.kind == kind)
    }
}

fn plugin_components(plugin: &PluginEntry) -> impl Iterator<Item = ComponentRef<'_>> {
    plugin
        .manifest()
        .components
        .iter()
        .zip(&plugin.standings)
        .map(move |(manifest, &standing)| ComponentRef { plugin, manifest, standing })
}
