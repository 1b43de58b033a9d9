//! Finds the component that a name in a run file refers to.

use std::path::Path;

use super::super::escape;
use super::super::manifest::{ComponentManifest, Kind, Manifest};
use super::super::report::{FileReport, Refusal};
use super::{Barred, Catalog, ComponentRef, PluginEntry, Standing};

/// Why a name refers to no component.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FindError {
    /// No plugin offers it.
    #[error("no {kind} `{name}` is in the catalog{}", hint(.nearest, .elsewhere))]
    Unknown {
        /// The requested kind.
        kind: Kind,
        /// The name as given.
        name: String,
        /// The most similar name of that kind.
        nearest: Option<String>,
        /// Another kind that has a component of that name.
        elsewhere: Option<Kind>,
    },
    /// A refused file offers it.
    #[error("{kind} `{name}` is only offered by {plugin}, which is refused: {refusal} ({path})")]
    Refused {
        /// The requested kind.
        kind: Kind,
        /// The name as given.
        name: String,
        /// Name and version of the plugin, escaped.
        plugin: String,
        /// The file, escaped.
        path: String,
        /// Hash of its bytes, if they could be read completely.
        sha256: Option<String>,
        /// Why it is refused, and what to do.
        refusal: Box<Refusal>,
    },
    /// Several files in the same directory offer it.
    #[error("{kind} `{name}` is offered by several plugins in the same directory ({}); {}", .paths.join(", "), ambiguity_help(.choices))]
    Ambiguous {
        /// The requested kind.
        kind: Kind,
        /// The name as given.
        name: String,
        /// Qualified names that are unique; empty if the plugins have the same name, too.
        choices: Vec<String>,
        /// The files, escaped.
        paths: Vec<String>,
    },
    /// The name has another kind than the setting that it is the value of.
    #[error("`{name}` names a {found}; here a {wanted} is expected")]
    WrongKind {
        /// The name as given.
        name: String,
        /// The expected kind.
        wanted: Kind,
        /// The kind in the name.
        found: Kind,
    },
    /// No plugin has the name before the colon.
    #[error("no plugin `{plugin}` is in the catalog{}", hint(.nearest, &None))]
    UnknownPlugin {
        /// The plugin's name as given.
        plugin: String,
        /// The most similar name of a plugin.
        nearest: Option<String>,
    },
    /// The name is not of the form `name`, `kind/name` or `plugin:kind/name`.
    #[error(
        "`{name}` cannot be the name of a component; write NAME, KIND/NAME or PLUGIN:KIND/NAME"
    )]
    Malformed {
        /// The name as given.
        name: String,
    },
}

impl FindError {
    /// The most similar name, if there is one.
    pub fn nearest(&self) -> Option<&str> {
        match self {
            FindError::Unknown { nearest, .. } | FindError::UnknownPlugin { nearest, .. } => {
                nearest.as_deref()
            }
            _ => None,
        }
    }
}

fn hint(nearest: &Option<String>, elsewhere: &Option<Kind>) -> String {
    match (elsewhere, nearest) {
        (Some(kind), _) => format!("; there is a {kind} of that name"),
        (None, Some(name)) => format!("; did you mean `{name}`?"),
        (None, None) => "; `fluxbay list` shows what there is".to_owned(),
    }
}

fn ambiguity_help(choices: &[String]) -> String {
    match choices {
        [] => "remove all but one".to_owned(),
        _ => format!("write one of {}", choices.join(", ")),
    }
}

/// The name that is most similar to `wanted`; `None` if none is similar enough.
pub fn nearest<'a>(wanted: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let close = |name: &str| {
        let likeness = strsim::damerau_levenshtein(wanted, name);
        let allowed = (wanted.chars().count().max(name.chars().count()) / 3).max(1);
        (likeness <= allowed || (wanted.len() >= 3 && name.starts_with(wanted))).then_some(likeness)
    };
    names
        .filter_map(|name| close(name).map(|distance| (distance, name)))
        .min()
        .map(|(_, name)| name)
}

/// The parts of a name.
struct Parsed<'a> {
    plugin: Option<&'a str>,
    name: &'a str,
}

fn parse(kind: Kind, text: &str) -> Result<Parsed<'_>, FindError> {
    let malformed = || FindError::Malformed { name: escape::text(text) };
    // A name of a manifest is short; whatever is longer is not compared with every name there is.
    if text.len() > 256 {
        return Err(FindError::Malformed {
            name: format!("{}...", escape::bytes(&text.as_bytes()[..60])),
        });
    }
    let (plugin, rest) = match text.split_once(':') {
        Some((plugin, rest)) => (Some(plugin), rest),
        None => (None, text),
    };
    let name = match rest.split_once('/') {
        Some((prefix, name)) => {
            let found: Kind = prefix.parse().map_err(|_| malformed())?;
            if found != kind {
                return Err(FindError::WrongKind { name: escape::text(text), wanted: kind, found });
            }
            name
        }
        None => rest,
    };
    if name.is_empty() || name.contains([':', '/']) || plugin.is_some_and(str::is_empty) {
        return Err(malformed());
    }
    Ok(Parsed { plugin, name })
}

