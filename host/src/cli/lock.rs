//! `fluxbay lock`: pins every plugin that a run uses, to the byte.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use super::run_arguments::{ReadRun, RunArguments, lock_file, tell};
use super::{Exit, Failure, Outcome, print};
use crate::library::{Lock, shown};
use crate::session::{Composed, Surroundings};

/// Arguments of `fluxbay lock`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    run: RunArguments,
}

pub(super) fn run(arguments: &Arguments) -> Outcome {
    let ReadRun { run, catalog, diagnostics } = arguments.run.read();
    tell(&diagnostics);
    if diagnostics.has_errors() {
        return Ok(Exit::Configuration);
    }
    // Instances may ask for further components, so only composing tells which plugins a run uses.
    let catalog = Rc::new(catalog);
    let composed = match Composed::new(Rc::clone(&catalog), run, Surroundings::default()) {
        Ok(composed) => composed,
        Err(diagnostics) => {
            tell(&diagnostics);
            return Ok(Exit::of_problems(&diagnostics));
        }
    };
    let used: Vec<_> = composed.shelf().loaded().iter().map(|loaded| loaded.sha256()).collect();
    let lock = Lock::of(catalog.plugins().iter().filter(|plugin| used.contains(&plugin.sha256())));
    let path = lock_file(&arguments.run.files);
    write(&path, &lock.to_text()).map_err(|error| {
        Failure::new(
            Exit::Failed,
            format!("{} cannot be written: {error}; write where you may", shown::path(&path)),
        )
    })?;
    print(&format!("{}: {} plugins pinned\n", shown::path(&path), lock.plugins().len()))
}

/// Writes aside and renames, so that a lock file is never half of one.
fn write(path: &Path, text: &str) -> std::io::Result<()> {
    let dir = path
        .parent()
        .filter(|dir| !dir.as_os_str().is_empty())
        .map_or_else(|| PathBuf::from("."), Path::to_owned);
    let mut aside =
        tempfile::Builder::new().prefix(".plugins-").permissions(mode()).tempfile_in(dir)?;
    aside.write_all(text.as_bytes())?;
    aside.as_file().sync_all()?;
    aside.persist(path)?;
    Ok(())
}

/// As other files of a project: readable by others.
fn mode() -> std::fs::Permissions {
    std::os::unix::fs::PermissionsExt::from_mode(0o644)
}
