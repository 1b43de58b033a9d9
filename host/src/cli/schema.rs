//! `fluxbay schema`: the JSON Schema of run files, for editors.

use super::{Outcome, PluginPath, print_json};
use crate::run_file::json_schema;

/// Arguments of `fluxbay schema`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    path: PluginPath,
}

pub(super) fn run(arguments: &Arguments) -> Outcome {
    print_json(&json_schema(&arguments.path.scan(&[])))
}