impl Catalog {
    /// A file that offers a component of this name, but may not be used.
    pub fn refused_with(&self, kind: Option<Kind>, name: &str) -> Option<&Path> {
        let offers = |manifest: &Manifest| {
            manifest
                .components
                .iter()
                .any(|one| one.name == name && kind.is_none_or(|kind| kind == one.kind))
        };
        self.barred
            .iter()
            .find(|barred| offers(&barred.manifest))
            .map(|barred| barred.path.as_path())
    }

    /// The component of `kind` that `name` means: a bare name, `kind/name`, or `plugin:kind/name`
    /// to choose between plugins.
    ///
    /// # Errors
    /// Unknown (with the nearest name), ambiguous, refused, or of another kind.
    pub fn find(&self, kind: Kind, name: &str) -> Result<ComponentRef<'_>, FindError> {
        let parsed = parse(kind, name)?;
        let offers: Vec<(usize, &PluginEntry, &ComponentManifest, Standing)> = self
            .plugins
            .iter()
            .enumerate()
            .filter(|(_, plugin)| parsed.plugin.is_none_or(|wanted| wanted == plugin.name()))
            .filter_map(|(index, plugin)| {
                let place = plugin
                    .manifest()
                    .components
                    .iter()
                    .position(|c| c.kind == kind && c.name == parsed.name)?;
                Some((index, plugin, &plugin.manifest().components[place], plugin.standings[place]))
            })
            .collect();
        let Some(&(_, first, manifest, standing)) = offers.first() else {
            return Err(self.not_found(kind, name, &parsed));
        };
        // Plugins come in the order of the search path, so those in the first one's directory
        // follow it.
        let tied: Vec<&PluginEntry> = offers
            .iter()
            .map(|offer| offer.1)
            .filter(|p| p.trusted.0.candidate.dir == first.trusted.0.candidate.dir)
            .collect();
        if tied.len() == 1 {
            return Ok(ComponentRef { plugin: first, manifest, standing });
        }
        let mut choices: Vec<String> =
            tied.iter().map(|p| format!("{}:{}", p.name(), manifest.id())).collect();
        choices.sort();
        let before = choices.len();
        choices.dedup();
        if choices.len() < before {
            choices.clear();
        }
        let paths = tied.iter().map(|p| escape::path(p.path())).collect();
        Err(FindError::Ambiguous { kind, name: name.to_owned(), choices, paths })
    }

    /// For every component that several plugins of one directory offer: the error that asking for
    /// it gives.
    pub fn ties(&self) -> Vec<FindError> {
        let mut tied: Vec<(Kind, &str)> = self
            .all_components()
            .filter(|component| matches!(component.standing, Standing::Tied { .. }))
            .map(|component| (component.manifest.kind, component.manifest.name.as_str()))
            .collect();
        tied.dedup();
        tied.into_iter().filter_map(|(kind, name)| self.find(kind, name).err()).collect()
    }

    /// The plugin of that name that comes first on the search path.
    pub fn plugin(&self, name: &str) -> Option<&PluginEntry> {
        self.plugins.iter().find(|plugin| plugin.name() == name)
    }

    /// Plugins whose files are damaged, but still contain a complete manifest. They are read only for
    /// an error message.
    fn damaged(&self) -> Vec<Barred> {
        let files = self.files.iter().filter(|file| file.plugin.is_none());
        let read = |file: &FileReport| {
            let refusal = file.refusal.clone()?;
            let bytes = super::super::file::read_at_most(&file.path, 256 << 20)?;
            let manifest = Manifest::find_in(&bytes)?;
            Some(Barred { path: file.path.clone(), sha256: None, manifest, refusal })
        };
        files.filter_map(read).collect()
    }

    fn not_found(&self, kind: Kind, name: &str, parsed: &Parsed<'_>) -> FindError {
        let offers = |barred: &Barred| {
            let Manifest { plugin, components, .. } = &barred.manifest;
            parsed.plugin.is_none_or(|wanted| wanted == plugin.name)
                && components.iter().any(|one| one.kind == kind && one.name == parsed.name)
        };
        let known = self.barred.iter().find(|barred| offers(barred)).cloned();
        let barred = known.or_else(|| self.damaged().into_iter().find(offers));
        if let Some(barred) = barred {
            let info = &barred.manifest.plugin;
            return FindError::Refused {
                kind,
                name: escape::text(name),
                plugin: escape::text(&format!("{} {}", info.name, info.version)),
                path: escape::path(&barred.path),
                sha256: barred.sha256.map(|sha256| sha256.hex()),
                refusal: Box::new(barred.refusal),
            };
        }
        if let Some(plugin) = parsed.plugin
            && self.plugin(plugin).is_none()
        {
            let nearest =
                nearest(plugin, self.plugins.iter().map(PluginEntry::name)).map(str::to_owned);
            return FindError::UnknownPlugin { plugin: escape::text(plugin), nearest };
        }
        let offered = || {
            self.all_components()
                .filter(|c| parsed.plugin.is_none_or(|wanted| wanted == c.plugin.name()))
        };
        let elsewhere = offered().find(|c| c.manifest.name == parsed.name).map(|c| c.manifest.kind);
        let nearest = nearest(
            parsed.name,
            offered().filter(|c| c.manifest.kind == kind).map(|c| c.manifest.name.as_str()),
        )
        .map(str::to_owned);
        FindError::Unknown { kind, name: escape::text(name), nearest, elsewhere }
    }
}
