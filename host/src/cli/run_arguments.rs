//! The arguments of every command that reads a run: run files, overrides, and where plugins are.

use std::io::{self, IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};

use clap_complete::engine::ArgValueCompleter;

use super::{PluginPath, completions, plugin_path};
use crate::library::{Catalog, Lock, escape, lock};
use crate::run_file::{
    Colours, Diagnostic, Diagnostics, Draft, Inputs, RunDescription, render, resolve,
};

/// Which run is meant.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct RunArguments {
    /// Run files; later ones win. Without any, the digits.
    ///
    /// Tables of several files are merged key by key, lists of instances by id. docs/run-files.md
    /// describes the sections; `fluxbay inspect NAME` shows the lines for a component.
    #[arg(value_name = "RUN.toml")]
    pub files: Vec<PathBuf>,
    /// Set a value: optimizer.learning-rate=3e-4.
    ///
    /// May be given several times. The instance of a list goes by its id:
    /// callback.recorder.every=5. What is no number, list or other TOML is taken as text.
    #[arg(long, value_name = "KEY.PATH=VALUE")]
    pub set: Vec<String>,
    /// Add one: 'callback/early-stopping{patience = 3}'.
    ///
    /// A phase, callback or logger, with its settings as TOML in braces; may be given several
    /// times.
    #[arg(long, value_name = "KIND/NAME{...}", add = ArgValueCompleter::new(completions::addable))]
    pub add: Vec<String>,
    /// Leave out the instance with this id.
    ///
    /// A phase, callback or logger; default callbacks such as progress too.
    #[arg(long, value_name = "ID", add = ArgValueCompleter::new(completions::removable))]
    pub remove: Vec<String>,
    /// Use only plugins that plugins.lock pins.
    ///
    /// The file beside the run file, which `fluxbay lock` writes; all others are refused, and
    /// changed ones too.
    #[arg(long, help_heading = "Plugins", hide_short_help = true)]
    pub locked: bool,
    /// Where plugins are.
    #[command(flatten)]
    pub path: PluginPath,
}

/// A run that was read and checked.
#[derive(Debug)]
pub struct ReadRun {
    /// The run; it may be trained only if `diagnostics` has no errors.
    pub run: RunDescription,
    /// The plugins that were found.
    pub catalog: Catalog,
    /// All problems so far.
    pub diagnostics: Diagnostics,
}

impl RunArguments {
    /// What the run is read from, this process's environment variables included.
    pub fn inputs(&self) -> Inputs {
        let environment = std::env::vars_os().filter_map(|(name, value)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        });
        Inputs {
            files: self.files.clone(),
            environment: environment.collect(),
            add: self.add.clone(),
            set: self.set.clone(),
            remove: self.remove.clone(),
        }
    }

    /// Reads the run and looks for plugins where it and the arguments say.
    pub fn read(&self) -> ReadRun {
        let mut diagnostics = Diagnostics::new();
        let draft = Draft::read(&self.inputs(), &mut diagnostics);
        let mut options = self.path.scan_options();
        options.disabled.extend_from_slice(&draft.plugins.disable);
        if self.locked {
            match Lock::read(&lock_file(&self.files)) {
                Ok(lock) => options.lock = Some(lock),
                // The run fails because of this error. Refusing all plugins as well would only hide
                // it among others.
                Err(error) => {
                    diagnostics.push(Diagnostic::error("plugins-lock", error.to_string()))
                }
            }
        }
        let files: Vec<String> = self.files.iter().map(|file| escape::path(file)).collect();
        log::info!(
            "the run: {}",
            if files.is_empty() { "the built-in digits".to_owned() } else { files.join(", then ") }
        );
        let catalog = Catalog::scan(&self.path.search_path(&draft.plugin_dirs()), &options);
        plugin_path::tell(&catalog);
        plugin_path::warn_of_directories(&catalog);
        let run = resolve(draft, &catalog, &mut diagnostics);
        ReadRun { run, catalog, diagnostics }
    }
}

/// The lock file of a run: beside its last run file, or in the working folder.
pub fn lock_file(files: &[PathBuf]) -> PathBuf {
    let beside =
        files.last().and_then(|file| file.parent()).map(Path::to_owned).unwrap_or_default();
    beside.join(lock::FILE_NAME)
}

/// Tells all problems on stderr, in colours on a terminal unless `NO_COLOR` is set.
pub fn tell(diagnostics: &Diagnostics) {
    if diagnostics.is_empty() {
        return;
    }
    let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
        || !io::stderr().is_terminal();
    let colours = if plain { Colours::Never } else { Colours::Always };
    // A closed stderr leaves nobody to tell.
    let _ = io::stderr().write_all(render(diagnostics, colours).as_bytes());
}
