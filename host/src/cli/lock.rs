//! `fluxbay lock`: writes the hashes of all plugins that a run uses to `plugins.lock`.

use std::rc::Rc;

use super::outcome::{Exit, Failure, Outcome};
use super::output::print;
use super::run_arguments::{RunArguments, lock_file};
use crate::library::{Lock, escape, replace_durably};
use crate::session::{Composed, Surroundings};

/// Arguments of `fluxbay lock`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    run: RunArguments,
}

pub(super) fn run(arguments: &Arguments) -> Outcome {
    let (run, catalog) = arguments.run.read().accept()?;
    // Instances may request further components, so the plugins of a run are known once it is
    // composed.
    let catalog = Rc::new(catalog);
    let composed = Composed::new(Rc::clone(&catalog), run, Surroundings::default())
        .map_err(Failure::problems)?;
    let used: Vec<_> = composed.plugins().loaded().iter().map(|loaded| loaded.sha256()).collect();
    let plugins = catalog.plugins().iter().map(|plugin| plugin.trusted().inspected());
    let lock = Lock::of(plugins.filter(|plugin| used.contains(&plugin.sha256())));
    let path = lock_file(&arguments.run.files);
    replace_durably(&path, lock.to_text().as_bytes(), 0o644).map_err(|error| {
        Failure::new(
            Exit::Failed,
            format!("{} cannot be written: {error}; write where you may", escape::path(&path)),
        )
    })?;
    print(&format!("{}: {} plugins pinned\n", escape::path(&path), lock.plugins().len()))
}
