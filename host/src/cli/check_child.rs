//! The hidden command that `fluxbay check` starts: see [`crate::check`].

use super::outcome::{Exit, Failure, Outcome};
use crate::check;

/// Arguments of the child.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// What to do, as JSON.
    task: String,
}

pub(super) fn run(arguments: &Arguments) -> Outcome {
    let by_hand = |error| {
        Failure::new(
            Exit::Failed,
            format!(
                "this command is the host's own child process and cannot be called by hand ({error})"
            ),
        )
    };
    check::run_child(&arguments.task).map(|()| Exit::Done).map_err(by_hand)
}
