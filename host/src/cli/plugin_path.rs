//! The options of every command that looks for plugins.

use std::path::PathBuf;

use clap_complete::engine::ArgValueCompleter;

use super::candidates;
use crate::library::{Catalog, ScanOptions, SearchOrigin, SearchPath, escape};
use crate::record::used_plugins;
use crate::run_file::{Diagnostic, Diagnostics};

/// Where plugins are looked for, and which folders are trusted.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct PluginPath {
    /// Look for plugins in DIR first.
    ///
    /// May be given several times. FLUXBAY_PLUGIN_PATH, the run file's folders, the user's data
    /// folder and the folder of the executable follow. The first file that has a component wins.
    #[arg(long = "plugin-dir", value_name = "DIR")]
    pub plugin_dirs: Vec<PathBuf>,
    /// Use plugins of DIR although others could change them.
    ///
    /// Or although no trusted key has signed them. By default a plugin is refused if another user
    /// owns it or may write to it or to a folder above it, because its code runs with your
    /// permissions.
    #[arg(
        long = "allow-untrusted",
        value_name = "DIR",
        help_heading = "Plugins",
        hide_short_help = true
    )]
    pub allow_untrusted: Vec<PathBuf>,
    /// Leave out the plugin with this name.
    ///
    /// May be given several times; `disable` under `[plugins]` in a run file does the same.
    /// Components of the same names in other plugins are used instead.
    #[arg(long = "disable-plugin", value_name = "NAME", help_heading = "Plugins", hide_short_help = true, add = ArgValueCompleter::new(candidates::plugins))]
    pub disable: Vec<String>,
}

impl PluginPath {
    /// The whole search path; `project` holds the folders that a run file names.
    pub fn search_path(&self, project: &[PathBuf]) -> SearchPath {
        SearchPath::standard(&self.plugin_dirs, project)
    }

    /// The options of a scan, without a lock file.
    pub fn scan_options(&self) -> ScanOptions {
        ScanOptions {
            allow_untrusted: self.allow_untrusted.clone(),
            disabled: self.disable.clone(),
            ..ScanOptions::of_user()
        }
    }

    /// Scans the search path.
    pub fn scan(&self, project: &[PathBuf]) -> Catalog {
        self.scan_with(project, &self.scan_options())
    }

    /// Scans the search path with options of [`PluginPath::scan_options`] that were changed.
    pub fn scan_with(&self, project: &[PathBuf], options: &ScanOptions) -> Catalog {
        let catalog = Catalog::scan(&self.search_path(project), options);
        log_files(&catalog);
        catalog
    }
}

/// Logs the folders that were searched and the state of each file.
fn log_files(catalog: &Catalog) {
    for dir in catalog.dirs() {
        let (path, origin) = (escape::path(&dir.path), dir.origin.label());
        log::info!("searched {path} ({origin}) for plugins: {} files", dir.candidates);
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

/// Warns about folders that `--plugin-dir` names, but that cannot be searched.
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

/// If a recorded run cannot be composed, adds which plugins of its `plugins.lock` are not found.
pub(super) fn explain_missing(lock: &str, catalog: &Catalog, diagnostics: &mut Diagnostics) {
    if !diagnostics.has_errors() {
        return;
    }
    let is_found =
        |name: &str| catalog.reports().iter().any(|report| report.plugin.as_deref() == Some(name));
    for plugin in used_plugins(lock).into_iter().filter(|plugin| !is_found(&plugin.name)) {
        let text = format!(
            "the plugin {} {} of this run is not found",
            escape::text(&plugin.name),
            escape::text(&plugin.version)
        );
        diagnostics.push(
            Diagnostic::error("plugin-missing", text)
                .note(format!(
                    "the run used {}, sha256 {}",
                    escape::text(&plugin.path),
                    escape::text(&plugin.sha256)
                ))
                .help(
                    "put the file back, or name the folder where it is now with --plugin-dir DIR",
                ),
        );
    }
}
