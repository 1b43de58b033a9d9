//! The options that every command shares that looks for plugins.

use std::path::PathBuf;

use crate::library::{self, Catalog, Quarantine, ScanOptions, SearchPath};

/// Where plugins are looked for, and which places are vouched for.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct PluginPath {
    /// Look for plugins in DIR first; may be given several times. Then come FLUXBAY_PLUGIN_PATH, the run file's
    /// directories, the user's data directory and the executable's own.
    #[arg(long = "plugin-dir", value_name = "DIR")]
    pub plugin_dirs: Vec<PathBuf>,
    /// Use plugins of DIR although others may write to it or own it.
    #[arg(long = "allow-untrusted", value_name = "DIR")]
    pub allow_untrusted: Vec<PathBuf>,
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
            quarantine: Quarantine::open(),
            cache_dir: library::user_cache_dir(),
            ..ScanOptions::default()
        }
    }

    /// Looks at every file of the search path.
    pub fn scan(&self, project: &[PathBuf]) -> Catalog {
        Catalog::scan(&self.search_path(project), &self.scan_options())
    }
}
