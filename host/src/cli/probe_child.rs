//! The hidden command of the probe stage, see [`crate::library::probe`].

use std::path::PathBuf;

use super::outcome::{Exit, Failure, Outcome};
use crate::bridge::HOST;
use crate::library::probe;

/// Arguments of the child.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Copy of the plugin in the store.
    copy: PathBuf,
}

pub(super) fn run(arguments: &Arguments) -> Outcome {
    match probe::run_child(&arguments.copy, &HOST) {
        Ok(never) => match never {},
        Err(error) => Err(Failure::new(
            Exit::Failed,
            format!(
                "this command is the host's own child process and cannot be called by hand ({error})"
            ),
        )),
    }
}
