//! The options that every command shares that looks for plugins.

use std::path::PathBuf;

use clap_complete::engine::ArgValueCompleter;

use super::completions;
use crate::library::{self, Catalog, Quarantine, ScanOptions, SearchOrigin, SearchPath, escape};

/// Which directories are searched for plugins, and which are allowed.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct PluginPath {
    /// Look for plugins in DIR first.
    ///
    /// May be given several times. Then come FLUXBAY_PLUGIN_PATH, the run file's directories, the
    /// user's data directory and the executable's own. The first file that offers a component wins.
    #[arg(long = "plugin-dir", value_name = "DIR")]
    pub plugin_dirs: Vec<PathBuf>,
    /// Use plugins of DIR although others could change them.
    ///
    /// Or although no trusted key has signed them. Plugins are refused where somebody else owns
    /// them or may write to them or to a folder above them: their code runs with your rights. This
    /// vouches for a folder.
    #[arg(
        long = "allow-untrusted",
        value_name = "DIR",
        help_heading = "Plugins",
        hide_short_help = true
    )]
    pub allow_untrusted: Vec<PathBuf>,
    /// Leave out the plugin with this name.
    ///
    /// May be given several times; `disable` under `[plugins]` in a run file does the same. What
    /// others offer under the same names takes its place.
    #[arg(long = "disable-plugin", value_name = "NAME", help_heading = "Plugins", hide_short_help = true, add = ArgValueCompleter::new(completions::plugins))]
    pub disable: Vec<String>,
}

impl PluginPath {
    /// The whole search path; `project` are the directories of a run file.
    pub fn search_path(&self, project: &[PathBuf]) -> SearchPath {
        SearchPath::standard(&self.plugin_dirs, project)
    }

    /// The options of a scan.
    pub fn scan_options(&self) -> ScanOptions {
        ScanOptions {
            allow_untrusted: self.allow_untrusted.clone(),
            disabled: self.disable.clone(),
            keys: library::Keys::of_user(),
            quarantine: Quarantine::open(),
            cache_dir: library::user_cache_dir(),
            ..ScanOptions::default()
        }
    }

    /// Looks at every file of the search path.
    pub fn scan(&self, project: &[PathBuf]) -> Catalog {
        self.scan_without(project, &[])
    }

    /// As [`PluginPath::scan`], without plugins that a run switches off.
    pub fn scan_without(&self, project: &[PathBuf], disabled: &[String]) -> Catalog {
        let mut options = self.scan_options();
        options.disabled.extend_from_slice(disabled);
        let catalog = Catalog::scan(&self.search_path(project), &options);
        tell(&catalog);
        catalog
    }
}

/// Logs which directories were searched, and the state of each file.
pub(super) fn tell(catalog: &Catalog) {
    for dir in catalog.dirs() {
        let (path, origin) = (escape::path(&dir.path), dir.origin.label());
        log::info!("searched {path} for plugins ({origin}): {} files", dir.candidates);
    }
    for file in catalog.reports() {
        log::debug!(
            "{} ({}): {}",
            escape::path(&file.path),
            file.origin.label(),
            file.state.name()
        );
    }
}

/// Warns about directories that `--plugin-dir` names, but that cannot be searched.
pub(super) fn warn_of_directories(catalog: &Catalog) {
    let named = catalog.dirs().iter().filter(|dir| dir.origin == SearchOrigin::CommandLine);
    for (dir, refusal) in named.filter_map(|dir| Some((dir, dir.refusal.as_ref()?))) {
        log::warn!(
            "--plugin-dir {}: {}; {}",
            escape::path(&dir.path),
            refusal.message,
            refusal.help
        );
    }
}
