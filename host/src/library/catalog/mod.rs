//! All components of the search path, and which of them a name refers to.
//!
//! Scanning finds, inspects and checks every file; no code of a plugin runs. If several files offer
//! the same component, the first directory on the path wins and the others are shadowed. Two in the
//! same directory are tied: using the component by its bare name is an error. Files with the same
//! bytes are one plugin.

mod find;
mod scan;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

pub use find::FindError;
pub use scan::ScanOptions;

use super::discover::DirReport;
use super::file::Sha256;
use super::manifest::{ComponentManifest, Kind, Manifest};
use super::report::{FileReport, FileState, Refusal, SearchOrigin};
use super::trusted::Trusted;

/// Whether the bare name of a component refers to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Its bare name refers to it.
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

    /// Hash of its bytes.
    pub fn sha256(&self) -> Sha256 {
        self.trusted.0.sha256()
    }

    /// Path where it was found.
    pub fn path(&self) -> &Path {
        self.trusted.0.path()
    }

    /// Other files with the same bytes.
    pub fn also_at(&self) -> &[PathBuf] {
        &self.also_at
    }

    /// Which part of the search path led to it.
    pub fn origin(&self) -> SearchOrigin {
        self.trusted.0.origin()
    }

    /// Its description.
    pub fn manifest(&self) -> &Manifest {
        self.trusted.0.manifest()
    }

    /// The plugin as the trust stage passed it, for the next stages.
    pub fn trusted(&self) -> &Trusted {
        &self.trusted
    }

    /// `ok`, or `shadowed` if all of its components are shadowed.
    pub fn state(&self) -> FileState {
        let all_shadowed = !self.standings.is_empty()
            && self.standings.iter().all(|s| matches!(s, Standing::Shadowed { .. }));
        if all_shadowed { FileState::Shadowed } else { FileState::Ok }
    }
}

/// A component with its plugin.
#[derive(Clone, Copy, Debug)]
pub struct ComponentRef<'a> {
    /// The plugin that offers it.
    pub plugin: &'a PluginEntry,
    /// Its description.
    pub manifest: &'a ComponentManifest,
    /// Whether its bare name refers to it.
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

/// A plugin with a valid manifest that may not be used.
#[derive(Clone, Debug)]
struct Barred {
    path: PathBuf,
    /// Hash of its bytes; unknown for a damaged file.
    sha256: Option<Sha256>,
    manifest: Manifest,
    refusal: Refusal,
}

/// The plugins and components of a search path.
#[derive(Clone, Debug, Default)]
pub struct Catalog {
    plugins: Vec<PluginEntry>,
    barred: Vec<Barred>,
    files: Vec<FileReport>,
    dirs: Vec<DirReport>,
}

impl Catalog {
    /// A report for every candidate, in the order of the search path, then by name. Files with the
    /// same bytes share the report of the first one.
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

    /// All components, also shadowed and tied ones, by kind, name, search path.
    pub fn all_components(&self) -> impl Iterator<Item = ComponentRef<'_>> {
        let mut all: Vec<ComponentRef<'_>> =
            self.plugins.iter().flat_map(plugin_components).collect();
        all.sort_by(|a, b| {
            (a.manifest.kind, &a.manifest.name).cmp(&(b.manifest.kind, &b.manifest.name))
        });
        all.into_iter()
    }

    /// The components that bare names refer to, by kind and name.
    pub fn components(&self) -> impl Iterator<Item = ComponentRef<'_>> {
        self.all_components().filter(|component| component.standing == Standing::Active)
    }

    /// The components of one kind that bare names refer to, by name.
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
