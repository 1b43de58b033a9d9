//! The plugins of a run, each loaded from the catalog when its first component is needed.

use std::cell::RefCell;
use std::rc::Rc;

use serde_json::Value as Json;

use crate::bridge::HOST;
use crate::learner::state::Range;
use crate::learner::{Components, Declared, Prepared};
use crate::library::{
    Catalog, ComponentManifest, ComponentRef, Kind, LoadError, Loaded, PluginEntry, PluginLoader,
    Refusal, Sha256,
};
use crate::run_file::{Diagnostics, Severity, check_json};

/// A catalog, and the plugins of it that are loaded.
pub struct LoadedPlugins {
    catalog: Rc<Catalog>,
    loader: RefCell<Option<Rc<PluginLoader>>>,
    loaded: RefCell<Vec<Loaded>>,
    /// Plugins that were refused.
    refused: RefCell<Vec<(Sha256, LoadError)>>,
}

/// Why a component is not available.
#[derive(Debug, thiserror::Error)]
pub enum PluginError {
    /// It is not in the catalog, or the name is ambiguous.
    #[error(transparent)]
    Find(#[from] crate::library::FindError),
    /// Its plugin was refused.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The plugin's manifest lists it, but the plugin does not have it.
    #[error(
        "the manifest of plugin `{plugin}` lists {component}, but the plugin does not have it; rebuild it"
    )]
    Missing {
        /// The plugin.
        plugin: String,
        /// `kind/name`.
        component: String,
    },
}

/// What a manifest declares.
pub fn declared(manifest: &ComponentManifest) -> Declared {
    Declared {
        events: manifest.events.clone(),
        reads: manifest.reads.clone(),
        writes: manifest.writes.clone(),
        run_after: manifest.run_after.clone(),
        run_before: manifest.run_before.clone(),
        emits: manifest.emits.clone(),
        hyper_parameters: manifest.hyper_parameters.clone(),
        ranges: manifest
            .hyper_parameters
            .iter()
            .map(|name| (name.clone(), Range::of_schema(&manifest.config["properties"][name])))
            .collect(),
    }
}

/// The kind with a number of the contract.
pub fn kind_of(number: u32) -> Option<Kind> {
    Kind::ALL.get(number as usize).copied()
}

impl LoadedPlugins {
    /// A catalog of which nothing is loaded.
    pub fn new(catalog: Rc<Catalog>) -> LoadedPlugins {
        LoadedPlugins {
            catalog,
            loader: RefCell::default(),
            loaded: RefCell::default(),
            refused: RefCell::default(),
        }
    }

    /// The catalog.
    pub fn catalog(&self) -> &Catalog {
        &self.catalog
    }

    /// The loaded plugins, in the order of loading.
    pub fn loaded(&self) -> Vec<Loaded> {
        self.loaded.borrow().clone()
    }

    /// Loads the plugins of several components in parallel. An error is reported later, by
    /// [`LoadedPlugins::take`].
    pub fn prefetch<'a>(&self, components: impl IntoIterator<Item = (Kind, &'a str)>) {
        let mut plugins: Vec<&PluginEntry> = Vec::new();
        for (kind, name) in components {
            let Ok(found) = self.catalog.find(kind, name) else { continue };
            if !plugins.iter().any(|known| known.sha256() == found.plugin.sha256())
                && !self.has(found.plugin.sha256())
            {
                plugins.push(found.plugin);
            }
        }
        let Ok(loader) = self.loader() else { return };
        for (plugin, result) in plugins.iter().zip(loader.load_all(&plugins, &HOST)) {
            match result {
                Ok(loaded) => self.loaded.borrow_mut().push(loaded),
                Err(error) => self.refused.borrow_mut().push((plugin.sha256(), error)),
            }
        }
    }

    fn has(&self, plugin: Sha256) -> bool {
        self.loaded.borrow().iter().any(|loaded| loaded.sha256() == plugin)
    }

    fn loader(&self) -> Result<Rc<PluginLoader>, Refusal> {
        if let Some(loader) = &*self.loader.borrow() {
            return Ok(Rc::clone(loader));
        }
        let loader = Rc::new(PluginLoader::open()?);
        *self.loader.borrow_mut() = Some(Rc::clone(&loader));
        Ok(loader)
    }

    fn load(&self, plugin: &PluginEntry) -> Result<Loaded, LoadError> {
        if let Some((_, error)) =
            self.refused.borrow().iter().find(|(known, _)| *known == plugin.sha256())
        {
            return Err(error.clone());
        }
        let loader = self
            .loader()
            .map_err(|refusal| LoadError { path: plugin.path().to_owned(), refusal })?;
        loader.load(plugin, &HOST)
    }

    /// A component with a complete configuration, ready to create an instance; loads its plugin if
    /// necessary.
    ///
    /// # Errors
    /// The component is unknown, or its plugin was refused.
    pub fn take(&self, kind: Kind, name: &str, config: &Json) -> Result<Prepared, PluginError> {
        let found = self.catalog.find(kind, name)?;
        let (component, rows) = {
            let mut loaded = self.loaded.borrow_mut();
            let place =
                match loaded.iter().position(|plugin| plugin.sha256() == found.plugin.sha256()) {
                    Some(place) => place,
                    None => {
                        loaded.push(self.load(found.plugin)?);
                        loaded.len() - 1
                    }
                };
            let name = &found.manifest.name;
            (loaded[place].component(kind, name), loaded[place].rows(kind, name))
        };
        let missing = || PluginError::Missing {
            plugin: found.plugin.name().to_owned(),
            component: found.id(),
        };
        Ok(Prepared {
            component: component.ok_or_else(missing)?,
            rows,
            name: found.id(),
            plugin: found.plugin.name().to_owned(),
            config: config.to_string(),
            declared: declared(found.manifest),
        })
    }

    fn find(&self, kind: Kind, name: &str) -> Result<ComponentRef<'_>, String> {
        self.catalog.find(kind, name).map_err(|error| error.to_string())
    }
}

impl Components for LoadedPlugins {
    fn prepare(&self, kind: u32, name: &str, config: &str) -> Result<Prepared, String> {
        let kind = kind_of(kind)
            .ok_or_else(|| format!("there is no kind of component with number {kind}"))?;
        let found = self.find(kind, name)?;
        let config: Json = serde_json::from_str(config).map_err(|error| {
            format!("the configuration of {kind} `{name}` is not JSON: {error}")
        })?;
        let mut diagnostics = Diagnostics::new();
        let complete = check_json(
            &found.manifest.config,
            &config,
            &format!("{kind} `{name}`"),
            &mut diagnostics,
        );
        if diagnostics.has_errors() {
            let errors = diagnostics
                .iter()
                .filter(|one| one.severity == Severity::Error)
                .map(|one| one.message.clone());
            return Err(errors.collect::<Vec<_>>().join("; "));
        }
        self.take(kind, name, &Json::Object(complete)).map_err(|error| error.to_string())
    }
}
