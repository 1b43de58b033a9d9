//! The arguments of every command that reads a run: run files, changes to them, and where plugins
//! are.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap_complete::engine::ArgValueCompleter;

use super::candidates;
use super::outcome::{Failure, report};
use super::plugin_path::{PluginPath, warn_of_directories};
use crate::library::{Catalog, Lock, escape, lock};
use crate::run_file::{
    Diagnostic, Diagnostics, Draft, Inputs, RunDescription, RunSettings, resolve,
};
use crate::supervisor::worker::{self, Patience};

/// Which run, and what to change in it.
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
    /// May be given several times. An instance of a list is named by its id:
    /// callback.recorder.every=5. A value that is not valid TOML is taken as text.
    #[arg(long, value_name = "KEY.PATH=VALUE")]
    pub set: Vec<String>,
    /// Add one: 'callback/early-stopping{patience = 3}'.
    ///
    /// A phase, transform, callback or logger, with its settings as TOML in braces; may be given several
    /// times.
    #[arg(long, value_name = "KIND/NAME{...}", add = ArgValueCompleter::new(candidates::addable))]
    pub add: Vec<String>,
    /// Leave out the instance with this id.
    ///
    /// A phase, transform, callback or logger; default callbacks such as progress too.
    #[arg(long, value_name = "ID", add = ArgValueCompleter::new(candidates::removable))]
    pub remove: Vec<String>,
    /// Use only plugins that plugins.lock pins.
    ///
    /// `fluxbay lock` writes that file beside the run file. Other plugins, and changed ones, are
    /// refused.
    #[arg(long, help_heading = "Plugins", hide_short_help = true)]
    pub locked: bool,
    /// Where plugins are looked for.
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

impl ReadRun {
    /// Reads a run, scans the search path, and resolves the run with the plugins found.
    ///
    /// `folders` are searched after those that the run file names. `lock` is the lock file that
    /// pins the plugins, if one is required. `prepare` can change the run before it is resolved.
    pub fn read(
        inputs: &Inputs,
        path: &PluginPath,
        folders: Vec<PathBuf>,
        lock: Option<&Path>,
        prepare: impl FnOnce(&mut Draft, &Catalog),
    ) -> ReadRun {
        let mut diagnostics = Diagnostics::new();
        let mut draft = Draft::read(inputs, &mut diagnostics);
        let mut options = path.scan_options();
        options.disabled.extend_from_slice(&draft.plugins.disable);
        match lock.map(Lock::read) {
            Some(Ok(lock)) => options.lock = Some(lock),
            // The run fails because of this error. Refusing all plugins as well would hide it among
            // others.
            Some(Err(error)) => {
                diagnostics.push(Diagnostic::error("plugins-lock", error.to_string()));
            }
            None => {}
        }
        let mut project = draft.plugin_dirs();
        project.extend(folders);
        let catalog = path.scan_with(&project, &options);
        prepare(&mut draft, &catalog);
        let run = resolve(draft, &catalog, &mut diagnostics);
        limit_calls(&run.run, &mut diagnostics);
        ReadRun { run, catalog, diagnostics }
    }

    /// Prints the warnings and returns the run, unless it has errors.
    ///
    /// # Errors
    /// All problems, if one of them is an error.
    pub fn accept(self) -> Result<(RunDescription, Catalog), Failure> {
        if self.diagnostics.has_errors() {
            return Err(Failure::problems(self.diagnostics));
        }
        report(&self.diagnostics);
        Ok((self.run, self.catalog))
    }
}

/// Sets the limits of the run for calls into plugins, from the first instance on.
fn limit_calls(settings: &RunSettings, diagnostics: &mut Diagnostics) {
    let time = |seconds: f64| Duration::try_from_secs_f64(seconds).unwrap_or(Duration::ZERO);
    let patience =
        Patience { warning: time(settings.handler_warning), limit: time(settings.handler_limit) };
    if let Err(error) = worker::watch(patience) {
        let text = format!("cannot start the watchdog for plugin calls: {error}");
        diagnostics.push(Diagnostic::error("watchdog", text));
    }
}

impl RunArguments {
    /// What the run is read from, including the environment variables of this process.
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

    /// Reads the run and the plugins that it can use.
    pub fn read(&self) -> ReadRun {
        let files: Vec<String> = self.files.iter().map(|file| escape::path(file)).collect();
        log::info!(
            "the run: {}",
            if files.is_empty() { "the built-in digits".to_owned() } else { files.join(", then ") }
        );
        let lock = self.locked.then(|| lock_file(&self.files));
        let read =
            ReadRun::read(&self.inputs(), &self.path, Vec::new(), lock.as_deref(), |_, _| {});
        warn_of_directories(&read.catalog);
        read
    }
}

/// The lock file of a run: beside its last run file, or in the working folder.
pub fn lock_file(files: &[PathBuf]) -> PathBuf {
    let beside =
        files.last().and_then(|file| file.parent()).map(Path::to_owned).unwrap_or_default();
    beside.join(lock::FILE_NAME)
}
