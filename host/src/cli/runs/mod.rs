//! `fluxbay runs`: lists, shows, compares and removes runs.

mod compare;
mod folder;
mod folds;
mod list;
mod metrics;
mod remove;
mod show;

pub(super) use folder::{Place, names};

use super::outcome::Outcome;

/// Arguments of `fluxbay runs`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Show the runs below a folder, oldest first.
    List(list::Arguments),
    /// Show one run: how it ended, its metrics, plugins, checkpoints, and what to do next.
    Show(show::Arguments),
    /// Show what differs between two runs: configuration, plugins, metrics.
    Compare(compare::Arguments),
    /// Show the metrics of a cross-validation over its folds, with mean and standard deviation.
    Folds(folds::Arguments),
    /// Remove runs with all their files.
    Remove(remove::Arguments),
}

pub(super) fn run(arguments: &Arguments) -> Outcome {
    match &arguments.command {
        Command::List(arguments) => list::run(arguments),
        Command::Show(arguments) => show::run(arguments),
        Command::Compare(arguments) => compare::run(arguments),
        Command::Folds(arguments) => folds::run(arguments),
        Command::Remove(arguments) => remove::run(arguments),
    }
}
