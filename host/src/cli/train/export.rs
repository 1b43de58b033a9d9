//! `fluxbay export`: writes the model of a run for use elsewhere.

use std::{ffi::OsString, path::PathBuf};

use clap_complete::engine::ArgValueCompleter;

use crate::{
    bundle,
    cli::{
        candidates,
        outcome::{Exit, Failure, Outcome},
        plugin_path::PluginPath,
        run_lookup,
    },
    display::Screen,
    durable::changes,
    library::escape,
    record::file,
};

/// Arguments of `fluxbay export`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// A run's folder, its name or a part of it.
    #[arg(value_name = "RUN", add = ArgValueCompleter::new(candidates::runs))]
    run: OsString,
    /// Folder of the bundle, empty or new.
    #[arg(value_name = "DIR")]
    bundle: PathBuf,
    /// Licence of the parameters for the model card, such as Apache-2.0.
    #[arg(long, value_name = "NAME", default_value = "", hide_default_value = true)]
    license: String,
    #[command(flatten)]
    path: PluginPath,
}

pub fn run(arguments: &Arguments, screen: &Screen) -> Outcome {
    let failed = |text: String| Failure::new(Exit::Configuration, text);
    let run = run_lookup::find(&arguments.run)?;
    let lock = std::fs::read_to_string(run.path.join(file::PLUGINS)).unwrap_or_default();
    let catalog = arguments.path.scan(&changes::folders(&lock));
    let origin = bundle::Origin { plugins: catalog.plugins(), license: &arguments.license };
    bundle::write(&run, &arguments.bundle, origin).map_err(failed)?;
    screen.print(&format!(
        "bundle of {} in {}",
        escape::text(&run.id),
        escape::path(&arguments.bundle)
    ));
    Ok(Exit::Done)
}
