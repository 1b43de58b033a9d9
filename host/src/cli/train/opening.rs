//! From a run that was read to a session: what `train`, `resume` and `evaluate` share.

use std::{path::Path, rc::Rc};

use crate::{
    cli::{
        outcome::{Exit, Failure},
        plugin_path::{PluginPath, explain_missing},
        run_arguments::ReadRun,
    },
    display::{Bars, Screen},
    durable::{DeferredRecord, changes},
    library::Catalog,
    record::{RunDirectory, file},
    run_file::{Draft, Inputs, RunDescription},
    session::{Composed, DataState, Session, Surroundings},
};

/// Reads the run that a run folder holds, with changed settings and added components.
///
/// `plugins` is the text of the run's lock: the folders that it names are searched as well.
/// Environment variables set nothing. `prepare` can change the run before it is resolved. Plugins of
/// the lock that are not found are among the problems.
pub(super) fn read_saved(
    folder: &Path,
    plugins: &str,
    set: Vec<String>,
    add: Vec<String>,
    path: &PluginPath,
    prepare: impl FnOnce(&mut Draft, &Catalog),
) -> ReadRun {
    let inputs = Inputs { files: vec![folder.join(file::RESOLVED)], set, add, ..Inputs::default() };
    let mut read = ReadRun::read(&inputs, path, changes::folders(plugins), None, prepare);
    explain_missing(plugins, &read.catalog, &mut read.diagnostics);
    read
}

/// Composes the run, opens its data and builds its models. `data` is what the data set learnt
/// earlier.
///
/// # Errors
/// All problems that composing or opening found.
pub(super) fn open(
    run: RunDescription,
    catalog: Catalog,
    surroundings: Surroundings,
    data: &DataState,
) -> Result<Session, Failure> {
    Composed::new(Rc::new(catalog), run, surroundings)
        .and_then(|composed| composed.open_with(data))
        .map_err(Failure::problems)
}

/// A temporary folder for a run that is not kept; removed when the value is dropped.
pub(super) fn scratch() -> Result<tempfile::TempDir, Failure> {
    tempfile::Builder::new().prefix("fluxbay-run-").tempdir().map_err(|error| {
        let help = "free some space, or set TMPDIR to a folder that can be written to";
        Failure::new(
            Exit::Failed,
            format!("cannot create a temporary folder for the run: {error}; {help}"),
        )
    })
}

/// The surroundings of a session that keeps its record in a folder.
pub(super) fn surroundings(
    directory: &RunDirectory,
    sink: &Rc<DeferredRecord>,
    screen: &Screen,
) -> Surroundings {
    // Absolute, because plugins may change the working folder or pass the path to other processes.
    let path = std::path::absolute(directory.path());
    let run_dir = path.as_deref().unwrap_or(directory.path()).to_string_lossy().into_owned();
    Surroundings {
        sink: Rc::clone(sink) as Rc<_>,
        display: Rc::new(Bars::new(screen.clone())),
        run_dir,
    }
}

/// Threads of a run: as set, or as many as there are processors.
pub(super) fn threads(run: &RunDescription) -> usize {
    match run.run.threads {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        threads => threads,
    }
}
